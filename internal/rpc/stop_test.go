package rpc

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"waybill/internal/fault"
	"waybill/internal/lean"
)

func TestStopFinishesWhatIsInFlight(t *testing.T) {
	b := newBus(t)
	entered, open := make(chan struct{}), make(chan struct{})
	s := b.serve(silent, func(s *Server) {
		Handle(s, endpointNamed("get"), func(ctx context.Context, a *ask) (*answer, error) {
			entered <- struct{}{}
			<-open
			return greet(ctx, a)
		})
	})
	c := NewCaller(b.link(), "local")
	ctx := within(t)
	answered, stopped := make(chan error, 1), make(chan error, 1)
	go func() {
		_, err := Call(ctx, c, endpointNamed("get"), &ask{Name: "x"})
		answered <- err
	}()
	receive(t, entered, "the handler")
	go func() { stopped <- s.Stop(ctx) }()
	// The stop unsubscribes first: from some moment on nobody serves, or a straggler is told to ask again.
	for {
		_, err := CallRaw(ctx, c, endpointNamed("get").Subject("local"), []byte(`{}`), nil)
		if fault.CodeOf(err) == fault.Unavailable {
			break
		}
		refused(t, err, fault.InvalidArgument, "name")
	}
	select {
	case err := <-stopped:
		t.Fatalf("stopped with a request in flight: %v", err)
	default:
	}
	close(open)
	if err := receive(t, answered, "the answer"); err != nil {
		t.Error(err)
	}
	if err := receive(t, stopped, "the stop"); err != nil {
		t.Error(err)
	}
	if err := s.Stop(ctx); err != nil {
		t.Errorf("a second stop: %v", err)
	}
}

func TestStopCancelsWhatDoesNotFinish(t *testing.T) {
	b := newBus(t)
	entered := make(chan struct{})
	s := b.serve(silent, func(s *Server) {
		Handle(s, endpointNamed("get"), func(ctx context.Context, _ *ask) (*answer, error) {
			close(entered)
			<-ctx.Done()
			return nil, ctx.Err()
		})
	})
	c := NewCaller(b.link(), "local")
	ctx := within(t)
	answered := make(chan error, 1)
	go func() {
		_, err := Call(ctx, c, endpointNamed("get"), &ask{Name: "x"})
		answered <- err
	}()
	receive(t, entered, "the handler")
	short, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
	defer cancel()
	if err := s.Stop(short); err != nil {
		t.Error(err)
	}
	f := refused(t, receive(t, answered, "the answer"), fault.Unavailable, "")
	if !strings.Contains(f.Message, "stopped before") {
		t.Errorf("says %q", f.Message)
	}
}

func TestStopReportsAHandlerThatIgnoresItsContext(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	entered, open := make(chan struct{}), make(chan struct{})
	s := b.serve(silent, func(s *Server) {
		Handle(s, endpointNamed("get"), func(ctx context.Context, a *ask) (*answer, error) {
			close(entered)
			<-open
			return greet(ctx, a)
		})
	})
	c := NewCaller(b.link(), "local")
	ctx := within(t)
	answered := make(chan error, 1)
	go func() {
		_, err := Call(ctx, c, endpointNamed("get"), &ask{Name: "x"})
		answered <- err
	}()
	receive(t, entered, "the handler")
	now, cancel := context.WithCancel(ctx)
	cancel()
	if err := s.Stop(now); err == nil || !strings.Contains(err.Error(), "1 requests did not end") {
		t.Errorf("Stop says %v", err)
	}
	close(open)
	if err := receive(t, answered, "the answer"); err != nil {
		t.Error(err)
	}
}

// Every request of a crowd that meets a stop is answered: done, or told to ask again, or told that nobody serves.
func TestStopUnderLoadLosesNoRequest(t *testing.T) {
	b := newBus(t)
	var handled atomic.Int64
	s := b.serve(silent, func(s *Server) {
		Handle(s, endpointNamed("get"), func(ctx context.Context, a *ask) (*answer, error) {
			handled.Add(1)
			return greet(ctx, a)
		})
	})
	c := NewCaller(b.link(), "local")
	ctx := within(t)
	var crowd sync.WaitGroup
	var done atomic.Int64
	warm := make(chan struct{}, 16)
	for range 16 {
		crowd.Go(func() {
			for i := 0; ; i++ {
				_, err := Call(ctx, c, endpointNamed("get"), &ask{Name: "x"})
				if err != nil {
					if fault.CodeOf(err) != fault.Unavailable {
						t.Errorf("after %d: %v", i, err)
					}
					return
				}
				done.Add(1)
				if i == 20 {
					warm <- struct{}{}
				}
			}
		})
	}
	for range 16 {
		receive(t, warm, "the crowd")
	}
	stop(t, s)
	crowd.Wait()
	if handled.Load() != done.Load() {
		t.Errorf("%d were handled, %d callers know", handled.Load(), done.Load())
	}
	if free := s.workers.free.Load(); free > maxParked {
		t.Errorf("%d workers are parked", free)
	}
}

