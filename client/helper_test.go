package client

import (
	"context"
	"flag"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"waybill/internal/id"
	"waybill/internal/lean"
	"waybill/internal/rpc"
	"waybill/internal/timestamp"
	"waybill/subjects"
)

// Every test runs over both transports, and the examples once.
func TestMain(m *testing.M) {
	code := m.Run()
	for _, f := range atEnd {
		f()
	}
	if testTransport = NATS; code == 0 && flag.Set("test.skip", "^Example") == nil {
		code = m.Run()
	}
	if err := goleak.Find(); code == 0 && err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

var (
	testTransport = Lean
	atEnd         []func()
)

// AtEnd has f called after the examples.
func AtEnd(f func()) { atEnd = append(atEnd, f) }

// testSite is a NATS server with what a site's clients see of it: streams, and services that a test puts behind endpoints.
type testSite struct {
	t   testing.TB
	url string
	nc  *nats.Conn // as the site's own services

	mu      sync.Mutex
	sockets []net.Conn // of the clients
}

const testUser, testPassword = "till", "secret"

// startSite starts one. The users are the site's own, who may do anything, and the till, who may do as a client may.
func startSite(t testing.TB) *testSite {
	t.Helper()
	o := &server.Options{
		Host: "127.0.0.1", Port: -1, NoSigs: true, NoLog: true, JetStream: true, JetStreamDomain: "local",
		StoreDir: filepath.Join(t.TempDir(), "nats"), ServerName: "test",
		Users: []*server.User{
			{Username: "site", Password: "site"},
			{Username: testUser, Password: testPassword, Permissions: &server.Permissions{
				Publish:   &server.SubjectPermission{Allow: []string{"wb.*.rpc.>", "$JS.local.API.>", "$JS.API.>", "$JS.ACK.>"}},
				Subscribe: &server.SubjectPermission{Allow: []string{"_INBOX.>"}},
			}},
		},
		NoAuthUser: testUser,
	}
	ns, err := server.NewServer(o)
	if err != nil {
		t.Fatal(err)
	}
	ns.Start()
	t.Cleanup(func() { ns.Shutdown(); ns.WaitForShutdown() })
	if !ns.ReadyForConnections(5 * time.Second) {
		t.Fatal("the server is not ready")
	}
	nc, err := nats.Connect(ns.ClientURL(), nats.UserInfo("site", "site"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return &testSite{t: t, url: ns.ClientURL(), nc: nc}
}

// connect connects a client that is closed with the test.
func (s *testSite) connect(opts ...Option) *Client {
	s.t.Helper()
	return s.connectTo(s.url, opts...)
}

func (s *testSite) connectTo(url string, opts ...Option) *Client {
	s.t.Helper()
	keep := func(o *settings) error {
		o.wrap = func(conn net.Conn) net.Conn {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.sockets = append(s.sockets, conn)
			return conn
		}
		return nil
	}
	c, err := Connect(s.t.Context(), url, append([]Option{WithTransport(testTransport), keep}, opts...)...)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(c.Close)
	return c
}

// cut breaks every connection of the clients.
func (s *testSite) cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, conn := range s.sockets {
		conn.Close()
	}
	s.sockets = nil
}

// serve puts h behind an endpoint.
func serve[Req, Res any](s *testSite, e subjects.Endpoint[Req, Res], h func(context.Context, *Req) (*Res, error)) {
	s.t.Helper()
	serveOn(s, lean.Over(s.nc), subjects.DefaultSite, e, h)
}

func serveOn[Req, Res any](s *testSite, bus lean.Bus, site subjects.Site, e subjects.Endpoint[Req, Res], h func(context.Context, *Req) (*Res, error)) {
	s.t.Helper()
	srv, err := rpc.NewServer(bus, e.Service, rpc.Options{Site: site, Instance: "test", Version: "1.0.0", Log: zerolog.Nop()})
	if err != nil {
		s.t.Fatal(err)
	}
	rpc.Handle(srv, e, h)
	if err := srv.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if err := srv.Stop(ctx); err != nil {
			s.t.Errorf("stopping %s: %v", e.Name(), err)
		}
	})
}

// journal makes the stream.
func (s *testSite) journal() {
	s.t.Helper()
	js, err := jetstream.New(s.nc)
	if err != nil {
		s.t.Fatal(err)
	}
	_, err = js.CreateStream(s.t.Context(), jetstream.StreamConfig{Name: subjects.StreamJournal, Subjects: []string{subjects.AllEvents("local")}})
	if err != nil {
		s.t.Fatal(err)
	}
}

// event appends an event whose data is its number.
func (s *testSite) event(kind subjects.Kind, of, name string, n int) {
	s.t.Helper()
	body, err := json.Marshal(map[string]any{"v": 1, "data": n, "state": map[string]int{"n": n}})
	if err != nil {
		s.t.Fatal(err)
	}
	m := nats.NewMsg(subjects.Event("local", kind, of))
	m.Data = body
	m.Header.Set(subjects.HeaderID, "e-"+strconv.Itoa(n))
	m.Header.Set(subjects.HeaderType, subjects.TypeOf(kind, name))
	m.Header.Set(subjects.HeaderTime, timestamp.Of(time.UnixMilli(int64(n))).String())
	m.Header.Set(subjects.HeaderCausation, "cause-"+strconv.Itoa(n))
	js, err := jetstream.New(s.nc)
	if err != nil {
		s.t.Fatal(err)
	}
	if _, err := js.PublishMsg(s.t.Context(), m); err != nil {
		s.t.Fatal(err)
	}
}

func order(o id.Order, status subjects.OrderStatus) *subjects.OrderInfo {
	return &subjects.OrderInfo{OrderID: o, Site: "local", Status: status, Lines: []subjects.Line{}, Shipments: []subjects.ShipmentInfo{}}
}
