package embedded

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"waybill/internal/lean"
	"waybill/subjects"
)

const echoQueue = "order"

// serveLocally answers the subject as a service does, on goroutines of its own.
func serveLocally(t testing.TB, n *NATS, subject string, handle func(m lean.Msg, send func(string, lean.Header, []byte) error)) *lean.Conn {
	t.Helper()
	c, err := n.Link(Front(subjects.Order), false, nil)
	check(t, err)
	t.Cleanup(c.Close)
	_, err = c.Subscribe(subject, echoQueue, func(m lean.Msg) { go handle(m, c.Publish) })
	check(t, err)
	check(t, c.Flush(ctxFor(t, 5*time.Second)))
	return c
}

func echoLocally(t testing.TB, n *NATS, subject string) *lean.Conn {
	t.Helper()
	return serveLocally(t, n, subject, func(m lean.Msg, send func(string, lean.Header, []byte) error) {
		var h lean.Builder
		h.Set("Got", m.Get("Ask"))
		if err := m.Answer(h.Header(), m.Data, send); err != nil {
			t.Error(err)
		}
	})
}

func (n *NATS) came(t testing.TB) int64 {
	t.Helper()
	v, err := n.server.Varz(nil)
	check(t, err)
	return v.InMsgs
}

// By whatever way a client comes, its requests to a service of the same process don't reach the server.
func TestDoorLocal(t *testing.T) {
	server, client := certificate(t)
	for _, w := range []string{"TCP", "TLS", "socket", "WebSocket", "WebSocket over TLS"} {
		t.Run(w, func(t *testing.T) {
			dir := t.TempDir()
			n := startNATS(t, dir, withSocket(dir), func(c *NATSConfig) {
				if c.WSAddr = "127.0.0.1:0"; strings.HasSuffix(w, "TLS") {
					c.TLS = server
				}
			})
			echoLocally(t, n, echoSubject)
			url, opts := n.URL(), []nats.Option{nats.Secure(client)}
			switch {
			case w == "TCP":
				opts = nil
			case w == "socket":
				url, opts = "nats://socket", []nats.Option{nats.SetCustomDialer(unixDialer(n.Socket()))}
			case strings.HasPrefix(w, "WebSocket"):
				if url = n.WSURL(); !strings.HasSuffix(w, "TLS") {
					opts = nil
				}
			}
			nc, err := nats.Connect(url, opts...)
			check(t, err)
			t.Cleanup(nc.Close)
			ask := func(data string) {
				m := nats.NewMsg(echoSubject)
				m.Data = []byte(data)
				m.Header.Set("Ask", data)
				reply, err := nc.RequestMsg(m, 5*time.Second)
				if err != nil || string(reply.Data) != data || reply.Header.Get("Got") != data {
					t.Errorf("%q: %v", data, err)
				}
			}
			ask("first")
			check(t, nc.Flush())
			before := n.came(t)
			var all sync.WaitGroup
			for i := range 8 {
				all.Go(func() {
					for j := range 100 {
						ask(fmt.Sprint(i, ".", j, strings.Repeat("x", j*100)))
					}
				})
			}
			all.Wait()
			if got := n.came(t) - before; got != 0 {
				t.Errorf("the server got %d messages", got)
			}
		})
	}
}

