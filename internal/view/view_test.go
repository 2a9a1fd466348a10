package view_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"waybill/internal/fault"
	"waybill/internal/timestamp"
	"waybill/internal/view"
	"waybill/subjects"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func wantCode(t *testing.T, err error, code fault.Code) {
	t.Helper()
	if err == nil || fault.CodeOf(err) != code {
		t.Fatalf("got %v, want %s", err, code)
	}
}

func wantPosition(t *testing.T, v *view.View, sequence uint64) {
	t.Helper()
	if at, _, err := v.Position(t.Context()); err != nil || at != sequence {
		t.Fatalf("position %d (%v), want %d", at, err, sequence)
	}
}

func TestApplyIsWholeOrNothing(t *testing.T) {
	v := open(t, filepath.Join(t.TempDir(), "view.db"))
	w := newWorld()
	w.order(completed)
	events := w.take()
	apply(t, v, events, 7)
	before := dump(t, v)

	w.order(completed)
	next := w.take()
	broken := append([]view.Event(nil), next...)
	broken[3].State = []byte(`{"status":7}`)
	wantCode(t, v.Apply(t.Context(), broken[:4]), fault.Internal)
	swapped := []view.Event{next[1], next[0]}
	wantCode(t, v.Apply(t.Context(), swapped), fault.Internal)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := v.Apply(ended, next); !errors.Is(err, context.Canceled) {
		t.Fatalf("with an ended context: %v", err)
	}
	if after := dump(t, v); after != before {
		t.Fatalf("a refused batch left something:\n%s", after)
	}
	wantPosition(t, v, uint64(len(events)))
	apply(t, v, next, len(next))
	apply(t, v, append(events, next...), 5) // all of it again
	wantPosition(t, v, uint64(len(events)+len(next)))

	fresh := open(t, filepath.Join(t.TempDir(), "view.db"))
	apply(t, fresh, append(events, next...), 1000)
	if a, b := dump(t, v), dump(t, fresh); a != b {
		t.Fatalf("grown:\n%s\nrebuilt:\n%s", a, b)
	}
}

// brokenOff is a context that ends after it was asked n times.
type brokenOff struct {
	context.Context
	left int
}

func (c *brokenOff) Err() error {
	if c.left--; c.left < 0 {
		return context.Canceled
	}
	return nil
}

func TestApplyBrokenOffBetweenRows(t *testing.T) {
	v := open(t, filepath.Join(t.TempDir(), "view.db"))
	w := newWorld()
	for range 4 {
		w.order(completed)
	}
	events := w.take()
	half := len(events) / 2
	apply(t, v, events[:half], half)
	before := dump(t, v)
	for n := range 8 {
		if err := v.Apply(&brokenOff{t.Context(), n}, events[half:]); !errors.Is(err, context.Canceled) {
			t.Fatalf("broken off after %d: %v", n, err)
		}
		if after := dump(t, v); after != before {
			t.Fatalf("broken off after %d, it left something:\n%s", n, after)
		}
	}
	apply(t, v, events[half:], half)
	fresh := open(t, filepath.Join(t.TempDir(), "view.db"))
	apply(t, fresh, events, 1)
	if a, b := dump(t, v), dump(t, fresh); a != b {
		t.Fatalf("broken off and repeated:\n%s\nrebuilt:\n%s", a, b)
	}
}

func TestUnknownKindsMoveThePosition(t *testing.T) {
	v := open(t, filepath.Join(t.TempDir(), "view.db"))
	apply(t, v, []view.Event{
		{Sequence: 5, Kind: subjects.KindLeader, ID: "inventory", EventID: "e5", State: []byte(`{}`)},
		{Sequence: 9, Kind: "brand-new", ID: "x", EventID: "e9", State: []byte(`not even JSON`)},
	}, 2)
	if at, id, err := v.Position(t.Context()); at != 9 || id != "e9" || err != nil {
		t.Fatalf("position %d %q %v", at, id, err)
	}
	if d := dump(t, v); d != "position 9 e9\n" {
		t.Fatalf("dump %q", d)
	}
}

