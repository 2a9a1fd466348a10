package node_test

import (
	"fmt"
	"testing"
	"time"

	"waybill/internal/fault"
	"waybill/internal/id"
	"waybill/internal/nodetest"
	"waybill/subjects"
)

// gated starts a node whose work can be stopped at any point.
func gated(t testing.TB, options ...nodetest.Option) (*gates, *nodetest.Node, *dialed) {
	t.Helper()
	g := &gates{}
	n := nodetest.Start(t, append(options, nodetest.WithHook(g.pass))...)
	return g, n, mustDial(t, n.URL())
}

// beforeConfirmed are the points that a live request passes on its way to a confirmed order, in their order.
var beforeConfirmed = []string{"append order.placed", "append reservation.held", "call inventory.reserve", "append payment.created",
	"append payment.processing", "gateway authorize", "append payment.authorized", "call payment.authorize"}

// hasty is how long who waits for somebody who is stopped waits at most. A site answers half a second before the end of such a time.
const hasty = 2 * time.Second

// TestForcedRaces forces races between two requests, or a request and the background process: one side is stopped at a point
// of its work until the other is through.
func TestForcedRaces(t *testing.T) {
	t.Parallel()
	g, n, c := gated(t)
	impatient(t, c, "5s")
	stock := func(sku id.SKU) { nodetest.Stock(t, c.Client, 10, sku) }

	dispatch := func(sh id.Shipment) <-chan answer[subjects.ShipmentInfo] {
		return begin(c, 10*time.Second, subjects.ShippingDispatch, subjects.ShipmentRequest{ShipmentID: sh})
	}
	cancel := func(o id.Order, d time.Duration) <-chan answer[subjects.OrderInfo] {
		return begin(c, d, subjects.OrderCancel, subjects.CancelRequest{OrderID: o, Reason: "changed my mind"})
	}

	// The cancellation is stopped after the reservation is released: whatever comes now must be refused.
	for i, point := range []string{"append reservation.released", "call inventory.end", "append shipment.cancelled", "call shipping.cancel",
		"append payment.voiding", "gateway void", "append payment.voided", "call payment.settle", "append order.cancelled"} {
		t.Run("cancel wins at "+point, func(t *testing.T) {
			sku := id.SKU(fmt.Sprintf("cancelwins%d", i))
			o := id.Order(sku)
			stock(sku)
			sh := booked(t, c, card(o, "tok_ok", line(sku, 3)))
			trap := g.set(t, point)
			cancelled := cancel(o, 10*time.Second)
			trap.wait(t)
			dispatched := dispatch(sh)
			if point == "append shipment.cancelled" { // the shipment is at work: who comes now waits for its turn
				trap.release()
			}
			wantRefused(t, "dispatch", got(t, dispatched).err, fault.FailedPrecondition)
			trap.release()
			if a := got(t, cancelled); a.err != nil || a.res.Status != "cancelled" {
				t.Errorf("cancel: %v", a)
			}
			if s := stockOf(t, c, sku); s.OnHand != 10 || s.Reserved != 0 {
				t.Errorf("the stock is %+v", s)
			}
			if n, _ := approved(t, c, id.PaymentOf(o), "void"); n != 1 {
				t.Errorf("the gateway voided %d times", n)
			}
		})
	}

	// The dispatch is stopped after the stock is consumed: the goods have left, and nobody can take that back.
	for i, point := range []string{"append reservation.consumed", "call inventory.consume", "append payment.capturing", "gateway capture",
		"append payment.captured", "call payment.capture", "append shipment.dispatched"} {
		t.Run("dispatch wins at "+point, func(t *testing.T) {
			sku := id.SKU(fmt.Sprintf("dispatchwins%d", i))
			o := id.Order(sku)
			stock(sku)
			sh := booked(t, c, card(o, "tok_ok", line(sku, 3)))
			trap := g.set(t, point)
			dispatched := dispatch(sh)
			trap.wait(t)
			wantRefused(t, "cancel", got(t, cancel(o, 10*time.Second)).err, fault.FailedPrecondition)
			becomes(t, c, o, "fulfilling")
			trap.release()
			if a := got(t, dispatched); a.err != nil || a.res.Status != "dispatched" {
				t.Errorf("dispatch: %v", a)
			}
			if _, err := ask(c, 5*time.Second, subjects.ShippingDeliver, subjects.ShipmentRequest{ShipmentID: sh}); err != nil {
				t.Error(err)
			}
			becomes(t, c, o, "completed")
			if s := stockOf(t, c, sku); s.OnHand != 7 || s.Reserved != 0 {
				t.Errorf("the stock is %+v", s)
			}
		})
	}

	t.Run("one of two shipments leaves between a cancellation's first step and its second", func(t *testing.T) {
		const o = id.Order("halfgone")
		stock("halfgone")
		place(t, c, card(o, "tok_ok", line("halfgone", 5)), "confirmed")
		sh := shipped(t, c, o)
		part := subjects.ShipmentRequest{ShipmentID: sh, Lines: []subjects.StockLine{line("halfgone", 2)}}
		if _, err := ask(c, 5*time.Second, subjects.ShippingSplit, part); err != nil {
			t.Fatal(err)
		}
		for n := range 2 {
			book := subjects.ShipmentRequest{ShipmentID: id.ShipmentOf(o, n+1), Carrier: "van"}
			if _, err := ask(c, 5*time.Second, subjects.ShippingBook, book); err != nil {
				t.Fatal(err)
			}
		}
		trap := g.set(t, "append order.cancelling")
		cancelled := cancel(o, 10*time.Second)
		trap.wait(t)
		if a := got(t, dispatch(sh)); a.err != nil {
			t.Fatal(a.err)
		}
		trap.release()
		wantRefused(t, "cancel", got(t, cancelled).err, fault.FailedPrecondition)
		becomes(t, c, o, "fulfilling")
		if a := got(t, dispatch(id.ShipmentOf(o, 2))); a.err != nil {
			t.Fatalf("what has not left can't leave any more: %v", a.err)
		}
		for n := range 2 {
			if _, err := ask(c, 5*time.Second, subjects.ShippingDeliver, subjects.ShipmentRequest{ShipmentID: id.ShipmentOf(o, n+1)}); err != nil {
				t.Fatal(err)
			}
		}
		becomes(t, c, o, "completed")
	})

	t.Run("dispatch and delivery between a cancellation's first step and its second", func(t *testing.T) {
		const o = id.Order("overtaken")
		stock("overtaken")
		sh := booked(t, c, card(o, "tok_ok", line("overtaken", 3)))
		trap := g.set(t, "append order.cancelling")
		cancelled := cancel(o, 10*time.Second)
		trap.wait(t)
		if a := got(t, dispatch(sh)); a.err != nil {
			t.Fatal(a.err)
		}
		if _, err := ask(c, 5*time.Second, subjects.ShippingDeliver, subjects.ShipmentRequest{ShipmentID: sh}); err != nil {
			t.Fatal(err)
		}
		// The order hears of its delivery while it is cancelling, and nobody will tell it again.
		consumed(t, n, subjects.DurableProcess)
		trap.release()
		wantRefused(t, "cancel", got(t, cancelled).err, fault.FailedPrecondition)
		becomes(t, c, o, "completed")
	})

	// The placing is stopped anywhere before it is confirmed: the cancellation ends it, and nothing is held or authorized.
	for i, point := range beforeConfirmed {
		t.Run("cancel while placing at "+point, func(t *testing.T) {
			sku := id.SKU(fmt.Sprintf("placing%d", i))
			o := id.Order(sku)
			stock(sku)
			trap := g.set(t, point)
			placed := begin(c, 20*time.Second, subjects.OrderPlace, card(o, "tok_ok", line(sku, 3)))
			trap.wait(t)
			if a := got(t, cancel(o, hasty)); a.err != nil || (a.res.Status != "cancelling" && a.res.Status != "cancelled") {
				t.Errorf("cancel: %v", a)
			}
			trap.release()
			if a := got(t, placed); a.err != nil || (a.res.Status != "cancelling" && a.res.Status != "cancelled") {
				t.Errorf("place: %v", a)
			}
			becomes(t, c, o, "cancelled")
			if s := stockOf(t, c, sku); s.OnHand != 10 || s.Reserved != 0 {
				t.Errorf("the stock is %+v", s)
			}
			authorized, _ := approved(t, c, id.PaymentOf(o), "authorize")
			if voided, _ := approved(t, c, id.PaymentOf(o), "void"); authorized > voided {
				t.Errorf("%d authorizations, %d voids", authorized, voided)
			}
		})
	}

	audit(t, c)
}

