package embedded

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"

	"waybill/internal/fault"
	"waybill/internal/lean"
	"waybill/internal/poll"
	"waybill/subjects"
)

// withSocket has the server listen on a Unix socket, and poll.
func withSocket(dir string) func(*NATSConfig) {
	return func(c *NATSConfig) { c.Socket, c.Poll = filepath.Join(dir, "nats.sock"), poll.Bound }
}

// unixDialer connects nats.go to a Unix socket.
type unixDialer string

func (d unixDialer) Dial(string, string) (net.Conn, error) { return net.Dial("unix", string(d)) }

func overSocket(t testing.TB, n *NATS, opts ...nats.Option) (*nats.Conn, error) {
	t.Helper()
	nc, err := nats.Connect("nats://socket", append([]nats.Option{nats.SetCustomDialer(unixDialer(n.Socket())), nats.NoReconnect()}, opts...)...)
	if err == nil {
		t.Cleanup(nc.Close)
	}
	return nc, err
}

// echo answers the subject in the clients' account.
func echo(t testing.TB, n *NATS, subject string) {
	t.Helper()
	front := as(t, n, Front(subjects.Order))
	_, err := front.Subscribe(subject, func(m *nats.Msg) { _ = m.Respond(m.Data) })
	check(t, err)
	check(t, front.Flush())
}

// gone reports whether the other end closes the connection within d; what it says before is read.
func gone(conn net.Conn, d time.Duration) bool {
	_ = conn.SetReadDeadline(time.Now().Add(d))
	_, err := io.Copy(io.Discard, conn)
	return err == nil || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

const echoSubject = "wb.local.rpc.order.echo"

// A client at the socket has the rights that it has over TCP.
func TestSocket(t *testing.T) {
	dir := t.TempDir()
	n := startNATS(t, dir, withSocket(dir))
	echo(t, n, echoSubject)
	info, err := os.Lstat(n.Socket())
	check(t, err)
	if info.Mode() != os.ModeSocket|socketMode {
		t.Errorf("the socket's mode is %v", info.Mode())
	}
	key, err := n.secrets.Option(UserClient)
	check(t, err)
	for name, opts := range map[string][]nats.Option{"anonymous": nil, "with a key": {key}} {
		violations := make(chan error, 2)
		nc, err := overSocket(t, n, append(opts, nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { violations <- err }))...)
		check(t, err)
		for _, size := range []int{0, 100, 100_000, defaultMaxPayload} {
			m, err := nc.Request(echoSubject, make([]byte, size), 5*time.Second)
			if err != nil || len(m.Data) != size {
				t.Errorf("%s: %d bytes come back as %v, %v", name, size, m, err)
			}
		}
		check(t, nc.Publish("wb.local.evt.order.x", nil))
		_, err = nc.Subscribe("wb.local.>", func(*nats.Msg) {})
		check(t, err)
		for range 2 {
			select {
			case err := <-violations:
				if !errors.Is(err, nats.ErrPermissionViolation) {
					t.Errorf("%s: %v", name, err)
				}
			case <-time.After(5 * time.Second):
				t.Fatalf("%s: it may write events or hear all", name)
			}
		}
	}
	stopNATS(t, n)
	if _, err := os.Lstat(n.Socket()); !os.IsNotExist(err) {
		t.Errorf("after the stop the socket is there, %v", err)
	}
	n = startNATS(t, dir, withSocket(dir))
	nc, err := overSocket(t, n)
	check(t, err)
	check(t, nc.Flush())
}

// Where credentials are asked for, they are so at each door, and within the process.
func TestDoorsRequireCredentials(t *testing.T) {
	dir := t.TempDir()
	n := startNATS(t, dir, withSocket(dir), func(c *NATSConfig) { c.RequireCredentials, c.WSAddr = true, "127.0.0.1:0" })
	key, err := n.secrets.Option(UserClient)
	check(t, err)
	other, err := secretsIn(t, t.TempDir()).Option(UserClient)
	check(t, err)
	for name, connect := range map[string]func(...nats.Option) (*nats.Conn, error){
		"socket":    func(o ...nats.Option) (*nats.Conn, error) { return overSocket(t, n, o...) },
		"TCP":       func(o ...nats.Option) (*nats.Conn, error) { return nats.Connect(n.URL(), o...) },
		"WebSocket": func(o ...nats.Option) (*nats.Conn, error) { return nats.Connect(n.WSURL(), o...) },
	} {
		for who, opts := range map[string][]nats.Option{"anonymous": nil, "another site's key": {other}, "a user name": {nats.UserInfo("admin", "")}} {
			if nc, err := connect(opts...); !errors.Is(err, nats.ErrAuthorization) {
				nc.Close()
				t.Errorf("%s, %s: %v", name, who, err)
			}
		}
		nc, err := connect(key)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		check(t, nc.Flush())
		nc.Close()
	}
	conn, err := n.server.InProcessConn()
	check(t, err)
	defer conn.Close()
	go func() { _, _ = conn.Write([]byte(hello)) }() // a pipe: the server may answer before it has taken all
	if says, _ := io.ReadAll(conn); !strings.Contains(string(says), "Authorization Violation") {
		t.Errorf("anonymous in process: %s", says)
	}
}