func TestPauseAndResume(t *testing.T) {
	b := newBus(t)
	s := b.serve(silent, func(s *Server) { Handle(s, endpointNamed("get"), greet) })
	c := NewCaller(b.link(), "local")
	for range 3 {
		if _, err := Call(within(t), c, endpointNamed("get"), &ask{Name: "x"}); err != nil {
			t.Fatal(err)
		}
		if err := s.Pause(); err != nil {
			t.Fatal(err)
		}
		if err := s.Pause(); err != nil {
			t.Errorf("a second pause: %v", err)
		}
		if err := s.bus.Flush(within(t)); err != nil {
			t.Fatal(err)
		}
		_, err := Call(within(t), c, endpointNamed("get"), &ask{Name: "x"})
		unanswered(t, err, fault.Unavailable, false)
		if err := s.Resume(); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Pause(); err != nil {
		t.Fatal(err)
	}
	stop(t, s) // also of a paused server
	if err := s.Resume(); err != nil || len(s.heard) > 0 {
		t.Errorf("a stopped server resumed: %v", err)
	}
}

func TestAClosedConnectionDoesNotHinderTheStop(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	s := b.serve(silent, func(s *Server) { Handle(s, endpointNamed("get"), greet) })
	if _, err := Call(within(t), NewCaller(b.link(), "local"), endpointNamed("get"), &ask{Name: "x"}); err != nil {
		t.Fatal(err)
	}
	b.server.Shutdown()
	b.server.WaitForShutdown()
	if c, ok := s.bus.(*lean.Conn); ok {
		c.Close()
	}
	stop(t, s)
}

func TestManyRequestsOnReusedWorkers(t *testing.T) {
	b := newBus(t)
	s := b.serve(silent, func(s *Server) { Handle(s, endpointNamed("get"), greet) })
	c := NewCaller(b.link(), "local")
	ctx := within(t)
	var crowd sync.WaitGroup
	for g := range 100 {
		crowd.Go(func() {
			for i := range 50 {
				name := fmt.Sprintf("%d-%d", g, i)
				if res, err := Call(ctx, c, endpointNamed("get"), &ask{Name: name}); err != nil || res.Greeting != "hello "+name {
					t.Errorf("%s: %v, %v", name, res, err)
				}
			}
		})
	}
	crowd.Wait()
	if n := s.Stats().Endpoints[0].Count; n != 5000 {
		t.Errorf("%d requests were counted", n)
	}
	if free := s.workers.free.Load(); free > maxParked {
		t.Errorf("%d workers are parked", free)
	}
}

// Workers that many requests at once have left behind go when they have had nothing to do for a while; a few stay.
func TestWorkersRest(t *testing.T) {
	b := newBus(t)
	entered, open := make(chan struct{}, maxParked), make(chan struct{})
	s := b.serve(silent, func(s *Server) { serveHeld(s, entered, open) })
	c := NewCaller(b.link(), "local")
	ctx := within(t)
	var crowd sync.WaitGroup
	for range 2 * keptParked {
		crowd.Go(func() {
			if _, err := Call(ctx, c, endpointNamed("get"), &ask{Name: "x"}); err != nil {
				t.Error(err)
			}
		})
	}
	for range 2 * keptParked {
		receive(t, entered, "the crowd")
	}
	close(open)
	crowd.Wait()
	for s.workers.free.Load() < 2*keptParked {
		time.Sleep(time.Millisecond)
	}
	s.Rest()
	if free := s.workers.free.Load(); free != 2*keptParked {
		t.Errorf("%d workers are left of those that had something to do", free)
	}
	s.Rest()
	if free := s.workers.free.Load(); free != keptParked {
		t.Errorf("%d workers are left", free)
	}
	for until := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		s.workers.mu.Lock()
		n := len(s.workers.all)
		s.workers.mu.Unlock()
		if n == keptParked {
			break
		}
		if time.Now().After(until) {
			t.Fatalf("%d workers live", n)
		}
	}
	if _, err := Call(ctx, c, endpointNamed("get"), &ask{Name: "x"}); err != nil {
		t.Error(err)
	}
}
