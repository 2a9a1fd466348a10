package subjects

import (
	"strings"
	"testing"

	"github.com/go-json-experiment/json"

	"waybill/internal/fault"
	"waybill/internal/id"
)

func TestNamesComeApartAsTheyWereBuilt(t *testing.T) {
	for _, kind := range Kinds {
		got, err := ParseEvent(Event[id.Order]("shop-1", kind, "o_1-A"))
		if err != nil || got != (EventName{"shop-1", kind, "o_1-A"}) {
			t.Errorf("%s: %+v, %v", kind, got, err)
		}
		if k, e, ok := ParseType(TypeOf(kind, "placed")); !ok || k != kind || e != "placed" {
			t.Errorf("%s: %s %s %v", kind, k, e, ok)
		}
	}
	for _, service := range Services {
		got, err := ParseRPC(RPC("shop-1", service, "get"))
		if err != nil || got != (MethodName{"shop-1", service, "get"}) {
			t.Errorf("%s: %+v, %v", service, got, err)
		}
	}
}

func TestForeignNamesAreRefused(t *testing.T) {
	for _, s := range []string{"", "wb", "wb.local.evt.order", "wb.local.evt.order.", "wb.local.evt.order.a.b", "wb.local.evt.thing.a", "xx.local.evt.order.a",
		"wb.LOCAL.evt.order.a", "wb.local.evt.order.*", "wb.local.evt.order.>", "wb.local.evt.order.a b", "wb.local.evt.order." + strings.Repeat("a", 65),
		"wb.-a.evt.order.a", "wb." + strings.Repeat("a", 33) + ".evt.order.a", "wb.local.rpc.order.a"} {
		if n, err := ParseEvent(s); err == nil {
			t.Errorf("%q was taken for %+v", s, n)
		}
	}
	for _, s := range []string{"", "wb.local.rpc.order", "wb.local.rpc.nobody.get", "wb.local.int.order.get", "wb.local.rpc.order.get.x", "wb.local.rpc.order.*"} {
		if n, err := ParseRPC(s); err == nil {
			t.Errorf("%q was taken for %+v", s, n)
		}
	}
	for _, s := range []Site{"", "A", "a_b", "-a", "a.b", Site(strings.Repeat("a", 33)), "é"} {
		if s.Check() == nil {
			t.Errorf("%q was taken for a site", s)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("wb.local.evt.order.o-1")
	f.Add("wb.local.rpc.order.place")
	f.Add("waybill.order.placed.v1")
	f.Fuzz(func(t *testing.T, s string) {
		if n, err := ParseEvent(s); err == nil && Event(n.Site, n.Kind, n.ID) != s {
			t.Errorf("%q came apart as %+v", s, n)
		}
		if n, err := ParseRPC(s); err == nil && RPC(n.Site, n.Service, n.Method) != s {
			t.Errorf("%q came apart as %+v", s, n)
		}
		if k, e, ok := ParseType(s); ok && TypeOf(k, e) != s {
			t.Errorf("%q came apart as %s %s", s, k, e)
		}
	})
}

func placing(change func(*PlaceRequest)) *PlaceRequest {
	r := &PlaceRequest{
		OrderID: "o-1", CustomerID: "c-1", Email: "a@example.com", Lines: []StockLine{{"espresso", 2}}, Fulfilment: Ship,
		ShipTo:  &Address{Name: "Ada", Line1: "1 Main St", City: "Berlin", PostalCode: "10115", Country: "DE"},
		Payment: PlacePayment{Card, "tok_ok"},
	}
	change(r)
	return r
}

func TestPlaceRequestNamesTheFieldAtFault(t *testing.T) {
	for field, change := range map[string]func(*PlaceRequest){
		"":                        func(*PlaceRequest) {},
		"order_id":                func(r *PlaceRequest) { r.OrderID = "a.b" },
		"customer_id":             func(r *PlaceRequest) { r.CustomerID = "" },
		"email":                   func(r *PlaceRequest) { r.Email = "Ada <a@example.com>" },
		"lines":                   func(r *PlaceRequest) { r.Lines = make([]StockLine, 201) },
		"lines[0].sku":            func(r *PlaceRequest) { r.Lines[0].SKU = "a b" },
		"lines[0].quantity":       func(r *PlaceRequest) { r.Lines = []StockLine{{"a", 600_000}, {"a", 600_000}} },
		"lines[1].quantity":       func(r *PlaceRequest) { r.Lines = append(r.Lines, StockLine{"b", 0}) },
		"fulfilment":              func(r *PlaceRequest) { r.Fulfilment = "drone" },
		"ship_to":                 func(r *PlaceRequest) { r.ShipTo = nil },
		"ship_to.country":         func(r *PlaceRequest) { r.ShipTo.Country = "de" },
		"ship_to.name":            func(r *PlaceRequest) { r.ShipTo.Name = "  " },
		"ship_to.line2":           func(r *PlaceRequest) { r.ShipTo.Line2 = "a\x07" },
		"payment.method":          func(r *PlaceRequest) { r.Payment.Method = "barter" },
		"payment.token":           func(r *PlaceRequest) { r.Payment.Token = "4111111111111111" },
		"expected_total.amount":   func(r *PlaceRequest) { r.ExpectedTotal = &Money{Amount: 1 << 53, Currency: "EUR"} },
		"expected_total.currency": func(r *PlaceRequest) { r.ExpectedTotal = &Money{Amount: 1, Currency: "XXX"} },
	} {
		err := placing(change).Validate()
		if field == "" && err != nil || field != "" && (fault.CodeOf(err) != fault.InvalidArgument || fault.From(err).Field != field) {
			t.Errorf("%s: %v", field, err)
		}
	}
	for name, change := range map[string]func(*PlaceRequest){
		"pickup with an address": func(r *PlaceRequest) { r.Fulfilment = Pickup },
		"cash with a token":      func(r *PlaceRequest) { r.Payment.Method = Cash },
		"card without a token":   func(r *PlaceRequest) { r.Payment.Token = "" },
		"a card with hyphens":    func(r *PlaceRequest) { r.Payment.Token = "4111-1111-1111-1111" },
		"no lines":               func(r *PlaceRequest) { r.Lines = nil },
	} {
		if err := placing(change).Validate(); fault.CodeOf(err) != fault.InvalidArgument {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestLinesOfOneSKUAreSummed(t *testing.T) {
	r := placing(func(r *PlaceRequest) { r.Lines = []StockLine{{"a", 1}, {"b", 2}, {"a", 3}} })
	if err := r.Validate(); err != nil {
		t.Fatal(err)
	}
	if r.LineField(1, "sku") != "lines[1].sku" {
		t.Errorf("the second line stands at %s", r.LineField(1, "sku"))
	}
	late := placing(func(r *PlaceRequest) { r.Lines = []StockLine{{"a", 1}, {"a", 2}, {"b", 3}} })
	if err := late.Validate(); err != nil || late.LineField(1, "sku") != "lines[2].sku" {
		t.Errorf("the second SKU stands at %s, %v", late.LineField(1, "sku"), err)
	}
	if len(r.Lines) != 2 || r.Lines[0] != (StockLine{"a", 4}) || r.Lines[1] != (StockLine{"b", 2}) {
		t.Errorf("%+v", r.Lines)
	}
}

func TestDurations(t *testing.T) {
	for text, want := range map[string]bool{"15m": true, "1ms": true, "0s": false, "-1s": false, "15": false, "": false} {
		var d Duration
		if err := d.UnmarshalText([]byte(text)); (err == nil) != want {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestCardNumbers(t *testing.T) {
	for s, want := range map[string]bool{
		"4111111111111111": true, "378282246310005": true, "6304000000000000": true, "4111111111111112": false,
		"41111111111": false, "tok_4111111111111111": false, "00000000000": false, "000000000000": true, "12345678901234567890": false,
	} {
		if cardNumber(s) != want {
			t.Errorf("%s: %v", s, !want)
		}
	}
}

func TestWebhookEvents(t *testing.T) {
	for e, want := range map[string]bool{"*": true, "order.*": true, "order.confirmed": true, "payment.captured": true, "refund.settled": true,
		"order.eaten": false, "thing.*": false, "order": false, "": false, "order.": false, "order.confirmed.v1": false} {
		if eventPattern(e) != want {
			t.Errorf("%q: %v", e, !want)
		}
	}
	for u, want := range map[string]bool{"https://example.com/x": true, "http://127.0.0.1:1/": true, "ftp://x": false, "https://u:p@x": false, "/x": false, "": false,
		"https://x/" + strings.Repeat("a", 2048): false} {
		r := PutWebhookRequest{WebhookID: "w", URL: u, Events: []string{"*"}}
		if (r.Validate() == nil) != want {
			t.Errorf("%.60q: %v", u, r.Validate())
		}
	}
}

// FuzzPlaceRequest feeds the check of the largest request with whatever can be decoded: it must neither panic nor let through
// what later code relies on.
func FuzzPlaceRequest(f *testing.F) {
	good, err := json.Marshal(placing(func(*PlaceRequest) {}))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte(`{"lines":[{"sku":"a","quantity":9223372036854775807},{"sku":"a","quantity":1}]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		var r PlaceRequest
		if json.Unmarshal(body, &r) != nil || r.Validate() != nil {
			return
		}
		if len(r.Lines) == 0 || len(r.Lines) > MaxLines || !id.Valid(string(r.CustomerID), id.MaxChosen) {
			t.Errorf("let through: %s", body)
		}
		seen := map[id.SKU]bool{}
		for _, l := range r.Lines {
			if seen[l.SKU] || l.Quantity < 1 || l.Quantity > MaxQuantity || !id.Valid(string(l.SKU), id.MaxChosen) {
				t.Errorf("let through: %+v", l)
			}
			seen[l.SKU] = true
		}
	})
}
