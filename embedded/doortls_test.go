package embedded

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"io"
	"maps"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"

	"waybill/internal/lean"
	"waybill/internal/poll"
)

// clientHello is what a client begins the handshake with.
func clientHello(t testing.TB, client *tls.Config) []byte {
	t.Helper()
	ours, theirs := net.Pipe()
	defer ours.Close()
	var running sync.WaitGroup
	running.Go(func() { _ = tls.Client(theirs, client).Handshake(); theirs.Close() })
	buf := make([]byte, maxHandshake)
	n, err := ours.Read(buf)
	check(t, err)
	ours.Close()
	running.Wait()
	return buf[:n]
}

// Every client gets in, and sees what it would see at the server's own listener.
func TestTLSClients(t *testing.T) {
	server, client := certificate(t)
	n := startNATS(t, t.TempDir(), func(c *NATSConfig) { c.TLS, c.Poll = server, poll.Bound })
	echo(t, n, echoSubject)
	for name, opts := range map[string][]nats.Option{
		"asked for":     {nats.Secure(client)},
		"not asked for": {func(o *nats.Options) error { o.TLSConfig = client; return nil }},
	} {
		url := n.URL()
		if name == "not asked for" {
			url = strings.Replace(url, "tls://", "nats://", 1)
		}
		nc, err := nats.Connect(url, opts...)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for _, size := range []int{0, 100, 100_000, defaultMaxPayload} {
			m, err := nc.Request(echoSubject, make([]byte, size), 5*time.Second)
			if err != nil || len(m.Data) != size {
				t.Errorf("%s: %d bytes come back as %v, %v", name, size, m, err)
			}
		}
		if s, err := nc.TLSConnectionState(); err != nil || !s.HandshakeComplete {
			t.Errorf("%s: not secured: %v", name, err)
		}
		if ip, err := nc.GetClientIP(); err != nil || !ip.IsLoopback() || !nc.TLSRequired() {
			t.Errorf("%s: it is told that it comes from %v, %v, and that TLS is required: %v", name, ip, err, nc.TLSRequired())
		}
		nc.Close()
	}
	c, err := lean.Dial(ctxFor(t, 5*time.Second), lean.Options{Servers: n.URL(), TLS: client, Inbox: "_INBOX", Log: zerolog.Nop(),
		Wrap: func(c net.Conn) net.Conn { return poll.Wrap(c, poll.Bound) }})
	check(t, err)
	defer c.Close()
	for range 100 {
		m, err := c.Request(ctxFor(t, 5*time.Second), echoSubject, nil, []byte("x"))
		if err != nil || string(m.Data) != "x" {
			t.Fatalf("%q, %v", m.Data, err)
		}
	}
	if nc, err := nats.Connect(n.URL(), nats.Secure(&tls.Config{MinVersion: tls.VersionTLS12})); err == nil {
		nc.Close()
		t.Error("a client that trusts nobody got in")
	}
}

// INFO is the same as at the server's own listener, the first time and after the first ping.
func TestTLSInfo(t *testing.T) {
	server, client := certificate(t)
	infos := func(stock bool) (out []map[string]any) {
		n := startNATS(t, t.TempDir(), func(c *NATSConfig) { c.TLS, c.StockTCP = server, stock })
		conn, err := net.Dial("tcp", n.Addr())
		check(t, err)
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
		lines := []string{readLine(t, conn)}
		conn = tls.Client(conn, client)
		_, err = conn.Write([]byte("CONNECT {\"protocol\":1,\"verbose\":true}\r\nPING\r\nSUB _INBOX.x 1\r\nPUB _INBOX.x 2\r\n{}\r\n"))
		check(t, err)
		for range 3 {
			lines = append(lines, readLine(t, conn))
		}
		for _, line := range lines {
			if text, ok := strings.CutPrefix(line, "INFO "); ok {
				var info map[string]any
				check(t, json.Unmarshal([]byte(text), &info))
				maps.DeleteFunc(info, func(name string, _ any) bool {
					return slices.Contains([]string{"server_id", "client_id", "nonce", "port", "xkey"}, name)
				})
				out = append(out, info)
			}
		}
		if !strings.HasPrefix(lines[1], "+OK") || len(out) != 2 || out[1]["connect_info"] != true {
			t.Fatalf("it says %q", lines)
		}
		return out
	}
	want, got := infos(true), infos(false)
	for i := range want {
		if !maps.Equal(want[i], got[i]) {
			t.Errorf("INFO %d is\n%v, at the server's own listener\n%v", i, got[i], want[i])
		}
	}
}

