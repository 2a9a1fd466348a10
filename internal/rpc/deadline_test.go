package rpc

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"waybill/internal/fault"
	"waybill/internal/lean"
)

func TestDeadlineReachesTheHandler(t *testing.T) {
	b := newBus(t)
	left := make(chan time.Duration, 1)
	b.serve(silent, func(s *Server) {
		Handle(s, endpointNamed("get"), func(ctx context.Context, a *ask) (*answer, error) {
			d, _ := ctx.Deadline()
			left <- time.Until(d)
			if a.Name == "wait" {
				<-ctx.Done()
				return nil, fmt.Errorf("waiting: %w", ctx.Err())
			}
			return greet(ctx, a)
		})
	})
	nc := b.connect()
	c := NewCaller(lean.Over(nc), "local")
	for name, tc := range map[string]struct {
		header   nats.Header
		min, max time.Duration
	}{
		"default":  {nil, 4 * time.Second, DefaultTimeout},
		"given":    {nats.Header{"Waybill-Timeout": {"60000"}}, 50 * time.Second, time.Minute},
		"greatest": {nats.Header{"Waybill-Timeout": {"3600000"}}, 59 * time.Minute, time.Hour},
	} {
		msg := &nats.Msg{Subject: endpointNamed("get").Subject("local"), Data: []byte(`{"name":"x"}`), Header: tc.header}
		if _, err := nc.RequestMsgWithContext(within(t), msg); err != nil {
			t.Fatal(err)
		}
		if d := receive(t, left, "the handler"); d < tc.min || d > tc.max {
			t.Errorf("%s: %v left", name, d)
		}
	}
	// The handler's own words for a context that ended, to a caller that still listens.
	_, err := CallRaw(within(t), c, endpointNamed("get").Subject("local"), []byte(`{"name":"wait"}`), nats.Header{"Waybill-Timeout": {"20"}})
	refused(t, err, fault.DeadlineExceeded, "")
	if d := receive(t, left, "the handler"); d > 20*time.Millisecond {
		t.Errorf("%v left of 20 ms", d)
	}
	// What is left of the caller's context is what the handler gets.
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if _, err := Call(ctx, c, endpointNamed("get"), &ask{Name: "x"}); err != nil {
		t.Fatal(err)
	}
	if d := receive(t, left, "the handler"); d > 2*time.Second || d < time.Second {
		t.Errorf("%v left of 2 s", d)
	}
}

// A request's context is what context.WithDeadline makes, whenever it is looked at.
func TestBoundedContext(t *testing.T) {
	why := errors.New("stopped")
	root, stop := context.WithCancelCause(context.WithValue(t.Context(), keyOfIdempotency{}, "x"))
	bounded := func(d time.Duration) *boundedContext { return &boundedContext{Context: root, until: time.Now().Add(d)} }

	late := bounded(-time.Millisecond)
	if !errors.Is(late.Err(), context.DeadlineExceeded) || !errors.Is(context.Cause(late), context.DeadlineExceeded) {
		t.Errorf("after its time: %v, %v", late.Err(), context.Cause(late))
	}
	soon := bounded(5 * time.Millisecond)
	child, cancel := context.WithCancel(soon)
	defer cancel()
	receive(t, child.Done(), "the child of one whose time is over")
	if !errors.Is(child.Err(), context.DeadlineExceeded) {
		t.Errorf("the child ended with %v", child.Err())
	}
	done, unseen, seen := bounded(time.Hour), bounded(time.Hour), bounded(time.Hour)
	if done.Err() != nil || unseen.Err() != nil || done.Value(keyOfIdempotency{}) != "x" {
		t.Errorf("before: %v, %v", done.Err(), unseen.Err())
	}
	held := done.Done()
	done.end()
	unseen.end()
	receive(t, held, "the end")
	receive(t, unseen.Done(), "the end of one that nobody had looked at")
	for _, c := range []*boundedContext{done, unseen} {
		if !errors.Is(c.Err(), context.Canceled) {
			t.Errorf("after its request: %v", c.Err())
		}
	}
	held = seen.Done()
	lazy := bounded(time.Hour)
	stop(why)
	receive(t, held, "the end with its parent")
	for _, c := range []*boundedContext{seen, lazy} {
		if !errors.Is(c.Err(), context.Canceled) || !errors.Is(context.Cause(c), why) {
			t.Errorf("with its parent: %v, %v", c.Err(), context.Cause(c))
		}
	}
}
