package embedded

import (
	"crypto/tls"
	"errors"
	"net"
	"runtime"
	"time"
)

const maxHandshake = 32 << 10 // bytes that a client may send in it; most send less than 3,000

// handshakes secures the connections of a site's clients, whichever door they come to. Its methods are safe for concurrent use.
type handshakes struct {
	config *tls.Config
	turns  chan struct{} // has one in it for each handshake that computes: half of the cores are enough for them
}

func newHandshakes(config *tls.Config) *handshakes {
	return &handshakes{config: config, turns: make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2))}
}

func (s *handshakes) begin(conn net.Conn) *handshaking {
	return &handshaking{Conn: conn, of: s, left: maxHandshake}
}

// greet tells the client in the clear what the server is, and that TLS is required, before the handshake, as NATS does. All of it lasts
// until the connection is closed, as it is by the door where the client takes too long.
func (s *handshakes) greet(conn net.Conn, enter func() (net.Conn, error)) (outside, inside net.Conn, err error) {
	if inside, err = enter(); err != nil {
		return nil, nil, err
	}
	if err = greeting(inside, conn); err != nil {
		return nil, nil, err
	}
	outside, err = s.begin(conn).secure()
	return outside, inside, err
}

// greeting passes on the first line that the server says.
func greeting(inside, conn net.Conn) error {
	buf := make([]byte, lineBuffer)
	n, err := inside.Read(buf) // of secured: a line
	if err != nil {
		return err
	}
	_, err = conn.Write(buf[:n])
	return err
}

var errHandshake = errors.New("the handshake is too long")

// handshaking is a client's connection until its handshake is over, which one goroutine makes. It brings only so many bytes until then, as
// TLS keeps what comes. What they bring about is computed in turn, as a client can cause more work than it has itself; who waits for the
// client has no turn.
type handshaking struct {
	net.Conn
	of   *handshakes
	turn bool
	left int // bytes that may still come
	over bool
}

func (h *handshaking) Read(b []byte) (int, error) {
	if h.over {
		return h.Conn.Read(b)
	}
	h.rest()
	if h.left == 0 {
		return 0, errHandshake
	}
	n, err := h.Conn.Read(b[:min(len(b), h.left)])
	h.left -= n
	if err != nil {
		return n, err
	}
	h.of.turns <- struct{}{} // nobody who has a turn waits for anything
	h.turn = true
	return n, h.Conn.SetReadDeadline(time.Time{}) // it may have been closed meanwhile
}

func (h *handshaking) Write(b []byte) (int, error) {
	h.rest()
	return h.Conn.Write(b)
}

func (h *handshaking) rest() {
	if h.turn {
		h.turn = false
		<-h.of.turns
	}
}

// secure makes the handshake.
func (h *handshaking) secure() (net.Conn, error) {
	defer h.rest()
	conn := tls.Server(h, h.of.config)
	if err := conn.Handshake(); err != nil {
		return nil, err
	}
	h.over = true
	return conn, nil
}
