//go:build linux

package faults

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"waybill/client"
	"waybill/subjects"
)

// TestFaultRolling runs a site of three processes, of four with -faults.all: one holds the store and etcd and does nothing else, the
// others run all services. With orders flowing they are restarted one after the other by SIGTERM, as an update does, and no request fails. Then they are killed,
// one after the other: who was killed answers nothing, the others go on, and nothing is lost. At last the process that holds the
// store is restarted: while it is away nobody takes orders, which is by design, and all flows again when it is back.
func TestFaultRolling(t *testing.T) {
	t.Parallel()
	work := scratch(t)
	address := "WAYBILL_NATS_ADDR=" + freeAddress(t)
	etcd := "WAYBILL_ETCD_ADDR=" + freeAddress(t)
	store := start(t, filepath.Join(work, "store"), "WAYBILL_SERVICES=journal", address, etcd)
	store.endpoints(t)
	begin := func(i int) *process {
		return start(t, filepath.Join(work, fmt.Sprint("worker", i)), "WAYBILL_JOIN="+store.dir)
	}
	workers := make([]*process, number(2, 3))
	for i := range workers {
		workers[i] = begin(i)
	}
	for _, w := range workers {
		w.endpoints(t)
	}
	c := store.client(t)
	open(t, c)
	b := shoppers(t, c, 6)
	defer b.end()
	each := func(end func(*process)) {
		for range number(1, 5) {
			for i, w := range workers {
				b.served(t, 30)
				end(w)
				b.served(t, 30)
				workers[i] = begin(i)
				workers[i].endpoints(t)
			}
		}
		b.served(t, 30)
	}
	each(func(w *process) { w.terminate(t) })
	failed, gap := b.take()
	t.Logf("restarted one after the other: %d orders, the longest time without a confirmed one was %v", len(b.orders()), gap)
	if len(failed) > 0 {
		t.Errorf("%d requests failed, the first: %s", len(failed), failed[0])
	}

	each(func(w *process) { w.kill() })
	failed, gap = b.take()
	t.Logf("killed one after the other: %d orders, the longest time without a confirmed one was %v; %d were not answered", len(b.orders()), gap, len(failed))
	if longest := time.Duration(number(20, 6)) * time.Second; gap > longest {
		t.Errorf("for %v no order was confirmed, want %v at most", gap, longest)
	}

	store.terminate(t)
	store = start(t, store.dir, "WAYBILL_SERVICES=journal", address, etcd)
	store.endpoints(t)
	back := time.Now()
	b.served(t, 30)
	b.end()
	failed, gap = b.take()
	t.Logf("the store restarted: orders %v after it was ready; the longest time without a confirmed one was %v; %d were not answered", time.Since(back), gap, len(failed))
	for _, w := range workers {
		w.alive(t)
	}
	b.again(t, c, unanswered)
	audit(t, c, b.customers)
}

// terminate stops a process as an update does, and wants it to end well.
func (p *process) terminate(t *testing.T) {
	t.Helper()
	p.signal(t, syscall.SIGTERM)
	select {
	case <-p.dead:
	case <-time.After(20 * time.Second):
		t.Fatalf("the node did not stop\n%s", &p.log)
	}
	if p.err != nil {
		t.Errorf("the stop: %v\n%s", p.err, &p.log)
	}
}

// freeAddress is where nobody listens at the moment.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// shop is customers who ask once, and what they were not answered.
type shop struct {
	*customers
	end func()

	mu     sync.Mutex
	failed []string
	last   time.Time     // of a confirmed order
	gap    time.Duration // the longest time without one
}

func shoppers(t *testing.T, c *client.Client, n int) *shop {
	t.Helper()
	once, err := client.Connect(t.Context(), c.URL(), client.WithRetry(client.Retry{Attempts: 1}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(once.Close)
	ctx, cancel := context.WithCancel(t.Context())
	s := &shop{customers: newCustomers(), last: time.Now()}
	var all sync.WaitGroup
	for range n {
		all.Go(func() {
			for ctx.Err() == nil {
				s.buy(once, request(s.customers.last.Add(1)))
				time.Sleep(10 * time.Millisecond) // a shop, not a benchmark
			}
		})
	}
	s.end = func() { cancel(); all.Wait() }
	return s
}

func (s *shop) buy(c *client.Client, r subjects.PlaceRequest) {
	ctx, cancel := context.WithTimeout(context.Background(), 8*time.Second)
	defer cancel()
	err := s.place(ctx, c, r)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.failed = append(s.failed, fmt.Sprintf("%s: %v", r.OrderID, err))
	} else if s.orders()[r.OrderID].status == "confirmed" {
		now := time.Now()
		s.gap, s.last = max(s.gap, now.Sub(s.last)), now
	}
}

// take returns what failed and the longest time without a confirmed order since it was called last.
func (s *shop) take() (failed []string, gap time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	failed, gap = s.failed, s.gap
	s.failed, s.gap = nil, 0
	return failed, gap
}
