package inventory

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"

	"waybill/internal/fault"
	"waybill/internal/id"
	"waybill/internal/timestamp"
)

func TestStock(t *testing.T) {
	b := NewBook()
	if _, known := b.Stock("a"); known {
		t.Error("an empty book knows a SKU")
	}
	must(t, b, Receive{SKU: "a", Quantity: 10, Reference: "in-1"}, nil)
	must(t, b, Adjust{SKU: "a", Quantity: -3, Reference: "count-1"}, nil)
	must(t, b, Hold{ReservationID: "r-1", Lines: []Line{{"a", 5}}}, nil)
	if s, ok := b.Stock("a"); !ok || s != (Stock{"a", 7, 5, 2}) {
		t.Errorf("%+v, %v", s, ok)
	}
	for name, c := range map[string]struct {
		command Command
		code    fault.Code
		field   string
	}{
		"received again":           {Receive{SKU: "a", Quantity: 10, Reference: "in-1"}, "", ""},
		"received, other quantity": {Receive{SKU: "a", Quantity: 11, Reference: "in-1"}, fault.AlreadyExists, "reference"},
		"adjusted, not received":   {Adjust{SKU: "a", Quantity: 10, Reference: "in-1"}, fault.AlreadyExists, "reference"},
		"adjusted again":           {Adjust{SKU: "a", Quantity: -3, Reference: "count-1"}, "", ""},
		"received, not adjusted":   {Receive{SKU: "a", Quantity: 3, Reference: "count-1"}, fault.AlreadyExists, "reference"},
		"below what is reserved":   {Adjust{SKU: "a", Quantity: -3, Reference: "count-2"}, fault.FailedPrecondition, "quantity"},
		"adjusted by nothing":      {Adjust{SKU: "a", Quantity: 0, Reference: "count-2"}, fault.InvalidArgument, "quantity"},
		"adjusted by too much":     {Adjust{SKU: "a", Quantity: MaxQuantity + 1, Reference: "count-2"}, fault.InvalidArgument, "quantity"},
		"received nothing":         {Receive{SKU: "a", Quantity: 0, Reference: "in-2"}, fault.InvalidArgument, "quantity"},
		"received too much":        {Receive{SKU: "a", Quantity: MaxQuantity + 1, Reference: "in-2"}, fault.InvalidArgument, "quantity"},
		"no SKU":                   {Receive{Quantity: 1, Reference: "in-2"}, fault.InvalidArgument, "sku"},
		"no reference":             {Receive{SKU: "a", Quantity: 1}, fault.InvalidArgument, "reference"},
		"no reference either":      {Adjust{SKU: "a", Quantity: 1}, fault.InvalidArgument, "reference"},
	} {
		e, err := b.Decide(c.command, nil)
		if f := fault.From(err); e != nil || fault.CodeOf(err) != c.code || f != nil && f.Field != c.field {
			t.Errorf("%s: %v, %v, want %q at %q", name, e, err, c.code, c.field)
		}
	}
	must(t, b, Adjust{SKU: "a", Quantity: -2, Reference: "count-2"}, nil)
	must(t, b, Receive{SKU: "b", Quantity: 1, Reference: "in-1"}, nil) // a reference is unique per SKU
}

func TestTooMuchOnHand(t *testing.T) {
	b := NewBook()
	must(t, b, Receive{SKU: "a", Quantity: 1, Reference: "in"}, nil)
	b.stock["a"].onHand = MaxOnHand - 1
	for _, c := range []Command{Receive{SKU: "a", Quantity: 2, Reference: "in-2"}, Adjust{SKU: "a", Quantity: 2, Reference: "in-2"}} {
		if e, err := b.Decide(c, nil); e != nil || fault.CodeOf(err) != fault.FailedPrecondition {
			t.Errorf("%+v: %v, %v", c, e, err)
		}
	}
	if err := b.Apply(Received{SKU: "a", Quantity: 2, Reference: "in-2"}); fault.CodeOf(err) != fault.Internal {
		t.Errorf("applied: %v", err)
	}
}

