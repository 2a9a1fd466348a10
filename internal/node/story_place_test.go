package node_test

import (
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/nats-io/nats.go"

	"waybill/client"
	"waybill/internal/id"
	"waybill/internal/nodetest"
	"waybill/subjects"
)

// onSale is an item at a price, with ten units of it.
func (s *site) onSale(t testing.TB, sku id.SKU, price subjects.Money, tax int64) {
	t.Helper()
	nodetest.Stock(t, s.c, 10, sku)
	call(t, s.c, subjects.CatalogPut, subjects.PutItemRequest{SKU: sku, Name: "Item " + string(sku), UnitPrice: price, TaxRateBP: tax})
}

func TestPlacing(t *testing.T) {
	s := open(t)
	s.tell(t, map[string]story{
		"the same again": func(t *testing.T, s *site, o id.Order, sku id.SKU) {
			r := card(o, "tok_slow", line(sku, 2))
			const times = 20
			answers := make([]string, times)
			var all sync.WaitGroup
			for i := range times {
				all.Go(func() {
					if got, err := client.Call(within(t), s.c, subjects.OrderPlace, &r); err != nil {
						t.Errorf("placed again: %v", err)
					} else {
						got.Shipments = nil // may have been planned between two answers
						answers[i] = text(t, got)
					}
				})
			}
			all.Wait()
			if slices.Sort(answers); answers[0] != answers[times-1] || !strings.Contains(answers[0], `"confirmed"`) {
				t.Errorf("the same request was answered\n%s\nand\n%s", answers[0], answers[times-1])
			}
			s.end(t, o, sku, tale{
				Status: "confirmed", Payment: "authorized", OnHand: 10, Reserved: 2, Shipments: []string{"s1 pending"},
				History: confirmed, Ledger: []string{authorized}, Told: []string{"order.confirmed delivered"},
			})
			for name, other := range map[string]subjects.PlaceRequest{
				"quantity": card(o, "tok_slow", line(sku, 3)), "token": card(o, "tok_ok", line(sku, 2)), "fulfilment": pickup(r), "method": cash(r),
			} {
				if e := refused(t, s.c, subjects.OrderPlace, other, subjects.AlreadyExists, "order_id"); !strings.Contains(e.Message, string(o)) {
					t.Errorf("another %s: the message does not name the order: %s", name, e.Message)
				}
			}
		},
		"idempotency key": func(t *testing.T, s *site, o id.Order, sku id.SKU) {
			r := card("", "tok_ok", line(sku, 2))
			body := text(t, r)
			placed := func(key string) *subjects.OrderInfo {
				m := s.ask(t, "order.place", body, nats.Header{"Idempotency-Key": {key}})
				var o subjects.OrderInfo
				if err := json.Unmarshal(m.Data, &o); err != nil || o.Status != "confirmed" {
					t.Fatalf("placed: %s, headers %v", m.Data, m.Header)
				}
				return &o
			}
			first, again, other := placed("till-1/42"), placed("till-1/42"), placed("till-1/43")
			if first.OrderID != again.OrderID || first.Revision != again.Revision || first.OrderID == other.OrderID {
				t.Errorf("orders %s, %s and %s", first.OrderID, again.OrderID, other.OrderID)
			}
			if m := s.ask(t, "order.place", strings.Replace(body, `"quantity": 2`, `"quantity": 3`, 1), nats.Header{"Idempotency-Key": {"till-1/42"}}); m.Header.Get(subjects.HeaderErrorCode) != "already_exists" {
				t.Errorf("another order under the same key: %s", m.Data)
			}
			if a, b := s.place(t, r, "confirmed"), s.place(t, r, "confirmed"); a.OrderID == b.OrderID || !id.Valid(string(a.OrderID), id.MaxChosen) {
				t.Errorf("orders without id and key: %s and %s", a.OrderID, b.OrderID)
			}
		},
		"price change": func(t *testing.T, s *site, o id.Order, sku id.SKU) {
			r := card(o, "tok_ok", line(sku, 2))
			r.ExpectedTotal = &subjects.Money{Amount: 595, Currency: "EUR"}
			first := s.place(t, r, "confirmed")
			call(t, s.c, subjects.CatalogPut, subjects.PutItemRequest{SKU: sku, Name: "dearer", UnitPrice: subjects.Money{Amount: 300, Currency: "EUR"}, TaxRateBP: 1900})
			if again := s.place(t, r, "confirmed"); again.Total != first.Total || again.Revision != first.Revision {
				t.Errorf("after a price change: %s, before %s", text(t, again), text(t, first))
			}
			r.OrderID += "-2"
			if e := refused(t, s.c, subjects.OrderPlace, r, subjects.FailedPrecondition, "expected_total"); !strings.Contains(e.Message, "7.14 EUR") {
				t.Errorf("the message does not tell the total: %s", e.Message)
			}
			refused(t, s.c, subjects.OrderGet, subjects.GetOrderRequest{OrderID: r.OrderID}, subjects.NotFound, "order_id")
			r.ExpectedTotal = &subjects.Money{Amount: 714, Currency: "USD"}
			refused(t, s.c, subjects.OrderPlace, r, subjects.FailedPrecondition, "expected_total")
		},
		"summed": func(t *testing.T, s *site, o id.Order, sku id.SKU) {
			other := sku + "-b"
			nodetest.Stock(t, s.c, 10, other)
			placed := s.place(t, card(o, "tok_ok", line(sku, 4), line(other, 1), line(sku, 5)), "confirmed")
			if len(placed.Lines) != 2 || placed.Lines[0].Quantity != 9 || placed.Lines[1].SKU != other {
				t.Errorf("the lines are %s", text(t, placed.Lines))
			}
			// Summed they are short; each alone would not be. Nothing of the other line is held either.
			s.place(t, card(o+"-2", "tok_ok", line(other, 1), line(sku, 1), line(sku, 1)), "rejected")
			if stock := call(t, s.c, subjects.InventoryGet, subjects.SKURequest{SKU: other}); stock.Reserved != 1 {
				t.Errorf("of the other line %d are reserved, want 1", stock.Reserved)
			}
			// The same content in another form is the same request.
			if again := s.place(t, card(o, "tok_ok", line(sku, 9), line(other, 1)), "confirmed"); again.Revision != placed.Revision {
				t.Errorf("written otherwise, the order is another: %s", text(t, again))
			}
		},
		"currencies": func(t *testing.T, s *site, o id.Order, sku id.SKU) {
			yen, dinar, peso := sku+"-jpy", sku+"-kwd", sku+"-clp"
			s.onSale(t, yen, subjects.Money{Amount: 333, Currency: "JPY"}, 1000)
			s.onSale(t, dinar, subjects.Money{Amount: 1005, Currency: "KWD"}, 500)
			s.onSale(t, peso, subjects.Money{Amount: 1, Currency: "CLP"}, 5000)
			for _, c := range []struct {
				sku                  id.SKU
				quantity, tax, total int64
				ledger               string
			}{
				{yen, 1, 33, 366, "authorize approved 366 JPY"},      // 33.3
				{yen, 5, 167, 1832, "authorize approved 1832 JPY"},   // 166.5 rounds away from zero
				{dinar, 1, 50, 1055, "authorize approved 1.055 KWD"}, // 50.25
				{peso, 1, 1, 2, "authorize approved 2 CLP"},          // 0.5 rounds away from zero
				{peso, 2, 1, 3, "authorize approved 3 CLP"},
			} {
				order := o + "-" + id.Order(c.sku[len(sku)+1:]) + id.Order(subjects.Sequence(uint64(c.quantity)))
				got := s.place(t, card(order, "tok_ok", line(c.sku, c.quantity)), "confirmed")
				if got.Tax.Amount != c.tax || got.Total.Amount != c.total {
					t.Errorf("%d of %s: tax %v, total %v; want %d and %d", c.quantity, c.sku, got.Tax, got.Total, c.tax, c.total)
				}
				if l := s.ledger(t, id.PaymentOf(order)); len(l) != 1 || l[0] != c.ledger {
					t.Errorf("%d of %s: ledger %q, want %q", c.quantity, c.sku, l, c.ledger)
				}
			}
			refused(t, s.c, subjects.OrderPlace, card(o, "tok_ok", line(yen, 1), line(dinar, 1)), subjects.FailedPrecondition, "lines[1].sku")
		},
		"not sold": func(t *testing.T, s *site, o id.Order, sku id.SKU) {
			off := false
			call(t, s.c, subjects.CatalogPut, subjects.PutItemRequest{SKU: sku + "-off", Name: "not now", UnitPrice: subjects.Money{Amount: 1, Currency: "EUR"}, Active: &off})
			for _, bad := range []id.SKU{sku + "-off", sku + "-unknown"} {
				if e := refused(t, s.c, subjects.OrderPlace, card(o, "tok_ok", line(sku, 1), line(bad, 1)), subjects.FailedPrecondition, "lines[1].sku"); !strings.Contains(e.Message, string(bad)) {
					t.Errorf("the message does not name %s: %s", bad, e.Message)
				}
			}
			// Nothing was recorded: the id is still free.
			s.place(t, card(o, "tok_ok", line(sku, 1)), "confirmed")
		},
		"too much": func(t *testing.T, s *site, o id.Order, sku id.SKU) {
			refused(t, s.c, subjects.OrderPlace, card(o, "tok_ok", line(sku, subjects.MaxQuantity+1)), subjects.InvalidArgument, "lines[0].quantity")
			refused(t, s.c, subjects.OrderPlace, card(o, "tok_ok", line(sku, subjects.MaxQuantity), line(sku, 1)), subjects.InvalidArgument, "lines[0].quantity")
			dear := sku + "-dear"
			s.onSale(t, dear, subjects.Money{Amount: 1<<53 - 1, Currency: "EUR"}, 0)
			refused(t, s.c, subjects.OrderPlace, card(o, "tok_ok", line(dear, 2)), subjects.InvalidArgument, "lines[0].quantity")
			refused(t, s.c, subjects.OrderPlace, card(o, "tok_ok", line(dear, 1), line(sku, 1)), subjects.InvalidArgument, "lines[1].quantity")
			if got := s.place(t, card(o, "tok_ok", line(dear, 1)), "confirmed"); got.Total.Amount != 1<<53-1 {
				t.Errorf("the dearest order of all costs %v", got.Total)
			}
			s.place(t, card(o+"-many", "tok_ok", line(sku, subjects.MaxQuantity)), "rejected")
		},
	})
}