// Only a socket on which nobody answers is removed.
func TestSocketStale(t *testing.T) {
	left := func(path string) *net.UnixListener {
		l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
		check(t, err)
		l.SetUnlinkOnClose(false)
		return l
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "nats.sock")
	left(path).Close()
	n := startNATS(t, dir, withSocket(dir))
	_, err := overSocket(t, n)
	check(t, err)

	taken := t.TempDir()
	alive := left(filepath.Join(taken, "nats.sock"))
	defer alive.Close()
	file := t.TempDir()
	check(t, os.WriteFile(filepath.Join(file, "nats.sock"), []byte("x"), 0o600))
	link := t.TempDir()
	check(t, os.Symlink(filepath.Join(file, "nats.sock"), filepath.Join(link, "nats.sock")))
	open := t.TempDir()
	check(t, os.Chmod(open, 0o777))
	long := filepath.Join(t.TempDir(), strings.Repeat("a", maxSocketPath))
	for in, says := range map[string]string{taken: "another program listens", file: "is no socket", link: "is no socket", open: "mode 0777", long: "too long"} {
		l, err := listenSocket(t.Context(), filepath.Join(in, "nats.sock"))
		if err == nil {
			l.Close()
			t.Errorf("a socket in %s was opened", in)
			continue
		}
		refused(t, err, fault.CodeOf(err), says)
	}
	if b, err := os.ReadFile(filepath.Join(file, "nats.sock")); string(b) != "x" {
		t.Errorf("the file was touched: %q, %v", b, err)
	}
	n = startNATS(t, t.TempDir(), withSocket(open), func(c *NATSConfig) { c.SocketOptional, c.Log = true, zerolog.Nop() })
	if n.Socket() != "" {
		t.Errorf("a socket in %s was opened", open)
	}
	go func() { // whoever is alive stays so
		if c, err := alive.Accept(); err == nil {
			c.Close()
		}
	}()
	c, err := net.Dial("unix", filepath.Join(taken, "nats.sock"))
	check(t, err)
	c.Close()
}

// way is how a client comes to a door for TCP.
type way struct {
	name           string
	server, client *tls.Config // nil: in the clear
}

// eachWay runs a test at a server for each way.
func eachWay(t *testing.T, test func(t *testing.T, n *NATS, w way)) {
	server, client := certificate(t)
	for _, w := range []way{{name: "TCP"}, {"TLS", server, client}} {
		t.Run(w.name, func(t *testing.T) {
			test(t, startNATS(t, t.TempDir(), func(c *NATSConfig) { c.TLS = w.server }), w)
		})
	}
}

// door is one with few places, in front of a server.
func (w way) door(t testing.TB, n *NATS, most int) *door {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	d := newDoor(l, most, n.server.InProcessConn, testLog(t))
	d.local = n.local
	if w.server != nil {
		d.secure, d.greet = true, newHandshakes(w.server).greet
	}
	d.open()
	t.Cleanup(d.close)
	return d
}

// knock comes to a door. Who says nothing comes as far as the greeting.
func (w way) knock(t testing.TB, d *door, says string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", d.listener.Addr().String())
	check(t, err)
	t.Cleanup(func() { conn.Close() })
	line := readLine(t, conn)
	if says == "" {
		return conn
	}
	if !strings.HasPrefix(line, "INFO ") || strings.Contains(line, `"tls_required":true`) != (w.client != nil) {
		t.Fatalf("greeted with %q", line)
	}
	if w.client != nil {
		conn = tls.Client(conn, w.client)
	}
	_, err = conn.Write([]byte(says))
	check(t, err)
	return conn
}

// readLine reads a line, or as far as the connection brings it, and nothing behind it.
func readLine(t testing.TB, conn net.Conn) string {
	t.Helper()
	var line []byte
	for one := make([]byte, 1); !bytes.HasSuffix(line, []byte("\n")); line = append(line, one[0]) {
		if _, err := conn.Read(one); err != nil {
			break
		}
	}
	return string(line)
}

func soon(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for until := time.Now().Add(5 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(until) {
			t.Fatalf("%s: it does not happen", what)
		}
	}
}