// What only the server can do for a client, it does.
func TestDoorNotLocal(t *testing.T) {
	const limit, closed = maxLocal / 2, "the end of the connection"
	n, small := startNATS(t, t.TempDir()), startNATS(t, t.TempDir(), func(c *NATSConfig) { c.MaxPayload = limit })
	echoLocally(t, small, echoSubject)
	service := echoLocally(t, n, echoSubject)
	echoLocally(t, n, "wb.local.int.order.secret")
	const plain, subscribe = "CONNECT {\"headers\":true,\"verbose\":false,\"pedantic\":false}\r\nPING\r\n", "SUB _INBOX.a.* 1\r\n"
	request := func(subject string) string { return "PUB " + subject + " _INBOX.a.1 2\r\nhi\r\n" }
	for _, c := range []struct {
		name, hello, says string
		local             bool
		want              string // instead of the reply
	}{
		{"a request", plain + subscribe, request(echoSubject), true, ""},
		{"with a header", plain + subscribe, "HPUB " + echoSubject + " _INBOX.a.1 12 14\r\nNATS/1.0\r\n\r\nhi\r\n", true, ""},
		{"to all below", plain + "SUB _INBOX.a.> 1\r\n", request(echoSubject), true, ""},
		{"to one subject", plain + "SUB _INBOX.a.1 1\r\n", request(echoSubject), true, ""},
		{"behind others", plain + subscribe, "PUB _INBOX.b 3\r\n\r\nP\r\nPING\r\n" + request(echoSubject), true, ""},
		{"before the server has answered", "CONNECT {\"headers\":true,\"verbose\":false,\"pedantic\":false}\r\n" + subscribe, request(echoSubject), false, ""},
		{"verbose", "CONNECT {\"headers\":true,\"pedantic\":false}\r\nPING\r\n" + subscribe, request(echoSubject), false, ""},
		{"pedantic", "CONNECT {\"headers\":true,\"verbose\":false}\r\nPING\r\n" + subscribe, request(echoSubject), false, ""},
		{"without headers", "CONNECT {\"verbose\":false,\"pedantic\":false}\r\nPING\r\n" + subscribe, request(echoSubject), false, "MSG _INBOX.a.1 1 2\r\nhi"},
		{"CONNECT again", plain + subscribe, "CONNECT {\"headers\":true,\"verbose\":false,\"pedantic\":false}\r\n" + request(echoSubject), false, ""},
		{"in small letters", plain + subscribe, strings.ToLower("PUB") + request(echoSubject)[3:], false, ""},
		{"a tab", plain + subscribe, strings.Replace(request(echoSubject), " ", "\t", 1), false, ""},
		{"a queue group", plain + "SUB _INBOX.a.* q 1\r\n", request(echoSubject), false, ""},
		{"an end after some", plain + subscribe + "UNSUB 1 5\r\n", request(echoSubject), false, ""},
		{"heard twice", plain + subscribe + "SUB _INBOX.a.> 2\r\n", request(echoSubject), false, ""},
		{"an id given twice", plain + subscribe + "SUB _INBOX.b.* 1\r\n", request(echoSubject), false, ""},
		{"a strange pattern", plain + subscribe + "SUB _INBOX.*.x 2\r\n", request(echoSubject), false, ""},
		{"many inboxes", plain + manyInboxes() + subscribe, request(echoSubject), false, ""},
		{"not what a client may send", plain + subscribe, request("wb.local.int.order.secret"), false, "-ERR 'Permissions Violation for Publish to \"wb.local.int.order.secret\"'"},
		{"too large a header", plain + subscribe, "HPUB " + echoSubject + " _INBOX.a.1 16 14\r\nNATS/1.0\r\n\r\nhi\r\n", false, closed},
		{"a trace", plain + subscribe, "HPUB " + echoSubject + " _INBOX.a.1 41 43\r\nNATS/1.0\r\nNats-Trace-Dest: _INBOX.t.1\r\n\r\nhi\r\n", false, "-ERR 'Permissions Violation for Publish to \"_INBOX.t.1\"'"},
		{"behind one that does not end", plain + subscribe, "PUB wb.local.rpc.x.y 0\r\nXX" + request(echoSubject), false, "-ERR"},
		{"over the limit", plain + subscribe, fmt.Sprintf("PUB %s _INBOX.a.1 %d\r\n%s\r\n", echoSubject, limit+1, make([]byte, limit+1)), false, "-ERR 'Maximum Payload"},
		{"to no inbox of these", plain + subscribe, "PUB " + echoSubject + " _INBOX.a.1.2 2\r\nhi\r\n", false, ""},
		{"nobody's", plain + subscribe, request("wb.local.rpc.order.nobody"), false, ""},
		{"large", plain + subscribe, fmt.Sprintf("PUB %s _INBOX.a.1 %d\r\n%s\r\n", echoSubject, maxLocal+1, make([]byte, maxLocal+1)), false, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := n
			if c.name == "over the limit" {
				n = small
			}
			conn, err := net.Dial("tcp", n.Addr())
			check(t, err)
			defer conn.Close()
			check(t, conn.SetDeadline(time.Now().Add(5*time.Second)))
			var heard []byte
			until := func(what string) {
				t.Helper()
				for buf := make([]byte, 64<<10); !bytes.Contains(heard, []byte(what)); {
					k, err := conn.Read(buf)
					if heard = append(heard, buf[:k]...); err != nil {
						t.Fatalf("no %q in %q: %v", what, heard[max(0, len(heard)-500):], err)
					}
				}
			}
			if c.name == "before the server has answered" {
				before := n.came(t)
				_, err := io.WriteString(conn, c.hello+c.says)
				check(t, err)
				until("MSG _INBOX.a.1 1 ")
				if n.came(t) == before {
					t.Error("it was delivered within the process")
				}
				return
			}
			_, err = io.WriteString(conn, c.hello+"PING\r\n")
			check(t, err)
			until("PONG")
			time.Sleep(10 * time.Millisecond) // for the second PONG, too
			others := int64(strings.Count(c.says, "PUB _INBOX"))
			before := n.came(t)
			_, err = io.WriteString(conn, c.says)
			check(t, err)
			switch {
			case c.want == closed:
				if !gone(conn, 5*time.Second) {
					t.Error("it is not closed")
				}
			case c.want != "":
				until(c.want)
			case c.name == "nobody's", c.name == "CONNECT again", c.name == "to no inbox of these": // which get no reply
				soon(t, "a message to the server", func() bool { return n.came(t) > before })
			default:
				until("MSG _INBOX.a.1 1 ")
			}
			check(t, service.Flush(ctxFor(t, 5*time.Second)))
			if local := n.came(t)-before == others; c.want == "" && local != c.local {
				t.Errorf("delivered within the process: %v", local)
			}
		})
	}
}

