package registry

import (
	"context"
	"maps"
	"sync"

	"github.com/go-json-experiment/json"

	"waybill/internal/fault"
	"waybill/internal/timestamp"
	"waybill/subjects"
)

// report is one service's health and what of it stands in etcd.
type report struct {
	status func() Health
	last   Status         // the status that was asked for last; beat's own, like since
	since  timestamp.Time // when it became so
	text   string         // what etcd holds under the present session, empty for nothing; guarded by the board
}

// healthBoard holds the reports of this instance and the session that their keys hang on. The session belongs to beat
// alone until beat has ended, then to Close.
type healthBoard struct {
	kick    chan struct{} // holds one wish to write before the next beat
	session *session      // nil before the first report and after a loss

	mu      sync.Mutex // guards reports, their texts and over
	over    bool       // the instance is about to stop
	reports map[subjects.Service]*report
}

func newHealthBoard() *healthBoard {
	return &healthBoard{kick: make(chan struct{}, 1), reports: map[subjects.Service]*report{}}
}

func (b *healthBoard) add(service subjects.Service, status func() Health) {
	b.mu.Lock()
	if !b.over {
		b.reports[service] = &report{status: status}
	}
	b.mu.Unlock()
	select {
	case b.kick <- struct{}{}:
	default:
	}
}

// withdrawSoon has beat take the session's lease back and report nothing more.
func (b *healthBoard) withdrawSoon() {
	b.mu.Lock()
	b.over = true
	b.reports = map[subjects.Service]*report{}
	b.mu.Unlock()
	select {
	case b.kick <- struct{}{}:
	default:
	}
}

func (b *healthBoard) isOver() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.over
}

func (b *healthBoard) written() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, r := range b.reports {
		if r.text == "" {
			return false
		}
	}
	return true
}

// lost notes that the keys are gone from etcd, or will soon be.
func (b *healthBoard) lost() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, r := range b.reports {
		r.text = ""
	}
}

// withdraw takes the session's lease back. beat must have ended.
func (b *healthBoard) withdraw(ctx context.Context) error {
	b.lost()
	if b.session == nil {
		return nil
	}
	err := b.session.end(ctx)
	b.session = nil
	if err != nil {
		return fault.Wrap(err, fault.Unavailable, "etcd could not be told that this instance stops; its health vanishes when the lease runs out")
	}
	return nil
}

// changed is a report that etcd does not hold yet.
type changed struct {
	service subjects.Service
	report  *report
	text    string
}

// collect asks every service for its health and returns what has changed.
func (b *healthBoard) collect(now timestamp.Time) (list []changed, err error) {
	for service, r := range b.all() {
		text, err := r.ask(now) // not under the lock: a service may ask whether its health is written
		if err != nil {
			return nil, fault.Wrap(err, fault.Internal, "the health of %s could not be written as JSON", service)
		}
		if !b.holds(r, text) {
			list = append(list, changed{service, r, text})
		}
	}
	return list, nil
}

func (b *healthBoard) all() map[subjects.Service]*report {
	b.mu.Lock()
	defer b.mu.Unlock()
	return maps.Clone(b.reports)
}

// holds reports whether etcd holds this text of the report.
func (b *healthBoard) holds(r *report, text string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return r.text == text
}

// wrote notes that etcd holds the list.
func (b *healthBoard) wrote(list []changed) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range list {
		c.report.text = c.text
	}
}

// ask returns the service's health as it is now.
func (r *report) ask(now timestamp.Time) (string, error) {
	h := r.status()
	switch {
	case !h.Since.IsZero():
	case h.Status == r.last && !r.since.IsZero():
		h.Since = r.since
	default:
		h.Since = now
	}
	r.last, r.since = h.Status, h.Since
	text, err := json.Marshal(h, json.Deterministic(true)) // the same health is the same text
	return string(text), err
}