func TestShort(t *testing.T) {
	b := NewBook()
	must(t, b, Receive{SKU: "a", Quantity: 5, Reference: "in"}, nil)
	must(t, b, Receive{SKU: "b", Quantity: 5, Reference: "in"}, nil)
	_, err := b.Decide(Hold{ReservationID: "r-1", Lines: []Line{{"b", 5}, {"z", 1}, {"a", 3}, {"a", 3}}}, nil)
	f := fault.From(err)
	if f == nil || f.Code != fault.FailedPrecondition || f.Field != "lines[1].sku" {
		t.Fatalf("%v", err)
	}
	for _, part := range []string{"a (requested 6, available 5)", "z (requested 1, available 0)"} {
		if !strings.Contains(f.Message, part) {
			t.Errorf("%q does not say %q", f.Message, part)
		}
	}
	if strings.Contains(f.Message, "b (") {
		t.Errorf("%q names what is not short", f.Message)
	}
}

func TestSum(t *testing.T) {
	in := []Line{{"b", 1}, {"a", 2}, {"b", 3}}
	got, err := Sum(in)
	if err != nil || !slices.Equal(got, []Line{{"a", 2}, {"b", 4}}) || !slices.Equal(in, []Line{{"b", 1}, {"a", 2}, {"b", 3}}) {
		t.Errorf("%v, %v, from %v", got, err, in)
	}
	for name, c := range map[string]struct {
		lines []Line
		field string
	}{
		"nothing":      {nil, "lines"},
		"too many":     {make([]Line, MaxLines+1), "lines"},
		"a bad SKU":    {[]Line{{"a", 1}, {"a*", 1}}, "lines[1].sku"},
		"no quantity":  {[]Line{{"a", 1}, {"b", 0}}, "lines[1].quantity"},
		"too much":     {[]Line{{"a", MaxQuantity + 1}}, "lines[0].quantity"},
		"sum too much": {[]Line{{"b", 1}, {"a", MaxQuantity}, {"a", 1}}, "lines[1].quantity"},
	} {
		_, err := Sum(c.lines)
		if f := fault.From(err); f == nil || f.Code != fault.InvalidArgument || f.Field != c.field {
			t.Errorf("%s: %v, want the field %s", name, err, c.field)
		}
	}
}

// TestImpossibleForStock: what the reservation's own machine allows can still be impossible for the stock, and then nothing
// of it happens.
func TestImpossibleForStock(t *testing.T) {
	b, _ := bookIn(t, StatusHeld)
	for name, e := range map[string]Event{
		"no event":               nil,
		"more than there is":     Held{ReservationID: "r-2", Lines: []Line{{"a", 1}, {"b", 10}}},
		"of an unknown SKU":      Held{ReservationID: "r-2", Lines: []Line{{"c", 1}}},
		"a reference used":       Received{SKU: "a", Quantity: 10, Reference: "in"},
		"nothing received":       Received{SKU: "a", Quantity: 0, Reference: "in-2"},
		"nothing adjusted":       Adjusted{SKU: "a", Quantity: 0, Reference: "in-2"},
		"adjusted below":         Adjusted{SKU: "a", Quantity: -9, Reference: "in-2"},
		"of no SKU":              Received{Quantity: 1, Reference: "in-2"},
		"of no such reservation": Committed{ReservationID: "r-2"},
	} {
		if _, err := b.After(e); fault.CodeOf(err) != fault.Internal {
			t.Errorf("%s: after: %v", name, err)
		}
		if err := b.Apply(e); fault.CodeOf(err) != fault.Internal {
			t.Errorf("%s: apply: %v", name, err)
		}
	}
	if s, _ := b.Stock("a"); s != (Stock{"a", 10, 2, 8}) {
		t.Errorf("after all that %+v", s)
	}
	if stocks, reservations := b.Len(); stocks != 2 || reservations != 1 {
		t.Errorf("%d stocks, %d reservations", stocks, reservations)
	}
}

func TestSKUs(t *testing.T) {
	b := NewBook()
	var before []id.SKU
	for i, sku := range []id.SKU{"m", "z", "a", "k"} {
		must(t, b, Receive{SKU: sku, Quantity: 1, Reference: "in"}, nil)
		now := b.SKUs()
		if len(now) != i+1 || !slices.IsSorted(now) {
			t.Errorf("%v", now)
		}
		if i == 2 {
			before = now
		}
	}
	if !slices.Equal(before, []id.SKU{"a", "m", "z"}) {
		t.Errorf("an older list became %v", before)
	}
}

