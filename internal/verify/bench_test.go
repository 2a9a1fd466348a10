package verify_test

import (
	"context"
	"runtime"
	"strings"
	"testing"

	"waybill/internal/journal"
	"waybill/internal/verify"
)

// BenchmarkRun verifies a journal of 200,000 events in memory, of orders that were all delivered, with the gateway's books.
func BenchmarkRun(b *testing.B) {
	s := newSite(b)
	s.trade()
	if report := s.settle(); len(report.Violations) > 0 {
		b.Fatalf("%+v", report.Violations[0])
	}
	w := s.capture()
	like := w.multiply("o-done", 1)
	each := len(like.records) - len(w.multiply("o-done", 0).records)
	w = w.multiply("o-done", 200_000/each)
	w.messages = nil
	src := w.source()
	kept := retained(b, src, uint64(len(w.records)))
	for b.Loop() {
		report, err := verify.Run(b.Context(), src, nil)
		if err != nil || len(report.Violations) > 0 {
			b.Fatal(report.Violations, err)
		}
	}
	b.ReportMetric(float64(len(w.records))*float64(b.N)/b.Elapsed().Seconds(), "events/s")
	b.ReportMetric(float64(kept)/float64(len(w.records)), "kept-B/event")
}

// retained is how much a verification holds when it has read the last event.
func retained(b *testing.B, src verify.Source, events uint64) (bytes uint64) {
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	replay := src.Replay
	src.Replay = func(ctx context.Context, from uint64, fn func(journal.Record) error) (uint64, error) {
		return replay(ctx, from, func(r journal.Record) error {
			r.Subject = strings.Clone(r.Subject) // as one that is just read: what is kept of it counts
			return fn(r)
		})
	}
	before := heap()
	if _, err := verify.Run(b.Context(), src, func(done, _ uint64) {
		if done == events {
			bytes = heap() - before
		}
	}); err != nil {
		b.Fatal(err)
	}
	return bytes
}
