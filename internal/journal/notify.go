package journal

import (
	"math"
	"strconv"

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
// store refuses the write; it is the greatest number for a write that names none, or an event of another subject. None is left out while
// Session stays the same. Error: unavailable.
func (j *Journal) Signals(pattern string, fn func(subject string, expects uint64)) (stop func(), err error) {
	sub, err := j.nc.Subscribe(pattern, func(m *nats.Msg) { fn(m.Subject, expects(m.Header)) })
	if err == nil {
		err = j.nc.FlushTimeout(requestTimeout)
	}
	if err != nil {
		return nil, fault.Wrap(err, fault.Unavailable, "the site's NATS can't be reached; try again")
	}
	return func() { _ = sub.Unsubscribe() }, nil // fails only when the connection is gone, and the subscription with it
}

// Session numbers the connection's sessions: each reconnect begins another one. up is false while there is none.
func (j *Journal) Session() (n uint64, up bool) {
	return j.nc.Stats().Reconnects, j.nc.IsConnected()
}

// expects is the last sequence that a write expects on its own subject.
func expects(h nats.Header) uint64 {
	n, err := strconv.ParseUint(h.Get(jetstream.ExpectedLastSubjSeqHeader), 10, 64)
	if err != nil || h.Get(jetstream.ExpectedLastSubjSeqSubjHeader) != "" {
		return math.MaxUint64
	}
	return n
}
