package node_test

import (
	"strings"
	"testing"

	"waybill/client"
	"waybill/internal/id"
	"waybill/internal/nodetest"
	"waybill/subjects"
)

var cancelled = list("order.cancelling", "reservation.released")

func (s *site) cancel(t testing.TB, o id.Order) *subjects.OrderInfo {
	t.Helper()
	got := call(t, s.c, subjects.OrderCancel, subjects.CancelRequest{OrderID: o, Reason: "changed my mind"})
	if got.Status != "cancelled" || got.Reason == nil || got.Reason.Message != "changed my mind" {
		t.Errorf("cancelled, the order is %s", text(t, got))
	}
	return got
}

func TestCancel(t *testing.T) {
	s := open(t)
	s.quick(t)
	s.tell(t, map[string]story{
		"confirmed": func(t *testing.T, s *site, o id.Order, sku id.SKU) {
			s.place(t, card(o, "tok_ok", line(sku, 2)), "confirmed")
			s.shipment(t, o, 1)
			first, again := s.cancel(t, o), s.cancel(t, o)
			if text(t, first) != text(t, again) {
				t.Errorf("cancelled twice: %s, before %s", text(t, again), text(t, first))
			}
			s.end(t, o, sku, tale{
				Status: "cancelled", Reason: "cancelled", Payment: "voided", OnHand: 10, Shipments: []string{"s1 cancelled"},
				History: list(confirmed, cancelled, "shipment.cancelled", "payment.voiding", "payment.voided", "order.cancelled"),
				Ledger:  []string{authorized, voided}, Told: []string{"order.confirmed delivered", "order.cancelled delivered"},
			})
		},
		"booked": func(t *testing.T, s *site, o id.Order, sku id.SKU) {
			s.place(t, card(o, "tok_ok", line(sku, 2)), "confirmed")
			sh := s.shipment(t, o, 1)
			s.ship(t, subjects.ShippingBook, sh)
			s.cancel(t, o)
			refused(t, s.c, subjects.ShippingDispatch, subjects.ShipmentRequest{ShipmentID: sh}, subjects.FailedPrecondition, "")
			s.end(t, o, sku, tale{
				Status: "cancelled", Reason: "cancelled", Payment: "voided", OnHand: 10, Shipments: []string{"s1 cancelled"},
				History: list(confirmed, "shipment.booked", cancelled, "shipment.cancelled", "payment.voiding", "payment.voided", "order.cancelled"),
				Ledger:  []string{authorized, voided}, Told: []string{"order.confirmed delivered", "order.cancelled delivered"},
			})
		},
		"cash": func(t *testing.T, s *site, o id.Order, sku id.SKU) {
			s.place(t, cash(card(o, "", line(sku, 2))), "confirmed")
			s.shipment(t, o, 1)
			s.cancel(t, o)
			s.end(t, o, sku, tale{
				Status: "cancelled", Reason: "cancelled", Payment: "captured", Captured: 595, Refunded: 595, OnHand: 10, Shipments: []string{"s1 cancelled"},
				History: list(paidCash, cancelled, "shipment.cancelled", "refund.pending", "refund.settled", "order.cancelled"),
				Told:    []string{"order.confirmed delivered", "order.cancelled delivered"},
			})
		},
		"needs action": func(t *testing.T, s *site, o id.Order, sku id.SKU) {
			s.place(t, card(o, "tok_action_required", line(sku, 2)), "needs_action")
			s.cancel(t, o)
			s.end(t, o, sku, tale{
				Status: "cancelled", Reason: "cancelled", Payment: "voided", OnHand: 10,
				History: list(held, "payment.requires_action", "order.needs_action", cancelled, "payment.voiding", "payment.voided", "order.cancelled"),
				Ledger:  []string{"void approved 0"}, Told: []string{"order.cancelled delivered", "order.needs_action delivered"},
			})
			refused(t, s.c, subjects.PaymentResume, subjects.ResumeRequest{PaymentID: id.PaymentOf(o), Token: "tok_ok"}, subjects.FailedPrecondition, "")
		},
		"pending": func(t *testing.T, s *site, o id.Order, sku id.SKU) {
			s.place(t, card(o, "tok_unavailable", line(sku, 2)), "pending")
			s.cancel(t, o)
			s.end(t, o, sku, tale{
				Status: "cancelled", Reason: "cancelled", Payment: "voided", OnHand: 10,
				History: list(held, "payment.unknown", cancelled, "payment.voiding", "payment.voided", "order.cancelled"),
				Ledger:  []string{"void approved 0"}, Told: []string{"order.cancelled delivered"},
			})
		},
		"gift": func(t *testing.T, s *site, o id.Order, sku id.SKU) {
			call(t, s.c, subjects.CatalogPut, subjects.PutItemRequest{SKU: sku, Name: "A gift", UnitPrice: subjects.Money{Currency: "EUR"}})
			s.place(t, card(o, "tok_ok", line(sku, 2)), "confirmed")
			s.shipment(t, o, 1)
			s.cancel(t, o)
			s.end(t, o, sku, tale{
				Status: "cancelled", Reason: "cancelled", Payment: "voided", OnHand: 10, Shipments: []string{"s1 cancelled"},
				History: list(confirmed, cancelled, "shipment.cancelled", "payment.voiding", "payment.voided", "order.cancelled"),
				Ledger:  []string{"void approved 0"}, Told: []string{"order.confirmed delivered", "order.cancelled delivered"},
			})
		},
		"voided by hand": func(t *testing.T, s *site, o id.Order, sku id.SKU) {
			s.place(t, card(o, "tok_ok", line(sku, 2)), "confirmed")
			sh := s.shipment(t, o, 1)
			s.ship(t, subjects.ShippingBook, sh)
			call(t, s.c, subjects.PaymentVoid, subjects.PaymentRequest{PaymentID: id.PaymentOf(o)})
			s.reaches(t, o, "needs_action")
			refused(t, s.c, subjects.ShippingDispatch, subjects.ShipmentRequest{ShipmentID: sh}, subjects.FailedPrecondition, "")
			s.cancel(t, o)
			s.end(t, o, sku, tale{
				Status: "cancelled", Reason: "cancelled", Payment: "voided", OnHand: 10, Shipments: []string{"s1 cancelled"},
				History: list(confirmed, "shipment.booked", "payment.voiding", "payment.voided", "order.needs_action", cancelled, "shipment.cancelled", "order.cancelled"),
				Ledger:  []string{authorized, voided}, Told: []string{"order.confirmed delivered", "order.cancelled delivered", "order.needs_action delivered"},
			})
		},
		"taken payment id": func(t *testing.T, s *site, o id.Order, sku id.SKU) {
			call(t, s.c, subjects.PaymentAuthorize, subjects.AuthorizeRequest{
				PaymentID: id.PaymentOf(o), OrderID: "somebody-elses", Amount: subjects.Money{Amount: 1, Currency: "EUR"}, Method: subjects.Card, Token: "tok_ok",
			})
			if got := s.place(t, card(o, "tok_ok", line(sku, 2)), "rejected"); got.Reason.Code != "payment_declined" {
				t.Errorf("the reason is %s", text(t, got.Reason))
			}
			stock := call(t, s.c, subjects.InventoryGet, subjects.SKURequest{SKU: sku})
			if ledger := s.ledger(t, id.PaymentOf(o)); stock.Reserved != 0 || len(ledger) != 1 || ledger[0] != "authorize approved 0.01 EUR" {
				t.Errorf("stock %+v, ledger %q", *stock, ledger)
			}
		},
		"too late": func(t *testing.T, s *site, o id.Order, sku id.SKU) {
			s.place(t, card(o, "tok_ok", line(sku, 2)), "confirmed")
			sh := s.dispatch(t, o)
			refused(t, s.c, subjects.OrderCancel, subjects.CancelRequest{OrderID: o}, subjects.FailedPrecondition, "")
			s.ship(t, subjects.ShippingDeliver, sh)
			s.reaches(t, o, "completed")
			refused(t, s.c, subjects.OrderCancel, subjects.CancelRequest{OrderID: o}, subjects.FailedPrecondition, "")
			s.end(t, o, sku, tale{
				Status: "completed", Payment: "captured", Captured: 595, OnHand: 8, Shipments: []string{"s1 delivered"},
				History: list(dispatched, "shipment.delivered", "order.completed"), Ledger: []string{authorized, captured}, Told: toldShip,
			})
		},
		"rejected": func(t *testing.T, s *site, o id.Order, sku id.SKU) {
			s.place(t, card(o, "tok_declined", line(sku, 2)), "rejected")
			refused(t, s.c, subjects.OrderCancel, subjects.CancelRequest{OrderID: o}, subjects.FailedPrecondition, "")
			refused(t, s.c, subjects.OrderCancel, subjects.CancelRequest{OrderID: o + "-no"}, subjects.NotFound, "order_id")
		},
	})
}