func manyInboxes() string {
	var b strings.Builder
	for i := range maxInboxes {
		fmt.Fprintf(&b, "SUB _INBOX.b%d 1%d\r\n", i, i)
	}
	return b.String()
}

// Somebody who pretends to be a client, or another one, gets no further than the server lets him.
func TestDoorLocalRefused(t *testing.T) {
	dir := t.TempDir()
	n := startNATS(t, dir, func(c *NATSConfig) { c.RequireCredentials = true })
	var reached atomic.Int64
	serveLocally(t, n, echoSubject, func(lean.Msg, func(string, lean.Header, []byte) error) { reached.Add(1) })
	key := n.local.clientKey
	for _, hello := range []string{
		"CONNECT {\"headers\":true,\"verbose\":false,\"pedantic\":false}\r\n",
		fmt.Sprintf("CONNECT {\"headers\":true,\"verbose\":false,\"pedantic\":false,\"nkey\":%q,\"sig\":\"AAAA\"}\r\n", key),
		"PING\r\n",
	} {
		conn, err := net.Dial("tcp", n.Addr())
		check(t, err)
		_, err = io.WriteString(conn, hello+"SUB _INBOX.a.* 1\r\nPING\r\n")
		check(t, err)
		for range 50 {
			if _, err := io.WriteString(conn, "PUB "+echoSubject+" _INBOX.a.1 2\r\nhi\r\n"); err != nil {
				break
			}
			time.Sleep(time.Millisecond)
		}
		if !gone(conn, 5*time.Second) {
			t.Errorf("%q is let in", hello)
		}
		conn.Close()
	}
	if reached.Load() != 0 {
		t.Error("a request reached the service")
	}
}

// What is no word of the protocol reaches the server at once, which ends it, and does not wait for the end of its line.
func TestDoorLocalStranger(t *testing.T) {
	n := startNATS(t, t.TempDir())
	conn, err := net.Dial("tcp", n.Addr())
	check(t, err)
	defer conn.Close()
	_, err = conn.Write([]byte{22, 3, 1, 2, 0}) // which TLS begins with
	check(t, err)
	if !gone(conn, silence/2) {
		t.Error("it is kept waiting")
	}
}