// TestForcedDuplicates has a duplicate come while the original is at work: it waits as long as it may, and the next one gets the same answer.
func TestForcedDuplicates(t *testing.T) {
	t.Parallel()
	g, _, c := gated(t)
	impatient(t, c, "5s")
	for i, point := range append(beforeConfirmed, "append order.confirmed", "reply order.place") {
		t.Run("duplicate at "+point, func(t *testing.T) {
			sku := id.SKU(fmt.Sprintf("twice%d", i))
			o := id.Order(sku)
			nodetest.Stock(t, c.Client, 10, sku)
			r := card(o, "tok_ok", line(sku, 3))
			trap := g.set(t, point)
			first := begin(c, 20*500*time.Millisecond, subjects.OrderPlace, r)
			trap.wait(t)
			early, err := ask(c, hasty, subjects.OrderPlace, r)
			if err != nil || early.Status != "pending" && early.Status != "confirmed" {
				t.Errorf("the duplicate got %+v, %v", early, err)
			}
			patient := begin(c, 20*500*time.Millisecond, subjects.OrderPlace, r)
			trap.release()
			a, b := got(t, first), got(t, patient)
			if a.err != nil || b.err != nil || a.res.Status != "confirmed" || b.res.Status != "confirmed" || a.res.Revision != b.res.Revision {
				t.Errorf("the original got %v, the duplicate %v", a, b)
			}
			if n, sum := approved(t, c, id.PaymentOf(o), "authorize"); n != 1 || sum != a.res.Total.Amount {
				t.Errorf("the gateway authorized %d times, %d in all", n, sum)
			}
			if s := stockOf(t, c, sku); s.Reserved != 3 {
				t.Errorf("the stock is %+v", s)
			}
		})
	}
	audit(t, c)
}
