package embedded

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"waybill/internal/fault"
)

// slowSync is a sync that begins when it is called and ends when the test lets it.
type slowSync struct {
	began chan struct{}
	end   chan error
	count atomic.Int32
}

func newSlowSync() *slowSync {
	return &slowSync{began: make(chan struct{}, 16), end: make(chan error, 16)}
}

func (s *slowSync) sync() error {
	s.count.Add(1)
	s.began <- struct{}{}
	return <-s.end
}

func TestBarrierOneWaiterOneSync(t *testing.T) {
	var count atomic.Int32
	b := newBarrier(func() error { count.Add(1); return nil }, nil)
	defer b.Close()
	for i := uint64(1); i <= 3; i++ {
		check(t, b.Wait(t.Context(), i))
		if b.Durable() != i || count.Load() != int32(i) {
			t.Errorf("after %d waits: durable %d, %d syncs", i, b.Durable(), count.Load())
		}
	}
	check(t, b.Wait(t.Context(), 2))
	check(t, b.Wait(t.Context(), 0))
	if count.Load() != 3 {
		t.Errorf("what is durable was synced again: %d", count.Load())
	}
}

// A thousand who come while one sync runs share the next one.
func TestBarrierManyWaiters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSlowSync()
		b := newBarrier(s.sync, nil)
		defer b.Close()
		var wg sync.WaitGroup
		wait := func(sequence uint64) {
			wg.Go(func() {
				if err := b.Wait(t.Context(), sequence); err != nil {
					t.Error(err)
				}
				if d := b.Durable(); d < sequence {
					t.Errorf("let go at %d, durable is %d", sequence, d)
				}
			})
		}
		wait(1)
		<-s.began
		for i := range uint64(1000) {
			wait(2 + i)
		}
		synctest.Wait() // all thousand wait
		s.end <- nil
		<-s.began
		if d := b.Durable(); d != 1 {
			t.Errorf("the first sync made %d durable: it began when only 1 was acknowledged", d)
		}
		s.end <- nil
		wg.Wait()
		if n := s.count.Load(); n != 2 {
			t.Errorf("%d syncs for 1001 waiters", n)
		}
		if b.Durable() != 1001 {
			t.Errorf("durable %d", b.Durable())
		}
	})
}

// Who comes during a sync may have missed it, even with a sequence that is lower than the one it was started for.
func TestBarrierLatecomer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSlowSync()
		b := newBarrier(s.sync, nil)
		defer b.Close()
		done := make(chan uint64, 2)
		wait := func(sequence uint64) {
			go func() {
				if err := b.Wait(t.Context(), sequence); err != nil {
					t.Error(err)
				}
				done <- sequence
			}()
		}
		wait(10)
		<-s.began
		wait(11)
		b.Note(12)
		synctest.Wait()
		s.end <- nil
		if got := <-done; got != 10 {
			t.Fatalf("%d was let go by a sync that began before it came", got)
		}
		<-s.began
		synctest.Wait()
		select {
		case got := <-done:
			t.Fatalf("%d was let go during its sync", got)
		default:
		}
		s.end <- nil
		<-done
		if b.Durable() != 12 {
			t.Errorf("durable %d: what was noted before the sync is covered by it", b.Durable())
		}
	})
}

// Sync waits for a sync that began after it was called, whatever the sequences are.
func TestBarrierSync(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSlowSync()
		b := newBarrier(s.sync, nil)
		defer b.Close()
		s.end <- nil
		check(t, b.Wait(t.Context(), 5))
		<-s.began
		wait := func() chan error {
			got := make(chan error, 1)
			go func() { got <- b.Sync(t.Context()) }()
			return got
		}
		first := wait()
		<-s.began
		second := wait()
		synctest.Wait()
		s.end <- nil
		check(t, <-first)
		<-s.began
		synctest.Wait()
		select {
		case err := <-second:
			t.Errorf("let go by a sync that began before it: %v", err)
		default:
		}
		s.end <- nil
		check(t, <-second)
		if s.count.Load() != 3 || b.Durable() != 5 {
			t.Errorf("%d syncs, durable %d", s.count.Load(), b.Durable())
		}
	})
}

