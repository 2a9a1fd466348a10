package rpc

import (
	"strings"
	"sync"
	"testing"

	"waybill/internal/fault"
)

// An endpoint that is asked too much does not take the places of the service's others, nor of the probe.
func TestAnEndpointTakesNoMoreThanItsShare(t *testing.T) {
	b := newBus(t)
	entered, open := make(chan struct{}, 8), make(chan struct{})
	o := silent
	o.MaxInFlight = func() int { return 32 }
	s := b.serve(o, func(s *Server) {
		serveHeld(s, entered, open)
	})
	c, ctx := NewCaller(b.link(), "local"), within(t)
	var held sync.WaitGroup
	for range 24 {
		held.Go(func() {
			if _, err := Call(ctx, c, endpointNamed("get"), &ask{Name: "x"}); err != nil {
				t.Errorf("an admitted request: %v", err)
			}
		})
		receive(t, entered, "the handler")
	}
	for range 20 {
		_, err := Call(ctx, c, endpointNamed("get"), &ask{Name: "x"})
		if f := refused(t, err, fault.ResourceExhausted, ""); !strings.Contains(f.Message, "catalog.get") {
			t.Fatalf("the refusal does not name the endpoint: %s", f.Message)
		}
		if _, err := Call(ctx, c, endpointNamed("list"), &ask{Name: "x"}); err != nil {
			t.Fatalf("another endpoint: %v", err)
		}
		if busy, err := Probe(ctx, c, s.service, "one"); busy || err != nil {
			t.Fatalf("the probe: busy %v, %v", busy, err)
		}
	}
	if get := s.Stats().Endpoints[0]; get.Crowded != 20 || get.InFlight != 24 {
		t.Errorf("counted %+v", get)
	}
	close(open)
	held.Wait()
	stop(t, s)
	if get, list := s.Stats().Endpoints[0], s.Stats().Endpoints[1]; get.InFlight != 0 || get.Count != 44 || list.Crowded != 0 || list.InFlight != 0 {
		t.Errorf("counted %+v and %+v", get, list)
	}
}

func TestShare(t *testing.T) {
	for most, want := range map[int]int64{1: 1, 2: 2, 3: 3, 4: 3, 7: 6, 8: 6, 1024: 768, 65536: 49152} {
		if got := share(most); got != want {
			t.Errorf("of %d places one endpoint gets %d, want %d", most, got, want)
		}
	}
}
