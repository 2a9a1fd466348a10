package journal

import (
	"math"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"waybill/internal/fault"
)

// Notify signals when somebody of the site has just written to the exact subject. It is a hint, sent on the way to the store:
// who is woken reads the journal, and looks once before the first wait. Signals that nobody took become one. stop ends it.
// Error: unavailable.
func (j *Journal) Notify(subject string) (changed <-chan struct{}, stop func(), err error) {
	c := make(chan struct{}, 1)
	sub, err := j.nc.Subscribe(subject, func(*nats.Msg) {
		select {
		case c <- struct{}{}:
		default:
		}
	})
	if err != nil {
		return nil, nil, fault.Wrap(err, fault.Unavailable, "the site's NATS can't be reached; try again")
	}
	return c, func() { _ = sub.Unsubscribe() }, nil // fails only when the connection is gone, and the subscription with it
}

// Signals calls fn, from one goroutine, with the subject of each write to one of the subjects that pattern matches, on its way to
// the store: the event can't be read yet then, and may never be. expects is the sequence of the subject's last event without which the
// store refuses the write; it is Unnamed for a write that names none, or an event of another subject. Stop ends it. Error: unavailable.
func (j *Journal) Signals(pattern string, fn func(subject string, expects uint64)) (*Signals, error) {
	s := &Signals{nc: j.nc}
	reconnects := j.nc.Stats().Reconnects
	sub, err := j.nc.Subscribe(pattern, func(m *nats.Msg) { fn(m.Subject, expects(m.Header)) })
	if err == nil {
		if err = j.nc.FlushTimeout(requestTimeout); err != nil {
			_ = sub.Unsubscribe()
		}
	}
	if err != nil {
		return nil, fault.Wrap(err, fault.Unavailable, "the site's NATS can't be reached; try again")
	}
	s.sub = sub
	s.heard.Store(reconnects)
	return s, nil
}

// Unnamed is what a write expects that does not say it.
const Unnamed = math.MaxUint64

// Signals is a subscription to the writes of a site. It is safe for concurrent use.
type Signals struct {
	nc    *nats.Conn
	sub   *nats.Subscription
	heard atomic.Uint64 // the number of reconnects at which the server is known to have the subscription

	mu      sync.Mutex
	asking  bool
	stopped bool
	ask     sync.WaitGroup
}

// Session is a time in which no signal is left out of what is published in it. Two are compared by ==.
type Session struct {
	reconnects uint64
	dropped    int
}

// flushWait bounds how long the server is waited for after a reconnect.
const flushWait = time.Second

// Session returns the present session. Another one begins with each reconnect, as soon as the server has the subscription again,
// and with each signal that was dropped because too many waited. up is false between two of them. What was published before a session
// may be stored in it without a signal.
func (s *Signals) Session() (is Session, up bool) {
	is.reconnects = s.nc.Stats().Reconnects
	if s.heard.Load() != is.reconnects {
		s.confirm(is.reconnects)
		return Session{}, false
	}
	dropped, err := s.sub.Dropped()
	if err != nil || !s.nc.IsConnected() {
		return Session{}, false
	}
	is.dropped = dropped
	return is, true
}

// confirm asks the server, beside whoever calls it, whether it has the subscription since so many reconnects.
func (s *Signals) confirm(reconnects uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.asking || s.stopped {
		return
	}
	s.asking = true
	s.ask.Go(func() {
		if s.nc.IsConnected() && s.nc.FlushTimeout(flushWait) == nil && s.nc.Stats().Reconnects == reconnects {
			s.heard.Store(reconnects)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.asking = false
	})
}

// Stop ends the signals. Nothing is called after it but what has begun. It may wait for a server that is away for a second.
func (s *Signals) Stop() {
	_ = s.sub.Unsubscribe() // fails only when the connection is gone, and the subscription with it
	s.mu.Lock()
	s.stopped = true
	s.mu.Unlock()
	s.ask.Wait()
}

// expects is the last sequence that a write expects on its own subject.
func expects(h nats.Header) uint64 {
	n, err := strconv.ParseUint(h.Get(jetstream.ExpectedLastSubjSeqHeader), 10, 64)
	if err != nil || h.Get(jetstream.ExpectedLastSubjSeqSubjHeader) != "" {
		return Unnamed
	}
	return n
}
