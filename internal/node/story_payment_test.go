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

// TestOnePaymentPerOrder asks for a second payment of an order. A payment that names an order before there is one stays its caller's.
func TestOnePaymentPerOrder(t *testing.T) {
	t.Parallel()
	n := nodetest.Start(t)
	c := mustDial(t, n.URL())
	nodetest.Stock(t, c.Client, 10, "plum")
	authorize := func(p id.Payment, o id.Order) error {
		_, err := ask(c, 5*time.Second, subjects.PaymentAuthorize, subjects.AuthorizeRequest{
			PaymentID: p, OrderID: o, Amount: subjects.Money{Amount: 100, Currency: "EUR"}, Method: subjects.Card, Token: "tok_ok"})
		return err
	}
	if err := authorize("early", "later"); err != nil {
		t.Fatal(err)
	}
	place(t, c, card("later", "tok_ok", line("plum", 1)), "confirmed")
	if err := authorize("extra", "later"); !isRefused(err, fault.FailedPrecondition) {
		t.Errorf("a second payment of an order: %v", err)
	}
	if err := authorize("alone", "nobodys"); err != nil {
		t.Errorf("a payment that is no order's: %v", err)
	}
	audit(t, c)
}

// TestForeignPayment asks for payments and reservations in an order's name, before and after there is the order.
func TestForeignPayment(t *testing.T) {
	t.Parallel()
	n := nodetest.Start(t)
	c := mustDial(t, n.URL())
	nodetest.Stock(t, c.Client, 10, "plum")
	pay := func(o id.Order, method subjects.Method) {
		t.Helper()
		r := subjects.AuthorizeRequest{PaymentID: id.PaymentOf(o), OrderID: o, Amount: subjects.Money{Amount: 100, Currency: "EUR"}, Method: method}
		if method == subjects.Card {
			r.Token = "tok_ok"
		}
		if _, err := ask(c, 5*time.Second, subjects.PaymentAuthorize, r); err != nil {
			t.Fatal(err)
		}
	}
	paid := func(o id.Order, want subjects.PaymentStatus, refunded int64) {
		t.Helper()
		p, err := ask(c, 5*time.Second, subjects.PaymentGet, subjects.PaymentRequest{PaymentID: id.PaymentOf(o)})
		if err != nil || p.Status != want || p.Refunded.Amount != refunded {
			t.Errorf("the payment of %s: %+v, %v", o, p, err)
		}
	}
	pay("early", subjects.Card)
	place(t, c, card("early", "tok_ok", line("plum", 1)), "rejected")
	paid("early", "voided", 0)
	pay("till", subjects.Cash)
	place(t, c, card("till", "tok_ok", line("plum", 1)), "rejected")
	paid("till", "captured", 100)
	pay("short", subjects.Card)
	place(t, c, card("short", "tok_ok", line("plum", 11)), "rejected")
	paid("short", "voided", 0)

	place(t, c, card("late", "tok_ok", line("plum", 11)), "rejected")
	if _, err := ask(c, 5*time.Second, subjects.PaymentAuthorize, subjects.AuthorizeRequest{PaymentID: id.PaymentOf("late"), OrderID: "late",
		Amount: subjects.Money{Amount: 100, Currency: "EUR"}, Method: subjects.Card, Token: "tok_ok"}); !isRefused(err, fault.FailedPrecondition) {
		t.Errorf("a payment of an order that was rejected: %v", err)
	}
	audit(t, c)
}

// TestForeignReservation asks for what an order holds. One that bears an order's name without an order stays its caller's.
func TestForeignReservation(t *testing.T) {
	t.Parallel()
	n := nodetest.Start(t)
	c := mustDial(t, n.URL())
	nodetest.Stock(t, c.Client, 10, "plum")
	place(t, c, card("mine", "tok_ok", line("plum", 2)), "confirmed")
	place(t, c, card("open", "tok_timeout", line("plum", 2)), "pending")
	if _, err := ask(c, 5*time.Second, subjects.InventoryReserve, subjects.ReserveRequest{ReservationID: "nobodys-res", Lines: []subjects.StockLine{line("plum", 2)}, TTL: subjects.Duration(time.Minute)}); err != nil {
		t.Fatal(err)
	}
	for _, r := range []id.Reservation{"mine-res", "open-res", "nobodys-res"} {
		change := subjects.ReservationRequest{ReservationID: r}
		longer := subjects.ReservationRequest{ReservationID: r, TTL: subjects.Duration(time.Minute)}
		_, extended := ask(c, 5*time.Second, subjects.InventoryExtend, longer)
		_, committed := ask(c, 5*time.Second, subjects.InventoryCommit, change)
		_, consumed := ask(c, 5*time.Second, subjects.InventoryConsume, subjects.ConsumeRequest{ReservationID: r, ShipmentID: "x", Lines: []subjects.StockLine{line("plum", 1)}})
		_, released := ask(c, 5*time.Second, subjects.InventoryRelease, change)
		for what, err := range map[string]error{"extended": extended, "committed": committed, "consumed": consumed, "released": released} {
			if own := r != "nobodys-res"; own != isRefused(err, fault.FailedPrecondition) {
				t.Errorf("%s %s: %v", r, what, err)
			}
		}
	}
	if err := until(20*time.Second, func() error {
		o, err := ask(c, 5*time.Second, subjects.OrderGet, subjects.GetOrderRequest{OrderID: "open"})
		if err == nil && o.Status != "confirmed" {
			err = fmt.Errorf("the order is %s", o.Status)
		}
		return err
	}); err != nil {
		t.Error(err)
	}
	audit(t, c)
}
