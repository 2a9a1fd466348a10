package node_test

import (
	"slices"
	"testing"

	"github.com/nats-io/nats.go"

	"waybill/internal/id"
	"waybill/subjects"
)

var (
	dispatched = list(confirmed, "shipment.booked", "reservation.consumed", "payment.capturing", "payment.captured", "shipment.dispatched", "order.fulfilling")
	collected  = list("shipment.preparing", "shipment.ready", "reservation.consumed")
	toldShip   = []string{"order.confirmed delivered", "shipment.dispatched delivered", "shipment.delivered delivered"}
	toldPickup = []string{"order.confirmed delivered", "shipment.ready delivered", "shipment.delivered delivered"}
)

// dispatch takes a confirmed order's first shipment out of the house.
func (s *site) dispatch(t testing.TB, o id.Order) id.Shipment {
	t.Helper()
	sh := s.shipment(t, o, 1)
	call(t, s.c, subjects.ShippingBook, subjects.ShipmentRequest{ShipmentID: sh, Carrier: "ACME", Tracking: "T-" + string(o)})
	if got := s.ship(t, subjects.ShippingDispatch, sh); got.Status != "dispatched" || got.Carrier != "ACME" || got.Tracking != "T-"+string(o) {
		t.Errorf("dispatched, the shipment is %s", text(t, got))
	}
	s.reaches(t, o, "fulfilling")
	return sh
}

