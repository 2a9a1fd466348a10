package bench_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"waybill/bench"
	"waybill/subjects"
)

// stallOnce is a call that takes a moment, but for one that holds up all for a while, as a site that stands still does.
func stallOnce(stall time.Duration) func(context.Context, int) error {
	began := time.Now()
	var until atomic.Int64
	return func(_ context.Context, n int) error {
		if n == 20 {
			until.Store(int64(time.Since(began) + stall))
		}
		time.Sleep(time.Duration(until.Load()) - time.Since(began))
		return nil
	}
}

// In a closed loop a site that stands still shows in as many calls as there are callers. In an open loop it shows in the latency
// of all that were due meanwhile.
func TestOpenLoopSeesAStall(t *testing.T) {
	const length, stall = 500 * time.Millisecond, 200 * time.Millisecond
	closed := bench.Measure(t.Context(), bench.Load{Callers: 1, Length: length}, nil, stallOnce(stall))
	open := bench.Measure(t.Context(), bench.Load{Rate: 400, InFlight: 4, Length: length}, nil, stallOnce(stall))
	if p := time.Duration(closed.Latencies.ValueAtPercentile(99)); p > stall/4 {
		t.Errorf("the closed loop's p99 is %s: it was not to see the stall, and the test shows nothing", p)
	}
	for percentile, least := range map[float64]time.Duration{99: stall * 8 / 10, 80: stall / 5} {
		if p := time.Duration(open.Latencies.ValueAtPercentile(percentile)); p < least {
			t.Errorf("the open loop's p%g is %s, with a stall of %s in %s", percentile, p, stall, length)
		}
	}
	if open.Late < 50 || open.Count+open.NotBegun != 200 {
		t.Errorf("%d calls began late, %d were done and %d not begun of 200", open.Late, open.Count, open.NotBegun)
	}
}

// What is due and finds no place until the end is counted.
func TestOpenLoopCountsWhatWasNotBegun(t *testing.T) {
	var under, most atomic.Int64
	m := bench.Measure(t.Context(), bench.Load{Rate: 1000, InFlight: 2, Length: 200 * time.Millisecond}, nil, func(context.Context, int) error {
		now := under.Add(1)
		for seen := most.Load(); now > seen && !most.CompareAndSwap(seen, now); seen = most.Load() {
		}
		time.Sleep(50 * time.Millisecond)
		under.Add(-1)
		return nil
	})
	if m.Count < 2 || m.Count > 12 || m.Count+m.NotBegun != 200 || most.Load() > 2 {
		t.Errorf("%d done, %d not begun of 200, %d at a time", m.Count, m.NotBegun, most.Load())
	}
}

func TestMeasureCounts(t *testing.T) {
	var calls atomic.Int64
	seen := make([]atomic.Bool, 1<<20)
	var progress bench.Progress
	m := bench.Measure(t.Context(), bench.Load{Callers: 8, Length: 50 * time.Millisecond}, &progress, func(_ context.Context, n int) error {
		calls.Add(1)
		time.Sleep(20 * time.Microsecond)
		if n >= len(seen) || seen[n].Swap(true) {
			t.Errorf("the call %d was made twice", n)
		}
		if n%4 == 0 {
			return &subjects.Error{Code: subjects.ResourceExhausted, Message: "full"}
		}
		return nil
	})
	failed := m.Errors["resource_exhausted"]
	if m.Count+failed != calls.Load() || m.Latencies.TotalCount() != m.Count || m.Refusals.TotalCount() != failed || len(m.Errors) != 1 || m.First == nil {
		t.Errorf("%d calls: %d done, errors %v, the first %v; %d and %d in the histograms", calls.Load(), m.Count, m.Errors, m.First, m.Latencies.TotalCount(), m.Refusals.TotalCount())
	}
	if progress.Done.Load() != m.Count || progress.Failed.Load() != failed {
		t.Errorf("the progress is %d and %d", progress.Done.Load(), progress.Failed.Load())
	}
}

// Callers who are refused and may ask again pause as a client does; whoever gets an answer does not.
func TestRefusedCallersPause(t *testing.T) {
	l := bench.Load{Callers: 4, Length: 300 * time.Millisecond}
	refusing := func(code subjects.Code) bench.Measured {
		return bench.Measure(t.Context(), l, nil, func(context.Context, int) error {
			time.Sleep(100 * time.Microsecond)
			return &subjects.Error{Code: code, Message: "no"}
		})
	}
	m := refusing(subjects.ResourceExhausted)
	if n := m.Errors["resource_exhausted"]; n < 4 || n > 200 || m.Took < l.Length || m.Took > 10*l.Length {
		t.Errorf("%d refusals in %s: callers who may ask again did not pause, or too long", n, m.Took)
	}
	if n := refusing(subjects.FailedPrecondition).Errors["failed_precondition"]; n <= 200 {
		t.Errorf("%d answers that are final: who gets one does not pause", n)
	}
}

// An interruption ends it at once; what it cut off is in nothing but its own count.
func TestMeasureIsInterrupted(t *testing.T) {
	for _, l := range []bench.Load{{Callers: 3, Length: time.Minute}, {Rate: 100, InFlight: 3, Length: time.Minute}} {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		m := bench.Measure(ctx, l, nil, func(ctx context.Context, n int) error {
			if n < 2 {
				return nil
			}
			<-ctx.Done()
			return errors.New("cut off")
		})
		cancel()
		if m.Took > 10*time.Second || m.Count != 2 || len(m.Errors) != 0 || m.Abandoned != 3 || m.NotBegun != 0 {
			t.Errorf("%+v: %d done in %s, errors %v, %d abandoned, %d not begun", l, m.Count, m.Took, m.Errors, m.Abandoned, m.NotBegun)
		}
	}
}
