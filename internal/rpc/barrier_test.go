package rpc

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"waybill/internal/fault"
	"waybill/internal/scope"
	"waybill/subjects"
)

// nested serves put, which calls get twice with options and rests itself on sequence 7; get rests on 40, then 41.
func nested(t *testing.T, b *bus, barrier Barrier, options ...CallOption) *Caller {
	o := silent
	o.Barrier = barrier
	inner := NewCaller(b.link(), "local")
	next := uint64(39)
	b.serve(o, func(s *Server) {
		Handle(s, endpointNamed("get"), func(ctx context.Context, a *ask) (*answer, error) {
			next++
			scope.Note(ctx, next)
			if a.Name == "refuse" {
				return nil, fault.New(fault.FailedPrecondition, "no")
			}
			return greet(ctx, a)
		})
		Handle(s, endpointNamed("put"), func(ctx context.Context, a *ask) (*answer, error) {
			scope.Note(ctx, 7)
			if _, err := Call(ctx, inner, endpointNamed("get"), &ask{Name: "x"}, options...); err != nil {
				return nil, err
			}
			return Call(ctx, inner, endpointNamed("get"), a, options...)
		})
		Handle(s, endpointNamed("list"), greet) // rests on nothing
	})
	return NewCaller(b.link(), "local")
}

func TestBarrierWaitsOnceForTheHighestSequenceOfInnerCalls(t *testing.T) {
	barrier := &fakeBarrier{}
	c := nested(t, newBus(t), barrier, WithDefer())
	s := &scope.Scope{Cause: "outer"}
	var reply Reply
	if _, err := Call(scope.With(within(t), s), c, endpointNamed("put"), &ask{Name: "x"}, WithReply(&reply)); err != nil {
		t.Fatal(err)
	}
	if n, waited := barrier.waiters.Load(), barrier.waited.Load(); n != 1 || waited != 41 {
		t.Errorf("%d waits, the highest for %d", n, waited)
	}
	if reply.Durability() != "strict" || reply.Sequence() != 41 || s.Highest() != 41 {
		t.Errorf("reply says %v, scope %d", reply.Header, s.Highest())
	}
}

func TestARefusalRestsOnTheJournalToo(t *testing.T) {
	barrier := &fakeBarrier{}
	c := nested(t, newBus(t), barrier, WithDefer())
	_, err := Call(within(t), c, endpointNamed("put"), &ask{Name: "refuse"})
	refused(t, err, fault.FailedPrecondition, "")
	if n, waited := barrier.waiters.Load(), barrier.waited.Load(); n != 1 || waited != 41 {
		t.Errorf("%d waits, the highest for %d: the inner refusal's sequence was lost", n, waited)
	}
}

func TestWithoutDeferEachCallWaits(t *testing.T) {
	barrier := &fakeBarrier{}
	c := nested(t, newBus(t), barrier)
	if _, err := Call(within(t), c, endpointNamed("put"), &ask{Name: "x"}); err != nil {
		t.Fatal(err)
	}
	if n := barrier.waiters.Load(); n != 3 {
		t.Errorf("%d waits", n)
	}
}

func TestDeferredAndFastRepliesDoNotWait(t *testing.T) {
	for name, tc := range map[string]struct {
		barrier *fakeBarrier
		header  nats.Header
		want    string
	}{
		"deferred":       {&fakeBarrier{fail: errors.New("asked")}, nats.Header{"Waybill-Barrier": {"defer"}}, "fast"},
		"fast":           {&fakeBarrier{fast: true, fail: errors.New("asked")}, nil, "fast"},
		"other barriers": {&fakeBarrier{}, nats.Header{"Waybill-Barrier": {"none"}}, "strict"},
	} {
		c := nested(t, newBus(t), tc.barrier)
		reply, err := CallRaw(within(t), c, endpointNamed("get").Subject("local"), []byte(`{"name":"x"}`), tc.header)
		if err != nil || reply.Durability() != tc.want || reply.Sequence() != 40 {
			t.Errorf("%s: %v, %v", name, reply, err)
		}
		if waits := tc.barrier.waiters.Load(); (waits > 0) != (tc.want == "strict") {
			t.Errorf("%s: %d waits", name, waits)
		}
	}
}

func TestABarrierThatFailsHidesTheOutcome(t *testing.T) {
	c := nested(t, newBus(t), &fakeBarrier{fail: errors.New("disk on fire")})
	for _, name := range []string{"x", "refuse"} {
		_, err := Call(within(t), c, endpointNamed("get"), &ask{Name: name})
		if f := refused(t, err, fault.Unavailable, ""); strings.Contains(f.Error(), "fire") {
			t.Errorf("the caller sees %v", f)
		}
	}
	if _, err := Call(within(t), c, endpointNamed("list"), &ask{Name: "x"}); err != nil {
		t.Errorf("a reply that rests on nothing: %v", err)
	}
}

func TestABarrierThatTakesTooLongIsDeadlineExceeded(t *testing.T) {
	c := nested(t, newBus(t), &fakeBarrier{hold: make(chan struct{})})
	_, err := CallRaw(within(t), c, endpointNamed("get").Subject("local"), []byte(`{"name":"x"}`), nats.Header{subjects.HeaderTimeout: {"20"}})
	refused(t, err, fault.DeadlineExceeded, "")
}

func TestTheReplyComesAfterTheBarrier(t *testing.T) {
	barrier := &fakeBarrier{hold: make(chan struct{})}
	c := nested(t, newBus(t), barrier)
	ctx := within(t)
	done := make(chan error, 1)
	go func() {
		_, err := Call(ctx, c, endpointNamed("get"), &ask{Name: "x"})
		done <- err
	}()
	select {
	case err := <-done:
		t.Fatalf("answered before the barrier: %v", err)
	case <-time.After(30 * time.Millisecond): // not for order, but for a wrong reply to come
	}
	close(barrier.hold)
	if err := receive(t, done, "the reply"); err != nil {
		t.Error(err)
	}
}
