package rpc

import (
	"context"
	"testing"
	"time"

	"waybill/internal/lean"
)

// answers keeps what a request was answered.
type answers chan string

func (a answers) Answer(_ string, _ lean.Header, data []byte) error {
	a <- string(data)
	return nil
}

// A request is served on the goroutine that hands it over where that offers itself and the endpoint has lately been brief; what is slow
// holds it up once.
func TestABriefEndpointIsServedWhereItsRequestArrives(t *testing.T) {
	if !locally {
		t.Skip("requests come over a connection here, whose goroutine has others to read")
	}
	b := newBus(t)
	var pause time.Duration
	s := b.serve(silent, func(s *Server) {
		Handle(s, endpointNamed("get"), func(_ context.Context, a *ask) (*answer, error) {
			time.Sleep(pause)
			return greet(t.Context(), a)
		})
	})
	for b.server.GlobalAccount().Interest(endpointNamed("get").Subject("local")) != 1 {
		time.Sleep(time.Millisecond)
	}
	h, ok := b.local.Find([]byte(endpointNamed("get").Subject("local")))
	if !ok {
		t.Fatal("nobody hears it")
	}
	got := make(answers, 1)
	// ask reports whether the answer was there when the request was handed over.
	ask := func(here bool) bool {
		t.Helper()
		h.Deliver("reply", []byte(`{"name":"a"}`), 0, got, here)
		done := len(got) > 0
		receive(t, got, "the answer")
		return done
	}
	brief := func() bool {
		for range 100 * enoughShort { // some take longer on a busy machine
			if ask(true) {
				return true
			}
		}
		return false
	}
	if ask(true) {
		t.Error("an endpoint of which nothing is known was served at once")
	}
	if !brief() {
		t.Error("it never becomes brief")
	}
	pause = 2 * shortTime
	ask(true)
	if ask(true) {
		t.Error("a slow endpoint was served at once")
	}
	for range 2 * enoughShort {
		h.Deliver("reply", []byte(`{"nonsense":1}`), 0, got, false)
		receive(t, got, "the refusal")
	}
	if ask(true) {
		t.Error("refusals have made a slow endpoint brief")
	}
	pause = 0
	if !brief() {
		t.Error("it does not become brief again")
	}
	for until := time.Now().Add(patience); s.Stats().InFlight > 0; time.Sleep(time.Millisecond) { // a worker leaves after its answer
		if time.Now().After(until) {
			t.Fatalf("%d are in flight", s.Stats().InFlight)
		}
	}
	if n := len(s.workers.spare); n != 1 {
		t.Errorf("%d workers are spare", n)
	}
}
