package inventory

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"waybill/internal/id"
)

// meanwhile is the lock of an owner who lets others change the book whenever it is let go.
type meanwhile struct {
	sync.Mutex
	change func()
}

func (m *meanwhile) Unlock() {
	m.change()
	m.Mutex.Unlock()
}

// TestSavedBooks: a book that is saved at any moment, while it goes on changing, and read again is the book of that moment; with
// the events after it, it is the book of the end.
func TestSavedBooks(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var events []Event
		ended := map[id.Reservation]*Reservation{}
		book := NewBook()
		now := at("10:00:00")
		live := func(steps int) {
			for range steps {
				now = now.Add(time.Duration(rapid.IntRange(1, 20_000).Draw(t, "ms")) * time.Millisecond)
				c, about := drawCommand(t, now)
				e, err := book.Decide(c, ended[about])
				if err != nil || e == nil {
					continue
				}
				after, err := book.After(e)
				if err != nil {
					t.Fatal(err)
				}
				if err := book.Apply(e); err != nil {
					t.Fatal(err)
				}
				if r, ok := after.(Reservation); ok && !r.Status.Live() {
					ended[about] = &r
				}
				events = append(events, e)
			}
		}
		live(rapid.IntRange(0, 40).Draw(t, "before"))
		if rapid.Bool().Draw(t, "another cut before") {
			book.Cut().End()
			live(2)
		}
		upTo := len(events)
		cut := book.Cut()
		cut.piece = rapid.IntRange(1, 200).Draw(t, "piece")
		live(rapid.IntRange(0, 5).Draw(t, "before the first piece"))
		var saved bytes.Buffer
		if err := cut.Save(&saved, &meanwhile{change: func() { live(rapid.IntRange(0, 4).Draw(t, "between pieces")) }}); err != nil {
			t.Fatal(err)
		}
		live(rapid.IntRange(0, 20).Draw(t, "after"))

		read, err := ReadBook(&saved)
		if err != nil {
			t.Fatal(err)
		}
		same(t, "at the cut", read, replayed(t, events[:upTo]))
		for _, e := range events[upTo:] {
			if err := read.Apply(e); err != nil {
				t.Fatalf("%+v after the snapshot: %v", e, err)
			}
		}
		same(t, "at the end", read, replayed(t, events))
		same(t, "the book that was saved", book, replayed(t, events))
		if book.cut != nil {
			t.Fatal("the cut goes on after it was saved")
		}
	})
}

