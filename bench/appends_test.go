package bench_test

import (
	"flag"
	"testing"
	"time"

	"waybill/bench"
)

var appends = flag.Bool("appends", false, "TestAppends measures strict appends, for half a minute; without it the test is skipped")

// TestAppends holds strict appends to what they are meant to cost: alone, hardly more than the disk's own sync; many at once,
// several times what a sync for each message gives.
func TestAppends(t *testing.T) {
	if !*appends {
		t.Skip("skipped: it takes half a minute; run it with -appends, as make bench-durable does")
	}
	r, err := bench.Appends(t.Context(), bench.AppendsOptions{Dir: t.TempDir(), Waiting: []int{1, 16, 64, 256}, Rounds: 5, Length: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("one fsync alone %.0f µs (%.0f–%.0f), one syncfs %.0f µs (%.0f–%.0f)",
		r.Fsync.Median, r.Fsync.Low, r.Fsync.High, r.Syncfs.Median, r.Syncfs.Low, r.Syncfs.High)
	for _, w := range r.Rows {
		t.Logf("%3d waiting: %6.0f/s, p50 %6.0f µs, p99 %6.0f µs; with sync always %6.0f/s, p50 %6.0f µs, p99 %6.0f µs; × %.1f (%.1f–%.1f)",
			w.Waiting, w.Shared.Rate.Median, w.Shared.P50.Median, w.Shared.P99.Median,
			w.Always.Rate.Median, w.Always.P50.Median, w.Always.P99.Median, w.Ratio.Median, w.Ratio.Low, w.Ratio.High)
	}
	alone, many := r.Rows[0], r.Rows[2]
	if aim := 1.5*r.Fsync.Median + 60; alone.Shared.P50.Median > aim {
		t.Errorf("alone an append takes %.0f µs: the aim is 1.5 fsyncs and 60 µs, which are %.0f", alone.Shared.P50.Median, aim)
	}
	if many.Ratio.Median < 5 {
		t.Errorf("64 waiting append %.1f times as fast as with sync always: the aim is 5", many.Ratio.Median)
	}
	if many.Shared.P50.Median > 4000 {
		t.Errorf("64 waiting have a p50 of %.0f µs: the aim is 4000", many.Shared.P50.Median)
	}
}
