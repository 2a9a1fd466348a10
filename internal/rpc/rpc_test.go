package rpc

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"waybill/internal/fault"
	"waybill/internal/id"
	"waybill/internal/lean"
	"waybill/internal/timestamp"
	"waybill/subjects"
)

// How the links of the tests reach the services: every test runs in each way.
var (
	overNATS bool // by nats.go
	locally  bool // within the process, past the server
)

func TestMain(m *testing.M) {
	code := m.Run()
	if overNATS = true; code == 0 {
		code = m.Run()
	}
	if overNATS, locally = false, true; code == 0 {
		code = m.Run()
	}
	if err := goleak.Find(); code == 0 && err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// patience bounds every wait of these tests; none is ever waited for in full.
const patience = 10 * time.Second

// bus is a NATS server within the test's process.
type bus struct {
	t      testing.TB
	server *server.Server
	local  *lean.Local // nil unless locally
}

func newBus(t testing.TB, change ...func(*server.Options)) *bus {
	t.Helper()
	o := &server.Options{DontListen: true, NoSigs: true, NoLog: true, ServerName: "test"}
	for _, c := range change {
		c(o)
	}
	s, err := server.NewServer(o)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	if !s.ReadyForConnections(patience) {
		t.Fatal("the NATS server is not ready")
	}
	b := &bus{t: t, server: s}
	if locally {
		b.local = lean.NewLocal(s.GlobalAccount().Interest)
	}
	return b
}

func (b *bus) connect() *nats.Conn {
	b.t.Helper()
	nc, err := nats.Connect("", nats.InProcessServer(b.server))
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(nc.Close)
	return nc
}

// link is a connection for requests, over nats.go or lean.
func (b *bus) link() lean.Bus {
	b.t.Helper()
	if overNATS {
		return lean.Over(b.connect())
	}
	c, err := lean.Dial(b.t.Context(), lean.Options{Name: "test", Inbox: "_INBOX.test", Log: zerolog.Nop(),
		Local: b.local, May: func(string) bool { return true },
		Dial: func(context.Context) (net.Conn, error) { return b.server.InProcessConn() }})
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(c.Close)
	return c
}

// subscribe answers the subject without this package; when it returns, requests arrive.
func (b *bus) subscribe(subject string, handler nats.MsgHandler) {
	b.t.Helper()
	nc := b.connect()
	if _, err := nc.Subscribe(subject, handler); err != nil {
		b.t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		b.t.Fatal(err)
	}
}

// serve starts a server of the service catalog whose endpoints register adds, and stops it after the test.
func (b *bus) serve(o Options, register func(*Server)) *Server {
	b.t.Helper()
	s := b.prepare(o)
	register(s)
	if err := s.Start(); err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { stop(b.t, s) })
	return s
}

func (b *bus) prepare(o Options) *Server {
	b.t.Helper()
	o.Site, o.Instance, o.Version = "local", "one", "1.2.3"
	s, err := NewServer(b.link(), subjects.Catalog, o)
	if err != nil {
		b.t.Fatal(err)
	}
	return s
}

func stop(t testing.TB, s *Server) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := s.Stop(ctx); err != nil {
		t.Error(err)
	}
}

func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// receive takes a value from c, or fails the test.
func receive[T any](t testing.TB, c <-chan T, what string) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(patience):
		t.Fatalf("waited in vain for %s", what)
	}
	return v
}

// The requests and replies of the tests.
type (
	line struct {
		SKU      id.SKU `json:"sku"`
		Quantity int64  `json:"quantity"`
	}
	ask struct {
		Name  string         `json:"name"`
		Lines []line         `json:"lines,omitempty"`
		When  timestamp.Time `json:"when,omitzero"`
		Blob  []byte         `json:"blob,omitempty"`
		Small int8           `json:"small,omitzero"`
		Yes   bool           `json:"yes,omitzero"`
		Ref   *line          `json:"ref,omitzero"`
	}
	answer struct {
		Greeting string `json:"greeting"`
		Lines    []line `json:"lines"`
	}
)

func (a *ask) Validate() error {
	switch a.Name {
	case "":
		return fault.Invalid("name", "name is missing")
	case "uncoded":
		return errors.New("this name is not coded")
	}
	return nil
}

func endpointNamed(method string) subjects.Endpoint[ask, answer] {
	return subjects.Endpoint[ask, answer]{Service: subjects.Catalog, Method: method, Idempotent: true, Doc: "Answers."}
}

func greet(_ context.Context, a *ask) (*answer, error) {
	return &answer{Greeting: "hello " + a.Name, Lines: a.Lines}, nil
}

// fakeBarrier is durable up to whatever it was asked for, unless it fails or holds.
type fakeBarrier struct {
	fast    bool
	fail    error
	hold    chan struct{}
	waited  atomic.Uint64 // the highest sequence that was waited for
	waiters atomic.Int64
}

func (b *fakeBarrier) Strict() bool { return !b.fast }

func (b *fakeBarrier) Wait(ctx context.Context, sequence uint64) error {
	b.waiters.Add(1)
	b.waited.Store(max(b.waited.Load(), sequence))
	if b.hold != nil {
		select {
		case <-b.hold:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return b.fail
}

// refused asserts that err is the peer's refusal with this code and field.
func refused(t testing.TB, err error, code fault.Code, field string) *fault.Error {
	t.Helper()
	var f *fault.Error
	var none *NoAnswer
	if !errors.As(err, &f) || errors.As(err, &none) || f.Code != code || f.Field != field {
		t.Fatalf("got %v (%T), want a refusal %s with field %q", err, err, code, field)
	}
	return f
}

// unanswered asserts that err is a NoAnswer with this code.
func unanswered(t testing.TB, err error, code fault.Code, sent bool) {
	t.Helper()
	var none *NoAnswer
	if !errors.As(err, &none) || fault.CodeOf(err) != code || none.Sent != sent {
		t.Fatalf("got %v (%T), want no answer with %s, sent %v", err, err, code, sent)
	}
}

var silent = Options{Log: zerolog.Nop()}
