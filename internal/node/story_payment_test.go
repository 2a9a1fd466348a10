package node_test

import (
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
