package rpc

import (
	"time"

	"waybill/internal/fault"
)

// Meter reads what a server does from one reading to the next. It belongs to one goroutine.
type Meter struct {
	s    *Server
	at   time.Time
	seen [bucketCount]uint64
	sum  uint64
}

// Reading is what a server did: its counters since it was made, and how it was since the reading before.
type Reading struct {
	Handled   uint64 // requests answered, refusals among them
	Failed    uint64 // of these, with an error
	Refused   uint64 // of these, because the server was at its limit
	InFlight  int64  // at this moment
	PerSecond float64
	P99       time.Duration // 0 where nothing came
}

// Meter makes a meter; its first reading is of the time since now.
func (s *Server) Meter() *Meter {
	m := &Meter{s: s}
	m.Read()
	return m
}

// Read returns what happened since the reading before.
func (m *Meter) Read() Reading {
	m.s.mu.Lock()
	endpoints := m.s.endpoints
	m.s.mu.Unlock()
	var counts, since [bucketCount]uint64
	r := Reading{InFlight: m.s.limit.count()}
	for _, e := range endpoints {
		r.Handled += e.stats.count.Load()
		for i := range fault.Codes {
			n := e.stats.errors[i].Load()
			r.Failed += n
			if fault.Codes[i] == fault.ResourceExhausted {
				r.Refused += n
			}
		}
		for i := range counts {
			counts[i] += e.stats.times.buckets[i].Load()
		}
	}
	for i := range counts {
		since[i] = counts[i] - m.seen[i]
	}
	now := time.Now()
	if took := now.Sub(m.at).Seconds(); took > 0 {
		r.PerSecond = float64(r.Handled-m.sum) / took
	}
	r.P99 = time.Duration(quantilesOf(&since, 0.99)[0]) * time.Microsecond
	m.at, m.seen, m.sum = now, counts, r.Handled
	return r
}