func (d *door) count() (all, newcomers int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.relays), d.newcomers.Len()
}

const hello = "CONNECT {\"verbose\":false}\r\nPING\r\n"

// Who says nothing makes room for who comes; who has spoken does not, and who comes then is told.
func TestDoorLimits(t *testing.T) { eachWay(t, testDoorLimits) }

func testDoorLimits(t *testing.T, n *NATS, w way) {
	d := w.door(t, n, 16)
	var silent []net.Conn
	for range 9 {
		silent = append(silent, w.knock(t, d, ""))
	}
	if !gone(silent[0], 5*time.Second) {
		t.Error("the ninth of those who say nothing did not end the first")
	}
	if all, newcomers := d.count(); all != 8 || newcomers != 8 {
		t.Errorf("%d connections, %d newcomers", all, newcomers)
	}
	var speak []net.Conn
	for i := range 12 { // three quarters, of one address
		speak = append(speak, w.knock(t, d, hello))
		soon(t, "heard", func() bool { all, newcomers := d.count(); return all-newcomers == i+1 })
	}
	for _, c := range silent[1:] {
		if !gone(c, 5*time.Second) {
			t.Error("one who says nothing is kept while others need the place")
		}
	}
	last, err := net.Dial("tcp", d.listener.Addr().String())
	check(t, err)
	defer last.Close()
	_ = last.SetReadDeadline(time.Now().Add(5 * time.Second))
	if says, _ := io.ReadAll(last); string(says) != "-ERR 'maximum connections exceeded'\r\n" {
		t.Errorf("one too many is told %q", says)
	}
	check(t, as(t, n, Front(subjects.Order)).Flush()) // the services don't come through a door
	left := time.Now()
	speak[0].Close()
	soon(t, "room", func() bool { all, _ := d.count(); return all == 11 })
	if took := time.Since(left); took > 2*time.Second { // by the server's pings it would end, too, some time
		t.Errorf("who leaves keeps the place for %v", took)
	}
	w.knock(t, d, hello)
	soon(t, "in", func() bool { all, _ := d.count(); return all == 12 })
}

// Who says nothing, half a line, or what is no protocol has to go.
func TestDoorSilence(t *testing.T) { eachWay(t, testDoorSilence) }

func testDoorSilence(t *testing.T, n *NATS, w way) {
	d := w.door(t, n, 64)
	kept, quiet, half := w.knock(t, d, hello), w.knock(t, d, ""), w.knock(t, d, "CONNECT {\"verb")
	soon(t, "three", func() bool { all, newcomers := d.count(); return all == 3 && newcomers == 2 })
	d.endSilent(time.Now().Add(silence - time.Second))
	if all, _ := d.count(); all != 3 {
		t.Errorf("%d are left before the time is over", all)
	}
	d.endSilent(time.Now().Add(silence + time.Second))
	if !gone(quiet, 5*time.Second) || !gone(half, 5*time.Second) {
		t.Error("who has not said a line is kept")
	}
	for _, garbage := range []string{"GET / HTTP/1.1\r\n\r\n", "\r\n\r\n", "PUB wb.local.rpc.order.get 2\r\n{}\r\n", "SUB > 1\r\n", strings.Repeat("x", 100_000) + "\n", "\x16\x03\x01\x00\x00\n"} {
		c := w.knock(t, d, garbage)
		d.endSilent(time.Now().Add(silence + time.Second)) // some of it is no whole line for the server
		if !gone(c, 4*time.Second) {                       // well before the server ends a client for its silence
			t.Errorf("who says %.20q is kept", garbage)
		}
	}
	if _, err := kept.Write([]byte("PING\r\n")); err != nil || gone(kept, 100*time.Millisecond) {
		t.Errorf("who speaks had to go: %v", err)
	}
}

// A client that does not read what it asked for is ended, and holds up nobody.
func TestDoorSlowReader(t *testing.T) { eachWay(t, testDoorSlowReader) }

func testDoorSlowReader(t *testing.T, n *NATS, w way) {
	d := w.door(t, n, 64)
	slow := w.knock(t, d, "CONNECT {\"verbose\":false}\r\nSUB _INBOX.slow 1\r\n")
	soon(t, "heard", func() bool { _, newcomers := d.count(); return newcomers == 0 })
	var r *relay
	d.mu.Lock()
	for r = range d.relays {
	}
	d.mu.Unlock()
	front := as(t, n, Front(subjects.Order))
	soon(t, "a write that hangs", func() bool {
		check(t, front.Publish("_INBOX.slow", make([]byte, 500_000)))
		check(t, front.Flush())
		before := r.writing.Load()
		time.Sleep(20 * time.Millisecond)
		return before != 0 && before == r.writing.Load()
	})
	d.endSlow(time.Now().Add(slowest + time.Second))
	soon(t, "its end", func() bool { all, _ := d.count(); return all == 0 })
	if !gone(slow, 5*time.Second) {
		t.Error("it is kept")
	}
	check(t, front.Flush())
}

