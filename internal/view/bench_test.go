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

// BenchmarkBusySite tells what an order costs the read models of a busy site: ns/op is an order's wall time, cpu-ns/op the
// processor time of the whole process. A batch holds the events of some 240 orders, as many as come in while the projection
// gathers, until each order is planned and its customer told. Most orders begin and end within a batch, and some lie across two.
// The view already holds 20,000 orders, so that its indexes have the depth, and the cache the misses, of a site's.
func BenchmarkBusySite(b *testing.B) {
	const perBatch = 240
	v := open(b, filepath.Join(b.TempDir(), "view.db"))
	w := newWorld()
	for range 20_000 {
		w.order(confirmed)
	}
	before := interleave(w.take(), 64)
	apply(b, v, before, 2000)
	perOrder := len(before) / 20_000
	for w.orders < 20_000+b.N {
		w.order(confirmed)
	}
	events := interleave(w.take(), 64)
	for i := range events {
		events[i].Sequence += uint64(len(before))
	}
	b.ReportAllocs()
	spent := cpu(b)
	b.ResetTimer()
	apply(b, v, events, perBatch*perOrder)
	b.StopTimer()
	b.ReportMetric(float64((cpu(b)-spent).Nanoseconds())/float64(b.N), "cpu-ns/op")
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
