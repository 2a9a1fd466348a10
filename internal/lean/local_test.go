package lean

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// came counts the messages that the server was sent.
func came(t testing.TB, s *server.Server) int64 {
	t.Helper()
	v, err := s.Varz(nil)
	if err != nil {
		t.Fatal(err)
	}
	return v.InMsgs
}

// Requests within the process don't reach the server where it would have given them to the same service, and only then.
func TestLocal(t *testing.T) {
	s := startServer(t)
	l := NewLocal(s.GlobalAccount().Interest)
	allowed := true
	local := func(o *Options) { o.Local, o.May = l, func(string) bool { return allowed } }
	service, caller := dial(t, s, local), dial(t, s, local)
	answer := func(c *Conn) func(Msg) {
		return func(m Msg) {
			var h Builder
			h.Set("Got", m.Get("Ask"))
			if err := m.Answer(h.Header(), append([]byte(m.Subject+" "), m.Data...), c.Later); err != nil {
				t.Error(err)
			}
		}
	}
	flush := func(c *Conn) {
		t.Helper()
		if err := c.Flush(within(t)); err != nil {
			t.Fatal(err)
		}
	}
	// ask makes a request, and says whether it was the server that brought it.
	ask := func(subject string) (byServer bool) {
		t.Helper()
		var h Builder
		h.Set("Ask", "a")
		before := came(t, s)
		m, err := request(within(t), caller, subject, h.Header(), []byte("data"))
		if err != nil || string(m.Data) != subject+" data" || m.Get("Got") != "a" {
			t.Fatalf("%q %q: %v", m.Data, m.Headers(), err)
		}
		flush(caller)
		return came(t, s) > before
	}
	stop, err := service.Subscribe("one", "q", answer(service))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := service.Subscribe("everybody", "", answer(service)); err != nil {
		t.Fatal(err)
	}
	if _, err := service.Subscribe("all.*", "q", answer(service)); err != nil {
		t.Fatal(err)
	}
	flush(service)
	if ask("one") {
		t.Error("it went through the server")
	}
	for _, subject := range []string{"everybody", "all.x"} {
		if !ask(subject) {
			t.Errorf("%s was delivered within the process", subject)
		}
	}
	allowed = false
	if !ask("one") {
		t.Error("what the user may not send was delivered")
	}
	allowed = true
	if big, err := request(within(t), caller, "one", nil, make([]byte, 65<<10)); !errors.Is(err, nats.ErrMaxPayload) {
		t.Errorf("too large: %d bytes, %v", len(big.Data), err)
	}

	other := dial(t, s)
	leave, err := other.Subscribe("one", "q", answer(other))
	if err != nil {
		t.Fatal(err)
	}
	flush(other)
	if !ask("one") {
		t.Error("another process's service gets nothing")
	}
	if err := leave(); err != nil {
		t.Fatal(err)
	}
	flush(other)
	if ask("one") {
		t.Error("it still goes through the server")
	}

	second := dial(t, s, local)
	if _, err := second.Subscribe("one", "q", answer(second)); err != nil {
		t.Fatal(err)
	}
	flush(second)
	if !ask("one") {
		t.Error("of two in the process one was chosen")
	}
	second.Close()
	for until := time.Now().Add(5 * time.Second); s.GlobalAccount().Interest("one") != 1; time.Sleep(time.Millisecond) {
		if time.Now().After(until) {
			t.Fatal("the server has not noticed")
		}
	}
	if ask("one") {
		t.Error("a connection that is closed is still counted")
	}

	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for j := range 500 {
				data := fmt.Appendf(nil, "%d.%d", i, j)
				if m, err := request(within(t), caller, "one", nil, data); err != nil || string(m.Data) != "one "+string(data) {
					t.Errorf("%s got %q: %v", data, m.Data, err)
					return
				}
			}
		})
	}
	all.Wait()
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	flush(service)
	if _, err := request(within(t), caller, "one", nil, nil); !errors.Is(err, nats.ErrNoResponders) {
		t.Errorf("after the stop: %v", err)
	}
}