// What the server says is passed on whole, wherever it is torn apart, and changed in INFO alone.
func TestSecuredReads(t *testing.T) {
	const info, last = `INFO {"server_id":"x"}` + "\r\n", `INFO {"server_id":"x","connect_info":true}` + "\r\n"
	const told = `INFO {"tls_required":true,"client_ip":"10.0.0.1","server_id":"x"}` + "\r\n"
	const lastTold = `INFO {"tls_required":true,"client_ip":"10.0.0.1","server_id":"x","connect_info":true}` + "\r\n"
	long := strings.Repeat("x", 3*lineBuffer)
	for says, want := range map[string]string{
		info + "+OK\r\nPING\r\nPONG\r\n" + last:                            told + "+OK\r\nPING\r\nPONG\r\n" + lastTold,
		info + "PONG\r\n" + last + "MSG a 1 24\r\n" + info + "\r\n" + last: told + "PONG\r\n" + lastTold + "MSG a 1 24\r\n" + info + "\r\n" + last,
		info + "MSG a 1 24\r\n" + info + "\r\n" + info:                     told + "MSG a 1 24\r\n" + info + "\r\n" + info,
		info + "-ERR 'no'\r\n":                                             told + "-ERR 'no'\r\n",
		info + "PIN":                                                       told + "PIN",
		"INFO " + long + "\r\n" + info:                                     "INFO " + long + "\r\n" + info,
		"MSG a 1 5\r\n" + long + "\r\n":                                    "MSG a 1 5\r\n" + long + "\r\n",
	} {
		for _, piece := range []int{1, 7, 1 << 20} {
			ours, theirs := net.Pipe()
			var running sync.WaitGroup
			running.Go(func() {
				for left := []byte(says); len(left) > 0; left = left[min(piece, len(left)):] {
					_, _ = theirs.Write(left[:min(piece, len(left))])
				}
				theirs.Close()
			})
			got, err := io.ReadAll(newSecured(ours, "10.0.0.1", zerolog.Nop()))
			running.Wait()
			if err != nil || string(got) != want {
				t.Errorf("%.60q in pieces of %d: %.200q, %v", says, piece, got, err)
			}
		}
	}
}

// What is no handshake ends the connection, and what never comes to an end does so, too, without being kept.
func TestTLSHandshakeHostile(t *testing.T) {
	t.Parallel() // it waits for the door's clock
	server, client := certificate(t)
	w := way{"TLS", server, client}
	n := startNATS(t, t.TempDir(), func(c *NATSConfig) { c.TLS = server })
	d := w.door(t, n, 64)
	first := clientHello(t, client)
	broken := bytes.Clone(first)
	broken[5] = 9 // no hello
	endless := []byte{22, 3, 1, 0x40, 0, 1, 0, 0xff, 0xff}
	endless = append(endless, make([]byte, 0x4000-4)...)
	for len(endless) <= maxHandshake {
		endless = append(append(endless, 22, 3, 1, 0x40, 0), make([]byte, 0x4000)...)
	}
	for name, says := range map[string][]byte{
		"in the clear": []byte(hello), "a page": []byte("GET / HTTP/1.1\r\n\r\n"), "noise": bytes.Repeat([]byte{0x16, 0xff}, 1000),
		"broken": broken, "endless": endless, "a record too large": {22, 3, 1, 0xff, 0xff, 1},
	} {
		for _, greeted := range []bool{true, false} {
			conn, err := net.Dial("tcp", d.listener.Addr().String())
			check(t, err)
			if greeted {
				readLine(t, conn)
			}
			_, _ = conn.Write(says)
			if !gone(conn, 3*time.Second) { // before the door ends those who say nothing
				t.Errorf("%s, greeted %v: it is kept", name, greeted)
			}
			conn.Close()
		}
	}
	for name, says := range map[string][]byte{"half": first[:len(first)/2], "a byte": first[:1], "no answer": first} {
		conn, err := net.Dial("tcp", d.listener.Addr().String())
		check(t, err)
		_, _ = conn.Write(says)
		soon(t, "in", func() bool { all, newcomers := d.count(); return all == 1 && newcomers == 1 })
		time.Sleep(100 * time.Millisecond)
		if _, newcomers := d.count(); newcomers != 1 {
			t.Errorf("%s: it is no newcomer any more", name)
		}
		d.endSilent(time.Now().Add(silence + time.Second))
		if !gone(conn, 5*time.Second) {
			t.Errorf("%s: it is kept", name)
		}
		conn.Close()
		soon(t, "out", func() bool { all, _ := d.count(); return all == 0 })
	}
	conn, err := net.Dial("tcp", d.listener.Addr().String()) // the door's own clock
	check(t, err)
	defer conn.Close()
	for began := time.Now(); ; {
		if _, err := conn.Write(first[:1]); err != nil {
			break
		}
		if time.Since(began) > silence+3*time.Second {
			t.Fatal("who sends a handshake byte by byte is kept")
		}
		first = first[1:]
		time.Sleep(100 * time.Millisecond)
	}
	check(t, w.knock(t, d, hello).Close())
}

