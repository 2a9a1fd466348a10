package lean

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
	"github.com/rs/zerolog"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func startServer(t testing.TB, change ...func(*server.Options)) *server.Server {
	t.Helper()
	o := &server.Options{DontListen: true, NoSigs: true, NoLog: true, MaxPayload: 64 << 10}
	for _, f := range change {
		f(o)
	}
	s, err := server.NewServer(o)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("the server is not ready")
	}
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	return s
}

func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func dial(t testing.TB, s *server.Server, change ...func(*Options)) *Conn {
	t.Helper()
	o := Options{Name: "test", Inbox: "_INBOX.test", Log: zerolog.Nop(), Dial: func(context.Context) (net.Conn, error) { return s.InProcessConn() }}
	for _, f := range change {
		f(&o)
	}
	c, err := Dial(within(t), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// overNATS is a Bus over nats.go.
func overNATS(t testing.TB, s *server.Server) Bus {
	t.Helper()
	nc, err := nats.Connect("", nats.InProcessServer(s))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return Over(nc)
}

// echo answers what it gets, with a header that says what came.
func echo(t testing.TB, b Bus, subject string) {
	t.Helper()
	_, err := b.Subscribe(subject, "q", func(m Msg) {
		var h Builder
		h.Set("Got", m.Get("Ask"))
		h.Set("On", m.Subject)
		if err := b.Later(m.Reply, h.Header(), m.Data); err != nil {
			t.Error(err)
		}
	})
	if err == nil {
		err = b.Flush(within(t))
	}
	if err != nil {
		t.Fatal(err)
	}
}

func request(ctx context.Context, b Bus, subject string, h Header, data []byte) (Msg, error) {
	p, err := b.Start(subject, h, data)
	if err != nil {
		return Msg{}, err
	}
	return p.Wait(ctx)
}

// Both transports do the same over the same server.
func TestBus(t *testing.T) {
	s := startServer(t)
	for name, b := range map[string]Bus{"lean": dial(t, s), "nats.go": overNATS(t, s)} {
		t.Run(name, func(t *testing.T) {
			echo(t, b, name+".echo.*")
			var h Builder
			h.Set("Ask", "one\r\nInjected: two")
			m, err := request(within(t), b, name+".echo.x", h.Header(), []byte("hello"))
			if err != nil || string(m.Data) != "hello" || m.Get("Got") != "one  Injected: two" || m.Get("Injected") != "" || m.Get("On") != name+".echo.x" {
				t.Errorf("%q %q %q, %v", m.Data, m.Get("Got"), m.Get("On"), err)
			}
			if m, err := request(within(t), b, name+".echo.y", nil, nil); err != nil || len(m.Data) != 0 || m.Get("Got") != "" {
				t.Errorf("an empty request: %+v, %v", m, err)
			}
			if _, err := request(within(t), b, name+".nobody", nil, nil); !errors.Is(err, nats.ErrNoResponders) {
				t.Errorf("nobody serves it: %v", err)
			}
			for _, bad := range []string{"", "a b", "a\r\nPUB x 0", strings.Repeat("x", 5000)} {
				if _, err := b.Start(bad, nil, nil); !errors.Is(err, nats.ErrBadSubject) {
					t.Errorf("%.20q: %v", bad, err)
				}
				if err := b.Publish(bad, nil, nil); !errors.Is(err, nats.ErrBadSubject) {
					t.Errorf("%.20q: %v", bad, err)
				}
			}
			if _, err := b.Start(name+".echo.x", nil, make([]byte, 65<<10)); !errors.Is(err, nats.ErrMaxPayload) {
				t.Errorf("too large: %v", err)
			}
			answers := make(chan Msg, 1)
			stop, err := b.Subscribe(name+".answers.*", "", func(m Msg) { answers <- m })
			if err == nil {
				err = errors.Join(b.Flush(within(t)), b.Ask(name+".echo.x", name+".answers.1", []byte("asked")))
			}
			if err != nil {
				t.Fatal(err)
			}
			if m := <-answers; string(m.Data) != "asked" || m.Subject != name+".answers.1" || Parsed(m.Headers()).Get("On") != name+".echo.x" {
				t.Errorf("%q %q %v", m.Subject, m.Data, m.Headers())
			}
			if err := stop(); err != nil {
				t.Error(err)
			}
			if err := b.Ask(name+".echo.x", "", nil); !errors.Is(err, nats.ErrBadSubject) {
				t.Errorf("a question without a reply subject: %v", err)
			}
			if m, err := request(within(t), b, name+".echo.x", nil, make([]byte, 60<<10)); err != nil || len(m.Data) != 60<<10 {
				t.Errorf("large: %d bytes, %v", len(m.Data), err)
			}
		})
	}
}

// A reply never goes to another request than its own, whoever gave up waiting.
func TestRepliesFindTheirRequests(t *testing.T) {
	s := startServer(t)
	for name, b := range map[string]Bus{"lean": dial(t, s), "nats.go": overNATS(t, s)} {
		t.Run(name, func(t *testing.T) {
			var late sync.WaitGroup
			defer late.Wait()
			if _, err := b.Subscribe(name+".slow", "", func(m Msg) {
				late.Go(func() {
					if strings.HasPrefix(string(m.Data), "late") {
						time.Sleep(20 * time.Millisecond)
					}
					_ = b.Publish(m.Reply, nil, m.Data)
				})
			}); err != nil {
				t.Fatal(err)
			}
			if err := b.Flush(within(t)); err != nil {
				t.Fatal(err)
			}
			var all sync.WaitGroup
			for g := range 16 {
				all.Go(func() {
					for i := range 60 {
						text := fmt.Sprintf("%d-%d", g, i)
						if i%3 == 0 {
							ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
							m, err := request(ctx, b, name+".slow", nil, []byte("late "+text))
							cancel()
							if err == nil && string(m.Data) != "late "+text || err != nil && !errors.Is(err, context.DeadlineExceeded) {
								t.Errorf("late %s: %q, %v", text, m.Data, err)
							}
							continue
						}
						if m, err := request(within(t), b, name+".slow", nil, []byte(text)); err != nil || string(m.Data) != text {
							t.Errorf("%s got %q, %v", text, m.Data, err)
						}
					}
				})
			}
			all.Wait()
		})
	}
}

// Requests of one goroutine arrive in the order in which it started them, also while others send.
func TestOrder(t *testing.T) {
	s := startServer(t)
	c := dial(t, s)
	var got []string
	done := make(chan struct{})
	if _, err := c.Subscribe("in.order", "", func(m Msg) {
		if got = append(got, string(m.Data)); len(got) == 5000 {
			close(done)
		}
	}); err != nil {
		t.Fatal(err)
	}
	for range 4 {
		go func() {
			for range 500 {
				_ = c.Publish("noise", nil, []byte("x"))
			}
		}()
	}
	for i := range 5000 {
		if err := c.Publish("in.order", nil, fmt.Appendf(nil, "%d", i)); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case <-done:
	case <-within(t).Done():
		t.Fatal("messages are missing")
	}
	for i, text := range got {
		if text != fmt.Sprint(i) {
			t.Fatalf("%s came in place of %d", text, i)
		}
	}
}

// A connection that breaks fails what waits, comes back with its subscriptions, and works again; one that is to stay broken does.
func TestReconnect(t *testing.T) {
	s := startServer(t)
	var lost atomic.Int32
	var mu sync.Mutex
	var current net.Conn
	c := dial(t, s, func(o *Options) {
		o.Lost = func(error) { lost.Add(1) }
		o.Dial = func(context.Context) (net.Conn, error) {
			conn, err := s.InProcessConn()
			mu.Lock()
			defer mu.Unlock()
			current = conn
			return conn, err
		}
	})
	echo(t, c, "echo")
	if _, err := c.Subscribe("silent", "", func(Msg) {}); err != nil {
		t.Fatal(err)
	}
	if err := c.Flush(within(t)); err != nil {
		t.Fatal(err)
	}
	waits, err := c.Start("silent", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	current.Close()
	mu.Unlock()
	if _, err := waits.Wait(within(t)); !errors.Is(err, nats.ErrDisconnected) {
		t.Errorf("what waited ended with %v", err)
	}
	for ctx := within(t); ; {
		if m, err := c.Request(ctx, "echo", nil, []byte("again")); err == nil && string(m.Data) == "again" {
			break
		} else if ctx.Err() != nil {
			t.Fatalf("it did not come back: %v", err)
		}
		time.Sleep(5 * time.Millisecond)
	}
	if lost.Load() != 1 || c.Sessions() != 2 {
		t.Errorf("lost %d times, %d sessions", lost.Load(), c.Sessions())
	}

	once := dial(t, s, func(o *Options) { o.Once, o.Lost = true, func(error) { lost.Add(1) } })
	s.Shutdown()
	s.WaitForShutdown()
	<-once.done
	if _, err := once.Start("echo", nil, nil); !errors.Is(err, nats.ErrDisconnected) || once.Connected() {
		t.Errorf("a broken connection took a request: %v", err)
	}
	once.Close()
	if _, err := once.Start("echo", nil, nil); !errors.Is(err, nats.ErrConnectionClosed) {
		t.Errorf("a closed connection took a request: %v", err)
	}
	if err := once.Flush(within(t)); !errors.Is(err, nats.ErrConnectionClosed) {
		t.Errorf("flush: %v", err)
	}
}

// What was sent to a subscription before the server heard of its end is handed over.
func TestStopLosesNothing(t *testing.T) {
	s := startServer(t)
	sender := dial(t, s)
	for range 20 {
		c := dial(t, s)
		var got atomic.Int32
		stop, err := c.Subscribe("work", "q", func(Msg) { got.Add(1) })
		if err == nil {
			err = c.Flush(within(t))
		}
		if err != nil {
			t.Fatal(err)
		}
		for range 200 {
			if err := sender.Publish("work", nil, nil); err != nil {
				t.Fatal(err)
			}
		}
		if err := sender.Flush(within(t)); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(stop(), c.Flush(within(t))); err != nil {
			t.Fatal(err)
		}
		if got.Load() != 200 {
			t.Fatalf("%d of 200 were handed over", got.Load())
		}
		c.Close()
	}
}

func TestSignature(t *testing.T) {
	kp, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	pub, _ := kp.PublicKey()
	s := startServer(t, func(o *server.Options) { o.Nkeys = []*server.NkeyUser{{Nkey: pub}} })
	dial(t, s, func(o *Options) { o.Login = Login{Key: pub, Sign: kp.Sign} })
	other, _ := nkeys.CreateUser()
	_, err = Dial(within(t), Options{Inbox: "_INBOX.x", Login: Login{Key: pub, Sign: other.Sign}, Log: zerolog.Nop(), Dial: func(context.Context) (net.Conn, error) { return s.InProcessConn() }})
	if err == nil || !strings.Contains(err.Error(), "Authorization") {
		t.Errorf("another's signature: %v", err)
	}
}

// A server that says what is no protocol, or nothing, is left; the dial ends in its time.
func TestHostileServer(t *testing.T) {
	const hello = "INFO {\"headers\":true,\"max_payload\":1000}\r\n"
	for name, says := range map[string]string{
		"no greeting": "HTTP/1.1 200 OK\r\n\r\n", "no headers": "INFO {\"max_payload\":1000}\r\n", "bad JSON": "INFO {\r\n", "no end": strings.Repeat("x", 100_000),
		"refused": hello + "-ERR 'Authorization Violation'\r\n", "no end of greetings": strings.Repeat(hello, 10_000), "a greeting without an end": "INFO {\"x\":\"" + strings.Repeat("x", 100_000),
	} {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		if c, err := Dial(ctx, Options{Inbox: "_INBOX.x", Log: zerolog.Nop(), Dial: speaks(says)}); err == nil {
			c.Close()
			t.Errorf("%s: connected", name)
		}
		cancel()
	}
	for name, says := range map[string]string{
		"negative": "MSG a 1 -1\r\n\r\n", "huge": "MSG a 1 999999999\r\n", "words": "MSG a b c d e f g\r\n", "head beyond": "HMSG a 1 10 5\r\nhello\r\n", "short": "MSG a\r\n",
	} {
		lost := make(chan error, 1)
		c, err := Dial(within(t), Options{Inbox: "_INBOX.x", Log: zerolog.Nop(), Once: true, Lost: func(err error) { lost <- err }, Dial: speaks(hello + "PONG\r\n" + says)})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		select {
		case err := <-lost:
			if !errors.Is(err, errProtocol) {
				t.Errorf("%s: %v", name, err)
			}
		case <-within(t).Done():
			t.Errorf("%s: the connection was kept", name)
		}
		c.Close()
	}
}

// However a server breaks the protocol, the reading ends, and what is handed over was in what it sent.
func FuzzSession(f *testing.F) {
	for _, says := range []string{
		"MSG a.b 2 5\r\nhello\r\n", "MSG a.b 2 reply 5\r\nhello\r\nPING\r\nPONG\r\n", "HMSG a.b 2 12 17\r\nNATS/1.0\r\n\r\nhello\r\n", "MSG _INBOX.x.0 1 0\r\n\r\n",
		"MSG _INBOX.x.0t1 1 0\r\n\r\n", "-ERR 'Permissions Violation for Publish to \"a\"'\r\n", "INFO {\"headers\":true,\"max_payload\":1,\"connect_urls\":[\"a:1\"]}\r\n",
		"HMSG a 2 99 5\r\nhello\r\n", "MSG a 2 999999999\r\n", "+OK\r\n\r\n", "MSG   2 5\r\nhello\r\n",
	} {
		f.Add([]byte(says))
	}
	f.Fuzz(func(t *testing.T, says []byte) {
		c := &Conn{o: Options{Log: zerolog.Nop()}, servers: []address{{scheme: "nats", host: "a:1"}}}
		got := 0
		handle := func(m Msg) {
			got += len(m.Data)
			if got > len(says) || m.Subject == "" && !bytes.Contains(says, []byte("  2")) {
				t.Errorf("%d bytes came for %q", got, m.Subject)
			}
			_, _, _ = m.Get("x"), m.Status(), m.Description()
		}
		s := &session{c: c, conn: silent{}, in: bufio.NewReaderSize(bytes.NewReader(says), readBuffer), kick: make(chan struct{}, 1), quit: make(chan struct{}),
			seed: maphash.MakeSeed(), mux: newMux("_INBOX.x."), subs: map[int]*subscription{2: {c: c, id: 2, subject: "a.b", handle: handle}}}
		p, _, err := s.mux.begin("a", nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.read(); err == nil {
			t.Error("the reading ended without an error")
		}
		s.fail(io.EOF)
		if m, err := p.Wait(t.Context()); err == nil && len(m.Data) > len(says) {
			t.Errorf("a reply of %d bytes", len(m.Data))
		}
		if len(c.servers) > maxServers {
			t.Errorf("%d servers are kept", len(c.servers))
		}
	})
}

// silent takes what is written to it.
type silent struct{ net.Conn }

func (silent) Write(b []byte) (int, error) { return len(b), nil }
func (silent) Close() error                { return nil }

// speaks dials a server that says its text, and takes what it is told.
func speaks(text string) func(context.Context) (net.Conn, error) {
	return func(context.Context) (net.Conn, error) {
		mine, theirs := net.Pipe()
		go func() {
			go func() {
				r := bufio.NewReader(theirs)
				for {
					if _, err := r.ReadByte(); err != nil {
						return
					}
				}
			}()
			_, _ = theirs.Write([]byte(text))
		}()
		return mine, nil
	}
}

func TestHeader(t *testing.T) {
	var b Builder
	if b.Header() != nil {
		t.Error("an empty header")
	}
	b.Set("a", "1")
	b.Set("none", "")
	b.Set("ab", "  2")
	b.Set("b", "x\r\ny")
	h := b.Header()
	var number Builder
	number.SetInt("n", -1<<63)
	if h := number.Header(); h.Get("n") != "-9223372036854775808" {
		t.Errorf("%q", h)
	}
	if string(h) != "NATS/1.0\r\na: 1\r\nab:   2\r\nb: x  y\r\n\r\n" {
		t.Errorf("%q", h)
	}
	for name, want := range map[string]string{"a": "1", "ab": "2", "b": "x  y", "A": "", "none": "", "1": "", "": ""} {
		if got := h.Get(name); got != want {
			t.Errorf("%q is %q, want %q", name, got, want)
		}
	}
	if p := h.parse(); p.Get("a") != "1" || p.Get("b") != "x  y" || len(p) != 3 {
		t.Errorf("%v", p)
	}
	for block, want := range map[string]string{"NATS/1.0 503\r\n\r\n": "503", "NATS/1.0 404 No Messages\r\n\r\n": "404", "NATS/1.0\r\n\r\n": "", "": "", "NATS/1.0 ": ""} {
		if got := Header(block).Status(); got != want {
			t.Errorf("%q has the status %q, want %q", block, got, want)
		}
	}
	for block, want := range map[string]string{"NATS/1.0 404 No Messages\r\n\r\n": "No Messages", "NATS/1.0 503\r\n\r\n": "", "NATS/1.0\r\nx: y\r\n\r\n": "", "": ""} {
		if got := (Msg{header: Header(block)}).Description(); got != want {
			t.Errorf("%q has the description %q, want %q", block, got, want)
		}
	}
}

// A second reply to the request before is no reply to this one.
func TestDoubledReply(t *testing.T) {
	m := newMux("in.")
	request := func(n int64) Header {
		var b Builder
		b.SetInt(CallHeader, n)
		return slices.Clone(b.Header())
	}
	reply := func(h Header, text string) {
		m.deliver(0, 0, true, Msg{header: h, Data: []byte(text)})
	}
	for n := range int64(3) {
		p, _, err := m.begin("asked", request(n))
		if err != nil {
			t.Fatal(err)
		}
		if n > 0 {
			reply(request(n-1), "again")
		}
		reply(request(n), "reply")
		if msg, err := p.Wait(t.Context()); err != nil || string(msg.Data) != "reply" {
			t.Errorf("call %d: %s, %v", n, msg.Data, err)
		}
	}
	for _, bare := range []bool{true, false} { // either side may be older
		h := request(7)
		if bare {
			h = nil
		}
		p, reply, err := m.begin("asked", h)
		if err != nil {
			t.Fatal(err)
		}
		slot, turn, ok := slotOf(reply, len(m.prefix))
		answer := request(8)
		if !bare {
			answer = nil
		}
		m.deliver(slot, turn, ok, Msg{header: answer, Data: []byte("reply")})
		if msg, err := p.WaitFor(t.Context(), time.Second); err != nil || string(msg.Data) != "reply" {
			t.Errorf("%s, %v", msg.Data, err)
		}
	}
}

// A slot that was given up serves again at once, and the late reply to it goes to nobody.
func TestLateReply(t *testing.T) {
	m := newMux("in.")
	reply := func(subject, text string) {
		slot, turn, ok := slotOf(subject, len(m.prefix))
		m.deliver(slot, turn, ok, Msg{Data: []byte(text)})
	}
	var old []string
	for range 100 {
		p, subject, err := m.begin("asked", nil)
		if err != nil {
			t.Fatal(err)
		}
		old = append(old, subject)
		if _, err := p.WaitFor(t.Context(), time.Microsecond); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
	}
	p, subject, err := m.begin("asked", nil)
	if err != nil || len(m.slots) != 1 {
		t.Fatalf("%d slots, %v", len(m.slots), err)
	}
	for _, late := range append(old, "in.", "in.x", "in.0t", "in.0t1000000000", "in.7", "") {
		reply(late, "late")
	}
	reply(subject, "mine")
	if got, err := p.WaitFor(t.Context(), time.Minute); err != nil || string(got.Data) != "mine" {
		t.Errorf("%q, %v", got.Data, err)
	}
}

func FuzzHeader(f *testing.F) {
	f.Add([]byte("NATS/1.0\r\na: 1\r\n\r\n"), "a")
	f.Add([]byte("NATS/1.0 503\r\n\r\n"), "")
	f.Add([]byte("\n\n:\n"), "x")
	f.Fuzz(func(t *testing.T, block []byte, name string) {
		h := Header(block)
		if v := h.Get(name); strings.ContainsAny(v, "\r") {
			t.Errorf("%q of %q is %q", name, block, v)
		}
		_ = h.Status()
	})
}

func BenchmarkRequest(b *testing.B) {
	for _, transport := range []string{"lean", "nats.go"} {
		for _, callers := range []int{1, 64} {
			b.Run(fmt.Sprintf("%s/%d", transport, callers), func(b *testing.B) {
				s := startServer(b)
				var bus, service Bus
				if transport == "lean" {
					bus, service = dial(b, s), dial(b, s, func(o *Options) { o.Inbox = "_INBOX.service" })
				} else {
					bus, service = overNATS(b, s), overNATS(b, s)
				}
				echo(b, service, "echo")
				payload := make([]byte, 183)
				b.ReportAllocs()
				b.ResetTimer()
				var left atomic.Int64
				left.Store(int64(b.N))
				var all sync.WaitGroup
				for range callers {
					all.Go(func() {
						ctx := within(b)
						for left.Add(-1) >= 0 {
							if _, err := request(ctx, bus, "echo", nil, payload); err != nil {
								b.Error(err)
								return
							}
						}
					})
				}
				all.Wait()
			})
		}
	}
}
