package lean

import (
	"context"
	"math"
	"time"
)

// moment is a time of the process, in nanoseconds since it began.
type moment = int64

const never moment = math.MaxInt64

// sweepPause is the least time between two sweeps. A request may wait for so much longer than it should, and not for less.
const sweepPause = time.Millisecond

var began = time.Now()

// now is never 0.
func now() moment { return int64(time.Since(began)) + 1 }

// bound has p end after a time. One timer serves all that wait, and is set to the first of them: a timer for each would cost more
// than all else that a request takes of the mux, and hardly any would ever fire.
func (m *mux) bound(p *Pending, most time.Duration) {
	until := now()
	if until += int64(max(most, 0)); until < 0 {
		return // in 292 years
	}
	p.until.Store(until)
	if until < m.next.Load() { // a sweep sets next before it looks at until
		m.mu.Lock()
		defer m.mu.Unlock()
		m.sweepAt(until)
	}
}

// sweepAt sets the sweeper to a moment, unless it is set to one before. The caller holds mu.
func (m *mux) sweepAt(at moment) {
	at = max(at, m.swept+int64(sweepPause))
	if at >= m.next.Load() || m.err != nil {
		return
	}
	m.next.Store(at)
	if in := time.Duration(at - now()); m.sweeper == nil {
		m.sweeper = time.AfterFunc(in, m.sweep)
	} else {
		m.sweeper.Reset(in)
	}
}

// sweep ends the requests whose time is over, and sets the sweeper to the first of the others.
func (m *mux) sweep() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.next.Store(never)
	at, first := now(), never
	m.end(context.DeadlineExceeded, func(p *Pending) bool {
		until := p.until.Load()
		if until > at {
			first = min(first, until)
		}
		return until > 0 && until <= at
	})
	m.swept = now()
	if first < never {
		m.sweepAt(first)
	}
}
