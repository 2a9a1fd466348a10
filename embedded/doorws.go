package embedded

import (
	"bufio"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/gorilla/websocket"

	"waybill/internal/lean"
)

const maxRequestHead = 16 << 10 // bytes of the HTTP request that asks for a WebSocket

// webSocket makes of a client's connection one that speaks NATS over WebSocket.
type webSocket struct {
	tls     *handshakes // nil: none
	origins []string    // of web pages that may connect, beside those of this listener's own address
}

// greet answers the request that the client begins with. It lasts until the client has asked, or its connection is closed.
func (w *webSocket) greet(conn net.Conn, enter func() (net.Conn, error)) (outside, inside net.Conn, err error) {
	if outside, err = w.open(conn); err != nil {
		return nil, nil, err
	}
	inside, err = enter()
	return outside, inside, err
}

func (w *webSocket) open(conn net.Conn) (net.Conn, error) {
	if w.tls != nil {
		secure, err := w.tls.begin(conn).secure()
		if err != nil {
			return nil, err
		}
		conn = secure
	}
	in := bufio.NewReader(io.LimitReader(conn, maxRequestHead))
	request, err := http.ReadRequest(in)
	if err != nil {
		return nil, err
	}
	if w.tls != nil {
		request.TLS = &tls.ConnectionState{}
	}
	upgrader := websocket.Upgrader{CheckOrigin: w.allowed, HandshakeTimeout: silence}
	ws, err := upgrader.Upgrade(&response{conn: conn, in: in}, request, nil)
	if err != nil {
		return nil, err
	}
	return lean.OverWebSocket(ws), nil
}

// allowed reports whether the page that the request comes from may connect. Browsers let any page open a WebSocket to any address,
// also to one on this machine, and say in Origin which page it is; other clients say nothing. A page of the same address passes only
// where no foreign page can pretend to be one by a name that it had resolved to this machine.
func (w *webSocket) allowed(r *http.Request) bool {
	origin := r.Header["Origin"]
	if len(origin) == 0 {
		return true
	}
	u, err := url.Parse(origin[0])
	if err != nil || len(origin) > 1 || u.Host == "" {
		return false
	}
	if slices.ContainsFunc(w.origins, func(o string) bool { return strings.EqualFold(o, origin[0]) }) {
		return true
	}
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	return u.Scheme == scheme && strings.EqualFold(u.Host, r.Host) && (r.TLS != nil || ownName(u.Hostname()))
}

// ownName reports whether no name service has a say in what host is.
func ownName(host string) bool {
	_, err := netip.ParseAddr(host)
	return err == nil || strings.EqualFold(host, "localhost")
}

// response is the answer to the one HTTP request of a connection.
type response struct {
	conn   net.Conn
	in     *bufio.Reader
	header http.Header
	status int
}

func (r *response) Header() http.Header {
	if r.header == nil {
		r.header = http.Header{}
	}
	return r.header
}

func (r *response) WriteHeader(status int) { r.status = status }

// Write writes the whole answer: it is called once, for an error.
func (r *response) Write(body []byte) (int, error) {
	_ = r.conn.SetWriteDeadline(time.Now().Add(time.Second))
	answer := http.Response{StatusCode: r.status, ProtoMajor: 1, ProtoMinor: 1, Header: r.Header(), ContentLength: int64(len(body)), Close: true,
		Body: io.NopCloser(strings.NewReader(string(body)))}
	return len(body), answer.Write(r.conn)
}

// Hijack implements http.Hijacker. What the client sent after its request without waiting for the answer is refused.
func (r *response) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	if r.in.Buffered() > 0 {
		return nil, nil, errors.New("the client did not wait for the answer")
	}
	return r.conn, bufio.NewReadWriter(bufio.NewReader(r.conn), bufio.NewWriter(r.conn)), nil
}