// Whoever is let in as somebody else than a client has no client's rights, whatever its first line looks like.
func TestDoorLocalOthers(t *testing.T) {
	n := startNATS(t, t.TempDir(), func(c *NATSConfig) { c.RequireCredentials = true })
	var reached atomic.Int64
	serveLocally(t, n, echoSubject, func(m lean.Msg, send func(string, lean.Header, []byte) error) {
		reached.Add(1)
		check(t, m.Answer(nil, m.Data, send))
	})
	for _, c := range []struct {
		user, hello string
		want        int64
	}{
		{UserClient, `{"headers":true,"verbose":false,"pedantic":false,"nkey":%q,"sig":%q}`, 1},
		{UserAdmin, `{"headers":true,"verbose":false,"pedantic":false,"nkey":%q,"sig":%q}`, 0},
		{UserAdmin, `{"headers":true,"verbose":false,"pedantic":false,"NKEY":%q,"SIG":%q}`, 0},
		{UserAdmin, `{"headers":true,"verbose":false,"pedantic":false,"nkey":"` + n.local.clientKey + `","nkey":%q,"sig":%q}`, 0},
	} {
		reached.Store(0)
		conn, err := net.Dial("tcp", n.Addr())
		check(t, err)
		check(t, conn.SetDeadline(time.Now().Add(5*time.Second)))
		var info struct{ Nonce string }
		check(t, json.Unmarshal([]byte(strings.TrimPrefix(readLine(t, conn), "INFO ")), &info))
		kp, err := n.secrets.User(c.user)
		check(t, err)
		key, err := kp.PublicKey()
		check(t, err)
		signed, err := kp.Sign([]byte(info.Nonce))
		check(t, err)
		_, err = fmt.Fprintf(conn, "CONNECT "+c.hello+"\r\nSUB _INBOX.a.* 1\r\nPING\r\n", key, base64.RawURLEncoding.EncodeToString(signed))
		check(t, err)
		pong(t, conn)
		_, err = io.WriteString(conn, "PUB "+echoSubject+" _INBOX.a.1 2\r\nhi\r\nPING\r\n")
		check(t, err)
		pong(t, conn)
		if reached.Load() != c.want {
			t.Errorf("%s with %s reached the service %d times", c.user, c.hello, reached.Load())
		}
		conn.Close()
	}
}

// pong reads as far as the server's next PONG, and leaves the door and a service the time to see what came with it.
func pong(t testing.TB, conn net.Conn) {
	t.Helper()
	for line := ""; line != "PONG\r\n"; {
		if line = readLine(t, conn); line == "" {
			t.Fatal("no PONG")
		}
	}
	time.Sleep(10 * time.Millisecond)
}

// Who is unsubscribed when the reply comes hears it as the server has it.
func TestDoorLocalUnsubscribed(t *testing.T) {
	n := startNATS(t, t.TempDir())
	asked := make(chan lean.Msg, 1)
	c := serveLocally(t, n, echoSubject, func(m lean.Msg, _ func(string, lean.Header, []byte) error) { asked <- m })
	conn, err := net.Dial("tcp", n.Addr())
	check(t, err)
	defer conn.Close()
	check(t, conn.SetDeadline(time.Now().Add(5*time.Second)))
	_, err = io.WriteString(conn, "CONNECT {\"headers\":true,\"verbose\":false,\"pedantic\":false}\r\nSUB _INBOX.a 7\r\nPING\r\n")
	check(t, err)
	pong(t, conn)
	sent := n.came(t)
	_, err = io.WriteString(conn, "PUB "+echoSubject+" _INBOX.a 2\r\nhi\r\n")
	check(t, err)
	m := <-asked
	if n.came(t) != sent {
		t.Error("it went through the server")
	}
	_, err = io.WriteString(conn, "UNSUB 7\r\nSUB _INBOX.a 8\r\nPING\r\n")
	check(t, err)
	pong(t, conn)
	check(t, m.Answer(nil, []byte("late"), c.Publish))
	if line := readLine(t, conn); line != "MSG _INBOX.a 8 4\r\n" {
		t.Errorf("the client hears %q", line)
	}
}

