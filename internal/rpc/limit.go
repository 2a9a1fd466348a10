package rpc

import (
	"context"
	"sync/atomic"
	"time"

	"waybill/internal/fault"
	"waybill/internal/lean"
)

// arrive takes a request from its subscription's goroutine and never blocks there: it is ignored, turned away, or handed
// to a worker. Where that goroutine has nothing else to do, an endpoint that has lately been brief is served on it.
func (s *Server) arrive(ctx context.Context, e *endpoint, m lean.Msg) {
	if m.Reply == "" {
		s.ignored.Add(1) // a publish; nobody would learn the outcome
		return
	}
	x := takeExchange()
	x.endpoint, x.arrived, x.incoming = e, time.Now(), m
	switch s.admit(e, x.arrived) {
	case entered:
		if m.Here() && e.stats.brief() {
			s.workers.visit(ctx, x, &s.limit)
		} else {
			s.workers.run(ctx, x, &s.limit)
		}
		return
	case full:
		x.refusal = fault.New(fault.ResourceExhausted, "the service %s is at its limit of requests in flight; ask again shortly", e.service)
	case crowded:
		x.refusal = fault.New(fault.ResourceExhausted, "%s.%s is at its limit of requests in flight; ask again shortly", e.service, e.method)
	case closed:
		x.refusal = fault.New(fault.Unavailable, "the service %s is stopping; ask again", e.service)
	}
	x.later = true
	_ = e.turnAway(ctx, x) // the refusal itself, answered and counted by the layers that it went through
	x.release()
}

// admit asks the service's limit, then the endpoint's share of it, and then the method's brake. What entered leaves with leave.
func (s *Server) admit(e *endpoint, now time.Time) admission {
	most := s.maxInFlight()
	if a := s.limit.enter(most); a != entered {
		return a
	}
	if !e.enter(share(most)) {
		s.limit.leave()
		return crowded
	}
	if e.brake != nil && !e.brake.enter(now) {
		leave(e, &s.limit)
		return crowded
	}
	return entered
}

// share is how many of a service's places one endpoint may have: three quarters, so that no endpoint keeps the others from being
// answered. Where there are fewer than four places, none is kept for others.
func share(most int) int64 { return int64(most - most/4) }

// enter takes one of the endpoint's places.
func (e *endpoint) enter(most int64) bool {
	if e.stats.inFlight.Add(1) <= most {
		return true
	}
	e.stats.inFlight.Add(-1)
	e.stats.crowded.Add(1)
	return false
}

// leave gives an endpoint's place and the service's back.
func leave(e *endpoint, l *limit) {
	e.stats.inFlight.Add(-1)
	l.leave()
}

func (s *Server) maxInFlight() int {
	if s.opts.MaxInFlight != nil {
		if n := s.opts.MaxInFlight(); n > 0 {
			return n
		}
	}
	return DefaultMaxInFlight
}

// limit counts the requests in flight, and lets one goroutine wait for the last of them.
type limit struct {
	inFlight atomic.Int64
	closing  atomic.Bool
	left     chan struct{} // holds a token when one left while closing
}

type admission uint8

const (
	entered admission = iota
	full              // the service
	crowded           // the endpoint
	closed
)

func newLimit() limit { return limit{left: make(chan struct{}, 1)} }

// enter admits a request unless most are in flight or the limit is closed. Who entered must leave.
func (l *limit) enter(most int) admission {
	// Counted before closing is read: either this sees that it is closed, or idle sees the count.
	n := l.inFlight.Add(1)
	switch {
	case l.closing.Load():
		l.leave()
		return closed
	case n > int64(most):
		l.leave()
		return full
	}
	return entered
}

func (l *limit) leave() {
	if l.inFlight.Add(-1) == 0 && l.closing.Load() {
		select {
		case l.left <- struct{}{}:
		default:
		}
	}
}

func (l *limit) close() { l.closing.Store(true) }

func (l *limit) count() int64 { return l.inFlight.Load() }

// awaitIdle waits, once l is closed, until nothing is in flight; false when giveUp comes first.
func awaitIdle[T any](l *limit, giveUp <-chan T) bool {
	for l.count() > 0 {
		select {
		case <-l.left:
		case <-giveUp:
			return l.count() == 0
		}
	}
	return true
}
