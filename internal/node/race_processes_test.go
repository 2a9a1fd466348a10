package node_test

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"waybill/configs"
	"waybill/internal/id"
	"waybill/internal/journal"
	"waybill/internal/nodetest"
	"waybill/internal/timestamp"
	"waybill/subjects"
)

// beside starts a second process of a node's site, on a directory of its own, with the first one's NATS and etcd.
func beside(t testing.TB, first *nodetest.Node, options ...nodetest.Option) *nodetest.Node {
	t.Helper()
	return nodetest.Start(t, append([]nodetest.Option{nodetest.WithConfig(func(c *configs.Config) {
		c.NATSURL, c.EtcdEndpoints = first.URL(), []string{first.Endpoints().Etcd}
		c.Creds = filepath.Join(first.Config.Data, "secrets")
	})}, options...)...)
}

// together asks the same of the site several times at once, and returns every answer.
func together[Req, Res any](n int, c *dialed, e subjects.Endpoint[Req, Res], r Req) []answer[Res] {
	calls := make([]<-chan answer[Res], n)
	for i := range calls {
		calls[i] = begin(c, 20*time.Second, e, r)
	}
	out := make([]answer[Res], n)
	for i, call := range calls {
		out[i] = <-call
	}
	return out
}

// TestTwoProcesses runs two processes of one site, which have nothing in common but NATS and etcd.
func TestTwoProcesses(t *testing.T) {
	t.Parallel()
	ga, gb := &gates{}, &gates{}
	a := nodetest.Start(t, nodetest.WithHook(ga.pass))
	b := beside(t, a, nodetest.WithHook(gb.pass))
	c := mustDial(t, a.URL())
	nodetest.Stock(t, c.Client, 10_000, "tea")
	impatient(t, c, "5s")

	t.Run("the same ids", func(t *testing.T) {
		var all sync.WaitGroup
		slots := make(chan struct{}, 24)
		for i := range 60 {
			slots <- struct{}{}
			all.Go(func() {
				defer func() { <-slots }()
				r := card(id.Order(fmt.Sprintf("two%d", i)), "tok_ok", line("tea", 2))
				for _, a := range together(4, c, subjects.OrderPlace, r) {
					if a.err != nil || a.res.Status != "confirmed" {
						t.Errorf("%s: %v", r.OrderID, a)
					}
				}
				sh := shipped(t, c, r.OrderID)
				for _, a := range together(3, c, subjects.ShippingBook, subjects.ShipmentRequest{ShipmentID: sh, Carrier: "van"}) {
					if a.err != nil || a.res.Status != "booked" {
						t.Errorf("book %s: %v", sh, a)
					}
				}
				for _, a := range together(3, c, subjects.ShippingDispatch, subjects.ShipmentRequest{ShipmentID: sh}) {
					if a.err != nil || a.res.Status != "dispatched" {
						t.Errorf("dispatch %s: %v", sh, a)
					}
				}
			})
		}
		all.Wait()
		if s := stockOf(t, c, "tea"); s.OnHand != 10_000-120 || s.Reserved != 0 {
			t.Errorf("the stock is %+v", s)
		}
	})

	t.Run("cancel and dispatch", func(t *testing.T) {
		for i := range 10 {
			o := id.Order(fmt.Sprintf("either%d", i))
			sh := booked(t, c, card(o, "tok_ok", line("tea", 2)))
			cancelled := begin(c, 10*time.Second, subjects.OrderCancel, subjects.CancelRequest{OrderID: o})
			dispatched := begin(c, 10*time.Second, subjects.ShippingDispatch, subjects.ShipmentRequest{ShipmentID: sh})
			x, y := got(t, cancelled), got(t, dispatched)
			if (x.err == nil) == (y.err == nil) {
				t.Errorf("both or none have won: cancel %v, dispatch %v", x, y)
			}
			if x.err == nil {
				becomes(t, c, o, "cancelled")
			} else {
				becomes(t, c, o, "fulfilling")
			}
		}
	})

	// The process that places the order is stopped in the middle until the other one, where the background process lives, has
	// given it up and finished the order without it.
	impatient(t, c, "150ms")
	for i, point := range beforeConfirmed {
		t.Run("the background is first at "+point, func(t *testing.T) {
			where := gb
			if point == "append reservation.held" { // the stock is the first process's
				where = ga
			}
			o, placed, stopped := stall(t, c, gb, where, point, fmt.Sprintf("stalled%d", i))
			becomes(t, c, o, "confirmed")
			stopped.release()
			if x := got(t, placed); x.err != nil || x.res.Status != "confirmed" && x.res.Status != "pending" {
				t.Errorf("place: %v", x)
			}
			becomes(t, c, o, "confirmed")
			if n, _ := approved(t, c, id.PaymentOf(o), "authorize"); n != 1 {
				t.Errorf("the gateway authorized %d times", n)
			}
		})
	}
	audit(t, c)

	t.Run("one process goes", func(t *testing.T) {
		b.Stop()
		place(t, c, card("alone", "tok_ok", line("tea", 1)), "confirmed")
		audit(t, c)
	})
}