// A reply waits for the end of the server's message, and none is taken once the server has ended the client.
func TestOutlet(t *testing.T) {
	client, conn := net.Pipe()
	defer client.Close()
	o := newOutlet(conn, &relay{began: time.Now(), outside: conn})
	heard := make(chan string)
	go func() {
		defer close(heard)
		for buf := make([]byte, 256); ; {
			k, err := client.Read(buf)
			if err != nil {
				return
			}
			heard <- string(buf[:k])
		}
	}()
	expect := func(want string) {
		t.Helper()
		select {
		case got := <-heard:
			if got != want {
				t.Errorf("the client hears %q, not %q", got, want)
			}
		case <-time.After(5 * time.Second):
			t.Fatalf("no %q", want)
		}
	}
	write := func(b string) {
		t.Helper()
		done := make(chan struct{})
		go func() {
			defer close(done)
			if err := o.write([]byte(b)); err != nil {
				t.Error(err)
			}
		}()
		expect(b)
		<-done
	}
	const reply = "MSG _INBOX.a 1 2\r\nhi\r\n"
	check(t, o.answer("_INBOX.a", "1", nil, []byte("hi")))
	expect(reply)
	for _, parts := range [][2]string{{"MSG a 1 5\r\nhe", "llo\r\n"}, {"MSG a 1", " 2\r\nhi\r\n"}, {"PI", "NG\r\n"}, {"MSG a 1 2\r\nhi", "\r\n"}} {
		write(parts[0])
		check(t, o.answer("_INBOX.a", "1", nil, []byte("hi")))
		select {
		case got := <-heard:
			t.Errorf("%q came within a message", got)
		case <-time.After(20 * time.Millisecond):
		}
		write(parts[1])
		expect(reply)
	}
	if write("PONG\r\n"); !o.verified.Load() {
		t.Error("the client is not let in")
	}
	o.refuse()
	if o.answer("_INBOX.a", "1", nil, []byte("hi")) == nil || o.verified.Load() {
		t.Error("a reply is taken after the end")
	}
	conn.Close()
	o.close()
}

// Replies from within the process never stand within a message of the server's, however that is cut.
func TestDoorLocalBetween(t *testing.T) {
	n := startNATS(t, t.TempDir())
	echoLocally(t, n, echoSubject)
	nc := anonymous(t, n)
	var events, wrong atomic.Int64
	_, err := nc.Subscribe("_INBOX.events", func(m *nats.Msg) {
		if events.Add(1); bytes.Trim(m.Data, "x") != nil && len(bytes.Trim(m.Data, "x")) > 0 {
			wrong.Add(1)
		}
	})
	check(t, err)
	check(t, nc.Flush())
	front := as(t, n, Front(subjects.Order))
	const sent = 300
	var both sync.WaitGroup
	both.Go(func() {
		for i := range sent {
			check(t, front.Publish("_INBOX.events", bytes.Repeat([]byte("x"), 1+i*i%150_000)))
			check(t, front.Flush())
		}
	})
	for i := range 4 {
		both.Go(func() {
			for j := range 2_000 {
				data := fmt.Sprint(i, ".", j)
				if m, err := nc.Request(echoSubject, []byte(data), 5*time.Second); err != nil || string(m.Data) != data {
					t.Errorf("%s: %v", data, err)
					return
				}
			}
		})
	}
	both.Wait()
	soon(t, "every event", func() bool { return events.Load() == sent })
	if wrong.Load() > 0 {
		t.Errorf("%d events came wrong", wrong.Load())
	}
}

// A request that is served where it was read, and takes long for once, holds up what the client says next for two looks at most.
func TestDoorLocalHangs(t *testing.T) {
	n := startNATS(t, t.TempDir())
	c, err := n.Link(Front(subjects.Order), false, nil)
	check(t, err)
	t.Cleanup(c.Close)
	open, asked := make(chan struct{}), make(chan string, 16)
	unlock := sync.OnceFunc(func() { close(open) })
	t.Cleanup(unlock)
	_, err = c.Subscribe(echoSubject, echoQueue, func(m lean.Msg) {
		if !m.Here() {
			t.Error("it is not served where it was read")
		}
		if asked <- string(m.Data); string(m.Data) == "hang" {
			<-open
		}
		check(t, m.Answer(nil, m.Data, c.Publish))
	})
	check(t, err)
	check(t, c.Flush(ctxFor(t, 5*time.Second)))
	nc := anonymous(t, n)
	replies := make(chan *nats.Msg, 16)
	_, err = nc.ChanSubscribe("_INBOX.mine.*", replies)
	check(t, err)
	check(t, nc.Flush())
	next := func() string {
		t.Helper()
		select {
		case m := <-replies:
			return string(m.Data)
		case <-time.After(5 * time.Second):
			t.Fatal("no reply")
			return ""
		}
	}
	for i, says := range []string{"hang", "hang", "a", "b"} { // each is read when its forerunner was
		check(t, nc.PublishRequest(echoSubject, fmt.Sprint("_INBOX.mine.", i), []byte(says)))
		select {
		case <-asked:
		case <-time.After(5 * time.Second):
			t.Fatalf("%q does not arrive", says)
		}
		if says != "hang" && next() != says {
			t.Fatalf("not the reply to %q", says)
		}
	}
	unlock()
	for range 2 {
		if next() != "hang" {
			t.Error("what hung is lost")
		}
	}
	if _, err := nc.Request(echoSubject, []byte("c"), 5*time.Second); err != nil {
		t.Error(err)
	}
	nc.Close()
	soon(t, "the end of the connection", func() bool { all, _ := n.tcp.count(); return all == 0 })
}

