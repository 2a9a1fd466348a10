package rpc

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"

	"waybill/internal/fault"
	"waybill/internal/lean"
)

func TestAtTheLimitTheExcessIsRefusedAtOnce(t *testing.T) {
	b := newBus(t)
	var most atomic.Int64
	most.Store(3)
	entered, open := make(chan struct{}, 8), make(chan struct{})
	o := silent
	o.MaxInFlight = func() int { return int(most.Load()) }
	s := b.serve(o, func(s *Server) {
		for _, method := range []string{"get", "more"} {
			Handle(s, endpointNamed(method), func(ctx context.Context, a *ask) (*answer, error) {
				entered <- struct{}{}
				<-open
				return greet(ctx, a)
			})
		}
		Handle(s, endpointNamed("list"), greet)
	})
	c := NewCaller(b.link(), "local")
	ctx := within(t)
	var held sync.WaitGroup
	hold := func(method string) {
		held.Go(func() {
			if _, err := Call(ctx, c, endpointNamed(method), &ask{Name: "x"}); err != nil {
				t.Errorf("an admitted request: %v", err)
			}
		})
		receive(t, entered, "the handler")
	}
	for range 3 {
		hold("get")
	}
	for range 20 { // also on another endpoint: the limit is the service's
		_, err := Call(ctx, c, endpointNamed("list"), &ask{Name: "x"})
		refused(t, err, fault.ResourceExhausted, "")
	}
	most.Store(4) // the setting is live
	hold("more")
	close(open)
	held.Wait()
	stop(t, s)
	stats := s.Stats()
	if list := stats.Endpoints[2]; list.Count != 20 || list.Errors[fault.ResourceExhausted] != 20 {
		t.Errorf("list counts %+v", list)
	}
	if get := stats.Endpoints[0]; get.Count != 3 || len(get.Errors) != 0 || get.InFlight != 0 || stats.InFlight != 0 {
		t.Errorf("get counts %+v of %+v", get, stats)
	}
}

func TestAPublishIsIgnored(t *testing.T) {
	b := newBus(t)
	s := b.serve(silent, func(s *Server) {
		Handle(s, endpointNamed("get"), func(ctx context.Context, a *ask) (*answer, error) {
			if a.Name == "published" {
				t.Error("the handler ran for a message that wants no reply")
			}
			return greet(ctx, a)
		})
	})
	nc := b.connect()
	if err := nc.Publish(endpointNamed("get").Subject("local"), []byte(`{"name":"published"}`)); err != nil {
		t.Fatal(err)
	}
	// The same connection and subscription: when this is answered, the publish has been seen.
	if _, err := Call(within(t), NewCaller(lean.Over(nc), "local"), endpointNamed("get"), &ask{Name: "x"}); err != nil {
		t.Fatal(err)
	}
	if n := s.Stats().Ignored; n != 1 {
		t.Errorf("%d messages were ignored", n)
	}
}