// The stories here hold up a dispatch, so they come one after another.
func TestCancelWhileLeaving(t *testing.T) {
	t.Parallel()
	gate := newGate()
	s := open(t, nodetest.WithHook(gate.hook))
	for name, story := range map[string]story{
		"leaving": func(t *testing.T, s *site, o id.Order, sku id.SKU) {
			s.place(t, card(o, "tok_ok", line(sku, 2)), "confirmed")
			sh := s.shipment(t, o, 1)
			s.ship(t, subjects.ShippingBook, sh)
			done := gate.between(t, s, sh, func() {
				refused(t, s.c, subjects.OrderCancel, subjects.CancelRequest{OrderID: o}, subjects.FailedPrecondition, "")
				s.reaches(t, o, "fulfilling")
			})
			if done.Status != "dispatched" {
				t.Errorf("after the cancellation was refused the shipment is %s", done.Status)
			}
			s.ship(t, subjects.ShippingDeliver, sh)
			s.end(t, o, sku, tale{
				Status: "completed", Payment: "captured", Captured: 595, OnHand: 8, Shipments: []string{"s1 delivered"},
				History: list(confirmed, "shipment.booked", "reservation.consumed", "order.cancelling", "order.fulfilling", "payment.capturing", "payment.captured",
					"shipment.dispatched", "shipment.delivered", "order.completed"),
				Ledger: []string{authorized, captured}, Told: toldShip,
			})
		},
		"one of two is leaving": func(t *testing.T, s *site, o id.Order, sku id.SKU) {
			s.place(t, card(o, "tok_ok", line(sku, 2)), "confirmed")
			first := s.shipment(t, o, 1)
			call(t, s.c, subjects.ShippingSplit, subjects.ShipmentRequest{ShipmentID: first, Lines: []subjects.StockLine{line(sku, 1)}})
			second := s.shipment(t, o, 2)
			s.ship(t, subjects.ShippingBook, first)
			gate.between(t, s, first, func() {
				refused(t, s.c, subjects.OrderCancel, subjects.CancelRequest{OrderID: o}, subjects.FailedPrecondition, "")
				s.reaches(t, o, "fulfilling")
			})
			s.ship(t, subjects.ShippingDeliver, first)
			s.ship(t, subjects.ShippingBook, second)
			s.ship(t, subjects.ShippingDispatch, second)
			s.ship(t, subjects.ShippingDeliver, second)
			s.reaches(t, o, "completed")
		},
	} {
		t.Run(name, func(t *testing.T) {
			slug := strings.ReplaceAll(name, " ", "-")
			sku := id.SKU("sku-" + slug)
			nodetest.Stock(t, s.c, 10, sku)
			story(t, s, id.Order(slug), sku)
		})
	}
}

