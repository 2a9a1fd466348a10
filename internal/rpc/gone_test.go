package rpc

import (
	"context"
	"errors"
	"testing"
	"time"

	"waybill/internal/fault"
)

// look calls CancelGone as its owner does, until the test ends, and counts what it cancelled.
func (b *bus) look(s *Server) (cancelled func() int) {
	ctx, cancel := context.WithCancel(context.Background())
	done, count := make(chan struct{}), 0
	go func() {
		defer close(done)
		tick := time.NewTicker(LookForGone)
		defer tick.Stop()
		for {
			select {
			case now := <-tick.C:
				count += s.CancelGone(now, b.server.GlobalAccount().SubscriptionInterest)
			case <-ctx.Done():
				return
			}
		}
	}()
	end := func() int { cancel(); <-done; return count }
	b.t.Cleanup(func() { end() })
	return end
}

// slowly answers when its context ends, with what ended it, or when it is let go.
func slowly(began chan<- string, ended chan<- error, open <-chan struct{}) func(context.Context, *ask) (*answer, error) {
	return func(ctx context.Context, a *ask) (*answer, error) {
		began <- a.Name
		select {
		case <-ctx.Done():
			ended <- context.Cause(ctx)
			return nil, ctx.Err()
		case <-open:
			return greet(ctx, a)
		}
	}
}

func TestARequestIsCancelledWhenItsCallerHasGone(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	began, ended, open := make(chan string, 8), make(chan error, 8), make(chan struct{})
	s := b.serve(silent, func(s *Server) { Handle(s, endpointNamed("get"), slowly(began, ended, open)) })
	cancelled := b.look(s)

	stays, lives := NewCaller(b.link(), "local"), make(chan error, 1)
	go func() {
		_, err := Call(within(t), stays, endpointNamed("get"), &ask{Name: "stays"})
		lives <- err
	}()
	receive(t, began, "the handler of the caller that stays")

	dies := b.connect() // plain nats.go: one that dies, and one that gives its reply subject up
	leaves := b.connect()
	for name, gone := range map[string]func(cancel context.CancelFunc){
		"the connection broke":   func(context.CancelFunc) { dies.Close() },
		"the subject given up":   func(cancel context.CancelFunc) { cancel() },
		"nobody ever heard":      nil,
		"nobody, and none looks": nil,
	} {
		ctx, cancel := context.WithCancel(within(t))
		subject, payload := endpointNamed("get").Subject("local"), []byte(`{"name":"`+"dies"+`"}`)
		asked := make(chan struct{})
		switch name {
		case "the connection broke":
			go func() { defer close(asked); _, _ = dies.RequestWithContext(ctx, subject, payload) }()
		case "the subject given up":
			go func() {
				defer close(asked)
				inbox := leaves.NewInbox()
				sub, err := leaves.SubscribeSync(inbox)
				if err == nil {
					err = leaves.PublishRequest(subject, inbox, payload)
				}
				if err == nil {
					_, _ = sub.NextMsgWithContext(ctx)
					err = sub.Unsubscribe()
				}
				if err != nil {
					t.Error(err)
				}
			}()
		default:
			close(asked)
			if err := leaves.PublishRequest(subject, "nobody.hears", payload); err != nil {
				t.Fatal(err)
			}
		}
		receive(t, began, "the handler")
		went := time.Now()
		if gone != nil {
			gone(cancel)
		}
		if cause := receive(t, ended, name); !errors.Is(cause, ErrCallerGone) || fault.CodeOf(cause) != fault.DeadlineExceeded {
			t.Errorf("%s: the context ended with %v", name, cause)
		}
		if took := time.Since(went); took > time.Second {
			t.Errorf("%s: it took %v", name, took)
		}
		cancel()
		<-asked
	}
	if n := cancelled(); n != 4 {
		t.Errorf("%d requests were cancelled", n)
	}
	close(open)
	if err := receive(t, lives, "the reply to the caller that stays"); err != nil {
		t.Errorf("the caller that stayed: %v", err)
	}
	stop(t, s)
	if get := s.Stats().Endpoints[0]; get.Gone != 4 || get.Count != 5 || get.Errors[fault.DeadlineExceeded] != 4 || get.InFlight != 0 {
		t.Errorf("counted %+v", get)
	}
}

// The worker of a request that was given up, and of one that was over before it was, serves the next one as any other.
func TestGivingUpReachesOneRequestOnly(t *testing.T) {
	b := newBus(t)
	began, ended, open := make(chan string, 8), make(chan error, 8), make(chan struct{}, 8)
	s := b.serve(silent, func(s *Server) { Handle(s, endpointNamed("get"), slowly(began, ended, open)) })
	nobody, later := func(string) bool { return false }, func() time.Time { return time.Now().Add(time.Hour) }
	c := NewCaller(b.link(), "local")
	ask1 := func() <-chan error {
		out := make(chan error, 1)
		go func() {
			_, err := Call(within(t), c, endpointNamed("get"), &ask{Name: "x"})
			out <- err
		}()
		receive(t, began, "the handler")
		return out
	}
	for range 20 {
		first := ask1()
		seen := s.workers.slow(later())
		open <- struct{}{}
		if err := receive(t, first, "the answer"); err != nil {
			t.Fatal(err)
		}
		second := ask1()
		for _, c := range seen { // as a look does that was held up
			if c.giveUp() {
				t.Fatal("a request was given up that was over")
			}
		}
		looked := later()
		for _, late := range []time.Duration{0, time.Millisecond} { // of two that were due, the second comes at once
			if n := s.CancelGone(looked.Add(late), nobody); n != 0 {
				t.Fatalf("%d were cancelled at the first look", n)
			}
		}
		if n := s.CancelGone(looked.Add(LookForGone), nobody); n != 1 {
			t.Fatalf("%d were cancelled at the second look", n)
		}
		receive(t, ended, "the end")
		refused(t, receive(t, second, "the answer"), fault.DeadlineExceeded, "")
		third := ask1()
		open <- struct{}{}
		if err := receive(t, third, "the answer"); err != nil {
			t.Fatalf("the request after it: %v", err)
		}
	}
	if n := s.CancelGone(later(), nobody); n != 0 {
		t.Errorf("%d were cancelled with none at work", n)
	}
}
