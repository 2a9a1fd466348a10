package rpc

import (
	"context"
	"runtime"
	"sync"
	"testing"
	"time"

	"waybill/internal/fault"
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
		b.leave(b.now.Add(-took), b.now.Add(-took), b.now, 0, true)
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
		b.leave(b.now, b.now, b.now, 0, false)
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
	if n := b.room(); n < 4*burst {
		t.Errorf("%d get in after a time in which all were quick and more came", n)
	}
	b.interval(t, 1, time.Second, 0.9)
	for range 20 {
		b.interval(t, 50, time.Second, 0.9)
	}
	room(burst, "after a time in which none was refused")
	b.refused.Store(true)
	b.interval(t, 1, time.Second, 0.9)
	room(leastInFlight, "where hardly any was served again")
	b.now = b.now.Add(brakeForgets + time.Millisecond)
	room(burst, "after a second without a request")
}

// A slow payment gateway is no overload, though the processors are at work: what is in flight may wait for it.
func TestBrakeOfASlowGateway(t *testing.T) {
	b := newBraked(100 * time.Millisecond)
	serve := func(n int) {
		b.used += brakeInterval
		b.now = b.now.Add(brakeInterval)
		b.refused.Store(true)
		for range n {
			b.inFlight.Add(1)
			b.leave(b.now.Add(-500*time.Millisecond), b.now.Add(-500*time.Millisecond), b.now, 490*time.Millisecond, true)
		}
	}
	for range 20 {
		serve(240) // 1,200/s, each for half a second
	}
	if n := b.room(); n < 600 {
		t.Errorf("%d get in, and 600 are in flight at that rate", n)
	}
	for range 20 {
		b.now = b.now.Add(brakeForgets + time.Millisecond) // until the gateway's time is over
		b.room()
	}
	if n := b.room(); n < 4*burst {
		t.Errorf("%d get in while the gateway hangs", n)
	}
}

// Requests that wait for somebody else, and not for a processor, are no overload; those that a processor kept waiting are.
func TestBrakeOfOthers(t *testing.T) {
	b := newBraked(100 * time.Millisecond)
	for range 5 {
		b.refused.Store(true)
		b.now = b.now.Add(brakeInterval)
		for range 10 {
			b.inFlight.Add(1)
			b.leave(b.now.Add(-5*time.Second), b.now.Add(-5*time.Second), b.now, 0, true)
		}
	}
	if n := b.room(); n < burst {
		t.Errorf("%d get in while the processors rest, fewer than %d", n, burst)
	}
	b.now = b.now.Add(brakeInterval)
	b.inFlight.Add(1)
	b.leave(b.now.Add(-time.Second), b.now, b.now, 0, true)
	if n := b.room(); n != leastInFlight {
		t.Errorf("%d get in while others have the processors", n)
	}
}

// serveHeld has s serve get, which says when it is entered and stays until open is closed, and list, which answers at once.
func serveHeld(s *Server, entered chan<- struct{}, open <-chan struct{}) {
	Handle(s, endpointNamed("get"), func(ctx context.Context, a *ask) (*answer, error) {
		entered <- struct{}{}
		<-open
		return greet(ctx, a)
	})
	Handle(s, endpointNamed("list"), greet)
}

// A method that is brisk turns away what its brake does not let in, and nothing else of the service; what has left makes room.
func TestBrakeOfAService(t *testing.T) {
	b := newBus(t)
	entered, open := make(chan struct{}, burst), make(chan struct{})
	o := silent
	o.Brisk = map[string]time.Duration{"get": time.Second}
	s := b.serve(o, func(s *Server) {
		serveHeld(s, entered, open)
	})
	s.endpoints[0].brake.bound.Store(leastInFlight)
	c := NewCaller(b.link(), "local")
	ctx := within(t)
	var held sync.WaitGroup
	for range leastInFlight {
		held.Go(func() {
			if _, err := Call(ctx, c, endpointNamed("get"), &ask{Name: "x"}); err != nil {
				t.Errorf("a request that found room: %v", err)
			}
		})
	}
	for range leastInFlight {
		receive(t, entered, "the handler")
	}
	_, err := Call(ctx, c, endpointNamed("get"), &ask{Name: "x"})
	refused(t, err, fault.ResourceExhausted, "")
	if _, err := Call(ctx, c, endpointNamed("list"), &ask{Name: "x"}); err != nil {
		t.Errorf("another method: %v", err)
	}
	close(open)
	held.Wait()
	for s.endpoints[0].brake.inFlight.Load() > 0 && ctx.Err() == nil { // a request leaves just after its reply
		runtime.Gosched()
	}
	if _, err := Call(ctx, c, endpointNamed("get"), &ask{Name: "x"}); err != nil {
		t.Errorf("after the others: %v", err)
	}
	stop(t, s)
	if stats := s.Stats(); stats.InFlight != 0 || s.endpoints[0].brake.inFlight.Load() != 0 || stats.Endpoints[0].Errors[fault.ResourceExhausted] != 1 {
		t.Errorf("%+v, %d in the brake", stats, s.endpoints[0].brake.inFlight.Load())
	}
}
