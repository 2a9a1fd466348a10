package inventory

import (
	"cmp"
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"pgregory.net/rapid"

	"waybill/internal/fault"
	"waybill/internal/id"
	"waybill/internal/timestamp"
)

// model keeps the same books the slow way: sums over everything that ever happened.
type model struct {
	in, consumed map[id.SKU]int64 // received + adjusted, consumed
	reservations map[id.Reservation]Reservation
	references   map[string]bool
}

func (m *model) reserved(sku id.SKU) (sum int64) {
	for _, r := range m.reservations {
		if !r.Status.Live() {
			continue
		}
		for _, l := range r.Lines {
			if l.SKU == sku {
				sum += l.Quantity
			}
		}
		for _, c := range r.Consumptions {
			for _, l := range c.Lines {
				if l.SKU == sku {
					sum -= l.Quantity
				}
			}
		}
	}
	return sum
}

func (m *model) available(sku id.SKU) int64 { return m.in[sku] - m.consumed[sku] - m.reserved(sku) }

// fits says whether the model would allow a command that depends on stock; ok is false where it has no opinion.
func (m *model) fits(c Command) (fits, ok bool) {
	switch c := c.(type) {
	case Adjust:
		return m.available(c.SKU)+c.Quantity >= 0, !m.references[string(c.SKU)+" "+string(c.Reference)]
	case Hold:
		if _, known := m.reservations[c.ReservationID]; known {
			return false, false
		}
		wants := map[id.SKU]int64{}
		for _, l := range c.Lines {
			wants[l.SKU] += l.Quantity
		}
		for sku, n := range wants {
			if m.available(sku) < n {
				return false, true
			}
		}
		return true, true
	}
	return false, false
}

func (m *model) note(e Event) {
	switch e := e.(type) {
	case Received:
		m.in[e.SKU] += e.Quantity
		m.references[string(e.SKU)+" "+string(e.Reference)] = true
	case Adjusted:
		m.in[e.SKU] += e.Quantity
		m.references[string(e.SKU)+" "+string(e.Reference)] = true
	case Consumed:
		for _, l := range e.Lines {
			m.consumed[l.SKU] += l.Quantity
		}
	}
}

var skus = []id.SKU{"a", "b", "c"}

// TestHistories drives random commands against the model, and against a second book that is rebuilt from what the journal
// has of the events.
func TestHistories(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		book, rebuilt := NewBook(), NewBook()
		m := &model{map[id.SKU]int64{}, map[id.SKU]int64{}, map[id.Reservation]Reservation{}, map[string]bool{}}
		now := at("10:00:00")
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(1, 20_000).Draw(t, "ms")) * time.Millisecond)
			c, about := drawCommand(t, now)
			var stored *Reservation
			if r, ok := m.reservations[about]; ok && !r.Status.Live() {
				stored = &r
			}
			e, err := book.Decide(c, stored)
			if fits, ok := m.fits(c); ok && fits != (e != nil) {
				t.Fatalf("%+v: %v, %v; it fits: %v", c, e, err, fits)
			}
			if e == nil {
				if code := fault.CodeOf(err); code == fault.Internal || code == fault.InvalidArgument {
					t.Fatalf("%+v: %v", c, err)
				}
				continue
			}
			step(t, book, rebuilt, m, e)
			if r, ok := m.reservations[about]; ok && !r.Status.Live() {
				stored = &r
			}
			if again, err := book.Decide(c, stored); again != nil || err != nil {
				t.Fatalf("%+v again: %v, %v", c, again, err)
			}
			check(t, book, m)
			check(t, rebuilt, m)
		}
	})
}

// step applies an event everywhere and compares what it led to.
func step(t *rapid.T, book, rebuilt *Book, m *model, e Event) {
	after, err := book.After(e)
	if err != nil {
		t.Fatalf("what was decided can't be applied: %v", err)
	}
	if err := book.Apply(e); err != nil {
		t.Fatalf("what was decided can't be applied: %v", err)
	}
	data, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	decoded, err := Decode(e.Type(), data)
	if err != nil {
		t.Fatal(err)
	}
	if err := rebuilt.Apply(decoded); err != nil {
		t.Fatalf("%s can't be applied to the rebuilt book: %v", data, err)
	}
	m.note(e)
	if sku := e.Aggregate().SKU; sku != "" {
		if got, _ := book.Stock(sku); got != after {
			t.Fatalf("after %+v the stock is %+v, not %+v", e, got, after)
		}
		return
	}
	r := after.(Reservation)
	before := m.reservations[r.ReservationID]
	if before.Status != r.Status && !Allowed(before.Status, r.Status) {
		t.Fatalf("%T took the reservation from %q to %q", e, before.Status, r.Status)
	}
	if r.Status.Live() {
		if got, ok := book.Reservation(r.ReservationID); !ok || !reflect.DeepEqual(got, r) {
			t.Fatalf("after %+v the reservation is %+v, not %+v", e, got, r)
		}
	}
	state, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var back Reservation
	if err := json.Unmarshal(state, &back); err != nil || !reflect.DeepEqual(back, r) {
		t.Fatalf("by way of JSON %+v, %v, and not %+v", back, err, r)
	}
	m.reservations[r.ReservationID] = r
}