// stall places orders until one is placed by the process of placer's gates and stopped at the point by where's. Which process is
// asked is the server's choice, for each of the order's calls; those that took another way are simply placed.
func stall(t testing.TB, c *dialed, placer, where *gates, point, name string) (id.Order, <-chan answer[subjects.OrderInfo], *trap) {
	t.Helper()
	for try := range 50 {
		o := id.Order(fmt.Sprintf("%s-%d", name, try))
		first, last := placer.set(t, "append order.placed"), (*trap)(nil)
		placed := begin(c, 20*time.Second, subjects.OrderPlace, card(o, "tok_ok", line("tea", 1)))
		if caught(first, placed) {
			if point == first.point {
				return o, placed, first
			}
			last = where.set(t, point)
			first.release()
			if caught(last, placed) {
				return o, placed, last
			}
			where.take(last)
		}
		placer.take(first)
	}
	t.Fatalf("no order went the way on which it is stopped at %q", point)
	return "", nil, nil
}

// caught waits until the trap has caught somebody, or the call was answered without.
func caught[Res any](tr *trap, c <-chan answer[Res]) bool {
	select {
	case <-tr.caught:
		return true
	case <-c:
		return false
	}
}

// TestDeposedInventory has somebody else claim the stock behind the leader's back.
func TestDeposedInventory(t *testing.T) {
	t.Parallel()
	_, n, c := gated(t)
	impatient(t, c, "2s")
	nodetest.Stock(t, c.Client, 20, "last")
	j, err := journal.Open(enter(t, n, string(subjects.Inventory)), journal.Options{Site: n.Config.Site})
	if err != nil {
		t.Fatal(err)
	}
	claim := func() {
		t.Helper()
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		subject := subjects.Event(n.Config.Site, subjects.KindLeader, subjects.RoleInventory)
		last, _, err := j.Load(ctx, subject)
		if err != nil {
			t.Fatal(err)
		}
		body := map[string]any{"role": subjects.RoleInventory, "instance": "somebody-else", "at": timestamp.Of(time.Now())}
		entry := journal.Entry{Subject: subject, Kind: subjects.KindLeader, Event: "claimed", Data: body, State: body, Previous: last}
		if _, err := j.Append(ctx, entry); err != nil {
			t.Fatal(err)
		}
	}

	// What the deposed leader writes is refused: the order stays pending until there is a leader again, which is at once.
	var calls []<-chan answer[subjects.OrderInfo]
	for i := range 30 {
		if i%10 == 0 {
			claim()
		}
		calls = append(calls, begin(c, 10*time.Second, subjects.OrderPlace, card(id.Order(fmt.Sprintf("want%d", i)), "tok_ok", line("last", 1))))
	}
	for _, call := range calls {
		if a := got(t, call); a.err != nil {
			t.Errorf("place: %v", a.err)
		}
	}
	count := map[subjects.OrderStatus]int{}
	for i := range 30 {
		count[becomes(t, c, id.Order(fmt.Sprintf("want%d", i)), "confirmed", "rejected").Status]++
	}
	if count["confirmed"] != 20 || count["rejected"] != 10 {
		t.Errorf("of 20 units there were sold %v", count)
	}
	if s := stockOf(t, c, "last"); s.Reserved != 20 || s.Available != 0 {
		t.Errorf("the stock is %+v", s)
	}

	// A second process takes over when the first one goes; what the first one had sold stays sold.
	claim()
	if _, err := ask(c, 5*time.Second, subjects.InventoryReceive, subjects.ReceiveRequest{SKU: "last", Quantity: 5, Reference: "more"}); err == nil {
		t.Error("a leader that was deposed received stock")
	}
	if err := until(10*time.Second, func() error {
		_, err := ask(c, 5*time.Second, subjects.InventoryReceive, subjects.ReceiveRequest{SKU: "last", Quantity: 5, Reference: "more"})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if s := stockOf(t, c, "last"); s.OnHand != 25 || s.Reserved != 20 {
		t.Errorf("the stock is %+v", s)
	}
	audit(t, c)
}

// TestInventoryTakeover ends the process that leads the stock, under load, while another one is there to take over.
func TestInventoryTakeover(t *testing.T) {
	t.Parallel()
	only := func(services ...subjects.Service) nodetest.Option {
		return nodetest.WithConfig(func(c *configs.Config) { c.Services = services })
	}
	others := slices.DeleteFunc(slices.Clone(subjects.Services), func(s subjects.Service) bool { return s == subjects.Inventory })
	store := nodetest.Start(t, only(others...))
	leader := beside(t, store, only(subjects.Inventory))
	heir := beside(t, store, only(subjects.Inventory))
	c := mustDial(t, store.URL())
	impatient(t, c, "2s")
	nodetest.Stock(t, c.Client, 100, "bread")

	const buyers = 200
	slots := make(chan struct{}, 16)
	var all sync.WaitGroup
	for i := range buyers {
		if i == buyers/4 {
			all.Go(func() { leader.Stop() })
		}
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			if a := <-begin(c, 10*time.Second, subjects.OrderPlace, card(id.Order(fmt.Sprintf("loaf%d", i)), "tok_ok", line("bread", 1))); a.err != nil {
				t.Errorf("place: %v", a.err)
			}
		})
	}
	all.Wait()
	count := map[subjects.OrderStatus]int{}
	for i := range buyers {
		count[becomes(t, c, id.Order(fmt.Sprintf("loaf%d", i)), "confirmed", "rejected").Status]++
	}
	if count["confirmed"] != 100 || count["rejected"] != 100 {
		t.Errorf("of 100 units there were sold %v", count)
	}
	if s := stockOf(t, c, "bread"); s.Reserved != 100 || s.OnHand != 100 {
		t.Errorf("the stock is %+v", s)
	}
	audit(t, c)
	heir.Stop()
}

