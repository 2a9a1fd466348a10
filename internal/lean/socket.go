package lean

import (
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// slowWrite is how long a write to a socket may take before what is left of it is left to the flusher: at least so long, and at most
// twice.
const slowWrite = 25 * time.Millisecond

// socket is what the bytes of a session go over in the end, beneath TLS and WebSocket. A request is written by its caller, who must
// not wait for a server that does not read: a write that takes too long is ended, what is left of it is kept, and the session's
// flusher writes that (finish). Until then the socket is behind, and keeps what else is written. A look at the write under way finds
// out, while there are writes: a deadline for each of them would cost more.
//
// Write is called by one goroutine at a time, as TLS and WebSocket see to themselves; Close and finish by any.
type socket struct {
	net.Conn
	behind atomic.Bool

	mu      sync.Mutex
	bounded bool // writes are looked at
	looking bool // a look will come
	look    *time.Timer
	writes  uint64 // that began
	seen    uint64 // of them at the last look
	writing bool
	ended   bool   // the write under way, by a look
	rest    []byte // waits for finish
}

func newSocket(c net.Conn) *socket {
	s := &socket{Conn: c}
	s.look = time.AfterFunc(time.Hour, s.lookAtWrite)
	s.look.Stop()
	return s
}

// bound has writes end that take too long, from now on: somebody is there to call finish.
func (s *socket) bound() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bounded = true
}

// Write implements net.Conn. Where the socket is behind afterwards it has kept what it could not write.
func (s *socket) Write(b []byte) (int, error) {
	s.mu.Lock()
	if s.behind.Load() {
		defer s.mu.Unlock()
		s.rest = append(s.rest, b...)
		return len(b), nil
	}
	s.writing = true
	s.writes++
	if s.bounded && !s.looking {
		s.looking = true
		s.look.Reset(slowWrite)
	}
	s.mu.Unlock()
	n, err := s.Conn.Write(b)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writing = false
	if !s.ended {
		return n, err
	}
	s.ended = false
	if failed := s.Conn.SetWriteDeadline(time.Time{}); failed != nil || !errors.Is(err, os.ErrDeadlineExceeded) {
		return n, err
	}
	s.behind.Store(true)
	s.rest = append(s.rest, b[n:]...)
	return len(b), nil
}

// lookAtWrite ends the write under way, where it is the same as at the last look.
func (s *socket) lookAtWrite() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.seen != s.writes {
		s.seen = s.writes
		s.look.Reset(slowWrite)
		return
	}
	s.looking = false // the next write begins anew
	if s.writing {
		s.ended = true
		_ = s.Conn.SetWriteDeadline(time.Unix(1, 0)) // its error is a connection that has ended, as has the write
	}
}

// finish writes what the socket has kept, however long that takes, and returns when it is no longer behind, or with the connection's
// error.
func (s *socket) finish() error {
	for {
		s.mu.Lock()
		b := s.rest
		s.rest = nil
		s.behind.Store(len(b) > 0)
		s.mu.Unlock()
		if len(b) == 0 {
			return nil
		}
		if _, err := s.Conn.Write(b); err != nil {
			return err
		}
	}
}

// Close implements net.Conn.
func (s *socket) Close() error {
	s.look.Stop()
	return s.Conn.Close()
}