func check(t *rapid.T, b *Book, m *model) {
	for _, sku := range skus {
		s, known := b.Stock(sku)
		if _, ever := m.in[sku]; known != ever {
			t.Fatalf("%s: known %v, ever received %v", sku, known, ever)
		}
		want := Stock{SKU: sku, OnHand: m.in[sku] - m.consumed[sku], Reserved: m.reserved(sku), Available: m.available(sku)}
		if known && s != want || s.Reserved < 0 || s.Reserved > s.OnHand {
			t.Fatalf("%+v, want %+v", s, want)
		}
	}
	live, next := 0, Reservation{}
	for _, r := range m.reservations {
		if !r.Status.Live() {
			if _, held := b.Reservation(r.ReservationID); held {
				t.Fatalf("%+v is still held", r)
			}
			continue
		}
		live++
		if !r.ExpiresAt.IsZero() && (next.ReservationID == "" || earlier(r, next)) {
			next = r
		}
	}
	stocks, reservations := b.Len()
	if reservations != live || stocks != len(m.in) || len(b.SKUs()) != stocks {
		t.Fatalf("%d stocks and %d reservations, want %d and %d", stocks, reservations, len(m.in), live)
	}
	if r, when, ok := b.NextExpiry(); r != next.ReservationID || when != next.ExpiresAt || ok != (r != "") {
		t.Fatalf("next to expire is %s at %s, not %s at %s", r, when, next.ReservationID, next.ExpiresAt)
	}
}

func earlier(a, b Reservation) bool {
	return cmp.Or(cmp.Compare(a.ExpiresAt.String(), b.ExpiresAt.String()), cmp.Compare(a.ReservationID, b.ReservationID)) < 0
}

func drawCommand(t *rapid.T, now timestamp.Time) (Command, id.Reservation) {
	sku := rapid.SampledFrom(skus).Draw(t, "sku")
	r := id.Reservation(fmt.Sprintf("r-%d", rapid.IntRange(1, 4).Draw(t, "reservation")))
	reference := id.Reference(fmt.Sprintf("ref-%d", rapid.IntRange(1, 8).Draw(t, "reference")))
	shipment := id.Shipment(fmt.Sprintf("s-%d", rapid.IntRange(1, 3).Draw(t, "shipment")))
	expires := now.Add(time.Duration(rapid.IntRange(1, 60).Draw(t, "ttl")) * time.Second)
	if rapid.Bool().Draw(t, "unlimited") {
		expires = timestamp.Time{}
	}
	lines := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Line {
		return Line{rapid.SampledFrom(skus).Draw(t, "sku"), rapid.Int64Range(1, 4).Draw(t, "quantity")}
	}), 1, 4).Draw(t, "lines")
	switch rapid.IntRange(0, 11).Draw(t, "command") {
	case 0, 1:
		return Receive{SKU: sku, Quantity: rapid.Int64Range(1, 10).Draw(t, "quantity"), Reference: reference, At: now}, ""
	case 2:
		n := rapid.OneOf(rapid.Int64Range(-8, -1), rapid.Int64Range(1, 8)).Draw(t, "quantity")
		return Adjust{SKU: sku, Quantity: n, Reference: reference, At: now}, ""
	case 3, 4, 5:
		return Hold{ReservationID: r, Lines: lines, ExpiresAt: expires, At: now}, r
	case 6:
		return Extend{ReservationID: r, ExpiresAt: expires, At: now}, r
	case 7:
		return Commit{ReservationID: r, At: now}, r
	case 8:
		return Release{ReservationID: r, At: now}, r
	case 9:
		return rapid.SampledFrom([]Command{End{ReservationID: r, Lines: lines, At: now}, Expire{ReservationID: r, At: now}}).Draw(t, "end"), r
	}
	return Consume{ReservationID: r, ShipmentID: shipment, Lines: lines, At: now}, r
}
