package node_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"waybill/internal/fault"
	"waybill/internal/id"
	"waybill/internal/nodetest"
	"waybill/internal/rpc"
	"waybill/subjects"
)

// outcomes counts what calls at once came to: done, refused for good, anything else.
func outcomes[Res any](t testing.TB, calls []<-chan answer[Res]) (done, refused int) {
	t.Helper()
	for _, c := range calls {
		switch a := got(t, c); {
		case a.err == nil:
			done++
		case isRefused(a.err, fault.FailedPrecondition), isRefused(a.err, fault.InvalidArgument):
			refused++
		default:
			t.Errorf("one of several calls at once: %v", a.err)
		}
	}
	return done, refused
}

// TestMoneyRaces has the same money moved by several at once.
func TestMoneyRaces(t *testing.T) {
	t.Parallel()
	g, _, c := gated(t)
	impatient(t, c, "2s")
	nodetest.Stock(t, c.Client, 1000, "coin") // 298 each, tax included
	price := subjects.Money{Amount: 298, Currency: "EUR"}
	part := func(n int64) subjects.Money { return subjects.Money{Amount: n, Currency: "EUR"} }

	capture := func(o id.Order, name string, amount subjects.Money) <-chan answer[subjects.PaymentInfo] {
		r := subjects.CaptureRequest{PaymentID: id.PaymentOf(o), CaptureID: id.Capture(name), Amount: amount}
		return begin(c, 10*time.Second, subjects.PaymentCapture, r)
	}
	refund := func(o id.Order, name string, amount subjects.Money) <-chan answer[subjects.PaymentInfo] {
		r := subjects.RefundRequest{PaymentID: id.PaymentOf(o), RefundID: id.Refund(name), Amount: amount}
		return begin(c, 10*time.Second, subjects.PaymentRefund, r)
	}

	t.Run("captures at once exceed the authorization", func(t *testing.T) {
		for i := range 5 {
			o := id.Order(fmt.Sprintf("captures%d", i))
			place(t, c, card(o, "tok_ok", line("coin", 1)), "confirmed")
			var calls []<-chan answer[subjects.PaymentInfo]
			for n := range 8 {
				calls = append(calls, capture(o, fmt.Sprintf("c%d", n), part(99)))
			}
			if done, refused := outcomes(t, calls); done != 3 || refused != 5 {
				t.Errorf("of 8 captures of 0.99 out of 2.98, %d were done and %d refused", done, refused)
			}
			if n, sum := approved(t, c, id.PaymentOf(o), "capture"); n != 3 || sum != 297 {
				t.Errorf("the gateway captured %d times, %d in all", n, sum)
			}
		}
	})

	t.Run("the same capture at once", func(t *testing.T) {
		const o = id.Order("same-capture")
		place(t, c, card(o, "tok_ok", line("coin", 1)), "confirmed")
		trap := g.set(t, "gateway capture")
		calls := []<-chan answer[subjects.PaymentInfo]{capture(o, "c", price)}
		trap.wait(t)
		for range 7 {
			calls = append(calls, capture(o, "c", price))
		}
		trap.release()
		if done, _ := outcomes(t, calls); done != 8 {
			t.Errorf("%d of 8 were answered", done)
		}
		if n, _ := approved(t, c, id.PaymentOf(o), "capture"); n != 1 {
			t.Errorf("the gateway captured %d times", n)
		}
	})

	// In the till: cash is captured at once, and is there to be refunded.
	for _, method := range []string{"card", "cash"} {
		t.Run("refunds at once by "+method, func(t *testing.T) {
			o := id.Order("refund-" + method)
			r := card(o, "tok_ok", line("coin", 1))
			if method == "cash" {
				r.Payment = subjects.PlacePayment{Method: subjects.Cash}
			}
			place(t, c, r, "confirmed")
			if method == "card" {
				if a := got(t, capture(o, "c", price)); a.err != nil {
					t.Fatal(a.err)
				}
			}
			var same, others []<-chan answer[subjects.PaymentInfo]
			for range 6 {
				same = append(same, refund(o, "one", part(100)))
			}
			if done, _ := outcomes(t, same); done != 6 {
				t.Errorf("%d of 6 repeats of one refund were answered", done)
			}
			for n := range 6 {
				others = append(others, refund(o, fmt.Sprintf("other%d", n), part(99)))
			}
			if done, refused := outcomes(t, others); done != 2 || refused != 4 {
				t.Errorf("of 6 refunds of 0.99 out of 1.98, %d were done and %d refused", done, refused)
			}
			p, err := ask(c, 5*time.Second, subjects.PaymentGet, subjects.PaymentRequest{PaymentID: id.PaymentOf(o)})
			if err != nil || p.Refunded != price {
				t.Errorf("the payment is %+v, %v", p, err)
			}
			if n, _ := approved(t, c, id.PaymentOf(o), "refund"); method == "card" && n != 3 || method == "cash" && n != 0 {
				t.Errorf("the gateway refunded %d times", n)
			}
		})
	}

	t.Run("capture and void at once", func(t *testing.T) {
		for i, point := range []string{"append payment.capturing", "gateway capture", "append payment.voiding", "gateway void"} {
			o := id.Order(fmt.Sprintf("capturevoid%d", i))
			place(t, c, card(o, "tok_ok", line("coin", 1)), "confirmed")
			void := func() <-chan answer[subjects.PaymentInfo] {
				return begin(c, 10*time.Second, subjects.PaymentVoid, subjects.PaymentRequest{PaymentID: id.PaymentOf(o)})
			}
			trap := g.set(t, point)
			take := func() <-chan answer[subjects.PaymentInfo] { return capture(o, "c", price) }
			first, second := take, void
			if i >= 2 {
				first, second = void, take
			}
			one := first()
			trap.wait(t)
			two := second()
			trap.release()
			if done, refused := outcomes(t, []<-chan answer[subjects.PaymentInfo]{one, two}); done != 1 || refused != 1 {
				t.Errorf("at %s %d were done and %d refused", point, done, refused)
			}
			captured, _ := approved(t, c, id.PaymentOf(o), "capture")
			voided, _ := approved(t, c, id.PaymentOf(o), "void")
			if captured+voided != 1 {
				t.Errorf("at %s the gateway captured %d times and voided %d times", point, captured, voided)
			}
		}
	})
	audit(t, c)
}

