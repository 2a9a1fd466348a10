package rpc

import (
	"runtime"
	"testing"
	"time"
)

// braked is a brake with a clock and a processor of its own.
type braked struct {
	*brake
	now  time.Time
	used time.Duration
}

func newBraked(target time.Duration) *braked {
	b := &braked{brake: newBrake(target)}
	b.cpu = func() time.Duration { return b.used }
	b.brake.used = 0
	b.now = b.began
	return b
}

// interval lets the time of an interval pass, in which n requests are served that took so long, with so much of the processors.
func (b *braked) interval(t *testing.T, n int, took time.Duration, share float64) {
	t.Helper()
	b.used += time.Duration(share * float64(brakeInterval) * float64(runtime.GOMAXPROCS(0)))
	b.now = b.now.Add(brakeInterval)
	for range n {
		b.inFlight.Add(1)
		b.leave(b.now.Add(-took), b.now.Add(-took), b.now, true)
	}
	if left := b.inFlight.Load(); left != 0 {
		t.Fatalf("%d are in flight", left)
	}
}

// room is how many requests get in at once. They leave without having been served.
func (b *braked) room() int {
	n := 0
	for b.enter(b.now) {
		n++
	}
	for range n {
		b.leave(b.now, b.now, b.now, false)
	}
	return n
}

func TestBrake(t *testing.T) {
	b := newBraked(100 * time.Millisecond)
	room := func(want int, when string) {
		t.Helper()
		if n := b.room(); n != want { // the next one was refused
			t.Errorf("%d get in %s, not %d", n, when, want)
		}
	}
	room(burst, "at first")
	b.interval(t, 1, time.Second, 0.9) // the first one ends the interval
	room(leastInFlight, "where hardly any was served")
	b.interval(t, 200, time.Second, 0.9) // so does this one: the bound grows, as none was refused since
	b.refused.Store(true)
	b.interval(t, 1, time.Second, 0.9)
	room(100, "where 200 were served in twice the target")
	for range 20 {
		b.refused.Store(true)
		b.interval(t, 50, 50*time.Millisecond, 0.9)
	}
	room(burst, "after a time in which all were quick")
	b.interval(t, 1, time.Second, 0.9)
	for range 10 {
		b.interval(t, 50, time.Second, 0.9)
	}
	room(burst, "after a time in which none was refused")
	b.interval(t, 1, time.Second, 0.9)
	b.now = b.now.Add(brakeForgets + time.Millisecond)
	room(burst, "after a second without a request")
}

// Requests that wait for somebody else, and not for a processor, are no overload; those that a processor kept waiting are.
func TestBrakeOfOthers(t *testing.T) {
	b := newBraked(100 * time.Millisecond)
	for range 5 {
		b.refused.Store(true)
		b.interval(t, 10, 5*time.Second, 0.1)
	}
	if n := b.room(); n != burst {
		t.Errorf("%d get in while the processors rest, not %d", n, burst)
	}
	b.now = b.now.Add(brakeInterval)
	b.inFlight.Add(1)
	b.leave(b.now.Add(-time.Second), b.now.Add(-time.Second+2*brakeWait*11), b.now, true) // with the nine that are left
	if n := b.room(); n != leastInFlight {
		t.Errorf("%d get in while others have the processors, not %d", n, leastInFlight)
	}
}
