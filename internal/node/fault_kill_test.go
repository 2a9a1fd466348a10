package node_test

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"waybill/internal/id"
	"waybill/internal/nodetest"
	"waybill/subjects"
)

// killing is one crash of the sweep: the node kills itself when it passes the point for the nth time.
type killing struct {
	point string
	nth   int
}

func (k killing) String() string { return fmt.Sprintf("%s #%d", k.point, k.nth) }

// TestFaultKillAtEveryStep kills a node in the middle of each kind of step of the script, starts another on the same data, and has the
// customers go on. All that was answered must be true then, everything must come to its end, and the gateway's books must
// agree. A first run, which nobody disturbs, tells which points there are. Without -faults.all a few of them are drawn, of
// each kind some; with it each is taken twice, the first time that it is passed and the last.
func TestFaultKillAtEveryStep(t *testing.T) {
	t.Parallel()
	draw := seed(t)
	points := recorded(t)
	if missing := absent(points); len(missing) > 0 {
		t.Errorf("the script does not pass %v", missing)
	}
	var plan []killing
	if *faultsAll {
		for _, p := range sorted(points) {
			plan = append(plan, killing{p, 1})
			if n := points[p]; n > 1 {
				plan = append(plan, killing{p, n})
			}
		}
	} else {
		plan = sample(points, draw)
	}
	var missed atomic.Int64
	t.Run("kill", func(t *testing.T) {
		for _, k := range plan {
			t.Run(k.String(), func(t *testing.T) {
				t.Parallel()
				if !killAt(t, k) {
					missed.Add(1)
				}
			})
		}
	})
	// What comes late in the script does not come equally often each time; those are killed at its end.
	if n := missed.Load(); int(n) > len(plan)/4 {
		t.Errorf("%d of %d points were not passed", n, len(plan))
	}
}

// recorded runs the script undisturbed and returns how often each point was passed.
func recorded(t *testing.T) map[string]int {
	t.Helper()
	dir, file := t.TempDir(), filepath.Join(t.TempDir(), "points")
	node := startChild(t, childOrder{Dir: dir, Record: file})
	c := mustDial(t, node.url(t))
	s := scripted()
	if err := s.run(within(t), c); err != nil {
		t.Fatalf("undisturbed: %v", err)
	}
	audit(t, c)
	s.check(t, c)
	if err := node.stop(t); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	points := make(map[string]int)
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		points[lines.Text()]++
	}
	// Polling answers pass at any time, and rest on nothing that is at work.
	for _, p := range []string{"reply order.get", "reply order.list", "reply shipping.get", "reply inventory.get", "reply inventory.list",
		"reply payment.ledger", "reply journal.seals", "reply dead.list"} {
		delete(points, p)
	}
	return points
}

// absent lists the events of the order process that the script does not bring about, beside those that no sandbox does.
func absent(points map[string]int) (missing []string) {
	never := map[string]bool{
		"payment.expired": true, "payment.accepted_offline": true, "payment.declined_after_acceptance": true, "payment.capture_failed": true,
		"refund.failed": true, "refund.reversed": true, "order.resumed": true,
	}
	for _, kind := range []subjects.Kind{subjects.KindOrder, subjects.KindPayment, subjects.KindRefund, subjects.KindReservation, subjects.KindStock,
		subjects.KindShipment} {
		for _, event := range subjects.EventsByKind[kind] {
			if name := string(kind) + "." + event; points["append "+name] == 0 && !never[name] {
				missing = append(missing, name)
			}
		}
	}
	return missing
}

func sorted(points map[string]int) []string {
	var out []string
	for p := range points {
		out = append(out, p)
	}
	slices.Sort(out)
	return out
}

// sample draws points so that each kind of them is there: two of the kinds on which most hangs, one of the others.
func sample(points map[string]int, draw *rand.Rand) (plan []killing) {
	kinds := map[string][]string{}
	for _, p := range sorted(points) {
		kind, _, _ := strings.Cut(p, ".")
		if !strings.HasPrefix(p, "append") {
			kind, _, _ = strings.Cut(p, " ")
		}
		kinds[kind] = append(kinds[kind], p)
	}
	for _, kind := range []string{"append order", "append payment", "append refund", "append reservation", "append stock", "append shipment",
		"append notification", "append leader", "call", "gateway", "reply"} {
		n := 1
		if kind == "append order" || kind == "append payment" {
			n = 2
		}
		among := kinds[kind]
		draw.Shuffle(len(among), func(i, j int) { among[i], among[j] = among[j], among[i] })
		for _, p := range among[:min(n, len(among))] {
			plan = append(plan, killing{p, 1 + draw.IntN(min(points[p], 3))})
		}
	}
	return plan
}