// Handshakes compute in turn, and those that wait for their clients hold up nobody.
func TestTLSHandshakeTurns(t *testing.T) {
	server, client := certificate(t)
	var computing, most atomic.Int64
	server.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		now := computing.Add(1)
		defer computing.Add(-1)
		for seen := most.Load(); now > seen && !most.CompareAndSwap(seen, now); seen = most.Load() {
		}
		time.Sleep(5 * time.Millisecond)
		return nil, nil
	}
	w := way{"TLS", server, client}
	n := startNATS(t, t.TempDir(), func(c *NATSConfig) { c.TLS = server })
	d := w.door(t, n, 256)
	hello := clientHello(t, client)
	for range 60 {
		conn, err := net.Dial("tcp", d.listener.Addr().String())
		check(t, err)
		defer conn.Close()
		_, err = conn.Write(hello)
		check(t, err)
	}
	began := time.Now()
	conn := w.knock(t, d, "CONNECT {\"verbose\":true}\r\n")
	_ = conn.SetReadDeadline(time.Now().Add(silence))
	if line := readLine(t, conn); !strings.HasPrefix(line, "+OK") {
		t.Errorf("who comes last is told %q after %v", line, time.Since(began))
	}
	if all, newcomers := d.count(); all != 61 || newcomers != 60 {
		t.Errorf("%d connections, %d newcomers", all, newcomers)
	}
	if at := most.Load(); at > int64(max(1, runtime.GOMAXPROCS(0)/2)) {
		t.Errorf("%d handshakes computed at once", at)
	}
}

// A flood of handshakes that are begun twice as fast as they can be computed, and never ended, keeps nobody out who tries again.
func TestTLSFloodOfHellos(t *testing.T) {
	server, client := certificate(t)
	server.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		time.Sleep(time.Duration(max(1, runtime.GOMAXPROCS(0)/2)) * 10 * time.Millisecond) // 100 each second
		return nil, nil
	}
	w := way{"TLS", server, client}
	n := startNATS(t, t.TempDir(), func(c *NATSConfig) { c.TLS = server })
	d := w.door(t, n, 1024)
	hello := clientHello(t, client)
	stop := make(chan struct{})
	var flood sync.WaitGroup
	defer flood.Wait()
	defer close(stop)
	flood.Go(func() {
		var conns []net.Conn
		defer func() {
			for _, c := range conns {
				c.Close()
			}
		}()
		for tick := time.NewTicker(5 * time.Millisecond); ; {
			select {
			case <-stop:
				tick.Stop()
				return
			case <-tick.C:
			}
			conn, err := net.Dial("tcp", d.listener.Addr().String())
			if err != nil {
				continue
			}
			conns = append(conns, conn)
			_, _ = conn.Write(hello)
			if len(conns) > 1000 {
				conns[0].Close()
				conns = conns[1:]
			}
		}
	})
	soon(t, "a crowd", func() bool { _, newcomers := d.count(); return newcomers >= 128 })
	in, tries, began := 0, 0, time.Now()
	for in < 3 && time.Since(began) < 30*time.Second {
		tries++
		conn, err := net.Dial("tcp", d.listener.Addr().String())
		check(t, err)
		_ = conn.SetDeadline(time.Now().Add(300 * time.Millisecond))
		if strings.HasPrefix(readLine(t, conn), "INFO ") {
			secure := tls.Client(conn, client)
			if _, err := secure.Write([]byte("CONNECT {\"verbose\":true}\r\n")); err == nil && strings.HasPrefix(readLine(t, secure), "+OK") {
				in++
			}
		}
		conn.Close()
	}
	t.Logf("%d tries got in %d times, in %v", tries, in, time.Since(began))
	if in < 3 { // hardly one, where those who come first have their turn first
		t.Error("who tries again does not get in")
	}
}

// Who is refused is told why, and the log says where that one came from.
func TestTLSRefused(t *testing.T) {
	server, client := certificate(t)
	var mu sync.Mutex
	var log bytes.Buffer
	n := startNATS(t, t.TempDir(), func(c *NATSConfig) {
		c.TLS, c.RequireCredentials = server, true
		c.Log = zerolog.New(writerFunc(func(b []byte) (int, error) { mu.Lock(); defer mu.Unlock(); return log.Write(b) }))
	})
	conn, err := net.Dial("tcp", n.Addr())
	check(t, err)
	defer conn.Close()
	readLine(t, conn)
	conn = tls.Client(conn, client)
	_, err = conn.Write([]byte(hello))
	check(t, err)
	if line := readLine(t, conn); !strings.HasPrefix(line, "-ERR 'Authorization Violation'") {
		t.Errorf("it is told %q", line)
	}
	if !gone(conn, 5*time.Second) {
		t.Error("it is kept")
	}
	mu.Lock()
	defer mu.Unlock()
	if !strings.Contains(log.String(), `"from":"127.0.0.1","nats":"-ERR 'Authorization Violation'"`) {
		t.Errorf("the log is\n%s", log.String())
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }
