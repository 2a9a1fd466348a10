package embedded

import (
	"bytes"
	"crypto/tls"
	"errors"
	"net"
	"runtime"
	"slices"
	"sync"
	"time"
)

const (
	maxHandshake = 16 << 10 // bytes that a client may send in it; most send less than 3,000
	mostBegun    = 256      // handshakes that wait to be computed for the first time
)

// handshakes secures the connections of a site's clients, whichever door they come to. Its methods are safe for concurrent use.
type handshakes struct {
	config *tls.Config

	mu   sync.Mutex
	free int          // turns to compute that nobody has; half of the cores are enough for handshakes
	owed []chan error // those that wait for a turn and have been answered once, the first first
	new  []chan error // those to which nothing was said yet, the last last
}

func newHandshakes(config *tls.Config) *handshakes {
	return &handshakes{config: config, free: max(1, runtime.GOMAXPROCS(0)/2)}
}

// take waits for a turn. Who has been answered comes before who has not, and of these the last before the first, which has to go where
// too many wait: where more begin than can be computed, those who come first would all have gone when their turn comes. Nobody who has a
// turn waits for anything.
func (s *handshakes) take(answered bool) error {
	s.mu.Lock()
	if s.free > 0 {
		s.free--
		s.mu.Unlock()
		return nil
	}
	turn := make(chan error, 1)
	if answered {
		s.owed = append(s.owed, turn)
	} else {
		if len(s.new) == mostBegun {
			s.new[0] <- errCrowd
			s.new = slices.Delete(s.new, 0, 1)
		}
		s.new = append(s.new, turn)
	}
	s.mu.Unlock()
	return <-turn
}

// give hands a turn on.
func (s *handshakes) give() {
	s.mu.Lock()
	defer s.mu.Unlock()
	last := len(s.new) - 1
	switch {
	case len(s.owed) > 0:
		s.owed[0] <- nil
		s.owed = slices.Delete(s.owed, 0, 1)
	case last >= 0:
		s.new[last] <- nil
		s.new = slices.Delete(s.new, last, last+1)
	default:
		s.free++
	}
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
	if !bytes.HasSuffix(buf[:n], []byte("\n")) {
		return errInfo
	}
	_, err = conn.Write(buf[:n])
	return err
}

var (
	errHandshake = errors.New("the handshake is too long")
	errCrowd     = errors.New("too many handshakes have begun")
	errInfo      = errors.New("the server's greeting is too long")
)

// handshaking is a client's connection until its handshake is over, which one goroutine makes. It brings only so many bytes until then, as
// TLS keeps what comes. What they bring about is computed in turn, as a client can cause more work than it has itself; who waits for the
// client has no turn.
type handshaking struct {
	net.Conn
	of       *handshakes
	turn     bool
	left     int  // bytes that may still come
	answered bool // something was said to the client
	over     bool
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
	if err := h.of.take(h.answered); err != nil {
		return n, err
	}
	h.turn = true
	return n, h.Conn.SetReadDeadline(time.Time{}) // it may have been closed meanwhile
}

func (h *handshaking) Write(b []byte) (int, error) {
	h.rest()
	h.answered = true
	return h.Conn.Write(b)
}

func (h *handshaking) rest() {
	if h.turn {
		h.turn = false
		h.of.give()
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