// A door that closes does not wait for what is served where it was read.
func TestDoorLocalHangsAtTheEnd(t *testing.T) {
	n := startNATS(t, t.TempDir())
	c, err := n.Link(Front(subjects.Order), false, nil)
	check(t, err)
	t.Cleanup(c.Close)
	open, asked := make(chan struct{}), make(chan struct{})
	t.Cleanup(func() { close(open) })
	_, err = c.Subscribe(echoSubject, echoQueue, func(lean.Msg) { close(asked); <-open })
	check(t, err)
	check(t, c.Flush(ctxFor(t, 5*time.Second)))
	nc := anonymous(t, n)
	_, err = nc.SubscribeSync("_INBOX.mine.*")
	check(t, err)
	check(t, nc.Flush())
	check(t, nc.PublishRequest(echoSubject, "_INBOX.mine.1", nil))
	<-asked
	closed := make(chan struct{})
	go func() { n.tcp.close(); close(closed) }()
	select {
	case <-closed:
	case <-time.After(5 * time.Second):
		t.Fatal("the door waits")
	}
}

// A client that asks and does not read holds up neither the service nor others, and is ended.
func TestDoorLocalSlowReader(t *testing.T) { eachWay(t, testDoorLocalSlowReader) }

func testDoorLocalSlowReader(t *testing.T, n *NATS, w way) {
	var slowest atomic.Int64
	serveLocally(t, n, echoSubject, func(m lean.Msg, send func(string, lean.Header, []byte) error) {
		began := time.Now()
		_ = m.Answer(nil, make([]byte, 100_000), send)
		for took := int64(time.Since(began)); ; {
			if before := slowest.Load(); took <= before || slowest.CompareAndSwap(before, took) {
				return
			}
		}
	})
	d := w.door(t, n, 64)
	slow := w.knock(t, d, "CONNECT {\"headers\":true,\"verbose\":false,\"pedantic\":false}\r\nPING\r\nSUB _INBOX.slow.* 1\r\n")
	time.Sleep(50 * time.Millisecond) // for the PONG, which is not read
	ask := slices.Concat(bytes.Repeat([]byte("PUB "+echoSubject+" _INBOX.slow.1 2\r\nhi\r\n"), 50))
	soon(t, "the end of who does not read", func() bool {
		_ = slow.SetWriteDeadline(time.Now().Add(time.Second))
		_, err := slow.Write(ask)
		d.endSlow(time.Now().Add(slowest0))
		return err != nil
	})
	if took := time.Duration(slowest.Load()); took > time.Second {
		t.Errorf("a reply took %v", took)
	}
	echoLocally(t, n, echoSubject+".other")
	ask2 := w.knock(t, d, "CONNECT {\"headers\":true,\"verbose\":false,\"pedantic\":false}\r\nSUB _INBOX.b 1\r\nPUB "+echoSubject+".other _INBOX.b 2\r\nhi\r\n")
	check(t, ask2.SetReadDeadline(time.Now().Add(5*time.Second)))
	for line := ""; !strings.HasPrefix(line, "HMSG _INBOX.b") && !strings.HasPrefix(line, "MSG _INBOX.b"); {
		if line = readLine(t, ask2); line == "" {
			t.Fatal("others get nothing")
		}
	}
}

