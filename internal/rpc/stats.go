package rpc

import (
	"context"
	"sync/atomic"
	"time"

	"waybill/internal/fault"
	"waybill/subjects"
)

// Observation is one answered request.
type Observation struct {
	Service  subjects.Service
	Method   string
	Internal bool
	Code     fault.Code    // empty for success
	Duration time.Duration // from arrival until the reply was ready to be sent
}

// Stats is what a server did since it was made.
type Stats struct {
	Service   subjects.Service `json:"service"`
	InFlight  int64            `json:"in_flight"`
	Ignored   uint64           `json:"ignored"` // messages without a reply subject, which no handler saw
	Endpoints []EndpointStats  `json:"endpoints"`
}

// EndpointStats is one endpoint's part of Stats. Count includes the errors, and the errors those that were turned away
// at the limit. The percentiles are in microseconds, of all answered requests, at most 6 % too high.
type EndpointStats struct {
	Method   string                `json:"method"`
	Internal bool                  `json:"internal,omitzero"`
	Count    uint64                `json:"count"`
	Errors   map[fault.Code]uint64 `json:"errors,omitempty"`
	InFlight int64                 `json:"in_flight"`
	Crowded  uint64                `json:"crowded,omitzero"` // turned away at the endpoint's share of the service's limit
	Gone     uint64                `json:"gone,omitzero"`    // cancelled because nobody could hear the reply any more
	P50      uint64                `json:"p50_us"`
	P90      uint64                `json:"p90_us"`
	P99      uint64                `json:"p99_us"`
}

// endpointStats are the live counters, of which each is written atomically: a snapshot may be between two of them.
type endpointStats struct {
	inFlight atomic.Int64 // those that were turned away not among them
	count    atomic.Uint64
	crowded  atomic.Uint64
	gone     atomic.Uint64
	took     atomic.Int64      // nanoseconds, of all
	errors   [16]atomic.Uint64 // by the code's place in fault.Codes
	times    histogram
	short    atomic.Int32 // so many of the last took no longer than shortTime, up to enoughShort
}

// An endpoint is brief when so many requests that were carried out, one after another, have taken no longer than that from their arrival.
const (
	shortTime   = 100 * time.Microsecond
	enoughShort = 16
)

func (s *endpointStats) brief() bool { return s.short.Load() == enoughShort }

func (s *endpointStats) timed(took time.Duration) {
	switch n := s.short.Load(); {
	case took > shortTime && n > 0:
		s.short.Store(0)
	case took <= shortTime && n < enoughShort:
		s.short.CompareAndSwap(n, n+1)
	}
}

// measure counts and times each request, refusals at the limit included, and tells the observer, before the reply is sent:
// who has the reply finds it counted.
func measure(observe func(Observation)) middleware {
	return func(next invoke) invoke {
		return func(ctx context.Context, x *exchange) error {
			e := x.endpoint
			err := next(ctx, x)
			took, code := time.Since(x.arrived), fault.CodeOf(err)
			e.stats.record(code, took)
			if observe != nil {
				observe(Observation{Service: e.service, Method: e.method, Internal: e.internal, Code: code, Duration: took})
			}
			return err
		}
	}
}

func (s *endpointStats) record(code fault.Code, took time.Duration) {
	s.count.Add(1)
	s.took.Add(int64(max(took, 0)))
	s.times.add(uint64(max(took, 0).Microseconds()))
	if code == "" || took > shortTime { // a refusal says nothing of the work
		s.timed(took)
	}
	if code == "" {
		return
	}
	for i, c := range fault.Codes {
		if c == code {
			s.errors[i].Add(1)
			return
		}
	}
}

func (s *endpointStats) spent() time.Duration { return time.Duration(s.took.Load()) }

func (e *endpoint) snapshot() EndpointStats {
	q := e.stats.times.quantiles(0.50, 0.90, 0.99)
	out := EndpointStats{Method: e.method, Internal: e.internal, Count: e.stats.count.Load(), InFlight: e.stats.inFlight.Load(),
		Crowded: e.stats.crowded.Load(), Gone: e.stats.gone.Load(), P50: q[0], P90: q[1], P99: q[2]}
	for i, c := range fault.Codes {
		if n := e.stats.errors[i].Load(); n > 0 {
			if out.Errors == nil {
				out.Errors = make(map[fault.Code]uint64)
			}
			out.Errors[c] = n
		}
	}
	return out
}

// Stats returns the counters as they stand, the endpoints in the order in which they were handled.
func (s *Server) Stats() Stats {
	s.mu.Lock()
	endpoints := s.endpoints
	s.mu.Unlock()
	out := Stats{Service: s.service, InFlight: s.limit.count(), Ignored: s.ignored.Load(), Endpoints: make([]EndpointStats, len(endpoints))}
	for i, e := range endpoints {
		out.Endpoints[i] = e.snapshot()
	}
	return out
}