// killAt runs the script on a node that is killed at the point, and on from there on another. It returns false where the
// point was not passed, and the kill came at the end.
func killAt(t *testing.T, k killing) (passed bool) {
	dir := t.TempDir()
	node := startChild(t, childOrder{Dir: dir, Point: k.point, Nth: k.nth})
	s := scripted()
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	go func() {
		<-node.dead // nobody answers any more
		cancel()
	}()
	passed = true
	if url := node.url(t); url != "" {
		if c, err := dial(ctx, url); err == nil { // it may have died since
			err = s.run(ctx, c)
			c.close()
			select {
			case <-node.dead:
			default:
				passed = false
				t.Logf("%s was not passed", k)
				if err != nil {
					t.Errorf("before the kill: %v", err)
				}
				node.kill()
			}
		}
	}
	if !node.killed() {
		t.Fatalf("the node died by itself: %v\n%s", node.err, node.log)
	}

	start := time.Now()
	again := nodetest.Start(t, nodetest.InDir(dir))
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("the node was ready %v after the kill", took)
	}
	c := mustDial(t, again.URL())
	if err := s.run(within(t), c); err != nil {
		t.Errorf("after the kill: %v", err)
	}
	audit(t, c)
	s.check(t, c)
	return passed
}

// TestFaultKillUnderLoad kills a node at random moments while orders come in, and starts it again, several times.
func TestFaultKillUnderLoad(t *testing.T) {
	t.Parallel()
	draw := seed(t)
	kills, atOnce := 3, 24
	if *faultsAll {
		kills = 40
	}
	dir := t.TempDir()
	var mu sync.Mutex
	told := map[id.Order]subjects.OrderStatus{} // empty: asked and not answered
	next := 0
	for life := range kills + 1 {
		node := startChild(t, childOrder{Dir: dir})
		url := node.url(t)
		if url == "" {
			t.Fatalf("the node did not start for the %d. time: %v\n%s", life+1, node.err, node.log)
		}
		c := mustDial(t, url)
		if life == 0 {
			nodetest.Stock(t, c.Client, 1_000_000, "load")
			impatient(t, c, "300ms")
		}
		ask := func(ctx context.Context, o id.Order) {
			mu.Lock()
			if _, asked := told[o]; !asked {
				told[o] = ""
			}
			mu.Unlock()
			r := card(o, [...]string{"tok_ok", "tok_ok", "tok_ok", "tok_declined", "tok_timeout"}[int(o[len(o)-1])%5], line("load", 1))
			info, err := c.Orders.Place(ctx, r)
			if err != nil {
				return // it is asked again in the next life
			}
			mu.Lock()
			defer mu.Unlock()
			if before := told[o]; before == "confirmed" && info.Status != "confirmed" {
				t.Errorf("%s was confirmed and is %s", o, info.Status)
			}
			told[o] = info.Status
		}
		// First those that were not answered, and some that were: a repeat must not change anything.
		var again []id.Order
		mu.Lock()
		for o, status := range told {
			if status == "" || draw.IntN(8) == 0 {
				again = append(again, o)
			}
		}
		mu.Unlock()
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		crowd(len(again), atOnce, func(i int) { ask(ctx, again[i]) })
		mu.Lock()
		for _, o := range again {
			if told[o] == "" {
				t.Errorf("%s was not answered", o)
			}
		}
		mu.Unlock()
		cancel()
		if life == kills {
			audit(t, c)
			if err := node.stop(t); err != nil {
				t.Error(err)
			}
			break
		}

		// Then load, until the moment comes.
		loading, end := context.WithCancel(context.Background())
		var all sync.WaitGroup
		var number atomic.Int64
		number.Store(int64(next))
		for range atOnce {
			all.Go(func() {
				for loading.Err() == nil {
					ask(loading, id.Order(fmt.Sprintf("load%d", number.Add(1))))
				}
			})
		}
		moment := time.NewTimer(time.Duration(100+draw.IntN(700)) * time.Millisecond)
		<-moment.C
		node.kill()
		end()
		all.Wait()
		next = int(number.Load())
		c.close()
	}
	count := map[subjects.OrderStatus]int{}
	for _, status := range told {
		count[status]++
	}
	if count["confirmed"] == 0 || count["rejected"] == 0 {
		t.Errorf("the answers were %v", count)
	}
	t.Logf("%d orders in %d lives: %v", len(told), kills+1, count)
}
