package bench

import (
	"context"
	"maps"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"waybill/client"
	"waybill/internal/fault"
	"waybill/internal/sleep"
)

// Load says how calls are made, and for how long. With a Rate the loop is open: each call has a time at which it is due, whatever
// became of those before it, and its latency counts from then. So a site that stands still for a second shows in the latency of
// all that were due in that second, and not in one call alone. Without a Rate the loop is closed: Callers call without pause,
// each when its last call has returned; one that is refused with a code after which a client asks again pauses as that does.
type Load struct {
	Callers  int           // of a closed loop
	Rate     float64       // of an open loop, calls due per second
	InFlight int           // of an open loop: how many calls may be under way; a call that is due and finds no place waits for one
	Length   time.Duration // no call begins after it, and those under way are finished
}

// lateBy is how long after its time a call may begin before it counts as late.
const lateBy = 10 * time.Millisecond

// Progress says how far a measurement is. It may be read while Measure runs.
type Progress struct{ Done, Failed atomic.Int64 }

// Measured is what became of a Load's calls. The histograms hold nanoseconds.
type Measured struct {
	Took      time.Duration // from the start until the last call returned
	Procs     int           // GOMAXPROCS of this process meanwhile
	Count     int64         // calls that succeeded
	Errors    map[string]int64
	First     error // of the errors, the first that came
	Latencies *hdrhistogram.Histogram
	Refusals  *hdrhistogram.Histogram // how long the calls took that failed

	Late      int64 // open loop: calls that began more than 10 ms after they were due
	NotBegun  int64 // open loop: calls that were due, and for which there was no place until the end
	Abandoned int64 // calls that were under way when ctx ended; they are not counted in anything else
}

// The histograms' bounds and precision. What takes longer counts as the longest.
const (
	shortest    = 1 // ns
	longest     = int64(time.Hour)
	significant = 3
)

func newHistogram() *hdrhistogram.Histogram { return hdrhistogram.New(shortest, longest, significant) }

// Measure makes the load's calls. call is told which call of the load it is, from 0, and must end some time; when ctx ends, no
// other begins. progress may be nil.
func Measure(ctx context.Context, l Load, progress *Progress, call func(ctx context.Context, n int) error) Measured {
	if progress == nil {
		progress = new(Progress)
	}
	m := &measurement{Load: l, progress: progress, call: call,
		out: Measured{Procs: runtime.GOMAXPROCS(0), Errors: make(map[string]int64), Latencies: newHistogram(), Refusals: newHistogram()}}
	run, callers := m.closed, l.Callers
	if l.Rate > 0 {
		m.due = max(1, int64(l.Rate*l.Length.Seconds()))
		run, callers = m.open, int(min(int64(l.InFlight), m.due))
	}
	m.start = time.Now()
	var running sync.WaitGroup
	for range callers {
		running.Go(func() {
			c := &caller{m: m, errors: make(map[string]int64)}
			run(ctx, c)
			c.handOver()
		})
	}
	running.Wait()
	m.out.Took = time.Since(m.start)
	m.out.Count = m.out.Latencies.TotalCount()
	if l.Rate > 0 && ctx.Err() == nil { // what was due after an interruption was never due
		m.out.NotBegun = m.due - min(m.next.Load(), m.due) + m.skipped.Load()
	}
	return m.out
}

// measurement is one Measure under way.
type measurement struct {
	Load
	progress *Progress
	call     func(ctx context.Context, n int) error
	start    time.Time
	due      int64        // calls in all, of an open loop
	next     atomic.Int64 // call
	skipped  atomic.Int64 // calls that were taken and not begun

	mu  sync.Mutex
	out Measured
}

// closed calls until the time is up. Who is refused and may ask again pauses first, as a client does.
func (m *measurement) closed(ctx context.Context, c *caller) {
	for refused := 0; ctx.Err() == nil; {
		began := time.Now()
		if began.Sub(m.start) >= m.Length {
			return
		}
		err := c.make(ctx, int(m.next.Add(1))-1, began)
		if err == nil || !fault.CodeOf(err).Retryable() {
			refused = 0
			continue
		}
		sleep.For(ctx, min(pause(refused), time.Until(m.start.Add(m.Length))))
		refused++
	}
}

// pause is how long a caller waits that has been refused more often than n times in a row: what a client does before it repeats a call.
func pause(n int) time.Duration {
	r := client.DefaultRetry
	return rand.N(min(r.Base<<min(n, 20), r.Max))
}

// open takes one call after the other, waits until it is due, and makes it. As many calls are under way as goroutines are at
// it; while all are, the next calls wait, and their time counts.
func (m *measurement) open(ctx context.Context, c *caller) {
	for {
		n := m.next.Add(1) - 1
		if n >= m.due {
			return
		}
		due := m.start.Add(time.Duration(float64(n) / m.Rate * float64(time.Second)))
		if early := time.Until(due); early > 0 && !sleep.For(ctx, early) {
			return
		}
		switch now := time.Now(); {
		case ctx.Err() != nil:
			return
		case now.Sub(m.start) >= m.Length+lateBy:
			m.skipped.Add(1)
			return // and those after it are due no sooner
		case now.Sub(due) > lateBy:
			c.late++
		}
		c.make(ctx, int(n), due)
	}
}

// kept is how many latencies a caller keeps to itself, so that callers rarely wait for each other.
const kept = 256

// caller is one goroutine that calls.
type caller struct {
	m *measurement

	done, failed    []int64 // ns
	errors          map[string]int64
	first           error
	late, abandoned int64
}

// make makes a call whose latency counts from since, and returns its error.
func (c *caller) make(ctx context.Context, n int, since time.Time) error {
	err := c.m.call(ctx, n)
	took := min(max(int64(time.Since(since)), shortest), longest)
	switch {
	case err == nil:
		c.done = append(c.done, took)
		c.m.progress.Done.Add(1)
	case ctx.Err() != nil:
		c.abandoned++
	default:
		c.failed = append(c.failed, took)
		c.errors[errorName(err)]++
		if c.first == nil {
			c.first = err
		}
		c.m.progress.Failed.Add(1)
	}
	if len(c.done)+len(c.failed) >= kept {
		c.handOver()
	}
	return err
}

// handOver adds what the caller kept to what all have measured.
func (c *caller) handOver() {
	c.m.mu.Lock()
	defer c.m.mu.Unlock()
	out := &c.m.out
	for _, ns := range c.done {
		_ = out.Latencies.RecordValue(ns) // it is within the bounds
	}
	for _, ns := range c.failed {
		_ = out.Refusals.RecordValue(ns)
	}
	for name, n := range c.errors {
		out.Errors[name] += n
	}
	out.Late += c.late
	out.Abandoned += c.abandoned
	if out.First == nil {
		out.First = c.first
	}
	clear(c.errors)
	c.done, c.failed, c.late, c.abandoned = c.done[:0], c.failed[:0], 0, 0
}

// errorName is under which name an error is counted: its code, no_answer where none came, order_STATUS for an order that was not
// confirmed.
func errorName(err error) string {
	if e, ok := err.(*notConfirmed); ok {
		return "order_" + string(e.status)
	}
	if client.IsNoAnswer(err) {
		return "no_answer"
	}
	return string(fault.CodeOf(err))
}

// failures is how many calls failed.
func (m Measured) failures() (n int64) {
	for count := range maps.Values(m.Errors) {
		n += count
	}
	return n
}
