package node_test

import (
	"sync/atomic"
	"testing"
	"time"

	"waybill/internal/fault"
	"waybill/internal/nodetest"
	"waybill/subjects"
)

// TestFaultOfALateAnswer has the stock's leader stand still with an order's question: it has reserved and does not say so. The order asks
// again and is refused. What the first question took must be given back before the order is rejected, as nobody would do it afterwards.
func TestFaultOfALateAnswer(t *testing.T) {
	t.Parallel()
	var planted, asked atomic.Int32
	still := make(chan struct{}) // closed when the leader goes on
	n := nodetest.Start(t,
		nodetest.WithHook(func(point string) {
			if point == "append reservation.held" && planted.CompareAndSwap(1, 2) {
				<-still
			}
		}),
		nodetest.WithRefuse(func(service subjects.Service, method string) error {
			if service == subjects.Inventory && method == subjects.InventoryReserve.Method && planted.Load() > 0 && asked.Add(1) == 2 {
				return fault.New(fault.FailedPrecondition, "there is not enough")
			}
			return nil
		}))
	t.Cleanup(func() { close(still) }) // before the node is stopped
	c := mustDial(t, n.URL())
	impatient(t, c, "2s")
	nodetest.Stock(t, c.Client, 10, "bread")
	planted.Store(1)
	began := time.Now()
	place(t, c, card("late", "tok_ok", line("bread", 1)), "rejected")
	if asked.Load() != 2 || planted.Load() != 2 {
		t.Fatalf("the stock was asked %d times; it stood still: %t", asked.Load(), planted.Load() == 2)
	}
	t.Logf("rejected after %v", time.Since(began))
	if s := stockOf(t, c, "bread"); s.Reserved != 0 || s.OnHand != 10 {
		t.Errorf("the order is rejected, and the stock is %+v", s)
	}
}
