package lean

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// valve relays between a client and its server. Shut, it does not read what the client sends.
type valve struct {
	t    testing.TB
	kind string // of the client's socket: tcp, unix, or pipe
	all  sync.WaitGroup

	mu   sync.Mutex
	open chan struct{} // closed while it is open
	rest time.Duration // after each read of 16 KB
}

func newValve(t testing.TB, transport string) *valve {
	v := &valve{t: t, kind: "tcp", open: make(chan struct{})}
	switch transport {
	case "process":
		v.kind = "pipe"
	case "unix":
		v.kind = "unix"
	}
	close(v.open)
	t.Cleanup(v.all.Wait)
	return v
}

func (v *valve) shut() (open func()) {
	v.mu.Lock()
	defer v.mu.Unlock()
	closed := make(chan struct{})
	v.open = closed
	return sync.OnceFunc(func() { close(closed) })
}

// put stands between a client and the connection to its server.
func (v *valve) put(out net.Conn) net.Conn {
	mine, in := v.pair()
	v.all.Go(func() {
		defer in.Close()
		defer out.Close()
		buffer := make([]byte, 16<<10)
		for {
			v.mu.Lock()
			open, rest := v.open, v.rest
			v.mu.Unlock()
			<-open
			time.Sleep(rest)
			n, err := in.Read(buffer)
			if err == nil {
				_, err = out.Write(buffer[:n])
			}
			if err != nil {
				return
			}
		}
	})
	v.all.Go(func() {
		defer in.Close()
		defer out.Close()
		_, _ = io.Copy(in, out)
	})
	return mine
}

func (v *valve) pair() (mine, theirs net.Conn) {
	if v.kind == "pipe" {
		return net.Pipe()
	}
	address := "127.0.0.1:0"
	if v.kind == "unix" {
		address = filepath.Join(v.t.TempDir(), "s")
	}
	l, err := net.Listen(v.kind, address)
	if err != nil {
		v.t.Error(err)
		return net.Pipe()
	}
	defer l.Close()
	mine, err = net.Dial(v.kind, l.Addr().String())
	if err == nil {
		theirs, err = l.Accept()
	}
	if err != nil {
		v.t.Error(err)
		return net.Pipe()
	}
	return mine, theirs
}

// client is one behind the valve.
func (v *valve) client(p *place, transport string) *Conn {
	v.t.Helper()
	c, err := p.lean(transport, Login{}, func(o *Options) {
		if dial := o.Dial; dial != nil {
			o.Dial = func(ctx context.Context) (net.Conn, error) {
				conn, err := dial(ctx)
				if err != nil {
					return nil, err
				}
				return v.put(conn), nil
			}
		}
		o.Wrap = v.put
	})
	if err != nil {
		v.t.Fatal(err)
	}
	v.t.Cleanup(c.Close)
	return c
}

// A request to a server that reads slowly is not written by its caller for long, however many writes TLS or WebSocket make of it.
func TestServerThatReadsSlowly(t *testing.T) {
	more := func(o *server.Options) { o.MaxPayload = 1 << 20 }
	open, secured := newPlace(t, false, more), newPlace(t, true, more)
	for _, transport := range transports {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			p := open
			if isSecure(transport) {
				p = secured
			}
			other, err := p.lean(transport, Login{})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(other.Close)
			echo(t, other, transport+".echo")
			v := newValve(t, "process") // which keeps nothing on its way
			c := v.client(p, transport)
			large := bytes.Repeat([]byte("x"), 1000<<10)
			if m, err := request(within(t), c, transport+".echo", nil, large); err != nil || len(m.Data) != len(large) {
				t.Fatalf("%d bytes came back, %v", len(m.Data), err)
			}
			v.mu.Lock()
			v.rest = 10 * time.Millisecond
			v.mu.Unlock()
			began := time.Now()
			sent, err := c.Start(transport+".echo", nil, large)
			if took := time.Since(began); err != nil || took > 300*time.Millisecond {
				t.Errorf("it was written for %v, %v", took, err)
			}
			if m, err := sent.WaitFor(within(t), 10*time.Second); err != nil || !bytes.Equal(m.Data, large) {
				t.Errorf("%d bytes came back, %v", len(m.Data), err)
			}
			if c.Sessions() != 1 {
				t.Errorf("%d sessions", c.Sessions())
			}
		})
	}
}

// What a layer above says in between, with a deadline of its own, ends nothing that is caught up.
func TestSocketKeepsDeadlinesToItself(t *testing.T) {
	ours, theirs := net.Pipe()
	defer theirs.Close()
	s := newSocket(ours)
	defer s.Close()
	s.bound()
	if n, err := s.Write(make([]byte, 10)); n != 10 || err != nil || !s.behind.Load() {
		t.Fatalf("%d bytes, %v, behind: %v", n, err, s.behind.Load())
	}
	finished := make(chan error, 1)
	go func() { finished <- s.finish() }()
	if err := s.SetWriteDeadline(time.Now().Add(20 * time.Millisecond)); err != nil {
		t.Error(err)
	}
	time.Sleep(60 * time.Millisecond)
	if _, err := io.ReadFull(theirs, make([]byte, 10)); err != nil {
		t.Error(err)
	}
	if err := <-finished; err != nil {
		t.Errorf("it was not caught up: %v", err)
	}
}

// A request to a server that does not read ends with its context, on every transport. What was handed over goes out once the server
// reads again: whole, once, and in order.
func TestServerThatDoesNotRead(t *testing.T) {
	more := func(o *server.Options) { o.MaxPayload = 1 << 20 }
	open, secured := newPlace(t, false, more), newPlace(t, true, more)
	large := bytes.Repeat([]byte("x"), 1000<<10)
	for _, transport := range transports {
		t.Run(transport, func(t *testing.T) {
			p := open
			if isSecure(transport) {
				p = secured
			}
			subject := transport + ".heard"
			heard := make(chan []byte, 100)
			other, err := p.lean(transport, Login{})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(other.Close)
			if _, err := other.Subscribe(subject, "", func(m Msg) { heard <- m.Data }); err != nil {
				t.Fatal(err)
			}
			if err := other.Flush(within(t)); err != nil {
				t.Fatal(err)
			}
			v := newValve(t, transport)
			c := v.client(p, transport)
			release := v.shut()
			t.Cleanup(release)
			const full, requests, most, slack = 12, 20, 200 * time.Millisecond, 100 * time.Millisecond
			payload := func(n int) []byte {
				if n < full || n >= full+requests {
					return append(fmt.Appendf(nil, "%d:", n), large...)
				}
				return fmt.Appendf(nil, "%d", n)
			}
			for n := range full { // more than the sockets hold
				began := time.Now()
				if err := c.Publish(subject, nil, payload(n)); err != nil {
					t.Fatal(err)
				}
				if took := time.Since(began); took > time.Second { // most of it is memory that grows
					t.Errorf("sending took %v", took)
				}
			}
			var all sync.WaitGroup
			for n := range requests {
				began := time.Now()
				p, err := c.Start(subject, nil, payload(full+n)) // one after another, so that their order is known
				if err != nil {
					t.Fatal(err)
				}
				all.Go(func() {
					if _, err := p.WaitFor(t.Context(), most); !errors.Is(err, context.DeadlineExceeded) {
						t.Errorf("a request ended with %v", err)
					}
					if took := time.Since(began); took > most+slack {
						t.Errorf("a request of %v ended after %v", most, took)
					}
				})
			}
			all.Wait()
			sent := full + requests
			for ; err == nil && sent < 100; sent++ {
				err = c.Publish(subject, nil, payload(sent))
			}
			if !errors.Is(err, errCongested) {
				t.Errorf("what waits has no bound: %d were taken, %v", sent, err)
			}
			sent-- // the last was refused
			release()
			for n := range sent {
				select {
				case got := <-heard:
					if !bytes.Equal(got, payload(n)) {
						t.Fatalf("%d bytes came that begin with %.10q in place of the %d-th", len(got), got, n)
					}
				case <-within(t).Done():
					t.Fatalf("the %d-th did not come", n)
				}
			}
			if err := c.Flush(within(t)); err != nil || c.Sessions() != 1 || len(heard) != 0 {
				t.Errorf("afterwards: %v, after %d sessions, %d too many", err, c.Sessions(), len(heard))
			}
		})
	}
}
