package journal

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"waybill/subjects"
)

// benchState is about as large as a real order of two lines.
type benchState struct {
	OrderID string   `json:"order_id"`
	Status  string   `json:"status"`
	Lines   []string `json:"lines"`
	Text    string   `json:"text"`
}

func benchEntry(id string, previous Record) Entry {
	state := benchState{id, "confirmed", []string{"espresso", "flat-white"},
		"a text that makes the state as long as a small order's is in practice, or so"}
	return Entry{
		Subject: orderSubject(id), Kind: subjects.KindOrder, Event: "confirmed", Previous: previous,
		Data: struct {
			At string `json:"at"`
		}{"2026-01-02T03:04:05.678Z"}, State: state,
	}
}

// BenchmarkAppend measures an append with compare-and-set, each to an aggregate of its own and then a second time to the same.
func BenchmarkAppend(b *testing.B) {
	for _, writers := range []int{1, 64} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			j := newBed(b).journal(nil)
			b.ReportAllocs()
			b.ResetTimer()
			var next atomic.Int64
			var all sync.WaitGroup
			for range writers {
				all.Go(func() {
					var last Record
					for n := next.Add(1); n <= int64(b.N); n = next.Add(1) {
						id := last.CeSubject
						if n%2 == 1 || id == "" {
							id, last = fmt.Sprintf("o-%d", n), Record{}
						}
						var err error
						if last, err = j.Append(b.Context(), benchEntry(id, last)); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			all.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
		})
	}
}

// fill writes events of many aggregates, five each.
func fill(b *testing.B, j *Journal, events int) {
	b.Helper()
	var all sync.WaitGroup
	const writers = 64
	for w := range writers {
		all.Go(func() {
			for n := w; n < events/5; n += writers {
				var last Record
				for range 5 {
					var err error
					if last, err = j.Append(b.Context(), benchEntry(fmt.Sprintf("o-%d", n), last)); err != nil {
						b.Error(err)
						return
					}
				}
			}
		})
	}
	all.Wait()
}

// BenchmarkRead measures reads of a journal of a thousand and of 200,000 events: they must not differ, but for the replay.
func BenchmarkRead(b *testing.B) {
	for _, events := range []int{1_000, 200_000} {
		j := newBed(b).journal(nil)
		fill(b, j, events)
		id := func(n int) string { return orderSubject(fmt.Sprintf("o-%d", n*7919%(events/5))) }
		five := func(n int) []string { return []string{id(n), id(n + 1), id(n + 2), id(n + 3), id(n + 4)} }
		run := func(name string, f func(n int) error) {
			b.Run(fmt.Sprintf("%s/events=%d", name, events), func(b *testing.B) {
				b.ReportAllocs()
				for n := range b.N {
					if err := f(n); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
		run("Load", func(n int) error { _, _, err := j.Load(b.Context(), id(n)); return err })
		run("FiveLoads", func(n int) error {
			for _, s := range five(n) {
				if _, _, err := j.Load(b.Context(), s); err != nil {
					return err
				}
			}
			return nil
		})
		run("LoadManyOfFive", func(n int) error { _, err := j.LoadMany(b.Context(), five(n)); return err })
		run("HistoryOfFive", func(n int) error { _, err := j.History(b.Context(), id(n)); return err })
		b.Run(fmt.Sprintf("Replay/events=%d", events), func(b *testing.B) {
			for b.Loop() {
				n := 0
				if _, err := j.Replay(b.Context(), 1, nil, func(Record) error { n++; return nil }); err != nil || n != events {
					b.Fatal(n, err)
				}
			}
			b.ReportMetric(float64(b.N*events)/b.Elapsed().Seconds(), "events/s")
		})
	}
}
