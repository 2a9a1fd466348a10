package node_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"waybill/client"
	"waybill/internal/id"
	"waybill/subjects"
)

// quick makes the background process look again soon, and the gateway's silence short.
func (s *site) quick(t testing.TB) {
	t.Helper()
	s.set(t, "payment.gateway_timeout", `"700ms"`)
	s.set(t, "order.pending_grace", `"100ms"`)
	s.set(t, "order.retry_interval", `"100ms"`)
}

func TestOutcomes(t *testing.T) {
	s := open(t)
	s.tell(t, map[string]story{
		"confirmed": func(t *testing.T, s *site, o id.Order, sku id.SKU) {
			placed := s.place(t, card(o, "tok_ok", line(sku, 2)), "confirmed")
			if placed.Subtotal.Amount != 500 || placed.Tax.Amount != 95 || placed.Total.Amount != 595 || placed.Payment.Authorized.Amount != 595 {
				t.Errorf("the sums are wrong: %s", text(t, placed))
			}
			s.end(t, o, sku, tale{
				Status: "confirmed", Payment: "authorized", OnHand: 10, Reserved: 2, Shipments: []string{"s1 pending"},
				History: confirmed, Ledger: []string{authorized}, Told: []string{"order.confirmed delivered"},
			})
			if got := s.reaches(t, o, "confirmed"); got.Email != "a@example.com" || got.ShipTo == nil || got.ShipTo.City != "Berlin" {
				t.Errorf("the order has lost who it is for: %s", text(t, got))
			}
		},
		"cash": func(t *testing.T, s *site, o id.Order, sku id.SKU) {
			s.place(t, cash(card(o, "", line(sku, 2))), "confirmed")
			s.end(t, o, sku, tale{
				Status: "confirmed", Payment: "captured", Captured: 595, OnHand: 10, Reserved: 2, Shipments: []string{"s1 pending"},
				History: paidCash, Told: []string{"order.confirmed delivered"},
			})
		},
		"declined": declined("tok_declined", "declined"),
		"no funds": declined("tok_insufficient_funds", "insufficient_funds"),
		"no token": declined("tok_nobody_knows", "unknown_token"),
		"out of stock": func(t *testing.T, s *site, o id.Order, sku id.SKU) {
			placed := s.place(t, card(o, "tok_ok", line(sku, 11)), "rejected")
			if placed.Reason == nil || placed.Reason.Code != "out_of_stock" || !strings.Contains(placed.Reason.Message, string(sku)) {
				t.Errorf("the reason does not name %s: %s", sku, text(t, placed.Reason))
			}
			s.end(t, o, sku, tale{
				Status: "rejected", Reason: "out_of_stock", OnHand: 10, History: []string{"order.placed", "order.rejected"},
				Told: []string{"order.rejected delivered"},
			})
		},
		"slow": func(t *testing.T, s *site, o id.Order, sku id.SKU) {
			start := time.Now()
			s.place(t, card(o, "tok_slow", line(sku, 2)), "confirmed")
			if took := time.Since(start); took < 500*time.Millisecond {
				t.Errorf("the slow gateway took only %v", took)
			}
			s.end(t, o, sku, tale{
				Status: "confirmed", Payment: "authorized", OnHand: 10, Reserved: 2, Shipments: []string{"s1 pending"},
				History: confirmed, Ledger: []string{authorized}, Told: []string{"order.confirmed delivered"},
			})
		},
		"timeout": func(t *testing.T, s *site, o id.Order, sku id.SKU) {
			ctx, cancel := context.WithTimeout(within(t), 800*time.Millisecond)
			defer cancel()
			r := card(o, "tok_timeout", line(sku, 2))
			placed, err := client.Call(ctx, s.c, subjects.OrderPlace, &r)
			if err != nil || placed.Status != "pending" {
				t.Fatalf("after 800 ms: %s, error %v; want pending", text(t, placed), err)
			}
			s.end(t, o, sku, tale{
				Status: "confirmed", Payment: "authorized", OnHand: 10, Reserved: 2, Shipments: []string{"s1 pending"},
				History: list(held, "payment.unknown", "payment.authorized", "order.confirmed", "shipment.planned"),
				Ledger:  []string{authorized}, Told: []string{"order.confirmed delivered"},
			})
		},
		"resume": func(t *testing.T, s *site, o id.Order, sku id.SKU) {
			s.needsAction(t, o, sku)
			call(t, s.c, subjects.PaymentResume, subjects.ResumeRequest{PaymentID: id.PaymentOf(o)})
			s.end(t, o, sku, resumed)
			// The customer's page may send it twice.
			if p := call(t, s.c, subjects.PaymentResume, subjects.ResumeRequest{PaymentID: id.PaymentOf(o)}); p.Status != "authorized" {
				t.Errorf("resumed again, the payment is %s", p.Status)
			}
		},
		"resume with token": func(t *testing.T, s *site, o id.Order, sku id.SKU) {
			s.needsAction(t, o, sku)
			if p := call(t, s.c, subjects.PaymentResume, subjects.ResumeRequest{PaymentID: id.PaymentOf(o), Token: "tok_ok"}); p.Status != "authorized" {
				t.Errorf("resumed, the payment is %s", p.Status)
			}
			s.end(t, o, sku, resumed)
		},
		"resume declined": func(t *testing.T, s *site, o id.Order, sku id.SKU) {
			s.needsAction(t, o, sku)
			if p := call(t, s.c, subjects.PaymentResume, subjects.ResumeRequest{PaymentID: id.PaymentOf(o), Token: "tok_declined"}); p.Status != "failed" {
				t.Errorf("resumed with a card that is declined, the payment is %s", p.Status)
			}
			s.end(t, o, sku, tale{
				Status: "rejected", Reason: "payment_declined", Payment: "failed", OnHand: 10,
				History: list(held, "payment.requires_action", "order.needs_action", "payment.processing", "payment.failed", "order.resumed", "reservation.released", "order.rejected"),
				Ledger:  []string{"authorize declined 5.95 EUR"}, Told: []string{"order.needs_action delivered", "order.rejected delivered"},
			})
		},
		"gift": func(t *testing.T, s *site, o id.Order, sku id.SKU) {
			call(t, s.c, subjects.CatalogPut, subjects.PutItemRequest{SKU: sku, Name: "A gift", UnitPrice: subjects.Money{Currency: "EUR"}, TaxRateBP: 1900})
			s.place(t, card(o, "tok_ok", line(sku, 2)), "confirmed")
			sh := s.shipment(t, o, 1)
			s.ship(t, subjects.ShippingBook, sh)
			s.ship(t, subjects.ShippingDispatch, sh)
			s.reaches(t, o, "fulfilling")
			s.ship(t, subjects.ShippingDeliver, sh)
			s.end(t, o, sku, tale{
				Status: "completed", Payment: "authorized", OnHand: 8, Shipments: []string{"s1 delivered"},
				History: list(confirmed, "shipment.booked", "reservation.consumed", "shipment.dispatched", "order.fulfilling", "shipment.delivered", "order.completed"),
				Told:    []string{"order.confirmed delivered", "shipment.dispatched delivered", "shipment.delivered delivered"},
			})
		},
	})
}

