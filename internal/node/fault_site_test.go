package node_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"waybill/configs"
	"waybill/internal/id"
	"waybill/internal/nodetest"
	"waybill/internal/registry/etcdtest"
	"waybill/subjects"
)

// buyers place orders one after the other, without repeating any, until they are ended.
type buyers struct {
	all       sync.WaitGroup
	end       context.CancelFunc
	number    atomic.Int64
	confirmed atomic.Int64

	mu     sync.Mutex
	last   time.Time     // when an order was last confirmed
	gap    time.Duration // the longest time without one
	failed []string
}

// busySite has four customers buy at a site that has a setting of its own, and returns once orders flow.
func busySite(t testing.TB, n *nodetest.Node) (*dialed, *buyers) {
	t.Helper()
	c := mustDial(t, n.URL())
	impatient(t, c, "2s")
	nodetest.Stock(t, c.Client, 1_000_000, "bread")
	setting(t, c, "rpc.max_in_flight", "777")
	b := buy(c, 4, "bread", steady)
	b.flow(t, 20*time.Second)
	return c, b
}

// trade is how buyers buy.
type trade struct {
	rest      time.Duration // between two orders: a shop, not a benchmark
	mayRunOut bool          // of stock
}

// Where something stops in the midst of requests, as many as may be have to be at work; where etcd is away for long, orders have to go
// on, and more of them would only take the processor from the tests beside this one.
var (
	brisk  = trade{rest: 10 * time.Millisecond}
	steady = trade{rest: 50 * time.Millisecond}
)

// buy starts the buyers. An answer is confirmed or pending, or rejected where the SKU may run out; anything else is a failure.
func buy(c *dialed, count int, sku id.SKU, how trade) *buyers { return buyAfter(c, count, sku, how, 0) }

// buyAfter is buy after so many orders of others.
func buyAfter(c *dialed, count int, sku id.SKU, how trade, before int64) *buyers {
	if *faultsAll {
		how.rest = brisk.rest
	}
	ctx, end := context.WithCancel(context.Background())
	b := &buyers{end: end, last: time.Now()}
	b.number.Store(before)
	for range count {
		b.all.Go(func() {
			for ctx.Err() == nil {
				o := b.order(b.number.Add(1))
				info, err := ask(c, 8*time.Second, subjects.OrderPlace, card(o, "tok_ok", line(sku, 1)))
				b.mu.Lock()
				switch {
				case err != nil:
					b.failed = append(b.failed, fmt.Sprintf("%s: %v", o, err))
				case info.Status == "confirmed":
					b.confirmed.Add(1)
					b.gap, b.last = max(b.gap, time.Since(b.last)), time.Now()
				case info.Status != "pending" && !(how.mayRunOut && info.Status == "rejected"):
					b.failed = append(b.failed, fmt.Sprintf("%s is %s: %v", o, info.Status, info.Reason))
				}
				b.mu.Unlock()
				time.Sleep(how.rest)
			}
		})
	}
	return b
}

func (b *buyers) order(i int64) id.Order { return id.Order(fmt.Sprintf("buy%d", i)) }

// flow waits until further orders are confirmed, and returns how long that took.
func (b *buyers) flow(t testing.TB, most time.Duration) time.Duration {
	t.Helper()
	start, before := time.Now(), b.confirmed.Load()
	if err := until(most, func() error {
		if b.confirmed.Load() < before+5 {
			return errors.New("no orders were confirmed")
		}
		return nil
	}); err != nil {
		t.Fatalf("after %s: %v", most, err)
	}
	return time.Since(start)
}

// settle ends the buyers, and waits until each of their orders has come to its end; it returns how many were sold.
func (b *buyers) settle(t testing.TB, c *dialed) (sold int64) {
	t.Helper()
	b.end()
	b.all.Wait()
	for _, f := range b.failed {
		t.Error(f)
	}
	for i := range b.number.Load() {
		if becomes(t, c, b.order(i+1), "confirmed", "rejected").Status == "confirmed" {
			sold++
		}
	}
	t.Logf("%d orders, the longest time without a confirmed one was %s", b.number.Load(), b.gap)
	return sold
}

// slack is what a machine that is busy with other things may take longer.
const slack = 6 * time.Second

func (b *buyers) longest() time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.gap
}

func services(list ...subjects.Service) nodetest.Option {
	return nodetest.WithConfig(func(c *configs.Config) { c.Services = list })
}

func allBut(service subjects.Service) []subjects.Service {
	return slices.DeleteFunc(slices.Clone(subjects.Services), func(s subjects.Service) bool { return s == service })
}

