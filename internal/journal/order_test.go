package journal

import (
	"testing"
	"time"
)

func TestOrder(t *testing.T) {
	const patience = time.Second
	o := newOrder(patience)
	now := time.Now()
	r := func(sequence uint64) Record { return Record{Subject: "s", Sequence: sequence} }
	blocked := func(sequence uint64, want bool) time.Duration {
		t.Helper()
		wait, got := o.blocked(r(sequence), now)
		if got != want {
			t.Fatalf("event %d blocked: %v, want %v", sequence, got, want)
		}
		return wait
	}
	blocked(1, false)
	o.fail(r(1), 1, now.Add(time.Minute))
	if n := o.tries(r(1)); n != 1 {
		t.Errorf("%d tries, want 1", n)
	}
	for _, s := range []uint64{2, 3, 4} {
		if wait := blocked(s, true); wait <= time.Minute {
			t.Errorf("event %d waits %v, want it behind event 1", s, wait)
		}
	}
	if _, other := o.blocked(Record{Subject: "other", Sequence: 9}, now); other {
		t.Error("another subject waits")
	}

	// They come again in any order, and go in theirs.
	now = now.Add(time.Minute)
	blocked(3, true)
	blocked(1, false)
	o.settle(r(1), now)
	blocked(4, true)
	blocked(3, true)
	blocked(2, false)
	o.settle(r(2), now)
	blocked(4, true)
	blocked(3, false)
	o.fail(r(3), 1, now.Add(time.Minute))
	blocked(4, true)

	// One that never comes again is waited for so long and no longer.
	now = now.Add(time.Minute + patience)
	blocked(4, true)
	now = now.Add(time.Millisecond)
	blocked(4, false)
	o.settle(r(4), now)
	if len(o.lines) != 0 {
		t.Errorf("%d lines are left", len(o.lines))
	}
	// What comes again before one that failed goes first.
	o.fail(r(9), 2, now)
	blocked(8, false)
	o.fail(r(8), 1, now)
	if a, b := o.tries(r(8)), o.tries(r(9)); a != 1 || b != 0 {
		t.Errorf("%d and %d tries, want 1, and 0 for what waits", a, b)
	}

	for i := range 3 * maxPending {
		o.fail(Record{Subject: string(rune(1000 + i)), Sequence: 1}, 1, now.Add(time.Duration(i)*10*time.Millisecond))
	}
	if n := len(o.lines); n > 2*maxPending+1 {
		t.Errorf("%d lines, want them bounded", n)
	}
}
