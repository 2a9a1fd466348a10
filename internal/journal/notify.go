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
		err = j.nc.FlushTimeout(requestTimeout)
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
	nc  *nats.Conn
	sub *nats.Subscription

	asking sync.Mutex
	heard  atomic.Uint64 // the number of reconnects at which the server is known to have the subscription
}

// Session is a time in which no signal is left out. Two are compared by ==.
type Session struct {
	reconnects uint64
	dropped    int
}

// flushWait bounds how long the server is waited for after a reconnect.
const flushWait = time.Second

// Session returns the present session. Another one begins with each reconnect, as soon as the server has the subscription again,
// and with each signal that was dropped because too many waited. up is false between two of them. It may wait for the server for a second, once after
// each reconnect; everybody else is told that it is not up for so long.
func (s *Signals) Session() (is Session, up bool) {
	is.reconnects = s.nc.Stats().Reconnects
	if s.heard.Load() != is.reconnects {
		if !s.asking.TryLock() {
			return Session{}, false
		}
		defer s.asking.Unlock()
		if !s.nc.IsConnected() || s.nc.FlushTimeout(flushWait) != nil {
			return Session{}, false
		}
		s.heard.Store(is.reconnects)
	}
	dropped, err := s.sub.Dropped()
	if err != nil || !s.nc.IsConnected() || s.nc.Stats().Reconnects != is.reconnects {
		return Session{}, false
	}
	is.dropped = dropped
	return is, true
}

// Stop ends the signals. Nothing is called after it but what has begun.
func (s *Signals) Stop() { _ = s.sub.Unsubscribe() } // fails only when the connection is gone, and the subscription with it

// expects is the last sequence that a write expects on its own subject.
func expects(h nats.Header) uint64 {
	n, err := strconv.ParseUint(h.Get(jetstream.ExpectedLastSubjSeqHeader), 10, 64)
	if err != nil || h.Get(jetstream.ExpectedLastSubjSeqSubjHeader) != "" {
		return Unnamed
	}
	return n
}