func TestShipping(t *testing.T) {
	s := open(t)
	s.tell(t, map[string]story{
		"delivered": func(t *testing.T, s *site, o id.Order, sku id.SKU) {
			s.place(t, card(o, "tok_ok", line(sku, 2)), "confirmed")
			sh := s.shipment(t, o, 1)
			call(t, s.c, subjects.ShippingBook, subjects.ShipmentRequest{ShipmentID: sh, Carrier: "ACME", Tracking: "T-1"})
			s.comes(t, o, sku, tale{
				Status: "confirmed", Payment: "authorized", OnHand: 10, Reserved: 2, Shipments: []string{"s1 booked"},
				History: list(confirmed, "shipment.booked"), Ledger: []string{authorized}, Told: []string{"order.confirmed delivered"},
			})
			s.ship(t, subjects.ShippingDispatch, sh)
			s.comes(t, o, sku, tale{
				Status: "fulfilling", Payment: "captured", Captured: 595, OnHand: 8, Shipments: []string{"s1 dispatched"}, History: dispatched,
				Ledger: []string{authorized, captured}, Told: []string{"order.confirmed delivered", "shipment.dispatched delivered"},
			})
			// Each step asked again is the step that was made.
			for _, verb := range []subjects.Endpoint[subjects.ShipmentRequest, subjects.ShipmentInfo]{subjects.ShippingDispatch, subjects.ShippingDeliver, subjects.ShippingDeliver} {
				s.ship(t, verb, sh)
			}
			s.end(t, o, sku, tale{
				Status: "completed", Payment: "captured", Captured: 595, OnHand: 8, Shipments: []string{"s1 delivered"},
				History: list(dispatched, "shipment.delivered", "order.completed"), Ledger: []string{authorized, captured}, Told: toldShip,
			})
			refused(t, s.c, subjects.ShippingDispatch, subjects.ShipmentRequest{ShipmentID: sh}, subjects.FailedPrecondition, "")
		},
		"split": func(t *testing.T, s *site, o id.Order, sku id.SKU) {
			s.place(t, card(o, "tok_ok", line(sku, 3)), "confirmed") // 8.93 EUR
			first := s.shipment(t, o, 1)
			call(t, s.c, subjects.ShippingSplit, subjects.ShipmentRequest{ShipmentID: first, Lines: []subjects.StockLine{line(sku, 1)}})
			second := s.shipment(t, o, 2)
			for _, sh := range []id.Shipment{first, second} {
				s.ship(t, subjects.ShippingBook, sh)
			}
			s.ship(t, subjects.ShippingDispatch, first)
			split := list(confirmed, "shipment.planned", "shipment.planned", "shipment.booked", "shipment.booked")
			partly := list(split, "reservation.consumed", "payment.capturing", "payment.captured", "shipment.dispatched", "order.fulfilling")
			ledger := []string{"authorize approved 8.93 EUR", "capture approved 5.96 EUR"}
			s.comes(t, o, sku, tale{
				Status: "fulfilling", Payment: "partially_captured", Captured: 596, OnHand: 8, Reserved: 1, Shipments: []string{"s1 dispatched", "s2 booked"},
				History: partly, Ledger: ledger, Told: []string{"order.confirmed delivered", "shipment.dispatched delivered"},
			})
			s.ship(t, subjects.ShippingDeliver, first)
			s.ship(t, subjects.ShippingDispatch, second)
			s.ship(t, subjects.ShippingDeliver, second)
			s.end(t, o, sku, tale{
				Status: "completed", Payment: "captured", Captured: 893, OnHand: 7, Shipments: []string{"s1 delivered", "s2 delivered"},
				History: list(partly, "shipment.delivered", "reservation.consumed", "payment.capturing", "payment.captured", "shipment.dispatched",
					"shipment.delivered", "order.completed"),
				Ledger: append(ledger, "capture approved 2.97 EUR"),
				Told:   list(toldShip, "shipment.dispatched delivered", "shipment.delivered delivered"),
			})
		},
		"split again": func(t *testing.T, s *site, o id.Order, sku id.SKU) {
			s.place(t, card(o, "tok_ok", line(sku, 3)), "confirmed")
			sh := s.shipment(t, o, 1)
			one := subjects.ShipmentRequest{ShipmentID: sh, Lines: []subjects.StockLine{line(sku, 1)}}
			key := nats.Header{"Idempotency-Key": {"split-1"}}
			a := s.ask(t, "shipping.split", text(t, one), key)
			b := s.ask(t, "shipping.split", text(t, one), key)
			if !slices.Equal(a.Data, b.Data) {
				t.Errorf("split again under the same key: %s, before %s", b.Data, a.Data)
			}
			refused(t, s.c, subjects.ShippingSplit, subjects.ShipmentRequest{ShipmentID: sh}, subjects.InvalidArgument, "lines")
			all := subjects.ShipmentRequest{ShipmentID: sh, Lines: []subjects.StockLine{line(sku, 3)}}
			refused(t, s.c, subjects.ShippingSplit, all, subjects.FailedPrecondition, "lines[0].quantity")
			s.end(t, o, sku, tale{
				Status: "confirmed", Payment: "authorized", OnHand: 10, Reserved: 3, Shipments: []string{"s1 pending", "s2 pending"},
				History: list(confirmed, "shipment.planned", "shipment.planned"), Ledger: []string{"authorize approved 8.93 EUR"},
				Told: []string{"order.confirmed delivered"},
			})
		},
		"pickup by card": func(t *testing.T, s *site, o id.Order, sku id.SKU) {
			s.place(t, pickup(card(o, "tok_ok", line(sku, 2))), "confirmed")
			s.collect(t, o)
			s.end(t, o, sku, tale{
				Status: "completed", Payment: "captured", Captured: 595, OnHand: 8, Shipments: []string{"s1 delivered"},
				History: list(confirmed, collected, "payment.capturing", "payment.captured", "shipment.delivered", "order.fulfilling", "order.completed"),
				Ledger:  []string{authorized, captured}, Told: toldPickup,
			})
		},
		"pickup by cash": func(t *testing.T, s *site, o id.Order, sku id.SKU) {
			s.place(t, pickup(cash(card(o, "", line(sku, 2)))), "confirmed")
			s.collect(t, o)
			s.end(t, o, sku, tale{
				Status: "completed", Payment: "captured", Captured: 595, OnHand: 8, Shipments: []string{"s1 delivered"},
				History: list(paidCash, collected, "shipment.delivered", "order.fulfilling", "order.completed"), Told: toldPickup,
			})
		},
		"wrong way": func(t *testing.T, s *site, o id.Order, sku id.SKU) {
			s.place(t, card(o, "tok_ok", line(sku, 2)), "confirmed")
			sh := s.shipment(t, o, 1)
			for _, verb := range []subjects.Endpoint[subjects.ShipmentRequest, subjects.ShipmentInfo]{subjects.ShippingPrepare, subjects.ShippingReady,
				subjects.ShippingDispatch, subjects.ShippingDeliver, subjects.ShippingFail, subjects.ShippingReturn} {
				refused(t, s.c, verb, subjects.ShipmentRequest{ShipmentID: sh}, subjects.FailedPrecondition, "")
				refused(t, s.c, verb, subjects.ShipmentRequest{ShipmentID: sh + "0"}, subjects.NotFound, "shipment_id")
			}
			s.end(t, o, sku, tale{
				Status: "confirmed", Payment: "authorized", OnHand: 10, Reserved: 2, Shipments: []string{"s1 pending"},
				History: confirmed, Ledger: []string{authorized}, Told: []string{"order.confirmed delivered"},
			})
		},
		"second attempt": func(t *testing.T, s *site, o id.Order, sku id.SKU) {
			s.place(t, card(o, "tok_ok", line(sku, 2)), "confirmed")
			sh := s.dispatch(t, o)
			if got := call(t, s.c, subjects.ShippingFail, subjects.ShipmentRequest{ShipmentID: sh, Reason: "nobody at home"}); got.Reason != "nobody at home" {
				t.Errorf("the reason is %q", got.Reason)
			}
			s.ship(t, subjects.ShippingDispatch, sh)
			s.ship(t, subjects.ShippingDeliver, sh)
			s.end(t, o, sku, tale{
				Status: "completed", Payment: "captured", Captured: 595, OnHand: 8, Shipments: []string{"s1 delivered"},
				History: list(dispatched, "shipment.delivery_failed", "shipment.dispatched", "shipment.delivered", "order.completed"),
				Ledger:  []string{authorized, captured}, Told: list(toldShip, "shipment.dispatched delivered"), // each dispatch is told
			})
		},
		"returned": func(t *testing.T, s *site, o id.Order, sku id.SKU) {
			s.place(t, card(o, "tok_ok", line(sku, 2)), "confirmed")
			sh := s.dispatch(t, o)
			s.ship(t, subjects.ShippingFail, sh)
			s.ship(t, subjects.ShippingReturn, sh)
			back := tale{
				Status: "needs_action", Reason: "shipment_returned", Payment: "captured", Captured: 595, OnHand: 8, Shipments: []string{"s1 returned"},
				History: list(dispatched, "shipment.delivery_failed", "shipment.returned", "order.needs_action"),
				Ledger:  []string{authorized, captured}, Told: []string{"order.confirmed delivered", "order.needs_action delivered", "shipment.dispatched delivered"},
			}
			s.comes(t, o, sku, back)
			// The goods had left: the order can't be cancelled, and goes on waiting for its operator.
			refused(t, s.c, subjects.OrderCancel, subjects.CancelRequest{OrderID: o}, subjects.FailedPrecondition, "")
			back.History = list(back.History, "order.cancelling", "order.fulfilling", "order.needs_action")
			back.Told = list(back.Told, "order.needs_action delivered")
			// The operator refunds the customer.
			call(t, s.c, subjects.PaymentRefund, subjects.RefundRequest{PaymentID: id.PaymentOf(o), RefundID: "r-1", Amount: subjects.Money{Amount: 595, Currency: "EUR"}})
			back.Refunded, back.History, back.Ledger = 595, list(back.History, "refund.pending", "refund.settled"), list(back.Ledger, "refund approved 5.95 EUR")
			s.end(t, o, sku, back)
		},
	})
}