func TestReset(t *testing.T) {
	v := open(t, filepath.Join(t.TempDir(), "view.db"))
	w := newWorld()
	w.order(completed)
	w.order(completed)
	events := w.take()
	apply(t, v, events, 1000)
	want := dump(t, v)
	if err := v.Reset(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantPosition(t, v, 0)
	if d := dump(t, v); d != "position 0 \n" {
		t.Fatalf("after a reset: %s", d)
	}
	apply(t, v, events, 3)
	if d := dump(t, v); d != want {
		t.Fatalf("rebuilt:\n%s\nbefore:\n%s", d, want)
	}
}

func TestWaitFor(t *testing.T) {
	v := open(t, filepath.Join(t.TempDir(), "view.db"))
	w := newWorld()
	w.order(completed)
	events := w.take()
	last := events[len(events)-1].Sequence
	if err := v.WaitFor(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 3)
	for range 3 {
		go func() { done <- v.WaitFor(t.Context(), last) }()
	}
	apply(t, v, events, 2)
	for range 3 {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	wantCode(t, v.WaitFor(ctx, last+1), fault.DeadlineExceeded)
	go func() { done <- v.WaitFor(t.Context(), last+1) }()
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	wantCode(t, <-done, fault.Unavailable)
}

func TestClosed(t *testing.T) {
	v := open(t, filepath.Join(t.TempDir(), "view.db"))
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	calls := map[string]func() error{
		"Position":     func() error { _, _, err := v.Position(ctx); return err },
		"Apply":        func() error { return v.Apply(ctx, []view.Event{{Sequence: 1, Kind: subjects.KindLeader}}) },
		"Reset":        func() error { return v.Reset(ctx) },
		"WaitFor":      func() error { return v.WaitFor(ctx, 0) },
		"Orders":       func() error { _, _, err := v.Orders(ctx, view.OrderFilter{}); return err },
		"Shipments":    func() error { _, _, err := v.Shipments(ctx, view.ShipmentFilter{}); return err },
		"Items":        func() error { _, _, err := v.Items(ctx, 0, ""); return err },
		"Due":          func() error { _, err := v.Due(ctx, timestamp.Time{}, 1); return err },
		"NextDueAfter": func() error { _, _, err := v.NextDueAfter(ctx, timestamp.Time{}); return err },
		"Dump":         func() error { return v.Dump(ctx, &bytes.Buffer{}) },
	}
	for name, call := range calls {
		t.Run(name, func(t *testing.T) { wantCode(t, call(), fault.Unavailable) })
	}
	if err := v.Close(); err != nil {
		t.Fatalf("closed again: %v", err)
	}
}

func TestDueChanged(t *testing.T) {
	v := open(t, filepath.Join(t.TempDir(), "view.db"))
	signalled := func() bool {
		select {
		case <-v.DueChanged():
			return true
		default:
			return false
		}
	}
	due := func(sequence uint64, at string) []view.Event {
		return []view.Event{{Sequence: sequence, Kind: subjects.KindPayment, ID: "p", State: fmt.Appendf(nil, `{"status":"unknown"%s}`, at)}}
	}
	apply(t, v, due(1, ""), 1)
	if signalled() {
		t.Fatal("signalled without anything due")
	}
	apply(t, v, due(2, `,"due_at":"2026-03-01T12:00:00.500Z"`), 1)
	apply(t, v, due(3, `,"due_at":"2026-03-01T12:00:01.000Z"`), 1)
	if !signalled() || signalled() {
		t.Fatal("want one signal for two commits that nobody took")
	}
	if at, ok, err := v.NextDueAfter(t.Context(), timestamp.Time{}); err != nil || !ok || at.String() != "2026-03-01T12:00:01.000Z" {
		t.Fatal(at, ok, err)
	}
	apply(t, v, due(4, ""), 1)
	if _, ok, err := v.NextDueAfter(t.Context(), timestamp.Time{}); err != nil || ok {
		t.Fatal("still on the list", err)
	}
	if _, err := v.Due(t.Context(), timestamp.Of(noon), 0); fault.From(err).Field != "limit" {
		t.Fatal(err)
	}
}

func TestReadersDontBlockTheWriter(t *testing.T) {
	v := open(t, filepath.Join(t.TempDir(), "view.db"))
	w := newWorld()
	for range 200 {
		w.order(completed)
	}
	apply(t, v, w.take(), 5000)
	// The dump stands still in the middle, with its transaction open, until the view has taken in more.
	stalled, carryOn := make(chan struct{}), make(chan struct{})
	result := make(chan error, 1)
	go func() { result <- v.Dump(t.Context(), &stallingWriter{stalled: stalled, carryOn: carryOn}) }()
	<-stalled
	w.order(completed)
	events := w.take()
	apply(t, v, events, 100)
	wantPosition(t, v, events[len(events)-1].Sequence)
	if rows, _, err := v.Orders(t.Context(), view.OrderFilter{Limit: 1}); err != nil || rows[0].OrderID != orderID(200) {
		t.Fatal(rows, err)
	}
	close(carryOn)
	if err := <-result; err != nil {
		t.Fatal(err)
	}
}

type stallingWriter struct {
	stalled, carryOn chan struct{}
	writes           int
}

func (s *stallingWriter) Write(b []byte) (int, error) {
	if s.writes++; s.writes == 1 {
		close(s.stalled)
		<-s.carryOn
	}
	return len(b), nil
}

func TestReadEndsWithItsContext(t *testing.T) {
	v := open(t, filepath.Join(t.TempDir(), "view.db"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, _, err := v.Orders(ctx, view.OrderFilter{})
	if !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	wantCode(t, err, fault.DeadlineExceeded)
}

func TestOpenSaysWhatIsWrong(t *testing.T) {
	_, err := view.Open(t.Context(), filepath.Join(t.TempDir(), "no", "such", "directory", "view.db"), zerolog.Nop())
	wantCode(t, err, fault.Unavailable)
}
