package node_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"waybill/internal/id"
	"waybill/internal/inventory"
	"waybill/internal/journal"
	"waybill/internal/nodetest"
	"waybill/internal/timestamp"
	"waybill/subjects"
)

// TestRestartUnderLoad stops a node while orders come in, as an update does: it is over within its time, what was answered
// stands, and what was not has either happened or not, which asking again tells.
func TestRestartUnderLoad(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	n := nodetest.Start(t, nodetest.InDir(dir))
	c := mustDial(t, n.URL())
	nodetest.Stock(t, c.Client, 100_000, "bulk")
	impatient(t, c, "800ms") // above what tok_slow takes

	var mu sync.Mutex
	told := map[id.Order]subjects.OrderStatus{}
	order := func(i int64) subjects.PlaceRequest {
		return card(id.Order(fmt.Sprintf("bulk%d", i)), [...]string{"tok_ok", "tok_ok", "tok_slow", "tok_timeout"}[i%4], line("bulk", 1))
	}
	loading, end := context.WithCancel(context.Background())
	defer end()
	var number, answered atomic.Int64
	flowing := make(chan struct{})
	var all sync.WaitGroup
	for range 24 {
		all.Go(func() {
			for loading.Err() == nil {
				r := order(number.Add(1))
				mu.Lock()
				told[r.OrderID] = ""
				mu.Unlock()
				o, err := c.Orders.Place(loading, r)
				if err != nil {
					return
				}
				mu.Lock()
				told[r.OrderID] = o.Status
				mu.Unlock()
				if answered.Add(1) == 100 {
					close(flowing)
				}
			}
		})
	}
	select {
	case <-flowing:
	case <-time.After(20 * time.Second):
		t.Fatal("no orders came through")
	}
	start := time.Now()
	n.Stop()
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("the stop took %v", took)
	}
	end()
	all.Wait()

	start = time.Now()
	again := nodetest.Start(t, nodetest.InDir(dir))
	if took := time.Since(start); took > 3*time.Second {
		t.Errorf("the second start took %v", took)
	}
	c = mustDial(t, again.URL())
	crowd(int(number.Load()), 24, func(i int) {
		r := order(int64(i + 1))
		o, err := c.Orders.Place(within(t), r)
		if err != nil {
			t.Errorf("%s: %v", r.OrderID, err)
			return
		}
		if before := told[r.OrderID]; before == "confirmed" && o.Status != "confirmed" {
			t.Errorf("%s was confirmed and is %s", r.OrderID, o.Status)
		}
	})
	for i := range number.Load() {
		o := order(i + 1)
		becomes(t, c, o.OrderID, "confirmed")
	}
	if s := stockOf(t, c, "bulk"); s.Reserved != number.Load() {
		t.Errorf("%d orders, and the stock is %+v", number.Load(), s)
	}
	audit(t, c)
}

// TestRestartLeavesNothing looks for goroutines that outlive their node, in a process where there is nothing else.
func TestRestartLeavesNothing(t *testing.T) {
	node := startChild(t, childOrder{Dir: t.TempDir(), Leaks: true})
	url := node.url(t)
	if url == "" {
		t.Fatalf("the node did not start: %v\n%s", node.err, node.log)
	}
	c := mustDial(t, url)
	nodetest.Stock(t, c.Client, 100, "any")
	for i := range 20 {
		place(t, c, card(id.Order(fmt.Sprintf("any%d", i)), "tok_ok", line("any", 1)), "confirmed")
	}
	if err := node.stop(t); err != nil {
		t.Errorf("after the stop: %v", err)
	}
}

// TestFaultIsFound plants what must never be, with the rights of the service that could do it, and looks whether it is found:
// the audit on which the other tests rest is not blind.
func TestFaultIsFound(t *testing.T) {
	n := nodetest.Start(t)
	c := mustDial(t, n.URL())
	nodetest.Stock(t, c.Client, 5, "few")
	place(t, c, card("first", "tok_ok", line("few", 3)), "confirmed")
	shipped(t, c, "first")
	audit(t, c)

	j, err := journal.Open(enter(t, n, string(subjects.Inventory)), journal.Options{Site: n.Config.Site})
	if err != nil {
		t.Fatal(err)
	}
	lines := []inventory.Line{{SKU: "few", Quantity: 3}}
	at := timestamp.Of(time.Now())
	if _, err := j.Append(within(t), journal.Entry{
		Subject: subjects.Event(n.Config.Site, subjects.KindReservation, id.Reservation("stolen")),
		Kind:    subjects.KindReservation, Event: string(inventory.TypeHeld),
		Data:  inventory.Held{ReservationID: "stolen", Lines: lines, At: at},
		State: inventory.Reservation{ReservationID: "stolen", Status: inventory.StatusHeld, Lines: lines, UpdatedAt: at},
	}); err != nil {
		t.Fatal(err)
	}
	broken, err := verified(c, false)
	if err != nil {
		t.Fatal(err)
	}
	if len(broken) != 1 || !strings.HasPrefix(broken[0], "stock: ") || !strings.Contains(broken[0], "stolen") {
		t.Errorf("six of five units were reserved, and what was found is %q", broken)
	}
}
