package view_test

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"waybill/internal/fault"
	"waybill/internal/timestamp"
	"waybill/internal/view"
)

// TestPagesWhileOrdersComeIn reads a list to its end while orders come in and change: each order that was there at the start
// is seen, none is seen twice, and the order of the list holds.
func TestPagesWhileOrdersComeIn(t *testing.T) {
	v := open(t, filepath.Join(t.TempDir(), "view.db"))
	w := newWorld()
	const before = 400
	for range before {
		w.order(confirmed)
	}
	apply(t, v, w.take(), 1000)
	for range 600 {
		w.order(completed)
	}
	coming := w.take()
	writing := make(chan error, 1)
	go func() {
		for len(coming) > 0 {
			n := min(13, len(coming))
			if err := v.Apply(t.Context(), coming[:n]); err != nil {
				writing <- err
				return
			}
			coming = coming[n:]
		}
		writing <- nil
	}()
	for range 5 {
		seen := map[string]bool{}
		last := uint64(1 << 62)
		cursor := ""
		for {
			rows, next, err := v.Orders(t.Context(), view.OrderFilter{Limit: 17, Cursor: cursor})
			if err != nil {
				t.Fatal(err)
			}
			if next != "" && len(rows) != 17 {
				t.Fatalf("a page of %d rows that is not the last", len(rows))
			}
			for _, r := range rows {
				if seen[r.OrderID] || r.Created >= last {
					t.Fatalf("order %s (%d) comes again or out of order", r.OrderID, r.Created)
				}
				seen[r.OrderID], last = true, r.Created
			}
			if cursor = next; next == "" {
				break
			}
		}
		for n := range before {
			if !seen[orderID(n)] {
				t.Fatalf("order %s was skipped", orderID(n))
			}
		}
	}
	if err := <-writing; err != nil {
		t.Fatal(err)
	}
}

func TestCursorsAreChecked(t *testing.T) {
	path := filepath.Join(t.TempDir(), "view.db")
	v := open(t, path)
	w := newWorld()
	for range 10 {
		w.order(completed)
	}
	events := w.take()
	apply(t, v, events, 1000)
	f := view.OrderFilter{Status: "completed", Limit: 3}
	_, cursor, err := v.Orders(t.Context(), f)
	if err != nil || cursor == "" {
		t.Fatal(cursor, err)
	}
	bad := func(err error) {
		t.Helper()
		var e *fault.Error
		if !errors.As(err, &e) || e.Code != fault.InvalidArgument || e.Field != "cursor" {
			t.Fatalf("got %v", err)
		}
	}
	for _, c := range []string{"x", "!", "AAAA", "AAAAAAAA", cursor + "A", cursor[1:], strings.ToUpper(cursor), cursor + "\n"} {
		g := f
		g.Cursor = c
		_, _, err := v.Orders(t.Context(), g)
		bad(err)
	}
	for _, g := range []view.OrderFilter{{}, {Status: "pending"}, {Status: "completed", Text: "x"}, {Status: "completed", CustomerID: "x"},
		{Status: "completed", Since: timestamp.Of(noon)}, {Status: "completed", Until: timestamp.Of(noon)}} {
		g.Cursor = cursor
		_, _, err := v.Orders(t.Context(), g)
		bad(err)
	}
	_, _, err = v.Shipments(t.Context(), view.ShipmentFilter{Status: "completed", Cursor: cursor})
	bad(err)
	_, _, err = v.Items(t.Context(), 3, cursor)
	bad(err)
	_, _, err = v.OrdersOfCustomer(t.Context(), "walk-in", 3, cursor)
	bad(err)

	// It stays good over another limit, a restart and a rebuild.
	f.Cursor, f.Limit = cursor, 5
	want, _, err := v.Orders(t.Context(), f)
	check(t, err)
	check(t, v.Close())
	v = open(t, path)
	check(t, v.Reset(t.Context()))
	apply(t, v, events, 3)
	got, _, err := v.Orders(t.Context(), f)
	check(t, err)
	if len(got) != 5 || got[0].OrderID != want[0].OrderID || got[4].OrderID != want[4].OrderID {
		t.Fatalf("got %v, want %v", got, want)
	}
}

func TestLimitAndTextAreChecked(t *testing.T) {
	v := open(t, filepath.Join(t.TempDir(), "view.db"))
	for _, c := range []struct {
		filter view.OrderFilter
		field  string
	}{
		{view.OrderFilter{Limit: -1}, "limit"},
		{view.OrderFilter{Limit: view.MaxLimit + 1}, "limit"},
		{view.OrderFilter{Text: strings.Repeat("x", view.MaxText+1)}, "text"},
		{view.OrderFilter{Text: "a\x00b"}, "text"},
		{view.OrderFilter{Text: "a\xffb"}, "text"},
	} {
		_, _, err := v.Orders(t.Context(), c.filter)
		if e := fault.From(err); e == nil || e.Code != fault.InvalidArgument || e.Field != c.field {
			t.Errorf("%+v: got %v", c.filter, err)
		}
	}
	w := newWorld()
	for range view.DefaultLimit + 1 {
		w.order(confirmed)
	}
	apply(t, v, w.take(), 1000)
	rows, next, err := v.Orders(t.Context(), view.OrderFilter{})
	if err != nil || len(rows) != view.DefaultLimit || next == "" {
		t.Fatal(len(rows), next, err)
	}
}