func TestBarrierFailureIsFinal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSlowSync()
		b := newBarrier(s.sync, nil)
		defer b.Close()
		errs := make(chan error, 3)
		wait := func(sequence uint64) { go func() { errs <- b.Wait(t.Context(), sequence) }() }
		wait(1)
		<-s.began
		wait(2) // in the next round
		wait(3)
		synctest.Wait()
		broken := errors.New("input/output error")
		s.end <- broken
		for range 3 {
			if err := <-errs; fault.CodeOf(err) != fault.Unavailable || !errors.Is(err, broken) {
				t.Errorf("a waiter got %v", err)
			}
		}
		if err := b.Wait(t.Context(), 4); !errors.Is(err, broken) {
			t.Errorf("later: %v", err)
		}
		if err := b.Wait(t.Context(), 0); !errors.Is(err, broken) {
			t.Errorf("later, for nothing: %v", err)
		}
		if !errors.Is(b.Err(), broken) || b.Durable() != 0 || s.count.Load() != 1 {
			t.Errorf("%v, durable %d, %d syncs", b.Err(), b.Durable(), s.count.Load())
		}
	})
}

func TestBarrierContextEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSlowSync()
		b := newBarrier(s.sync, nil)
		defer b.Close()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		// Even the first one, for whom the sync was started, is not held by it.
		if err := b.Wait(ctx, 5); fault.CodeOf(err) != fault.DeadlineExceeded || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		<-s.began
		s.end <- nil
		synctest.Wait()
		if b.Durable() != 5 {
			t.Errorf("durable %d: the sync went on", b.Durable())
		}
	})
}

func TestBarrierFast(t *testing.T) {
	b, err := NewBarrier("/does/not/exist", false, nil)
	check(t, err)
	b.Note(3)
	check(t, b.Wait(t.Context(), 7))
	b.Note(5)
	if b.Strict() || b.Durable() != 7 {
		t.Errorf("strict %v, durable %d", b.Strict(), b.Durable())
	}
	check(t, b.Close())
	if err := b.Wait(t.Context(), 8); fault.CodeOf(err) != fault.Unavailable {
		t.Errorf("after close: %v", err)
	}
}

func TestBarrierClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSlowSync()
		released := 0
		b := newBarrier(s.sync, func() error { released++; return nil })
		wait := func(sequence uint64) chan error {
			got := make(chan error, 1)
			go func() { got <- b.Wait(t.Context(), sequence) }()
			return got
		}
		first := wait(1)
		<-s.began
		second := wait(2)
		synctest.Wait()
		closed := make(chan error)
		go func() { closed <- b.Close() }()
		synctest.Wait()
		if released != 0 {
			t.Error("the file was closed under a sync")
		}
		s.end <- nil
		if err := <-first; err != nil {
			t.Errorf("the sync that was under way: %v", err)
		}
		// The second may have got its sync, or the end; either way it is told.
		s.end <- nil
		if err := <-second; err != nil && fault.CodeOf(err) != fault.Unavailable {
			t.Errorf("the next round: %v", err)
		}
		check(t, <-closed)
		check(t, b.Close())
		if released != 1 {
			t.Errorf("released %d times", released)
		}
		if err := b.Wait(t.Context(), 9); fault.CodeOf(err) != fault.Unavailable {
			t.Errorf("after close: %v", err)
		}
	})
}

// The real thing, on the real file system: nobody is let go early, and many waiters take few syncs.
func TestBarrierOnDisk(t *testing.T) {
	b, err := NewBarrier(t.TempDir(), true, nil)
	check(t, err)
	real := b.sync
	var count atomic.Int32
	b.sync = func() error { count.Add(1); return real() } // before the first Wait
	var wg sync.WaitGroup
	const waiters = 1000
	for i := range uint64(waiters) {
		wg.Go(func() {
			if err := b.Wait(t.Context(), i+1); err != nil || b.Durable() < i+1 {
				t.Errorf("%d: %v, durable %d", i, err, b.Durable())
			}
		})
	}
	wg.Wait()
	if n := count.Load(); n > waiters/2 || n < 1 {
		t.Errorf("%d syncs for %d waiters", n, waiters)
	}
	t.Logf("%d syncs for %d waiters", count.Load(), waiters)
	check(t, b.Close())
	if _, err := NewBarrier("/does/not/exist", true, nil); fault.CodeOf(err) != fault.Unavailable {
		t.Errorf("no directory: %v", err)
	}
}

func BenchmarkBarrier(b *testing.B) {
	bar, err := NewBarrier(b.TempDir(), true, nil)
	check(b, err)
	defer bar.Close()
	var seq atomic.Uint64
	b.ReportAllocs()
	b.SetParallelism(32) // 64 waiters on two cores
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			check(b, bar.Wait(b.Context(), seq.Add(1)))
		}
	})
}
