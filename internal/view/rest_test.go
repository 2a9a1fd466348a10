package view_test

import (
	"path/filepath"
	"slices"
	"testing"
	"time"

	"waybill/internal/view"
)

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
