package node_test

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"waybill/internal/fault"
	"waybill/internal/id"
	"waybill/internal/nodetest"
	"waybill/subjects"
)

// seed is the one of this run, from the flag or new; it is printed, to repeat what a test has drawn.
func seed(t testing.TB) *rand.Rand {
	t.Helper()
	s := *faultsSeed
	if s == 0 {
		s = rand.Uint64()
	}
	t.Logf("the seed is %d (-faults.seed)", s)
	return rand.New(rand.NewPCG(s, 0))
}

// crowd runs f for 0 … n-1, so many at a time.
func crowd(n, atOnce int, f func(i int)) {
	var all sync.WaitGroup
	slots := make(chan struct{}, atOnce)
	for i := range n {
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			f(i)
		})
	}
	all.Wait()
}

// TestCrowd is a busy hour: the same orders asked several times at once, more buyers than units, deliveries told twice.
func TestCrowd(t *testing.T) {
	draw := seed(t)
	n := nodetest.Start(t)
	a, b := mustDial(t, n.URL()), mustDial(t, n.URL())
	clients := []*dialed{a, b}

	t.Run("500 orders asked 1 to 5 times at once", func(t *testing.T) {
		nodetest.Stock(t, a.Client, 500, "often")
		times := make([]int, 500)
		for i := range times {
			times[i] = 1 + draw.IntN(5)
		}
		crowd(500, 32, func(i int) {
			r := card(id.Order(fmt.Sprintf("often%d", i)), "tok_ok", line("often", 1))
			var calls []<-chan answer[subjects.OrderInfo]
			for n := range times[i] {
				calls = append(calls, begin(clients[n%2], 15*time.Second, subjects.OrderPlace, r))
			}
			revision := uint64(0)
			for _, call := range calls {
				x := <-call
				if x.err != nil || x.res.Status != "confirmed" {
					t.Errorf("%s: %v", r.OrderID, x)
					continue
				}
				if revision != 0 && x.res.Revision != revision {
					t.Errorf("%s was answered at revision %d and at %d", r.OrderID, revision, x.res.Revision)
				}
				revision = x.res.Revision
			}
		})
		if s := stockOf(t, a, "often"); s.Reserved != 500 || s.Available != 0 {
			t.Errorf("the stock is %+v", s)
		}
		entries := ledgerOf(t, a)
		for i := range 500 {
			if n := entries[id.PaymentOf(id.Order(fmt.Sprintf("often%d", i)))]; n != 1 {
				t.Errorf("order %d has %d entries in the gateway's books", i, n)
			}
		}
	})

	t.Run("300 units and 3,000 buyers", func(t *testing.T) {
		nodetest.Stock(t, a.Client, 300, "scarce")
		var mu sync.Mutex
		count := map[subjects.OrderStatus]int{}
		crowd(3000, 96, func(i int) {
			r := card(id.Order(fmt.Sprintf("scarce%d", i)), "tok_ok", line("scarce", 1))
			x := <-begin(clients[i%2], 15*time.Second, subjects.OrderPlace, r)
			if x.err != nil {
				t.Errorf("%s: %v", r.OrderID, x)
				return
			}
			if x.res.Status == "rejected" && x.res.Reason.Code != "out_of_stock" {
				t.Errorf("%s was rejected for %s", r.OrderID, x.res.Reason.Code)
			}
			mu.Lock()
			defer mu.Unlock()
			count[x.res.Status]++
		})
		if count["confirmed"] != 300 || count["rejected"] != 2700 {
			t.Errorf("the buyers got %v", count)
		}
		if s := stockOf(t, a, "scarce"); s.Reserved != 300 || s.Available != 0 || s.OnHand != 300 {
			t.Errorf("the stock is %+v", s)
		}
	})

	t.Run("reservations end while they are committed", func(t *testing.T) {
		nodetest.Stock(t, a.Client, 200, "own-brief")
		var mu sync.Mutex
		held := int64(0)
		pauses := make([]time.Duration, 200)
		for i := range pauses {
			pauses[i] = time.Duration(draw.IntN(120)) * time.Millisecond
		}
		crowd(200, 50, func(i int) {
			r := id.Reservation(fmt.Sprintf("brief%d", i))
			x := <-begin(a, 10*time.Second, subjects.InventoryReserve, subjects.ReserveRequest{
				ReservationID: r, Lines: []subjects.StockLine{line("own-brief", 1)}, TTL: subjects.Duration(60 * time.Millisecond),
			})
			if x.err != nil {
				t.Errorf("%s: %v", r, x)
				return
			}
			// Before, at and after the end of its time: the customer's pace, not a wait for anything.
			pace := time.NewTimer(pauses[i])
			defer pace.Stop()
			<-pace.C
			y := <-begin(b, 10*time.Second, subjects.InventoryCommit, subjects.ReservationRequest{ReservationID: r})
			switch {
			case y.err == nil && y.res.Status == "committed":
				mu.Lock()
				held++
				mu.Unlock()
			case !isRefused(y.err, fault.FailedPrecondition):
				t.Errorf("commit %s: %v", r, y)
			}
		})
		if held == 0 || held == 200 {
			t.Errorf("%d of 200 were committed: there was no race", held)
		}
		if err := until(5*time.Second, func() error {
			if s := stockOf(t, a, "own-brief"); s.Reserved != held || s.OnHand != 200 {
				return fmt.Errorf("%d were committed, and the stock is %+v", held, s)
			}
			return nil
		}); err != nil {
			t.Error(err)
		}
	})

	t.Run("one delivery told 50 times at once", func(t *testing.T) {
		nodetest.Stock(t, a.Client, 1, "own-told")
		crowd(50, 50, func(i int) {
			x := <-begin(clients[i%2], 10*time.Second, subjects.InventoryReceive, subjects.ReceiveRequest{SKU: "own-told", Quantity: 7, Reference: "d-1"})
			if x.err != nil || x.res.OnHand != 8 {
				t.Errorf("receive: %v", x)
			}
		})
		if s := stockOf(t, a, "own-told"); s.OnHand != 8 {
			t.Errorf("the stock is %+v", s)
		}
	})
	audit(t, a)
}

// ledgerOf counts the gateway's entries of each payment.
func ledgerOf(t testing.TB, c *dialed) map[id.Payment]int {
	t.Helper()
	out := make(map[id.Payment]int)
	for e, err := range c.Payments.AllLedger(within(t)) {
		if err != nil {
			t.Fatal(err)
		}
		out[e.PaymentID]++
	}
	return out
}