// TestSplitRaces splits one shipment several times at once.
func TestSplitRaces(t *testing.T) {
	t.Parallel()
	_, _, c := gated(t)
	nodetest.Stock(t, c.Client, 1000, "pair")
	split := func(sh id.Shipment, n int64) <-chan answer[subjects.ShipmentInfo] {
		return begin(c, 10*time.Second, subjects.ShippingSplit, subjects.ShipmentRequest{ShipmentID: sh, Lines: []subjects.StockLine{line("pair", n)}})
	}
	for i := range 5 {
		o := id.Order(fmt.Sprintf("split%d", i))
		place(t, c, card(o, "tok_ok", line("pair", 7)), "confirmed")
		sh := shipped(t, c, o)
		var calls []<-chan answer[subjects.ShipmentInfo]
		for range 6 {
			calls = append(calls, split(sh, 2))
		}
		done, _ := outcomes(t, calls)
		if done != 3 {
			t.Errorf("of 6 splits of 2 out of 7, %d were done", done)
		}
		now := becomes(t, c, o, "confirmed")
		units := int64(0)
		for _, s := range now.Shipments {
			for _, l := range s.Lines {
				units += l.Quantity
			}
		}
		if len(now.Shipments) != 4 || units != 7 {
			t.Errorf("%s has %d shipments of %d units", o, len(now.Shipments), units)
		}
	}

	// Under one key it is one split, however often it is asked.
	place(t, c, card("keyed", "tok_ok", line("pair", 7)), "confirmed")
	r := subjects.ShipmentRequest{ShipmentID: shipped(t, c, "keyed"), Lines: []subjects.StockLine{line("pair", 2)}}
	crowd(6, 6, func(int) {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		q := r
		if _, err := rpc.Call(ctx, c.caller, subjects.ShippingSplit, &q, rpc.WithIdempotencyKey("once")); err != nil {
			t.Errorf("one of several splits under one key: %v", err)
		}
	})
	if now := becomes(t, c, "keyed", "confirmed"); len(now.Shipments) != 2 {
		t.Errorf("one split has made %d shipments", len(now.Shipments))
	}
	audit(t, c)
}

