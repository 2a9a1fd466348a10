package rpc

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"waybill/internal/fault"
	"waybill/subjects"
)

// TestProbe probes a server that serves, is full, is paused and has stopped. Its own statistics don't see the probes.
func TestProbe(t *testing.T) {
	b := newBus(t)
	entered, open := make(chan struct{}), make(chan struct{})
	s := b.serve(Options{MaxInFlight: func() int { return 1 }}, func(s *Server) {
		Handle(s, endpointNamed("get"), func(ctx context.Context, a *ask) (*answer, error) {
			close(entered)
			<-open
			return greet(ctx, a)
		})
	})
	c, ctx := NewCaller(b.link(), "local"), within(t)
	probe := func(what string, want bool) {
		t.Helper()
		if busy, err := Probe(ctx, c, subjects.Catalog, "one"); err != nil || busy != want {
			t.Errorf("a server that %s: busy %t, %v", what, busy, err)
		}
	}
	rest := func() { // a reply is there a moment before its request is over
		t.Helper()
		for s.limit.count() > 0 && ctx.Err() == nil {
			time.Sleep(time.Millisecond)
		}
	}
	probe("serves", false)
	rest()
	answered := make(chan error, 1)
	go func() {
		_, err := Call(ctx, c, endpointNamed("get"), &ask{Name: "x"})
		answered <- err
	}()
	receive(t, entered, "the handler")
	probe("is full", true)
	close(open)
	if err := receive(t, answered, "the answer"); err != nil {
		t.Error(err)
	}
	rest()
	if err := s.Pause(); err != nil {
		t.Fatal(err)
	}
	probe("is paused", false)
	if n := s.Stats().Endpoints[0].Count; n != 1 || len(s.Stats().Endpoints) != 1 {
		t.Errorf("after one request the statistics are %+v", s.Stats())
	}
	if err := s.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	_, err := Probe(ctx, c, subjects.Catalog, "one")
	var silent *NoAnswer
	if !errors.As(err, &silent) || !errors.Is(err, nats.ErrNoResponders) {
		t.Errorf("a server that has stopped: %v", err)
	}
}

func TestMeter(t *testing.T) {
	b := newBus(t)
	s := b.serve(Options{}, func(s *Server) { Handle(s, endpointNamed("get"), greet) })
	c, ctx := NewCaller(b.link(), "local"), within(t)
	m := s.Meter()
	for range 20 {
		if _, err := Call(ctx, c, endpointNamed("get"), &ask{Name: "x"}); err != nil {
			t.Fatal(err)
		}
	}
	_, err := Call(ctx, c, endpointNamed("get"), &ask{})
	refused(t, err, fault.InvalidArgument, "name")
	if r := m.Read(); r.Handled != 21 || r.Failed != 1 || r.Refused != 0 || r.PerSecond <= 0 || r.P99 <= 0 {
		t.Errorf("after 21 requests: %+v", r)
	}
	if r := m.Read(); r.Handled != 21 || r.PerSecond != 0 || r.P99 != 0 {
		t.Errorf("after nothing more: %+v", r)
	}
}

// TestStopUnderLoadRefusesNobody stops one of two servers of a queue group again and again: no caller notices.
func TestStopUnderLoadRefusesNobody(t *testing.T) {
	b := newBus(t)
	register := func(s *Server) { Handle(s, endpointNamed("get"), greet) }
	b.serve(Options{}, register)
	ctx, cancel := context.WithCancel(within(t))
	var callers sync.WaitGroup
	var handled atomic.Int64
	for range 64 {
		callers.Go(func() {
			c := NewCaller(b.link(), "local")
			for ctx.Err() == nil {
				if _, err := Call(ctx, c, endpointNamed("get"), &ask{Name: "x"}); err != nil && ctx.Err() == nil {
					t.Errorf("a caller was told %v", err)
				}
				handled.Add(1)
			}
		})
	}
	for range 12 {
		s := b.prepare(Options{})
		register(s)
		if err := s.Start(); err != nil {
			t.Fatal(err)
		}
		for before := handled.Load(); handled.Load() < before+200; {
			if ctx.Err() != nil {
				t.Fatal("the callers get nowhere")
			}
			time.Sleep(time.Millisecond)
		}
		stop(t, s)
	}
	cancel()
	callers.Wait()
}