// A listener that fails is asked again after a pause, and Close does not wait for that.
func TestDoorAcceptFails(t *testing.T) {
	n := startNATS(t, t.TempDir())
	l := &failing{end: make(chan struct{})}
	d := newDoor(l, 16, n.server.InProcessConn, zerolog.Nop())
	d.open()
	time.Sleep(300 * time.Millisecond)
	if asked := l.asked.Load(); asked < 3 || asked > 7 {
		t.Errorf("it was asked %d times in 300ms", asked)
	}
	began := time.Now()
	d.close()
	if time.Since(began) > 100*time.Millisecond {
		t.Errorf("the close took %v", time.Since(began))
	}
}

// failing is a listener of a process without file descriptors.
type failing struct {
	asked atomic.Int32
	end   chan struct{}
}

func (l *failing) Accept() (net.Conn, error) {
	l.asked.Add(1)
	select {
	case <-l.end:
		return nil, net.ErrClosed
	default:
		return nil, &net.OpError{Op: "accept", Net: "tcp", Err: syscall.EMFILE}
	}
}
func (l *failing) Close() error   { close(l.end); return nil }
func (l *failing) Addr() net.Addr { return &net.TCPAddr{} }

// A thousand connections that say nothing: those who are in work on, new clients and the services get in.
func TestDoorFlood(t *testing.T) { testDoorFlood(t, []string{""}, nil, nil) }

// So it is with TLS, where some of them stop in the middle of the handshake, and some after it.
func TestDoorFloodTLS(t *testing.T) {
	server, client := certificate(t)
	parts := append(make([]string, 8), "\x16\x03\x01", string(clientHello(t, client)))
	testDoorFlood(t, parts, server, client)
}

// testDoorFlood has the connections say one of the parts each, and no more.
func testDoorFlood(t *testing.T, parts []string, server, client *tls.Config) {
	dir := t.TempDir()
	n := startNATS(t, dir, withSocket(dir), func(c *NATSConfig) { c.TLS = server })
	echo(t, n, echoSubject)
	c, err := lean.Dial(ctxFor(t, 5*time.Second), lean.Options{Inbox: "_INBOX", Log: zerolog.Nop(), Servers: n.URL(), TLS: client})
	check(t, err)
	defer c.Close()
	calls := func() (p99 time.Duration) {
		var took []time.Duration
		for range 1000 {
			began := time.Now()
			_, err := c.Request(ctxFor(t, 5*time.Second), echoSubject, nil, make([]byte, 183))
			check(t, err)
			took = append(took, time.Since(began))
			time.Sleep(time.Millisecond)
		}
		return percentile(took, 0.99)
	}
	ratio := 0.0
	for range 3 { // what others do on this machine counts, too
		before := calls()
		conns := make([]net.Conn, 1000)
		var all sync.WaitGroup
		for part := range 10 {
			all.Go(func() {
				for i := part; i < len(conns); i += 10 {
					if conns[i], _ = net.Dial("tcp", n.Addr()); conns[i] != nil {
						_, _ = conns[i].Write([]byte(parts[i%len(parts)]))
					}
				}
			})
		}
		all.Wait()
		for name, connect := range map[string]func() (*nats.Conn, error){
			"TCP": func() (*nats.Conn, error) {
				return nats.Connect(n.URL(), func(o *nats.Options) error { o.TLSConfig = client; return nil })
			}, "socket": func() (*nats.Conn, error) { return overSocket(t, n) },
			"in process": func() (*nats.Conn, error) { return n.Connect(Front(subjects.Payment)) },
		} {
			began := time.Now()
			nc, err := connect()
			check(t, err)
			check(t, nc.Flush())
			nc.Close()
			if took := time.Since(began); took > time.Second {
				t.Errorf("a new client over %s got in after %v", name, took)
			}
		}
		during := calls()
		t.Logf("p99 %v, with 1000 silent connections %v", before, during)
		for _, conn := range conns {
			if conn != nil {
				conn.Close()
			}
		}
		if ratio = float64(during) / float64(before); ratio < 2 {
			return
		}
	}
	t.Errorf("the p99 of a client is %.1f times what it was", ratio)
}

func percentile(took []time.Duration, p float64) time.Duration {
	return slices.Sorted(slices.Values(took))[int(p*float64(len(took)))]
}
