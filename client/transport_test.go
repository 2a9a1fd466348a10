package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"waybill/internal/fault"
	"waybill/internal/lean"
	"waybill/subjects"
)

// relay is a Unix socket that leads to the site.
func (s *testSite) relay() string {
	s.t.Helper()
	dir, err := os.MkdirTemp("", "waybill") // t.TempDir is too long for a socket's name
	if err != nil {
		s.t.Fatal(err)
	}
	path := filepath.Join(dir, "nats.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		s.t.Fatal(err)
	}
	var all sync.WaitGroup
	s.t.Cleanup(func() { l.Close(); all.Wait(); os.RemoveAll(dir) })
	all.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", strings.TrimPrefix(s.url, "nats://"))
			if err != nil {
				in.Close()
				continue
			}
			// Who has something to say at the end is heard, whatever the other one writes meanwhile.
			copied := func(to, from net.Conn) {
				_, _ = io.Copy(to, from)
				_ = to.(interface{ CloseWrite() error }).CloseWrite()
			}
			all.Go(func() {
				var there sync.WaitGroup
				there.Go(func() { copied(out, in) })
				copied(in, out)
				there.Wait()
				in.Close()
				out.Close()
			})
		}
	})
	return path
}

// Calls and streams go over a Unix socket, whoever the URL names.
func TestUnixSocket(t *testing.T) {
	s := startSite(t)
	fill(s)
	serve(s, subjects.OrderGet, func(_ context.Context, r *subjects.GetOrderRequest) (*subjects.OrderInfo, error) {
		return order(r.OrderID, "confirmed"), nil
	})
	socket := s.relay()
	for _, url := range []string{"unix://" + socket, "unix://" + testUser + ":" + testPassword + "@" + socket, "unix:///nowhere/at.all,unix://" + socket} {
		c := s.connectTo(url)
		if o, err := c.Orders.Get(t.Context(), "o-1"); err != nil || o.OrderID != "o-1" {
			t.Errorf("%s: %+v, %v", url, o, err)
		}
		if last, err := c.Last(t.Context()); err != nil || last != 7 {
			t.Errorf("%s: the journal's last event is %d, %v", url, last, err)
		}
	}
	if _, err := Connect(t.Context(), "unix://eve:guess@"+socket, WithTransport(testTransport)); CodeOf(err) != subjects.Unauthenticated {
		t.Errorf("a stranger: %v", err)
	}
}

// Who only calls has one connection.
func TestOneConnection(t *testing.T) {
	s := startSite(t)
	s.journal()
	c := s.connect(WithRetry(NoRetry))
	_, _ = c.Orders.Get(t.Context(), "o-1")
	if n := s.opened(); n != 1 {
		t.Errorf("%d connections for a call", n)
	}
	for range 2 {
		if _, err := c.Last(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if n := s.opened(); n != 2 {
		t.Errorf("%d connections for calls and the journal", n)
	}
	c.Close()
	var outside *NotConnected
	if _, err := c.Conn(t.Context()); !errors.As(err, &outside) || CodeOf(err) != subjects.Unavailable {
		t.Errorf("a closed client opened a connection: %v", err)
	}
}

func (s *testSite) opened() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.sockets)
}

// A user who is refused when the connection comes back is told so at once.
func TestRefusedLater(t *testing.T) {
	if testTransport != Lean {
		return // nats.go does not say why it is not connected
	}
	o := server.Options{Host: "127.0.0.1", Port: -1, NoSigs: true, NoLog: true, Username: "ann", Password: "one"}
	start := func(o server.Options) *server.Server {
		ns, err := server.NewServer(&o)
		if err != nil {
			t.Fatal(err)
		}
		ns.Start()
		if !ns.ReadyForConnections(5 * time.Second) {
			t.Fatal("the server is not ready")
		}
		return ns
	}
	stop := func(ns *server.Server) { ns.Shutdown(); ns.WaitForShutdown() }
	ns := start(o)
	c, err := Connect(t.Context(), strings.Replace(ns.ClientURL(), "//", "//ann:one@", 1), WithTimeout(5*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	o.Port, o.Password = c.port(t), "two"
	stop(ns)
	ns = start(o)
	defer func() { stop(ns) }()
	for begun := time.Now(); ; {
		_, err := c.Orders.Get(t.Context(), "o-1")
		if CodeOf(err) == subjects.Unauthenticated && !IsNoAnswer(err) {
			break
		}
		if time.Since(begun) > 10*time.Second {
			t.Fatalf("the refusal came as %v", err)
		}
	}
}

func (c *Client) port(t *testing.T) int {
	address, err := net.ResolveTCPAddr("tcp", strings.TrimPrefix(c.URL(), "nats://"))
	if err != nil {
		t.Fatal(err)
	}
	return address.Port
}

// Drain lets a call have its answer, and takes no other.
func TestDrain(t *testing.T) {
	s := startSite(t)
	arrived, release := make(chan struct{}), make(chan struct{})
	serve(s, subjects.OrderGet, func(_ context.Context, r *subjects.GetOrderRequest) (*subjects.OrderInfo, error) {
		close(arrived)
		<-release
		return order(r.OrderID, "confirmed"), nil
	})
	c := s.connect()
	done, drained := make(chan error, 1), make(chan error, 1)
	go func() {
		_, err := c.Orders.Get(t.Context(), "o-1")
		done <- err
	}()
	<-arrived
	go func() { drained <- c.Drain(t.Context()) }()
	for !c.closed.Load() {
		time.Sleep(time.Millisecond)
	}
	close(release)
	if err := <-done; err != nil {
		t.Errorf("the call under way: %v", err)
	}
	if err := <-drained; err != nil {
		t.Errorf("drain: %v", err)
	}
	if _, err := c.Orders.Get(t.Context(), "o-1"); !IsNoAnswer(err) {
		t.Errorf("a call after that: %v", err)
	}
}

// A call that waits too long is asked once more, and the first good answer counts; what may not be repeated is asked once.
func TestHedging(t *testing.T) {
	s := startSite(t)
	var asked atomic.Int64
	gone := make(chan struct{})
	slowFirst := func(ctx context.Context) error {
		if asked.Add(1) == 1 {
			select {
			case <-gone:
			case <-ctx.Done():
			}
			return fault.New(fault.Unavailable, "too late")
		}
		return nil
	}
	serve(s, subjects.OrderGet, func(ctx context.Context, r *subjects.GetOrderRequest) (*subjects.OrderInfo, error) {
		return order(r.OrderID, "confirmed"), slowFirst(ctx)
	})
	serve(s, subjects.PaymentResume, func(ctx context.Context, r *subjects.ResumeRequest) (*subjects.PaymentInfo, error) {
		return &subjects.PaymentInfo{}, slowFirst(ctx)
	})
	serve(s, subjects.OrderPlace, func(ctx context.Context, r *subjects.PlaceRequest) (*subjects.OrderInfo, error) {
		return order("o-2", "confirmed"), slowFirst(ctx)
	})
	defer close(gone)
	c := s.connect(WithHedging(10*time.Millisecond), WithTimeout(20*time.Second), WithRetry(NoRetry))
	begun := time.Now()
	if _, err := c.Orders.Get(t.Context(), "o-1"); err != nil || asked.Load() != 2 || time.Since(begun) > 10*time.Second {
		t.Errorf("asked %d times in %s, %v", asked.Load(), time.Since(begun), err)
	}
	asked.Store(5)
	if _, err := c.Orders.Get(t.Context(), "o-1"); err != nil || asked.Load() != 6 {
		t.Errorf("a fast call was asked %d times, %v", asked.Load()-5, err)
	}
	// Neither a method that is not idempotent, nor one whose request lacks the id that makes it so.
	place := subjects.PlaceRequest{CustomerID: "c-1", Lines: []subjects.StockLine{{SKU: "a", Quantity: 1}}, Fulfilment: subjects.Pickup,
		Payment: subjects.PlacePayment{Method: subjects.Cash}}
	for what, ask := range map[string]func(context.Context) error{
		"resume": func(ctx context.Context) error { _, err := c.Payments.Resume(ctx, "p", "tok_ok"); return err },
		"place":  func(ctx context.Context) error { _, err := Call(ctx, c, subjects.OrderPlace, &place); return err },
	} {
		asked.Store(0)
		short, cancel := context.WithTimeout(t.Context(), 60*time.Millisecond)
		defer cancel()
		if err := ask(short); err == nil || asked.Load() != 1 {
			t.Errorf("%s, which may not be repeated, was asked %d times, %v", what, asked.Load(), err)
		}
	}
}

// reused is a request that tells when it is encoded.
type reused struct {
	OrderID string
	encoded *atomic.Int64
}

func (r *reused) MarshalJSON() ([]byte, error) {
	r.encoded.Add(1)
	return []byte(`{"order_id":"` + r.OrderID + `"}`), nil
}

// Both questions are of the request as it was when it was made: it may be changed as soon as the call returns.
func TestHedgingEncodesOnce(t *testing.T) {
	s := startSite(t)
	var asked atomic.Int64
	serve(s, subjects.OrderGet, func(ctx context.Context, r *subjects.GetOrderRequest) (*subjects.OrderInfo, error) {
		if asked.Add(1)%2 == 1 {
			time.Sleep(5 * time.Millisecond)
		}
		return order(r.OrderID, "confirmed"), nil
	})
	c := s.connect(WithHedging(time.Millisecond), WithRetry(NoRetry))
	get := subjects.Endpoint[reused, subjects.OrderInfo](subjects.OrderGet)
	var encoded atomic.Int64
	r := reused{encoded: &encoded}
	for n := range 50 {
		r.OrderID = fmt.Sprintf("o-%d", n)
		if o, err := Call(t.Context(), c, get, &r); err != nil || string(o.OrderID) != r.OrderID {
			t.Fatalf("%s: got %+v, %v", r.OrderID, o, err)
		}
	}
	if asked.Load() <= 50 || encoded.Load() != 50 {
		t.Errorf("50 calls asked %d times and encoded their requests %d times", asked.Load(), encoded.Load())
	}
	bad := make(chan int)
	if _, err := Call(t.Context(), c, subjects.Endpoint[chan int, subjects.OrderInfo](subjects.OrderGet), &bad); CodeOf(err) != subjects.InvalidArgument {
		t.Errorf("what can't be encoded: %v", err)
	}
}

// One more question for all repetitions of a call together.
func TestHedgeIsOne(t *testing.T) {
	s := startSite(t)
	var asked atomic.Int64
	serve(s, subjects.OrderGet, func(ctx context.Context, _ *subjects.GetOrderRequest) (*subjects.OrderInfo, error) {
		asked.Add(1)
		time.Sleep(20 * time.Millisecond)
		return nil, fault.New(fault.Unavailable, "not now")
	})
	c := s.connect(WithHedging(time.Millisecond), WithRetry(Retry{Attempts: 3}))
	if _, err := c.Orders.Get(t.Context(), "o-1"); CodeOf(err) != subjects.Unavailable || asked.Load() != 4 {
		t.Errorf("three attempts and one more asked %d times, %v", asked.Load(), err)
	}
}

// With one slow instance among several the slowest calls get faster.
func TestHedgingCutsTheTail(t *testing.T) {
	s := startSite(t)
	const slow = 60 * time.Millisecond
	for n := range 4 {
		serve(s, subjects.OrderGet, func(ctx context.Context, r *subjects.GetOrderRequest) (*subjects.OrderInfo, error) {
			if n == 0 {
				time.Sleep(slow)
			}
			return order(r.OrderID, "confirmed"), nil
		})
	}
	late := func(opts ...Option) (n int) {
		c := s.connect(opts...)
		for range 40 {
			begun := time.Now()
			if _, err := c.Orders.Get(t.Context(), "o-1"); err != nil {
				t.Fatal(err)
			}
			if time.Since(begun) >= slow {
				n++
			}
		}
		return n
	}
	// One in four is slow without, one in sixteen with it: the bound between holds but for one run in thousands.
	plain, hedged := late(), late(WithHedging(5*time.Millisecond))
	if plain == 0 || hedged >= max(plain, 9) {
		t.Errorf("%d of 40 calls were slow, and %d with hedging", plain, hedged)
	}
}

var _ transport = (*lean.Conn)(nil)