func replayed(t *rapid.T, events []Event) *Book {
	b := NewBook()
	for _, e := range events {
		if err := b.Apply(e); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

// same compares all that a book holds.
func same(t *rapid.T, what string, got, want *Book) {
	t.Helper()
	if !slices.Equal(got.SKUs(), want.SKUs()) {
		t.Fatalf("%s: the SKUs are %v, not %v", what, got.SKUs(), want.SKUs())
	}
	for sku, u := range want.stock {
		if g := got.stock[sku]; g.stock(sku) != u.stock(sku) {
			t.Fatalf("%s: %+v, not %+v", what, g.stock(sku), u.stock(sku))
		}
	}
	if len(got.reservations) != len(want.reservations) || got.expiries.Len() != want.expiries.Len() {
		t.Fatalf("%s: %d reservations, %d limits, not %d and %d", what, len(got.reservations), got.expiries.Len(), len(want.reservations), want.expiries.Len())
	}
	for r := range want.reservations {
		g, _ := got.Reservation(r)
		w, _ := want.Reservation(r)
		_, gl := got.expiries.places[r]
		_, wl := want.expiries.places[r]
		if !reflect.DeepEqual(g, w) || gl != wl {
			t.Fatalf("%s: %+v, limited %t, not %+v, limited %t", what, g, gl, w, wl)
		}
	}
	gr, _, _ := got.NextExpiry()
	wr, _, _ := want.NextExpiry()
	if gr != wr || !reflect.DeepEqual(got.references, want.references) {
		t.Fatalf("%s: the next to expire is %s, not %s, or the references differ: %v, not %v", what, gr, wr, got.references, want.references)
	}
}

// savedBook is the content of a book with some of everything.
func savedBook(t testing.TB) []byte {
	b := NewBook()
	for _, c := range []Command{
		Receive{SKU: "a", Quantity: 10, Reference: "x", At: at("10:00:00")}, Receive{SKU: "b", Quantity: 5, Reference: "x", At: at("10:00:00")},
		Adjust{SKU: "a", Quantity: -1, Reference: "y", At: at("10:00:01")},
		Hold{ReservationID: "r-1", Lines: []Line{{"a", 2}, {"b", 1}}, ExpiresAt: at("11:00:00"), At: at("10:00:02")},
		Hold{ReservationID: "r-2", Lines: []Line{{"a", 3}}, At: at("10:00:03")},
		Consume{ReservationID: "r-2", ShipmentID: "s-1", Lines: []Line{{"a", 1}}, At: at("10:00:04")},
	} {
		e, err := b.Decide(c, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Apply(e); err != nil {
			t.Fatal(err)
		}
	}
	var out bytes.Buffer
	if err := b.Cut().Save(&out, new(sync.Mutex)); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// TestReadBookCutShort: no beginning of a saved book is one.
func TestReadBookCutShort(t *testing.T) {
	whole := savedBook(t)
	if _, err := ReadBook(bytes.NewReader(whole)); err != nil {
		t.Fatal(err)
	}
	for n := range whole {
		if _, err := ReadBook(bytes.NewReader(whole[:n])); err == nil {
			t.Fatalf("the first %d of %d bytes are taken for a book", n, len(whole))
		}
	}
}

// FuzzReadBook: whatever is read, there is an error or a book whose sums hold.
func FuzzReadBook(f *testing.F) {
	f.Add(savedBook(f))
	f.Add([]byte("e\x00"))
	f.Fuzz(func(t *testing.T, content []byte) {
		b, err := ReadBook(bytes.NewReader(content))
		if err != nil {
			return
		}
		reserved := map[id.SKU]int64{}
		for _, p := range b.reservations {
			for _, l := range b.unpack(p).Left() {
				reserved[l.SKU] += l.Quantity
			}
		}
		for sku, u := range b.stock {
			if !u.sound() || u.reserved != reserved[sku] {
				t.Fatalf("%+v with %d reserved", u, reserved[sku])
			}
		}
	})
}

// TestSaveFails: an error of the writer is told, and the cut is over.
func TestSaveFails(t *testing.T) {
	b := NewBook()
	if err := b.Apply(Received{SKU: "a", Quantity: 1, Reference: "x"}); err != nil {
		t.Fatal(err)
	}
	if err := b.Cut().Save(full{}, new(sync.Mutex)); !errors.Is(err, errFull) || b.cut != nil {
		t.Fatalf("%v, the cut %v", err, b.cut)
	}
}

var errFull = errors.New("full")

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errFull }

// BenchmarkCut saves a book of 100,000 open reservations and says for how long the owner's lock is held at once, some 370 times.
func BenchmarkCut(b *testing.B) {
	book := NewBook()
	for i := range 20 {
		if err := book.Apply(Received{SKU: id.SKU(fmt.Sprintf("item-%02d", i)), Quantity: MaxQuantity, Reference: "x"}); err != nil {
			b.Fatal(err)
		}
	}
	for i := range 100_000 {
		lines := []Line{{id.SKU(fmt.Sprintf("item-%02d", i%10)), 1}, {id.SKU(fmt.Sprintf("item-%02d", 10+i%10)), 2}}
		if err := book.Apply(Held{ReservationID: id.Reservation(fmt.Sprintf("%026d-r", i)), Lines: lines, At: at("10:00:00")}); err != nil {
			b.Fatal(err)
		}
	}
	var held []time.Duration
	var saved bytes.Buffer
	for b.Loop() {
		saved.Reset()
		lock := stopwatch{held: &held}
		lock.Lock()
		cut := book.Cut()
		lock.Unlock()
		if err := cut.Save(&saved, &lock); err != nil {
			b.Fatal(err)
		}
	}
	slices.Sort(held)
	b.ReportMetric(float64(held[len(held)/2].Microseconds()), "p50-held-µs")
	b.ReportMetric(float64(held[len(held)*99/100].Microseconds()), "p99-held-µs")
	b.ReportMetric(float64(saved.Len())/1e6, "MB")
	start := time.Now()
	if _, err := ReadBook(&saved); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(time.Since(start).Milliseconds()), "read-ms")
}

// stopwatch is a lock that knows for how long it was held.
type stopwatch struct {
	sync.Mutex
	since time.Time
	held  *[]time.Duration
}

func (s *stopwatch) Lock() {
	s.Mutex.Lock()
	s.since = time.Now()
}

func (s *stopwatch) Unlock() {
	*s.held = append(*s.held, time.Since(s.since))
	s.Mutex.Unlock()
}
