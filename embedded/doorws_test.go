package embedded

import (
	"bufio"
	"crypto/tls"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"waybill/internal/fault"
)

// upgrade asks for a WebSocket with the headers, given as "Name: value", and returns the status of the answer.
func upgrade(t *testing.T, n *NATS, host string, headers ...string) int {
	t.Helper()
	conn, err := net.Dial("tcp", n.WSAddr())
	check(t, err)
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	request := "GET / HTTP/1.1\r\nHost: " + host + "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n" +
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
	for _, h := range headers {
		request += h + "\r\n"
	}
	_, err = conn.Write([]byte(request + "\r\n"))
	check(t, err)
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatalf("%s %v: %v", host, headers, err)
	}
	return answer.StatusCode
}

func TestWebSocket(t *testing.T) {
	n := startNATS(t, t.TempDir(), func(c *NATSConfig) { c.WSAddr = "127.0.0.1:0" })
	echo(t, n, echoSubject)
	nc, err := nats.Connect(n.WSURL())
	check(t, err)
	defer nc.Close()
	for _, size := range []int{0, 1, 200, 100_000, defaultMaxPayload} {
		m, err := nc.Request(echoSubject, make([]byte, size), 5*time.Second)
		if err != nil || len(m.Data) != size {
			t.Errorf("%d bytes come back as %v, %v", size, m, err)
		}
	}
	if err := nc.Publish("wb.local.evt.order.x", nil); err == nil {
		check(t, nc.Flush())
		if nc.LastError() == nil {
			t.Error("it may write events")
		}
	}
	_, err = StartNATS(ctxFor(t, 5*time.Second), NATSConfig{Site: site, DataDir: t.TempDir(), Addr: "127.0.0.1:0", Secrets: n.secrets, WSAddr: "0.0.0.0:0", Log: testLog(t)})
	refused(t, err, fault.FailedPrecondition, "0.0.0.0:0", "credentials and TLS")
}

// A web page of somebody else's can't use the rights of whoever looks at it.
func TestWebSocketOrigins(t *testing.T) {
	const shop = "http://127.0.0.1:3000"
	n := startNATS(t, t.TempDir(), func(c *NATSConfig) { c.WSAddr, c.WSOrigins = "127.0.0.1:0", []string{shop} })
	_, port, _ := net.SplitHostPort(n.WSAddr())
	const in = http.StatusSwitchingProtocols
	for _, c := range []struct {
		want    int
		host    string
		headers []string
	}{
		{in, n.WSAddr(), nil}, // no browser
		{in, n.WSAddr(), []string{"Origin: http://" + n.WSAddr()}},
		{in, "localhost:" + port, []string{"Origin: http://localhost:" + port}},
		{in, n.WSAddr(), []string{"Origin: " + shop}},
		{403, n.WSAddr(), []string{"Origin: http://evil.example"}},
		{403, n.WSAddr(), []string{"Origin: https://" + n.WSAddr()}},
		{403, n.WSAddr(), []string{"Origin: http://127.0.0.1:1"}},
		{403, n.WSAddr(), []string{"Origin: null"}},
		{403, n.WSAddr(), []string{"Origin: "}},
		{403, n.WSAddr(), []string{"Origin: file://"}},
		{403, n.WSAddr(), []string{"Origin: " + shop + ".evil.example"}},
		{403, n.WSAddr(), []string{"Origin: " + shop, "Origin: http://evil.example"}},
		{403, "evil.example:" + port, []string{"Origin: http://evil.example:" + port}}, // a name that leads to this machine
	} {
		if got := upgrade(t, n, c.host, c.headers...); got != c.want {
			t.Errorf("host %s, %q: %d, want %d", c.host, c.headers, got, c.want)
		}
	}
}

// What is no request for a WebSocket ends at the door.
func TestWebSocketHostile(t *testing.T) {
	n := startNATS(t, t.TempDir(), func(c *NATSConfig) { c.WSAddr = "127.0.0.1:0" })
	for name, says := range map[string]string{
		"a page": "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "NATS": hello, "endless": "GET / HTTP/1.1\r\nX: " + strings.Repeat("x", 2*maxRequestHead),
	} {
		conn, err := net.Dial("tcp", n.WSAddr())
		check(t, err)
		_, _ = conn.Write([]byte(says))
		if !gone(conn, 5*time.Second) {
			t.Errorf("%s: the connection is kept", name)
		}
		conn.Close()
	}
	quiet, err := net.Dial("tcp", n.WSAddr())
	check(t, err)
	defer quiet.Close()
	soon(t, "in", func() bool { all, _ := n.ws.count(); return all == 1 })
	soon(t, "gone, as it asks for nothing", func() bool { // it may be counted a moment before it has its place
		n.ws.endSilent(time.Now().Add(silence + time.Second))
		return gone(quiet, 50*time.Millisecond)
	})
}

func TestWebSocketTLS(t *testing.T) {
	cert, pool := selfSigned(t)
	n := startNATS(t, t.TempDir(), func(c *NATSConfig) {
		c.WSAddr, c.RequireCredentials = "0.0.0.0:0", true
		c.TLS = &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS13}
	})
	if !strings.HasPrefix(n.WSURL(), "wss://") {
		t.Errorf("URL %s", n.WSURL())
	}
	_, port, _ := net.SplitHostPort(n.WSAddr())
	url := "wss://127.0.0.1:" + port
	key, err := n.secrets.Option(UserClient)
	check(t, err)
	trust := nats.Secure(&tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS13})
	nc, err := nats.Connect(url, key, trust)
	check(t, err)
	defer nc.Close()
	check(t, nc.Flush())
	if nc, err := nats.Connect(url, trust); err == nil {
		nc.Close()
		t.Error("anonymous clients get in")
	}
	if nc, err := nats.Connect("ws://127.0.0.1:"+port, key); err == nil {
		nc.Close()
		t.Error("it speaks in the clear")
	}
}