// TestFaultOfTheLeader kills the process that writes the stock, or stops it for longer than its lease and lets it wake, while orders
// come in. Another takes over; what the one that wakes still wants to write is refused; nothing is sold twice and nothing lost.
func TestFaultOfTheLeader(t *testing.T) {
	t.Parallel()
	for name, asleep := range map[string]time.Duration{"killed": 0, "stopped": 8 * time.Second} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if *faultsAll && asleep > 0 {
				asleep = 20 * time.Second
			}
			store := nodetest.Start(t, services(allBut(subjects.Inventory)...))
			leader := startChild(t, childOrder{Dir: t.TempDir(), Join: store.Config.Data, Services: []subjects.Service{subjects.Inventory}})
			leader.endpoints(t)
			beside(t, store, services(subjects.Inventory))
			c := mustDial(t, store.URL())
			impatient(t, c, "2s")
			const stock = 150
			nodetest.Stock(t, c.Client, stock, "bread")
			b := buy(c, 8, "bread", trade{rest: brisk.rest, mayRunOut: true})
			b.flow(t, 20*time.Second)
			if asleep > 0 {
				leader.pause(t)
			} else {
				leader.kill()
			}
			gone := time.Now()
			time.Sleep(asleep) // nothing announces that nothing happens
			if asleep > 0 {
				leader.resume(t)
			}
			if err := until(40*time.Second, func() error {
				s, err := ask(c, 5*time.Second, subjects.InventoryGet, subjects.SKURequest{SKU: "bread"})
				if err == nil && s.Available > 0 {
					err = fmt.Errorf("there is still %+v", s)
				}
				return err
			}); err != nil {
				leader.kill()
				t.Log(leader.log.String())
				t.Fatal(err)
			}
			t.Logf("everything was sold %s after the leader was %s", time.Since(gone), name)
			if longest := 6*time.Second + slack; asleep == 0 && b.longest() > longest {
				t.Errorf("for %s no order was confirmed", b.longest())
			}
			if sold := b.settle(t, c); sold != stock {
				t.Errorf("of %d units %d were sold", stock, sold)
			}
			if s := stockOf(t, c, "bread"); s.Reserved != stock || s.OnHand != stock {
				t.Errorf("the stock is %+v", s)
			}
			audit(t, c)
		})
	}
}

// TestFaultOfEtcd hangs and kills the etcd of a site of two processes, for longer than a lease, while orders come in: none fails,
// health says so, a setting keeps its value, and all is well again by itself.
func TestFaultOfEtcd(t *testing.T) {
	t.Parallel()
	away := 7 * time.Second
	if *faultsAll {
		away = 10 * time.Minute
	}
	dir, listen := t.TempDir(), etcdtest.Address(t)
	etcd := startChild(t, childOrder{Dir: dir, Etcd: listen})
	address := etcd.endpoints(t).Etcd
	first := nodetest.Start(t, nodetest.WithConfig(func(c *configs.Config) { c.EtcdEndpoints = []string{address} }))
	beside(t, first, nodetest.WithConfig(func(c *configs.Config) { c.EtcdEndpoints = []string{address} }))
	c, b := busySite(t, first)
	health := func(want bool) error {
		h, err := ask(c, 5*time.Second, subjects.HealthList, subjects.Empty{})
		if err != nil {
			return err
		}
		if well := h.Degraded == "" && h.Leaders[subjects.RoleInventory] != "" && len(h.Instances) == 2*len(subjects.Services); well != want {
			return fmt.Errorf("the health is %+v", h)
		}
		return nil
	}
	for _, f := range []struct {
		what string
		do   func()
		undo func()
	}{
		{"hung", func() { etcd.pause(t) }, func() { etcd.resume(t) }},
		{"killed", func() { etcd.kill() }, func() {
			etcd = startChild(t, childOrder{Dir: dir, Etcd: listen})
			etcd.endpoints(t)
		}},
	} {
		f.do()
		began := time.Now()
		if err := until(20*time.Second, func() error { return health(false) }); err != nil {
			t.Fatalf("etcd was %s and nobody noticed: %v", f.what, err)
		}
		for time.Since(began) < away {
			b.flow(t, 10*time.Second)
			time.Sleep(100 * time.Millisecond)
		}
		v, err := ask(c, 10*time.Second, subjects.ConfigGet, subjects.KeyRequest{Key: "rpc.max_in_flight"})
		if err != nil || string(v.Value) != "777" {
			t.Errorf("while etcd was %s the setting was %v, %v", f.what, v, err)
		}
		f.undo()
		back := time.Now()
		if err := until(25*time.Second, func() error { return health(true) }); err != nil {
			t.Fatalf("etcd was %s and is back: %v", f.what, err)
		}
		t.Logf("all was well %s after etcd, which was %s, came back", time.Since(back), f.what)
	}
	if sold := b.settle(t, c); sold != b.number.Load() {
		t.Errorf("of %d orders %d were confirmed", b.number.Load(), sold)
	}
	audit(t, c)
}

// TestRollingRestart stops and starts the processes of a site one after the other, as an update does, while orders come in: no request
// fails. The store and etcd are a process of their own.
func TestRollingRestart(t *testing.T) {
	t.Parallel()
	processes, rounds := 2, 1
	if *faultsAll {
		processes, rounds = 3, 3
	}
	store := nodetest.Start(t, services(subjects.Journal))
	workers := make([]*child, processes)
	dirs := make([]string, processes)
	for i := range workers {
		dirs[i] = t.TempDir()
		workers[i] = startChild(t, childOrder{Dir: dirs[i], Join: store.Config.Data})
	}
	for _, w := range workers {
		w.endpoints(t)
	}
	c := mustDial(t, store.URL())
	nodetest.Stock(t, c.Client, 1_000_000, "bread")
	b := buy(c, 6, "bread", brisk)
	b.flow(t, 20*time.Second)
	for range rounds {
		for i := range workers {
			if err := workers[i].stop(t); err != nil {
				t.Error(err)
			}
			b.flow(t, 20*time.Second)
			workers[i] = startChild(t, childOrder{Dir: dirs[i], Join: store.Config.Data})
			workers[i].endpoints(t)
			b.flow(t, 20*time.Second)
		}
	}
	if sold := b.settle(t, c); sold != b.number.Load() {
		t.Errorf("of %d orders %d were confirmed", b.number.Load(), sold)
	}
	audit(t, c)
}
