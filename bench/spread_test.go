package bench_test

import (
	"context"
	"testing"
	"time"

	"waybill/bench"
)

func TestSpread(t *testing.T) {
	if s := bench.SpreadOf([]float64{5, 1, 3}); s != (bench.Spread{Median: 3, Low: 1, High: 5}) {
		t.Errorf("of three: %+v", s)
	}
	if s := bench.SpreadOf([]float64{4, 1, 2, 8}); s != (bench.Spread{Median: 3, Low: 1, High: 8}) {
		t.Errorf("of four: %+v", s)
	}
}

// A call that is under way when the time is up is finished, and counted.
func TestLoopFor(t *testing.T) {
	const length = 20 * time.Millisecond
	r := bench.LoopFor(t.Context(), 3, length, func(ctx context.Context, _ int) error {
		time.Sleep(2 * length)
		return ctx.Err()
	})
	if r.Count != 3 || r.Errors != 0 || r.Took < 2*length {
		t.Errorf("%d calls, %d errors in %v: %v", r.Count, r.Errors, r.Took, r.FirstError)
	}
}