// What one process writes is soon in the lists of both: the one that holds the store is sent by nobody what it has written itself, and by
// the server what the other one has.
func TestTwoProcessesLists(t *testing.T) {
	t.Parallel()
	a := nodetest.Start(t)
	beside(t, a)
	c := mustDial(t, a.URL())
	var took []time.Duration
	for i := range 30 {
		sku := id.SKU(fmt.Sprintf("item-%02d", i))
		call(t, c.Client, subjects.CatalogPut, subjects.PutItemRequest{SKU: sku, Name: "Item", UnitPrice: subjects.Money{Amount: 100, Currency: "EUR"}})
		began := time.Now()
		for seen := 0; seen < 6; { // so often in a row: each asks any of the two
			list := call(t, c.Client, subjects.CatalogList, subjects.ListRequest{Page: subjects.Page{Limit: 100}})
			if seen++; !slices.ContainsFunc(list.Items, func(it subjects.Item) bool { return it.SKU == sku }) {
				seen = 0
			}
			if time.Since(began) > 20*time.Second {
				t.Fatalf("%s is not listed", sku)
			}
		}
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	t.Logf("listed by both after %s at the median, %s at the most", took[len(took)/2], took[len(took)-1])
	if took[len(took)/2] > 250*time.Millisecond {
		t.Errorf("listed by both after %s at the median", took[len(took)/2])
	}
	audit(t, c)
}
