package view_test

import (
	"path/filepath"
	"slices"
	"testing"
	"time"

	"waybill/internal/timestamp"
	"waybill/internal/view"
)

// TestForgotten: a large batch in which some aggregates are new, and some stand in the file and are not remembered, changes the view
// as small ones do.
func TestForgotten(t *testing.T) {
	w := newWorld()
	for range 60 {
		w.order(completed)
	}
	events := interleave(w.take(), 20)
	want := open(t, filepath.Join(t.TempDir(), "view.db"))
	apply(t, want, events, 1)
	for _, cut := range []int{1, 100, len(events) / 2, len(events) - 100} {
		path := filepath.Join(t.TempDir(), "view.db")
		v, _ := openLogged(t, path)
		apply(t, v, events[:cut], cut)
		mustClose(t, v)
		v, _ = openLogged(t, path)
		apply(t, v, events[cut:], len(events))
		if a, b := dump(t, v), dump(t, want); a != b {
			t.Errorf("cut at %d it is:\n%s\nnot\n%s", cut, a, b)
		}
		day := newWorld().clock
		for n := range 3 { // the bounds of time in spans are written once for many orders
			f := view.OrderFilter{Since: timestamp.Of(day.Add(time.Duration(n) * 15 * time.Second)), Limit: 100}
			rows, _, err := v.Orders(t.Context(), f)
			same, _, err2 := want.Orders(t.Context(), f)
			if err != nil || err2 != nil || len(rows) == 0 || len(rows) != len(same) {
				t.Errorf("cut at %d: %d orders since %v, want %d (%v, %v)", cut, len(rows), f.Since, len(same), err, err2)
			}
		}
	}
}

// TestRest: a view without events lets go of what it remembers, by itself, and goes on as one that never rested.
func TestRest(t *testing.T) {
	v := open(t, filepath.Join(t.TempDir(), "view.db"))
	w := newWorld()
	for range 20 {
		w.order(completed)
	}
	events := w.take()
	half := len(events) / 2 // in the midst of an order
	apply(t, v, events[:half], 7)
	if view.Remembered(v) == 0 {
		t.Fatal("nothing is remembered of what was just written")
	}
	view.RestNow(v)
	for deadline := time.Now().Add(10 * time.Second); view.Remembered(v) > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d rows are remembered at rest", view.Remembered(v))
		}
	}
	apply(t, v, events[half:], 7)
	if !view.RestNow(v) {
		t.Error("after events the view does not wait for its next rest")
	}

	busy := open(t, filepath.Join(t.TempDir(), "view.db"))
	apply(t, busy, slices.Clone(events), 7)
	if got, want := dump(t, v), dump(t, busy); got != want {
		t.Errorf("a view that rested differs:\n%s\nnot\n%s", got, want)
	}
}