// overdue waits until the order's time has run out.
func overdue(t testing.TB, c *dialed, o id.Order) {
	t.Helper()
	if err := until(10*time.Second, func() error {
		info, err := ask(c, 5*time.Second, subjects.OrderGet, subjects.GetOrderRequest{OrderID: o})
		if err == nil && time.Since(info.CreatedAt.Std()) < 1200*time.Millisecond {
			err = fmt.Errorf("%s was placed at %s", o, info.CreatedAt)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
}

// TestExpiryAgainstResume has a customer act in the moment in which the order runs out of time.
func TestExpiryAgainstResume(t *testing.T) {
	t.Parallel()
	g, _, c := gated(t)
	impatient(t, c, "2s")
	setting(t, c, "order.pending_timeout", `"1s"`)
	resume := func(o id.Order) <-chan answer[subjects.PaymentInfo] {
		return begin(c, 10*time.Second, subjects.PaymentResume, subjects.ResumeRequest{PaymentID: id.PaymentOf(o), Token: "tok_ok"})
	}
	waits := func(t *testing.T, o id.Order) {
		nodetest.Stock(t, c.Client, 10, id.SKU(o))
		place(t, c, card(o, "tok_action_required", line(id.SKU(o), 3)), "needs_action")
	}
	nothingLeft := func(t *testing.T, o id.Order) {
		t.Helper()
		if s := stockOf(t, c, id.SKU(o)); s.OnHand != 10 || s.Reserved != 0 {
			t.Errorf("the stock is %+v", s)
		}
		authorized, _ := approved(t, c, id.PaymentOf(o), "authorize")
		if voided, _ := approved(t, c, id.PaymentOf(o), "void"); authorized > voided {
			t.Errorf("%d authorizations, %d voids", authorized, voided)
		}
	}

	for i, point := range []string{"append payment.processing", "append payment.authorized"} {
		t.Run("the customer is first at "+point, func(t *testing.T) {
			o := id.Order(fmt.Sprintf("acts%d", i))
			waits(t, o)
			trap := g.set(t, point)
			resumed := resume(o)
			trap.wait(t)
			overdue(t, c, o)
			trap.release()
			if a := got(t, resumed); a.err != nil || a.res.Status != "authorized" {
				t.Errorf("resume: %v", a)
			}
			if s := becomes(t, c, o, "confirmed", "expired"); s.Status == "expired" {
				nothingLeft(t, o)
			}
		})
	}
	for i, point := range []string{"append reservation.released", "append payment.voiding", "gateway void", "append payment.voided"} {
		t.Run("the time is first at "+point, func(t *testing.T) {
			o := id.Order(fmt.Sprintf("late%d", i))
			trap := g.set(t, point)
			waits(t, o)
			trap.wait(t)
			resumed := resume(o)
			trap.release()
			if a := got(t, resumed); a.err == nil && a.res.Status != "authorized" || a.err != nil && !isRefused(a.err, fault.FailedPrecondition) {
				t.Errorf("resume: %v", a)
			}
			becomes(t, c, o, "expired")
			nothingLeft(t, o)
		})
	}
	audit(t, c)
}
