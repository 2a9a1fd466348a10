package id

import (
	"regexp"
	"strings"
	"testing"

	"waybill/internal/fault"
)

func TestCheck(t *testing.T) {
	for _, s := range []Order{"a", "A-Z_09", Order(strings.Repeat("x", MaxChosen)), "-", "_"} {
		if err := Check("order_id", s); err != nil {
			t.Errorf("%q: %v", s, err)
		}
	}
	for _, s := range []Order{"", "a.b", "a b", "a*", ">", "é", "a\x00", "a/b", Order(strings.Repeat("x", MaxChosen+1))} {
		f := fault.From(Check("order_id", s))
		if f == nil || f.Code != fault.InvalidArgument || f.Field != "order_id" || !strings.Contains(f.Message, "order_id") {
			t.Errorf("%q: %v", s, f)
		}
	}
	if err := CheckDerived("order_id", Order(strings.Repeat("x", MaxDerived))); err != nil {
		t.Error(err)
	}
	if err := CheckDerived("order_id", Order(strings.Repeat("x", MaxDerived+1))); err == nil {
		t.Error("a derived id may be of any length")
	}
}

func FuzzCheck(f *testing.F) {
	for _, s := range []string{"", "a", "order-1_A", "a.b", "é", strings.Repeat("x", 49)} {
		f.Add(s)
	}
	pattern := regexp.MustCompile(`\A[A-Za-z0-9_-]{1,48}\z`)
	f.Fuzz(func(t *testing.T, s string) {
		if want, err := pattern.MatchString(s), Check("id", SKU(s)); want != (err == nil) {
			t.Fatalf("%q: %v", s, err)
		}
	})
}

// TestDerived: what follows from the longest id that may be chosen is still an id.
func TestDerived(t *testing.T) {
	o := Order(strings.Repeat("x", MaxChosen))
	for _, s := range []string{string(PaymentOf(o)), string(ReservationOf(o)), string(ShipmentOf(o, 1)), string(ShipmentOf(o, 1_000_000)),
		string(NotificationOf(string(o), "needs_action"))} {
		if !Valid(s, MaxDerived) {
			t.Errorf("%q is no id", s)
		}
	}
	for n, want := range map[int]Shipment{1: "o-s1", 9: "o-s9", 10: "o-s10", 205: "o-s205"} {
		if got := ShipmentOf("o", n); got != want {
			t.Errorf("shipment %d is %s", n, got)
		}
	}
	if PaymentOf("o") != "o-pay" || ReservationOf("o") != "o-res" || NotificationOf("o", "confirmed") != "o-confirmed" {
		t.Error("the derived ids are part of what is stored")
	}
	if got, ok := OrderOf(ReservationOf(o)); got != o || !ok {
		t.Errorf("the reservation of %s is one of %q", o, got)
	}
	for _, r := range []Reservation{"", "o", "-res", "o-res-x", Reservation(o + "x-res")} {
		if got, ok := OrderOf(r); ok {
			t.Errorf("the reservation %q is one of the order %q", r, got)
		}
	}
}

func TestNew(t *testing.T) {
	seen := map[string]bool{}
	for range 1000 {
		a, b := New(), NewEvent()
		if len(a) != 26 || !Valid(a, MaxChosen) || len(b) != 32 || !Valid(b, MaxChosen) || seen[a] || seen[b] {
			t.Fatalf("%q and %q", a, b)
		}
		seen[a], seen[b] = true, true
	}
}