// A reply that comes when its request was given up is nobody's.
func TestLocalLate(t *testing.T) {
	s := startServer(t)
	l := NewLocal(s.GlobalAccount().Interest)
	local := func(o *Options) { o.Local, o.May = l, func(string) bool { return true } }
	service, caller := dial(t, s, local), dial(t, s, local)
	asked := make(chan Msg, 2)
	if _, err := service.Subscribe("one", "q", func(m Msg) { asked <- m }); err != nil {
		t.Fatal(err)
	}
	if err := service.Flush(within(t)); err != nil {
		t.Fatal(err)
	}
	p, err := caller.Start("one", nil, []byte("first"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.WaitFor(within(t), 1); err == nil {
		t.Fatal("an answer")
	}
	if p, err = caller.Start("one", nil, []byte("second")); err != nil {
		t.Fatal(err)
	}
	for m := range asked {
		if err := m.Answer(nil, m.Data, service.Later); err != nil {
			t.Fatal(err)
		}
		if string(m.Data) == "second" {
			break
		}
	}
	if m, err := p.Wait(within(t)); err != nil || string(m.Data) != "second" {
		t.Errorf("%q, %v", m.Data, err)
	}
}

// A connection that is broken takes nothing that is another one's.
func TestLocalBroken(t *testing.T) {
	s := startServer(t)
	l := NewLocal(s.GlobalAccount().Interest)
	may := func(string) bool { return true }
	var under net.Conn
	service := dial(t, s, func(o *Options) {
		o.Local, o.May, o.Once = l, may, true
		o.Dial = func(context.Context) (_ net.Conn, err error) {
			under, err = s.InProcessConn()
			return under, err
		}
	})
	if _, err := service.Subscribe("one", "q", func(Msg) { t.Error("it was asked") }); err != nil {
		t.Fatal(err)
	}
	under.Close()
	for service.Connected() {
		time.Sleep(time.Millisecond)
	}
	echo(t, dial(t, s), "one")
	caller := dial(t, s, func(o *Options) { o.Local, o.May = l, may })
	for s.GlobalAccount().Interest("one") != 1 {
		time.Sleep(time.Millisecond)
	}
	if m, err := request(within(t), caller, "one", nil, []byte("data")); err != nil || string(m.Data) != "data" {
		t.Errorf("%q, %v", m.Data, err)
	}
}

// Callers and a service that wake each other without a pause leave the processors to others.
func TestLocalLeavesTheProcessor(t *testing.T) {
	s := startServer(t)
	l := NewLocal(s.GlobalAccount().Interest)
	local := func(o *Options) { o.Local, o.May = l, func(string) bool { return true } }
	service, other := dial(t, s, local), dial(t, s)
	requests := make(chan Msg, 128)
	if _, err := service.Subscribe("one", "q", func(m Msg) { requests <- m }); err != nil {
		t.Fatal(err)
	}
	if err := service.Flush(within(t)); err != nil {
		t.Fatal(err)
	}
	var all, workers sync.WaitGroup
	var asked atomic.Int64
	for range cap(requests) {
		workers.Go(func() {
			for m := range requests {
				_ = m.Answer(nil, m.Data, service.Later)
			}
		})
		caller := dial(t, s, local)
		all.Go(func() {
			for service.Connected() {
				if _, err := request(t.Context(), caller, "one", nil, nil); err != nil {
					return
				}
				asked.Add(1)
			}
		})
	}
	for asked.Load() < 10*int64(cap(requests)) {
		time.Sleep(time.Millisecond)
	}
	began := time.Now()
	for range 5 {
		if err := other.Flush(within(t)); err != nil {
			t.Error(err)
		}
	}
	took := time.Since(began) / 5
	service.Close()
	all.Wait()
	close(requests)
	workers.Wait()
	if took > 150*time.Millisecond {
		t.Errorf("another connection's ping takes %v", took)
	}
}
