package journal

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"waybill/subjects"
)

func replay(t *testing.T, j *Journal, from uint64, filters ...string) (seen []uint64, last uint64) {
	t.Helper()
	last, err := j.Replay(t.Context(), from, filters, func(r Record) error {
		seen = append(seen, r.Sequence)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return seen, last
}

func numbers(from, to uint64) (n []uint64) {
	for ; from <= to; from++ {
		n = append(n, from)
	}
	return n
}

func TestReplay(t *testing.T) {
	b := newBed(t)
	j := b.journal(nil)
	if seen, last := replay(t, j, 1); len(seen) != 0 || last != 0 {
		t.Errorf("of an empty journal: %v to %d", seen, last)
	}
	a := mustAppend(t, j, "a", Record{}, 1500)
	mustAppend(t, j, "b", Record{}, 1000)

	if seen, last := replay(t, j, 1); !slices.Equal(seen, numbers(1, 2500)) || last != 2500 {
		t.Errorf("%d events to %d", len(seen), last)
	}
	if seen, _ := replay(t, j, 2400); !slices.Equal(seen, numbers(2400, 2500)) {
		t.Errorf("from 2400: %v", seen)
	}
	if seen, last := replay(t, j, 2501); len(seen) != 0 || last != 2500 {
		t.Errorf("from behind the end: %v to %d", seen, last)
	}
	if seen, last := replay(t, j, 1, orderSubject("a")); !slices.Equal(seen, numbers(1, 1500)) || last != 2500 {
		t.Errorf("of a alone: %d events to %d", len(seen), last)
	}
	if seen, _ := replay(t, j, 1, orderSubject("a"), orderSubject("b")); !slices.Equal(seen, numbers(1, 2500)) {
		t.Errorf("of both: %d events", len(seen))
	}
	if seen, _ := replay(t, j, 1, subjects.EventsOf(site, subjects.KindStock)); len(seen) != 0 {
		t.Errorf("of a kind without events: %v", seen)
	}

	// What is appended meanwhile is not part of it.
	more := a
	n := 0
	last, err := j.Replay(t.Context(), 1, nil, func(r Record) error {
		if n++; n%100 == 0 {
			more = mustAppend(t, j, "a", more, 1)
		}
		return nil
	})
	if err != nil || n != 2500 || last != 2500 {
		t.Errorf("%d events to %d, %v", n, last, err)
	}

	// The caller's own error ends it at once.
	enough := errors.New("enough")
	n = 0
	if _, err = j.Replay(t.Context(), 1, nil, func(Record) error { n++; return enough }); !errors.Is(err, enough) || n != 1 {
		t.Errorf("%d events, %v", n, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	_, err = j.Replay(ctx, 1, nil, func(Record) error { cancel(); return nil })
	if err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("ended: %v", err)
	}
}

// The server goes away and comes back in the middle.
func TestReplayAcrossRestart(t *testing.T) {
	b := newBed(t)
	j := b.journal(nil)
	mustAppend(t, j, "a", Record{}, 3000)
	var seen []uint64
	_, err := j.Replay(t.Context(), 1, nil, func(r Record) error {
		if seen = append(seen, r.Sequence); len(seen) == 1200 {
			b.Stop()
			b.Run()
		}
		return nil
	})
	if err != nil || !slices.Equal(seen, numbers(1, 3000)) {
		t.Errorf("%d events, %v", len(seen), err)
	}
}

// following runs Follow until the test stops it, and hands on each batch.
type following struct {
	batches chan []Message
	ended   chan error
	cancel  context.CancelFunc
}

func follow(t *testing.T, j *Journal, from uint64) *following {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	f := &following{make(chan []Message), make(chan error, 1), cancel}
	go func() {
		f.ended <- j.Follow(ctx, from, func(batch []Message) error {
			select {
			case f.batches <- batch:
			case <-ctx.Done():
			}
			return nil
		})
	}()
	t.Cleanup(cancel)
	return f
}

// take waits for the next n events and fails the test when one is missing, double or out of order.
func (f *following) take(t *testing.T, from uint64, n int) {
	t.Helper()
	next, deadline := from, time.After(20*time.Second)
	for next < from+uint64(n) {
		select {
		case batch := <-f.batches:
			if len(batch) == 0 || len(batch) > FollowBatch {
				t.Fatalf("a batch of %d", len(batch))
			}
			for _, r := range batch {
				if r.Sequence != next {
					t.Fatalf("event %d in place of %d", r.Sequence, next)
				}
				next++
			}
		case err := <-f.ended:
			t.Fatalf("ended before event %d: %v", next, err)
		case <-deadline:
			t.Fatalf("event %d does not come", next)
		}
	}
}

func (f *following) stop(t *testing.T) {
	t.Helper()
	f.cancel()
	if err := <-f.ended; err != nil {
		t.Fatal(err)
	}
}

func TestFollow(t *testing.T) {
	t.Parallel()
	followAcrossRestart(t, (*bed).journal)
}

// followAcrossRestart follows a journal that open has opened, while the server goes away and comes back.
func followAcrossRestart(t *testing.T, open func(*bed, Barrier) *Journal) {
	b := newBed(t)
	j := open(b, nil)
	last := mustAppend(t, j, "a", Record{}, 2500)
	f := follow(t, j, 11)
	f.take(t, 11, 2490)
	for i := range uint64(5) {
		last = mustAppend(t, j, "a", last, 1)
		f.take(t, 2501+i, 1)
	}
	b.Stop()
	b.Run()
	last = mustAppend(t, b.journal(nil), "a", last, 3)
	f.take(t, 2506, 3)
	mustAppend(t, j, "a", last, 1)
	f.take(t, 2509, 1)
	f.stop(t)
}

// fn sees an event only after the barrier has let it through.
func TestFollowWaitsForTheBarrier(t *testing.T) { followWaitsForTheBarrier(t, (*bed).journal) }

func followWaitsForTheBarrier(t *testing.T, open func(*bed, Barrier) *Journal) {
	b := newBed(t)
	barrier := newFakeBarrier()
	j := open(b, barrier)
	last := mustAppend(t, j, "a", Record{}, 3)
	f := follow(t, j, 1)
	barrier.awaited(t, 1, 3) // the first batch may be a part of what is there
	select {
	case batch := <-f.batches:
		t.Fatalf("%d events before they are durable", len(batch))
	default:
	}
	barrier.release(3, nil)
	f.take(t, 1, 3)
	mustAppend(t, j, "a", last, 1)
	barrier.awaited(t, 4, 4)
	barrier.release(4, nil)
	f.take(t, 4, 1)

	// A barrier that fails for good ends it.
	broken := errors.New("the disk is gone")
	mustAppend(t, j, "b", Record{}, 1)
	barrier.awaited(t, 5, 5)
	barrier.release(4, broken)
	if err := <-f.ended; !errors.Is(err, broken) {
		t.Errorf("%v, want the barrier's error", err)
	}
}

func TestFollowEndsWithItsCallback(t *testing.T) { followEndsWithItsCallback(t, (*bed).journal) }

func followEndsWithItsCallback(t *testing.T, open func(*bed, Barrier) *Journal) {
	j := open(newBed(t), nil)
	mustAppend(t, j, "a", Record{}, 3)
	enough := errors.New("enough")
	if err := j.Follow(t.Context(), 1, func([]Message) error { return enough }); !errors.Is(err, enough) {
		t.Error(err)
	}
}

// While fn is at work the server sends nothing, and is not woken by what is appended; all that came meanwhile is one batch.
func TestFollowGathers(t *testing.T) {
	b := newBed(t)
	j := b.journal(nil)
	mustAppend(t, j, "a", Record{}, 1)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	sizes, goOn, ended := make(chan int), make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- j.Follow(ctx, 1, func(batch []Message) error {
			sizes <- len(batch)
			<-goOn
			return nil
		})
	}()
	if n := <-sizes; n != 1 {
		t.Fatalf("a batch of %d, want the one event that is there", n)
	}
	mustAppend(t, j, "b", Record{}, 50)
	stream, err := b.JetStream().Stream(t.Context(), subjects.StreamJournal)
	if err != nil {
		t.Fatal(err)
	}
	for counted := false; !counted && ctx.Err() == nil; { // the server counts what is appended a moment later
		for info := range stream.ListConsumers(t.Context()).Info() {
			if info.Delivered.Consumer != 1 || info.NumPending > 50 {
				t.Fatalf("%d events were sent and %d were not, want 1 and 50", info.Delivered.Consumer, info.NumPending)
			}
			counted = info.NumPending == 50
		}
	}
	goOn <- struct{}{}
	if n := <-sizes; n != 50 {
		t.Errorf("a batch of %d, want all 50 that came meanwhile", n)
	}
	cancel()
	close(goOn)
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