// declined is the story of a card that the gateway declines with the code.
func declined(token, code string) story {
	return func(t *testing.T, s *site, o id.Order, sku id.SKU) {
		placed := s.place(t, card(o, token, line(sku, 2)), "rejected")
		if placed.Reason == nil || !strings.Contains(placed.Reason.Message, code) || placed.Payment == nil && placed.Status == "" {
			t.Errorf("the reason does not say %s: %s", code, text(t, placed))
		}
		if p := call(t, s.c, subjects.PaymentGet, subjects.PaymentRequest{PaymentID: id.PaymentOf(o)}); p.DeclineCode != code {
			t.Errorf("the decline code is %q, want %q", p.DeclineCode, code)
		}
		s.end(t, o, sku, tale{
			Status: "rejected", Reason: "payment_declined", Payment: "failed", OnHand: 10,
			History: list(held, "payment.failed", "reservation.released", "order.rejected"),
			Ledger:  []string{"authorize declined 5.95 EUR"}, Told: []string{"order.rejected delivered"},
		})
	}
}

// needsAction places an order whose gateway wants something of the customer.
func (s *site) needsAction(t *testing.T, o id.Order, sku id.SKU) {
	t.Helper()
	placed := s.place(t, card(o, "tok_action_required", line(sku, 2)), "needs_action")
	if placed.Payment == nil || placed.Payment.Status != "requires_action" || placed.Payment.Action == "" || placed.Reason == nil {
		t.Errorf("the customer is not told what to do: %s", text(t, placed))
	}
	s.comes(t, o, sku, tale{
		Status: "needs_action", Reason: "payment_action_required", Payment: "requires_action", OnHand: 10, Reserved: 2,
		History: list(held, "payment.requires_action", "order.needs_action"), Told: []string{"order.needs_action delivered"},
	})
}

var resumed = tale{
	Status: "confirmed", Payment: "authorized", OnHand: 10, Reserved: 2, Shipments: []string{"s1 pending"},
	History: list(held, "payment.requires_action", "order.needs_action", "payment.processing", "payment.authorized", "order.resumed", "order.confirmed", "shipment.planned"),
	Ledger:  []string{authorized}, Told: []string{"order.confirmed delivered", "order.needs_action delivered"},
}