// collect has an order picked up.
func (s *site) collect(t testing.TB, o id.Order) {
	t.Helper()
	sh := s.shipment(t, o, 1)
	refused(t, s.c, subjects.ShippingBook, subjects.ShipmentRequest{ShipmentID: sh}, subjects.FailedPrecondition, "")
	for _, verb := range []subjects.Endpoint[subjects.ShipmentRequest, subjects.ShipmentInfo]{subjects.ShippingPrepare, subjects.ShippingReady, subjects.ShippingDeliver} {
		s.ship(t, verb, sh)
	}
}

func TestShippingByItself(t *testing.T) {
	s := open(t)
	s.set(t, "shipping.auto", `"deliver"`)
	s.tell(t, map[string]story{
		"ship": func(t *testing.T, s *site, o id.Order, sku id.SKU) {
			s.place(t, card(o, "tok_ok", line(sku, 2)), "confirmed")
			got := s.reaches(t, o, "completed")
			if len(got.Shipments) != 1 || got.Shipments[0].Status != "delivered" || got.Payment.Captured.Amount != 595 {
				t.Errorf("completed, but not whole: %s", text(t, got))
			}
		},
		"pickup": func(t *testing.T, s *site, o id.Order, sku id.SKU) {
			s.place(t, pickup(cash(card(o, "", line(sku, 2)))), "confirmed")
			got := s.reaches(t, o, "completed")
			if len(got.Shipments) != 1 || got.Shipments[0].Status != "delivered" || got.Payment.Captured.Amount != 595 {
				t.Errorf("completed, but not whole: %s", text(t, got))
			}
		},
	})
}
