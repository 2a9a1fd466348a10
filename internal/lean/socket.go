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

// maxRest is how much a socket keeps, in bytes: what the session hands over at once, and as much of what is said meanwhile.
const maxRest = 2 * maxBuffered

var errKept = errors.New("the server has not read for long, and too much waits to be written")

// socket is what the bytes of a session go over in the end, beneath TLS and WebSocket. A request is written by its caller, who must
// not wait for a server that does not read, or reads slowly: a batch of writes that takes too long is ended, what is left of it is kept,
// and the session's flusher writes that (finish). Until then the socket is behind, and keeps what else is written. A look at the batch
// under way finds out, while there are any: a deadline for each write would cost more.
//
// Write is called by one goroutine at a time, as TLS and WebSocket see to themselves; begin and end by who flushes the session; Close and
// finish by any.
type socket struct {
	net.Conn
	behind atomic.Bool

	mu      sync.Mutex
	bounded bool // batches are looked at
	looking bool // a look will come
	look    *time.Timer
	batches uint64 // that began
	seen    uint64 // of them at the last look
	batch   bool   // one is under way
	late    bool   // it has had its time
	writing bool
	ended   bool   // the write under way, by a look
	rest    []byte // waits for finish
}

func newSocket(c net.Conn) *socket {
	s := &socket{Conn: c}
	s.look = time.AfterFunc(time.Hour, s.lookAtBatch)
	s.look.Stop()
	return s
}

// bound has batches end that take too long, from now on: somebody is there to call finish.
func (s *socket) bound() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bounded = true
}

// begin and end are before and after a batch: TLS and WebSocket make several writes of it. A write outside of any is a batch of its own.
func (s *socket) begin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.beginLocked()
}

func (s *socket) beginLocked() {
	s.batch = true
	s.batches++
	if s.bounded && !s.looking {
		s.looking = true
		s.look.Reset(slowWrite)
	}
}

func (s *socket) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.batch, s.late = false, false
}

// Write implements net.Conn. Where the socket is behind afterwards it has kept what it could not write.
func (s *socket) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.late || s.behind.Load() {
		return s.keep(b)
	}
	if !s.batch {
		s.beginLocked()
		defer func() { s.batch, s.late = false, false }()
	}
	s.writing = true
	s.mu.Unlock()
	n, err := s.Conn.Write(b)
	s.mu.Lock()
	s.writing = false
	if !s.ended {
		return n, err
	}
	s.ended = false
	if failed := s.Conn.SetWriteDeadline(time.Time{}); failed != nil || !errors.Is(err, os.ErrDeadlineExceeded) {
		return n, err
	}
	if _, err := s.keep(b[n:]); err != nil {
		return n, err
	}
	return len(b), nil
}

// keep leaves b to finish.
func (s *socket) keep(b []byte) (int, error) {
	if len(s.rest)+len(b) > maxRest {
		return 0, errKept
	}
	s.behind.Store(true)
	s.rest = append(s.rest, b...)
	return len(b), nil
}

// lookAtBatch ends the batch under way, where it is the same as at the last look.
func (s *socket) lookAtBatch() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.seen != s.batches {
		s.seen = s.batches
		s.look.Reset(slowWrite)
		return
	}
	s.looking = false // the next batch begins anew
	s.late = s.batch
	if s.batch && s.writing {
		s.ended = true
		_ = s.Conn.SetWriteDeadline(time.Unix(1, 0)) // its error is a connection that has ended, as has the write
	}
}

// SetWriteDeadline implements net.Conn. Once writes are bounded it does nothing: a deadline that a layer above sets for a word of its own
// would end what finish writes.
func (s *socket) SetWriteDeadline(t time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bounded {
		return nil
	}
	return s.Conn.SetWriteDeadline(t)
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