func TestNextExpiry(t *testing.T) {
	b := NewBook()
	must(t, b, Receive{SKU: "a", Quantity: 100, Reference: "in"}, nil)
	hold := func(r id.Reservation, expires timestamp.Time) {
		must(t, b, Hold{ReservationID: r, Lines: []Line{{"a", 1}}, ExpiresAt: expires}, nil)
	}
	next := func(want id.Reservation) {
		t.Helper()
		if got, _, _ := b.NextExpiry(); got != want {
			t.Errorf("next is %q, not %q", got, want)
		}
	}
	next("")
	hold("never", timestamp.Time{})
	next("")
	hold("c", at("10:03:00"))
	hold("b", at("10:02:00"))
	hold("a2", at("10:01:00"))
	hold("a1", at("10:01:00"))
	next("a1")
	must(t, b, Extend{ReservationID: "a1", ExpiresAt: at("10:04:00")}, nil)
	next("a2")
	must(t, b, Expire{ReservationID: "a2", At: at("10:01:00")}, nil)
	next("b")
	must(t, b, Commit{ReservationID: "b"}, nil)
	next("c")
	must(t, b, Consume{ReservationID: "c", ShipmentID: "s-1", Lines: []Line{{"a", 1}}}, nil)
	next("a1")
	must(t, b, Release{ReservationID: "a1"}, nil)
	next("")
}

// liveHeap is what lives on the heap, in bytes.
func liveHeap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// TestReferencesStaySmall: references are kept for good, so a million of them must fit into the memory of a small machine.
func TestReferencesStaySmall(t *testing.T) {
	const n = 1_000_000
	before := liveHeap()
	b := NewBook()
	var buf []byte
	for i := range n {
		buf = fmt.Appendf(buf[:0], "delivery-%d", i)
		b.references[referenceKey("espresso", id.Reference(buf))] = received(1)
	}
	used := liveHeap() - before
	t.Logf("%d references take %.1f MB", n, float64(used)/1e6)
	if len(b.references) != n {
		t.Errorf("%d references are kept apart, not %d", len(b.references), n)
	}
	if used > 60e6 {
		t.Errorf("%d references take %d bytes", n, used)
	}
	runtime.KeepAlive(b)
}

// TestReservationsStaySmall: there is a reservation for each open order. Events are read with texts of their own, of which nothing
// may stay: neither of a reservation's first event nor of its later ones.
func TestReservationsStaySmall(t *testing.T) {
	const n = 100_000
	own := func(i int) id.SKU { return id.SKU(fmt.Sprintf("waybill-item-%02d", i)) }
	b := NewBook()
	apply := func(e Event) {
		if err := b.Apply(e); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 20 {
		apply(Received{SKU: own(i), Quantity: MaxQuantity, Reference: "in"})
	}
	before := liveHeap()
	for i := range n {
		r := func() id.Reservation { return id.Reservation(fmt.Sprintf("%026d-res", i)) }
		apply(Held{ReservationID: r(), Lines: []Line{{own(i % 10), 1}, {own(10 + i%10), 2}}, At: at("10:00:00")})
		if i%2 == 0 {
			apply(Committed{ReservationID: r(), At: at("10:00:01")})
		}
	}
	used := liveHeap() - before
	t.Logf("a reservation takes %d bytes", used/n)
	if used > 140*n {
		t.Errorf("%d reservations take %d bytes", n, used)
	}
	runtime.KeepAlive(b)
}

func BenchmarkHoldRelease(b *testing.B) {
	book := NewBook()
	for i := range 1000 {
		sku := id.SKU(fmt.Sprintf("sku-%d", i))
		if err := book.Apply(Received{SKU: sku, Quantity: MaxQuantity, Reference: "in"}); err != nil {
			b.Fatal(err)
		}
	}
	lines := []Line{{"sku-7", 1}, {"sku-300", 2}, {"sku-999", 1}}
	b.ReportAllocs()
	for b.Loop() {
		for _, c := range []Command{Hold{ReservationID: "r", Lines: lines}, Release{ReservationID: "r"}} {
			e, err := book.Decide(c, nil)
			if err == nil {
				_, err = book.After(e)
			}
			if err == nil {
				err = book.Apply(e)
			}
			if err != nil {
				b.Fatal(err)
			}
		}
	}
}
