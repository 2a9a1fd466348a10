package lean

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"
)

// ask begins a request that nobody answers.
func (m *mux) ask(t testing.TB) *Pending {
	t.Helper()
	p, _, err := m.begin("asked", nil)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// Each of many requests ends when its time is over, in the order of the times or not: never before, and soon after.
func TestTimesThatEnd(t *testing.T) {
	m := newMux("in.")
	cancelled, cancel := context.WithCancel(t.Context())
	defer cancel()
	var mu sync.Mutex
	var late []time.Duration
	var all sync.WaitGroup
	for n := range 200 {
		ctx := context.Background() // the way without an end of its own
		if n%2 == 0 {
			ctx = cancelled
		}
		all.Go(func() {
			for range 10 {
				most := time.Duration(rand.Int64N(int64(50 * time.Millisecond)))
				begun := time.Now()
				_, err := m.ask(t).WaitFor(ctx, most)
				took := time.Since(begun)
				if !errors.Is(err, context.DeadlineExceeded) || took < most {
					t.Errorf("after %v of %v: %v", took, most, err)
				}
				mu.Lock()
				late = append(late, took-most)
				mu.Unlock()
			}
		})
	}
	all.Wait()
	slices.Sort(late)
	if median := late[len(late)/2]; median > 20*time.Millisecond {
		t.Errorf("half of them end more than %v too late", median)
	}
	if m.next.Load() != never || m.waiting != 0 {
		t.Errorf("nothing waits, and the sweeper is set to %d; %d are counted", m.next.Load(), m.waiting)
	}
}

// A time that ends before all others is not kept waiting for them, and one that has no end takes no part.
func TestTimesBeforeOthers(t *testing.T) {
	m := newMux("in.")
	long, endless, none := m.ask(t), m.ask(t), m.ask(t)
	m.bound(long, time.Hour)
	m.bound(endless, math.MaxInt64)
	for _, most := range []time.Duration{-time.Second, 0, 1, 30 * time.Millisecond} {
		begun := time.Now()
		if _, err := m.ask(t).WaitFor(t.Context(), most); !errors.Is(err, context.DeadlineExceeded) || time.Since(begun) > 5*time.Second {
			t.Errorf("%v: %v after %v", most, err, time.Since(begun))
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	soon := now() + int64(time.Minute)
	if m.sweepAt(soon); m.next.Load() != soon {
		t.Error("the sweeper is not set to the first of two")
	}
	if m.sweepAt(soon + 1); m.next.Load() != soon {
		t.Error("the sweeper is set to the second of two")
	}
	if !long.waits || !endless.waits || !none.waits || m.waiting != 3 {
		t.Errorf("the others were ended: %v, %v, %v; %d wait", long.waits, endless.waits, none.waits, m.waiting)
	}
}

// The time of the request that had the slot before is not that of the next one.
func TestTimesOfTheSlotBefore(t *testing.T) {
	m := newMux("in.")
	p, subject, err := m.begin("asked", nil)
	if err != nil {
		t.Fatal(err)
	}
	m.bound(p, 20*time.Millisecond)
	slot, turn, ok := slotOf(subject, len(m.prefix))
	m.deliver(slot, turn, ok, Msg{})
	if _, err := p.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	if again := m.ask(t); again != p {
		t.Fatal("the slot is not used again")
	}
	if _, err := m.ask(t).WaitFor(t.Context(), 40*time.Millisecond); !errors.Is(err, context.DeadlineExceeded) { // there is a sweep
		t.Fatal(err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if !p.waits {
		t.Error("it was ended by the time of the request before")
	}
}

// Replies and ends of time at the same moments: each request has one outcome, and no reply is another's.
func TestTimesAndReplies(t *testing.T) {
	m := newMux("in.")
	type asked struct {
		slot, turn int
		text       string
	}
	replies := make(chan asked, 1000)
	var answering, asking sync.WaitGroup
	for range 2 {
		answering.Go(func() {
			for a := range replies {
				if rand.IntN(8) == 0 {
					time.Sleep(time.Millisecond) // late for those behind it
				}
				m.deliver(a.slot, a.turn, true, Msg{Data: []byte(a.text)})
			}
		})
	}
	var got, ended int
	var mu sync.Mutex
	for caller := range 50 {
		asking.Go(func() {
			for n := range 200 {
				text := string(rune('a'+caller)) + string(rune('a'+n))
				p, subject, err := m.begin("asked", nil)
				if err != nil {
					t.Error(err)
					return
				}
				slot, turn, _ := slotOf(subject, len(m.prefix))
				replies <- asked{slot, turn, text}
				msg, err := p.WaitFor(context.Background(), time.Duration(rand.IntN(3000))*time.Microsecond)
				mu.Lock()
				switch {
				case err == nil && string(msg.Data) == text:
					got++
				case errors.Is(err, context.DeadlineExceeded):
					ended++
				default:
					t.Errorf("%s got %q, %v", text, msg.Data, err)
				}
				mu.Unlock()
			}
		})
	}
	asking.Wait()
	close(replies)
	answering.Wait()
	if got == 0 || ended == 0 || got+ended != 50*200 {
		t.Errorf("%d have a reply, %d have ended", got, ended)
	}
	if len(m.free) != len(m.slots) || m.waiting != 0 {
		t.Errorf("%d of %d slots are free, %d wait", len(m.free), len(m.slots), m.waiting)
	}
}
