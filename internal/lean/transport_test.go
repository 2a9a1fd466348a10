package lean

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// Both clients do the same over every transport, whoever connects.
func TestTransports(t *testing.T) {
	for who, l := range logins(t) {
		open, secured := newPlace(t, false, l.server), newPlace(t, true, l.server)
		for _, transport := range transports {
			p := open
			if isSecure(transport) {
				p = secured
			}
			for client, b := range p.buses(t, transport, l.login, l.creds) {
				t.Run(who+"/"+transport+"/"+client, func(t *testing.T) { exchange(t, b, transport+"."+client) })
			}
			if who == "anonymous" {
				continue
			}
			if c, err := p.lean(transport, Login{User: "eve", Password: "guess"}); err == nil || !Unauthorized(err) {
				t.Errorf("%s over %s: a stranger was let in, or %v", who, transport, err)
				if c != nil {
					c.Close()
				}
			}
		}
	}
}

// exchange makes requests of all kinds.
func exchange(t *testing.T, b Bus, prefix string) {
	echo(t, b, prefix+".echo")
	var h Builder
	h.Set("Ask", "one")
	for _, size := range []int{0, 1, 4 << 10, 60 << 10} {
		data := bytes.Repeat([]byte{'x'}, size)
		m, err := request(within(t), b, prefix+".echo", h.Header(), data)
		if err != nil || !bytes.Equal(m.Data, data) || m.Get("Got") != "one" || m.Get("On") != prefix+".echo" {
			t.Fatalf("%d bytes: %d came, %q, %v", size, len(m.Data), m.Get("Got"), err)
		}
		h.Reset()
		h.Set("Ask", "one")
	}
	if _, err := request(within(t), b, prefix+".nobody", nil, nil); !errors.Is(err, nats.ErrNoResponders) {
		t.Errorf("nobody serves it: %v", err)
	}
	if _, err := b.Start(prefix+".echo", nil, make([]byte, 65<<10)); !errors.Is(err, nats.ErrMaxPayload) || b.MaxPayload() != 64<<10 {
		t.Errorf("too large for %d: %v", b.MaxPayload(), err)
	}
	stop, err := b.Subscribe(prefix+".silent", "", func(Msg) {})
	if err == nil {
		err = b.Flush(within(t))
	}
	if err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
	defer cancel()
	if _, err := request(short, b, prefix+".silent", nil, nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("nobody answers: %v", err)
	}
	waits, err := b.Start(prefix+".silent", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := waits.WaitFor(t.Context(), 5*time.Millisecond); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("nobody answers for a while: %v", err)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	var all sync.WaitGroup
	for n := range 8 {
		all.Go(func() {
			for i := range 20 {
				text := fmt.Sprint(n, i)
				if m, err := request(within(t), b, prefix+".echo", nil, []byte(text)); err != nil || string(m.Data) != text {
					t.Errorf("%s came back as %q, %v", text, m.Data, err)
				}
			}
		})
	}
	all.Wait()
}

// A server that goes away ends what waits, and has its clients back with their subscriptions.
func TestServerRestarts(t *testing.T) {
	for _, transport := range transports {
		p := newPlace(t, isSecure(transport))
		for client, b := range p.buses(t, transport, Login{}, "") {
			t.Run(transport+"/"+client, func(t *testing.T) {
				eventually(t, "it is not back from the other client's test", b.Flush)
				subject := client + ".echo"
				echo(t, b, subject)
				if _, err := b.Subscribe(client+".silent", "", func(Msg) {}); err != nil {
					t.Fatal(err)
				}
				if err := b.Flush(within(t)); err != nil {
					t.Fatal(err)
				}
				waits, err := b.Start(client+".silent", nil, nil)
				if err != nil {
					t.Fatal(err)
				}
				p.restart()
				if _, err := waits.Wait(within(t)); !errors.Is(err, nats.ErrDisconnected) {
					t.Errorf("what waited ended with %v", err)
				}
				eventually(t, "it did not come back", func(ctx context.Context) error {
					ctx, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
					defer cancel()
					m, err := request(ctx, b, subject, nil, []byte("again"))
					if err == nil && string(m.Data) != "again" {
						t.Errorf("%q came", m.Data)
					}
					return err
				})
			})
		}
	}
}

// What a user may not publish ends at once, and nothing else does.
func TestForbidden(t *testing.T) {
	p := newPlace(t, false, func(o *server.Options) {
		o.Users = []*server.User{{Username: "till", Password: "x", Permissions: &server.Permissions{Publish: &server.SubjectPermission{Allow: []string{"allowed.>"}}}}}
	})
	for client, b := range p.buses(t, "tcp", Login{User: "till", Password: "x"}, "") {
		if _, err := b.Subscribe("allowed.silent", "", func(Msg) {}); err != nil {
			t.Fatal(err)
		}
		if err := b.Flush(within(t)); err != nil {
			t.Fatal(err)
		}
		waits, err := b.Start("allowed.silent", nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := request(within(t), b, "denied", nil, nil); !errors.Is(err, nats.ErrPermissionViolation) {
			t.Errorf("%s: %v", client, err)
		}
		if _, err := waits.WaitFor(t.Context(), 20*time.Millisecond); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: another request ended with %v", client, err)
		}
	}
}

// Who may not hear the replies is told so at once, and asks nothing that would be done without its knowing.
func TestUnheard(t *testing.T) {
	p := newPlace(t, false, func(o *server.Options) {
		o.Users = []*server.User{
			{Username: "site", Password: "x"},
			{Username: "till", Password: "x", Permissions: &server.Permissions{Subscribe: &server.SubjectPermission{Allow: []string{"other.>"}}}},
		}
	})
	site, err := p.lean("tcp", Login{User: "site", Password: "x"})
	if err != nil {
		t.Fatal(err)
	}
	defer site.Close()
	var asked atomic.Int64
	if _, err = site.Subscribe("count", "", func(Msg) { asked.Add(1) }); err == nil {
		err = site.Flush(within(t))
	}
	if err != nil {
		t.Fatal(err)
	}
	for client, b := range p.buses(t, "tcp", Login{User: "till", Password: "x"}, "") {
		if _, err := request(within(t), b, "count", nil, nil); !errors.Is(err, nats.ErrPermissionViolation) || !errors.Is(err, ErrUnheard) {
			t.Errorf("%s: %v", client, err)
		}
		if err := errors.Join(b.Flush(within(t)), site.Flush(within(t))); err != nil {
			t.Fatal(err)
		}
		before := asked.Load() // the first may have been sent before the server said so
		for range 3 {
			if _, err := request(within(t), b, "count", nil, nil); !errors.Is(err, ErrUnheard) {
				t.Errorf("%s: %v", client, err)
			}
		}
		if err := errors.Join(b.Flush(within(t)), site.Flush(within(t))); err != nil {
			t.Fatal(err)
		}
		if n := asked.Load() - before; n != 0 {
			t.Errorf("%s: %d requests were sent whose replies can't be heard", client, n)
		}
	}
}

// Who is refused when it comes back is told so, and is let in once it may.
func TestRefusedLater(t *testing.T) {
	p := newPlace(t, false, func(o *server.Options) { o.Username, o.Password = "ann", "one" })
	c, err := p.lean("tcp", Login{User: "ann", Password: "one"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	echo(t, c, "echo")
	p.o.Password = "two"
	p.restart()
	eventually(t, "no request was refused", func(ctx context.Context) error {
		if _, err := request(ctx, c, "echo", nil, nil); !Unauthorized(err) || !errors.Is(err, nats.ErrDisconnected) {
			return fmt.Errorf("got %v", err)
		}
		return nil
	})
	p.o.Password = "one"
	p.restart()
	eventually(t, "it was not let in again", func(ctx context.Context) error {
		_, err := request(ctx, c, "echo", nil, nil)
		return err
	})
}

// A list of servers is tried in turn, also when the one in use goes away.
func TestSeveralServers(t *testing.T) {
	nobody, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone := "nats://" + nobody.Addr().String()
	nobody.Close()
	one, two := newPlace(t, false), newPlace(t, false)
	c, err := one.lean("tcp", Login{}, func(o *Options) { o.Servers = strings.Join([]string{gone, one.url("tcp"), two.url("unix")}, ", ") })
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if c.Server() != one.url("tcp") {
		t.Errorf("it is at %s", c.Server())
	}
	one.stop()
	eventually(t, "it did not move on", func(ctx context.Context) error {
		if c.Server() != two.url("unix") {
			return errors.New("it is at " + c.Server())
		}
		return c.Flush(ctx)
	})
	if _, err := one.lean("tcp", Login{}, func(o *Options) { o.Servers = gone + "," + gone }); !errors.Is(err, os.ErrNotExist) && !strings.Contains(fmt.Sprint(err), "refused") {
		t.Errorf("nobody listens: %v", err)
	}
}

// What a server tells of others is used when it goes away.
func TestToldServers(t *testing.T) {
	other := newPlace(t, false)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	first := make(chan net.Conn, 1)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		_, _ = fmt.Fprintf(conn, "INFO {\"headers\":true,\"max_payload\":1000,\"connect_urls\":[%q]}\r\nPONG\r\n", strings.TrimPrefix(other.url("tcp"), "nats://"))
		first <- conn
	}()
	c, err := other.lean("tcp", Login{}, func(o *Options) { o.Servers = l.Addr().String() })
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	(<-first).Close()
	eventually(t, "it did not go to the other", func(ctx context.Context) error {
		if c.Server() != other.url("tcp") {
			return errors.New("it is at " + c.Server())
		}
		return c.Flush(ctx)
	})
}

func TestAddresses(t *testing.T) {
	for text, want := range map[string]string{
		"localhost": "nats://localhost:4222", "tcp://a:1": "nats://a:1", "NATS://a": "nats://a:4222", "tls://[::1]:7": "tls://[::1]:7",
		"ws://a/nats": "ws://a:80/nats", "wss://a": "wss://a:443", "unix:///run/x.sock": "unix:///run/x.sock", "a:1, b:2": "nats://a:1 nats://b:2",
		"nats://user:pass@a": "nats://a:4222",
		"":                   "", "http://a": "", "nats://": "", "unix://": "", "nats://a/b": "", "a,": "", "nats://a b": "", strings.Repeat("a,", 40) + "a": "",
	} {
		list, err := addresses(text)
		var got []string
		for _, a := range list {
			got = append(got, a.String())
		}
		if (err == nil) != (want != "") || err == nil && strings.Join(got, " ") != want {
			t.Errorf("%.40q: %q, %v", text, got, err)
		}
		if err != nil && strings.Contains(err.Error(), "pass") {
			t.Errorf("a password is shown: %v", err)
		}
	}
}

// Of what a server tells about others only hosts and ports are taken, and only so many.
func TestLearn(t *testing.T) {
	from := address{scheme: "tls", host: "a:4222", name: "a"}
	got := learn([]address{from}, from, []string{
		"a:4222", "10.0.0.1:4222", "b:4223", "b:4223", "evil/path:1", "user@c:1", "d", "e:0", "f:99999", "unix:///x", ":1", "g h:1", "nats://i:4222",
	})
	want := []address{from, {scheme: "tls", host: "10.0.0.1:4222", name: "a"}, {scheme: "tls", host: "b:4223", name: "b"}}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %v", got)
	}
	var many []string
	for i := range 1000 {
		many = append(many, fmt.Sprintf("h%d:1", i))
	}
	if got := learn([]address{from}, from, many); len(got) != maxServers {
		t.Errorf("%d servers are kept", len(got))
	}
	if got := learn(nil, address{scheme: "unix", host: "/x"}, many); len(got) != 0 {
		t.Errorf("a Unix socket led to %v", got)
	}
}

// TLS that was asked for is never done without, and a certificate that does not fit is refused.
func TestTLSIsKept(t *testing.T) {
	open, secured := newPlace(t, false), newPlace(t, true)
	for name, servers := range map[string]string{"no TLS": strings.Replace(open.url("tcp"), "nats", "tls", 1), "no TLS on the socket": "unix://" + open.socket()} {
		if c, err := secured.lean("tls", Login{}, func(o *Options) { o.Servers = servers }); !errors.Is(err, errNoTLS) {
			t.Errorf("%s: %v", name, err)
			if c != nil {
				c.Close()
			}
		}
	}
	for _, transport := range []string{"tls", "wss", "tcp"} {
		c, err := secured.lean(transport, Login{}, func(o *Options) { o.TLS = nil })
		if err == nil {
			c.Close()
			t.Errorf("%s: a certificate of nobody's was believed", transport)
		}
	}
	// Bytes behind the greeting would be read as if they had been secured.
	hello := "INFO {\"headers\":true,\"max_payload\":1000,\"tls_required\":true}\r\nINFO {}\r\n"
	if _, err := Dial(within(t), Options{Inbox: "_INBOX.x", Dial: speaks(hello)}); !errors.Is(err, errProtocol) {
		t.Errorf("bytes before TLS: %v", err)
	}
}

func TestCredentials(t *testing.T) {
	if _, err := Credentials(filepath.Join(t.TempDir(), "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, []byte("hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Credentials(name); err == nil {
		t.Error("a file without a seed was taken")
	}
}

// Every socket is wrapped, under TLS and WebSocket too.
func TestWrap(t *testing.T) {
	open, secured := newPlace(t, false), newPlace(t, true)
	for _, transport := range transports[1:] {
		p := open
		if isSecure(transport) {
			p = secured
		}
		var read atomic.Int64
		c, err := p.lean(transport, Login{}, func(o *Options) { o.Wrap = func(c net.Conn) net.Conn { return &counted{c, &read} } })
		if err != nil {
			t.Fatal(err)
		}
		if read.Load() == 0 {
			t.Errorf("%s: the socket was not wrapped", transport)
		}
		c.Close()
	}
}

type counted struct {
	net.Conn
	read *atomic.Int64
}

func (c *counted) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.read.Add(int64(n))
	return n, err
}

// Drain waits for the replies, takes nothing new, and gives up with its context.
func TestDrain(t *testing.T) {
	p := newPlace(t, false)
	service, err := p.lean("tcp", Login{})
	if err != nil {
		t.Fatal(err)
	}
	defer service.Close()
	asked := make(chan Msg, 1)
	if _, err := service.Subscribe("slow", "", func(m Msg) { asked <- m }); err != nil {
		t.Fatal(err)
	}
	if err := service.Flush(within(t)); err != nil {
		t.Fatal(err)
	}
	c, err := p.lean("tcp", Login{})
	if err != nil {
		t.Fatal(err)
	}
	waits, err := c.Start("slow", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	m := <-asked
	drained := make(chan error, 1)
	go func() { drained <- c.Drain(within(t)) }()
	eventually(t, "a request was taken", func(context.Context) error {
		taken, err := c.Start("idle", nil, nil)
		if err == nil {
			_, _ = taken.Wait(t.Context())
			return errors.New("not yet")
		}
		if !errors.Is(err, nats.ErrConnectionDraining) && !errors.Is(err, nats.ErrConnectionClosed) {
			t.Errorf("while it drains: %v", err)
		}
		return nil
	})
	if err := service.Publish(m.Reply, nil, []byte("late")); err != nil {
		t.Fatal(err)
	}
	if m, err := waits.Wait(within(t)); err != nil || string(m.Data) != "late" {
		t.Errorf("what was under way: %q, %v", m.Data, err)
	}
	if err := <-drained; err != nil {
		t.Errorf("drain: %v", err)
	}
	if c, err = p.lean("tcp", Login{}); err != nil {
		t.Fatal(err)
	}
	if waits, err = c.Start("slow", nil, nil); err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := c.Drain(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("drain without an answer: %v", err)
	}
	if _, err := waits.Wait(within(t)); !errors.Is(err, nats.ErrConnectionClosed) {
		t.Errorf("what was given up: %v", err)
	}
}
