package view_test

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"waybill/internal/view"
)

// BenchmarkApply tells what an event costs: wall time per event as ns/op, and the processor time of the whole process.
func BenchmarkApply(b *testing.B) {
	for _, size := range []int{1, 32, 1000} {
		b.Run(fmt.Sprintf("batch=%d", size), func(b *testing.B) {
			v := open(b, filepath.Join(b.TempDir(), "view.db"))
			w := newWorld()
			for len(w.events) < b.N {
				w.order(completed)
			}
			events := interleave(w.take(), 64)[:b.N]
			b.ReportAllocs()
			before := cpu(b)
			b.ResetTimer()
			apply(b, v, events, size)
			b.StopTimer()
			b.ReportMetric(float64((cpu(b)-before).Nanoseconds())/float64(b.N), "cpu-ns/op")
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
		})
	}
}

// BenchmarkOrders tells what a page of a view of 20,000 orders costs.
func BenchmarkOrders(b *testing.B) {
	v := open(b, filepath.Join(b.TempDir(), "view.db"))
	w := newWorld()
	for range 20_000 {
		w.order(lastStates)
	}
	apply(b, v, w.take(), 10_000)
	for name, f := range map[string]view.OrderFilter{
		"all":         {Limit: 50},
		"all of 500":  {Limit: 500},
		"status":      {Limit: 50, Status: "rejected"},
		"customer":    {Limit: 50, CustomerID: "walk-in"},
		"text":        {Limit: 50, Text: "espresso"},
		"text of one": {Limit: 50, Text: "-000123"},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				rows, next, err := v.Orders(b.Context(), f)
				if err != nil || len(rows) == 0 {
					b.Fatal(len(rows), err)
				}
				f.Cursor = next // on to the next page, and from the last to the first
			}
		})
	}
}

func cpu(b testing.TB) time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