func TestTimeLimits(t *testing.T) {
	s := open(t)
	s.quick(t)
	s.set(t, "order.pending_timeout", `"1s"`)
	s.tell(t, map[string]story{
		"unavailable": func(t *testing.T, s *site, o id.Order, sku id.SKU) {
			s.place(t, card(o, "tok_unavailable", line(sku, 2)), "pending")
			s.end(t, o, sku, tale{
				Status: "expired", Reason: "expired", Payment: "voided", OnHand: 10,
				History: list(held, "payment.unknown", "reservation.released", "payment.voiding", "payment.voided", "order.expired"),
				Ledger:  []string{"void approved 0"}, Told: []string{"order.expired delivered"},
			})
		},
		"nobody acts": func(t *testing.T, s *site, o id.Order, sku id.SKU) {
			s.place(t, card(o, "tok_action_required", line(sku, 2)), "needs_action")
			s.end(t, o, sku, tale{
				Status: "expired", Reason: "expired", Payment: "voided", OnHand: 10,
				History: list(held, "payment.requires_action", "order.needs_action", "reservation.released", "payment.voiding", "payment.voided", "order.expired"),
				Ledger:  []string{"void approved 0"}, Told: []string{"order.expired delivered", "order.needs_action delivered"},
			})
			refused(t, s.c, subjects.PaymentResume, subjects.ResumeRequest{PaymentID: id.PaymentOf(o)}, subjects.FailedPrecondition, "")
		},
		"silent gateway": func(t *testing.T, s *site, o id.Order, sku id.SKU) {
			s.place(t, card(o, "tok_timeout", line(sku, 2)), "pending") // after the setting's 700 ms, not the caller's 30 s
			s.end(t, o, sku, tale{
				Status: "confirmed", Payment: "authorized", OnHand: 10, Reserved: 2, Shipments: []string{"s1 pending"},
				History: list(held, "payment.unknown", "payment.authorized", "order.confirmed", "shipment.planned"),
				Ledger:  []string{authorized}, Told: []string{"order.confirmed delivered"},
			})
		},
	})
}

func TestCaptureOnConfirm(t *testing.T) {
	s := open(t)
	s.set(t, "payment.capture", `"on_confirm"`)
	onConfirm := list(confirmed, "payment.capturing", "payment.captured")
	s.tell(t, map[string]story{
		"completed": func(t *testing.T, s *site, o id.Order, sku id.SKU) {
			if placed := s.place(t, card(o, "tok_ok", line(sku, 2)), "confirmed"); placed.Payment.Status != "captured" || placed.Payment.Captured.Amount != 595 {
				t.Errorf("confirmed, but not captured: %s", text(t, placed.Payment))
			}
			sh := s.shipment(t, o, 1)
			s.ship(t, subjects.ShippingBook, sh)
			s.ship(t, subjects.ShippingDispatch, sh)
			s.reaches(t, o, "fulfilling")
			s.ship(t, subjects.ShippingDeliver, sh)
			s.end(t, o, sku, tale{
				Status: "completed", Payment: "captured", Captured: 595, OnHand: 8, Shipments: []string{"s1 delivered"},
				History: list(onConfirm, "shipment.booked", "reservation.consumed", "shipment.dispatched", "order.fulfilling", "shipment.delivered", "order.completed"),
				Ledger:  []string{authorized, captured},
				Told:    []string{"order.confirmed delivered", "shipment.dispatched delivered", "shipment.delivered delivered"},
			})
		},
		"cancelled": func(t *testing.T, s *site, o id.Order, sku id.SKU) {
			s.place(t, card(o, "tok_ok", line(sku, 2)), "confirmed")
			s.shipment(t, o, 1)
			call(t, s.c, subjects.OrderCancel, subjects.CancelRequest{OrderID: o, Reason: "changed my mind"})
			s.end(t, o, sku, tale{
				Status: "cancelled", Reason: "cancelled", Payment: "captured", Captured: 595, Refunded: 595, OnHand: 10, Shipments: []string{"s1 cancelled"},
				History: list(onConfirm, "order.cancelling", "reservation.released", "shipment.cancelled", "refund.pending", "refund.settled", "order.cancelled"),
				Ledger:  []string{authorized, captured, "refund approved 5.95 EUR"}, Told: []string{"order.confirmed delivered", "order.cancelled delivered"},
			})
		},
		"resumed": func(t *testing.T, s *site, o id.Order, sku id.SKU) {
			s.place(t, card(o, "tok_action_required", line(sku, 2)), "needs_action")
			call(t, s.c, subjects.PaymentResume, subjects.ResumeRequest{PaymentID: id.PaymentOf(o)})
			s.end(t, o, sku, tale{
				Status: "confirmed", Payment: "captured", Captured: 595, OnHand: 10, Reserved: 2, Shipments: []string{"s1 pending"},
				History: list(held, "payment.requires_action", "order.needs_action", "payment.processing", "payment.authorized", "order.resumed", "order.confirmed",
					"shipment.planned", "payment.capturing", "payment.captured"),
				Ledger: []string{authorized, captured}, Told: []string{"order.confirmed delivered", "order.needs_action delivered"},
			})
		},
	})
}