const slowest0 = slowest + time.Second

// seen is a server that takes what it is sent, and what the service gets meanwhile.
type seen struct {
	passed    []byte
	delivered []string
}

func (s *seen) Write(b []byte) (int, error) { s.passed = append(s.passed, b...); return len(b), nil }
func (s *seen) Close() error                { return nil }

// However what a client says is cut into pieces, the same of it goes to the server and the same requests are delivered.
func FuzzIntake(f *testing.F) {
	n := startNATS(f, f.TempDir())
	var into *seen
	c, err := n.Link(Front(subjects.Order), false, nil)
	check(f, err)
	f.Cleanup(c.Close)
	_, err = c.Subscribe(echoSubject, echoQueue, func(m lean.Msg) {
		if into != nil {
			into.delivered = append(into.delivered, fmt.Sprintf("%d %s %q %q", len(into.passed), m.Reply, m.Get("A"), m.Data))
		}
	})
	check(f, err)
	check(f, c.Flush(ctxFor(f, 5*time.Second)))
	hello := "CONNECT {\"headers\":true,\"verbose\":false,\"pedantic\":false}\r\nPING\r\nSUB _INBOX.a.* 1\r\n"
	for _, says := range []string{
		"PUB " + echoSubject + " _INBOX.a.1 2\r\nhi\r\nPUB other 0\r\n\r\n",
		"HPUB " + echoSubject + " _INBOX.a.1 18 20\r\nNATS/1.0\r\nA: b\r\n\r\nhi\r\nPUB x 5\r\nPUB y\r\nPING\r\n",
		"PUB " + echoSubject + " _INBOX.a.1 2\r\nhi!!PUB " + echoSubject + " _INBOX.a.1 2\r\nhi\r\n",
		"UNSUB 1\r\nPUB " + echoSubject + " _INBOX.a.1 2\r\nhi\r\n",
		"PUB " + echoSubject + " _INBOX.a.1 999999999999\r\n",
		"+OK\r\n\r\nPONG\r\npub a 1\r\nx\r\n",
	} {
		f.Add([]byte(hello+says), []byte{3, 200, 1, 17})
	}
	f.Add([]byte("SUB _INBOX.a.* 1\r\nPUB "+echoSubject+" _INBOX.a.1 2\r\nhi\r\n"), []byte{9})
	f.Fuzz(func(t *testing.T, says, cuts []byte) {
		run := func(let bool, piece func() int) *seen {
			s := new(seen)
			into = s
			defer func() { into = nil }()
			out := new(outlet)
			out.verified.Store(let)
			in := intake{relay: new(relay), local: n.local, out: out, server: s}
			var held []byte
			for left := says; len(left) > 0; {
				k := min(piece(), len(left))
				held = append(held, left[:k]...)
				left = left[k:]
				taken, ok := in.take(held)
				if !ok {
					t.Fatal("the goroutine is not back")
				}
				held = held[taken:]
			}
			if len(held) > maxLine+maxLocal+len(crlf) {
				t.Errorf("%d bytes are kept", len(held))
			}
			if len(s.delivered) == 0 && string(s.passed)+string(held) != string(says) {
				t.Errorf("%q became %q and %q", says, s.passed, held)
			}
			return s
		}
		whole := run(true, func() int { return len(says) })
		i := 0
		pieces := func() int {
			if i++; len(cuts) == 0 {
				return 1
			}
			return 1 + int(cuts[i%len(cuts)])
		}
		parts := run(true, pieces)
		if !bytes.HasPrefix(says, []byte("CONNECT ")) && len(whole.delivered) > 0 {
			t.Errorf("%q is delivered of a client that has not introduced itself", whole.delivered)
		}
		if none := run(false, pieces); len(none.delivered) > 0 {
			t.Errorf("%q is delivered before the server has let the client in", none.delivered)
		}
		if !bytes.Equal(whole.passed, parts.passed) || !slices.Equal(whole.delivered, parts.delivered) {
			t.Errorf("%q\nwhole  %q %q\nparts  %q %q", says, whole.passed, whole.delivered, parts.passed, parts.delivered)
		}
	})
}