// gate stops a dispatch between the consuming of its stock and its capture, once each time it is armed.
type gate struct {
	armed, arrived, open chan struct{}
}

func newGate() *gate {
	return &gate{armed: make(chan struct{}, 1), arrived: make(chan struct{}), open: make(chan struct{})}
}

func (g *gate) hook(point string) {
	if point != "call inventory.consume" {
		return
	}
	select {
	case <-g.armed:
		g.arrived <- struct{}{}
		<-g.open
	default:
	}
}

// between runs f while the shipment's stock is consumed and it is not dispatched yet, and returns it dispatched.
func (g *gate) between(t *testing.T, s *site, sh id.Shipment, f func()) *subjects.ShipmentInfo {
	t.Helper()
	g.armed <- struct{}{}
	type answer struct {
		shipment *subjects.ShipmentInfo
		err      error
	}
	answered := make(chan answer, 1)
	ctx := within(t)
	go func() {
		got, err := client.Call(ctx, s.c, subjects.ShippingDispatch, &subjects.ShipmentRequest{ShipmentID: sh})
		answered <- answer{got, err}
	}()
	select {
	case <-g.arrived:
	case a := <-answered:
		t.Fatalf("the dispatch never consumed: %s, error %v", text(t, a.shipment), a.err)
	}
	func() {
		defer func() { g.open <- struct{}{} }() // also when f fails the test
		f()
	}()
	a := <-answered
	if a.err != nil {
		t.Fatalf("the dispatch that had begun failed: %v", a.err)
	}
	return a.shipment
}
