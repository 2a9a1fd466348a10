package journal

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"waybill/internal/lean"
)

// sharing opens a journal of the process that r is of, on a connection of its own.
func (b *bed) sharing(r *Recent, barrier Barrier) *Journal {
	b.t.Helper()
	j, err := Open(b.Connect(), Options{Site: site, Barrier: barrier, Log: zerolog.Nop(), Recent: r})
	if err != nil {
		b.t.Fatal(err)
	}
	return j
}

// state is how many events r holds and of how many bytes, and whether its reader has nothing to read from it and waits.
func (r *Recent) state() (kept, size int, waits bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, m := range r.events {
		if m != nil {
			kept++
			size += m.size()
		}
	}
	if size != r.bytes {
		panic(fmt.Sprintf("it holds %d bytes and counts %d", size, r.bytes))
	}
	return kept, size, r.waits
}

// atRest appends to the aggregate until the reader takes what comes from r, and waits for more of it. It takes all events of f.
func atRest(t *testing.T, f *following, r *Recent, j *Journal, id string, previous Record) Record {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); {
		first := mustAppend(t, j, id, previous, 1)
		previous = mustAppend(t, j, id, first, 1) // it is in r while the reader has the first one, or both were read from the store
		f.take(t, first.Sequence, 2)
		for moment := time.Now().Add(50 * time.Millisecond); time.Now().Before(moment); runtime.Gosched() {
			if _, _, waits := r.state(); waits {
				return previous
			}
		}
	}
	t.Fatal("the reader does not wait for what this process appends")
	return Record{}
}

// rested opens a journal that keeps what it appends, with a reader that waits for the next event; last is the last so far, of the order id.
func rested(t *testing.T, b *bed, barrier Barrier, id string) (r *Recent, j *Journal, f *following, last Record) {
	t.Helper()
	r = NewRecent()
	j = b.sharing(r, barrier)
	f = follow(t, j, 1)
	return r, j, f, atRest(t, f, r, j, id, Record{})
}

// Follow keeps its promises wherever the events come from.
func TestFollowRecent(t *testing.T) {
	for name, test := range map[string]func(*testing.T, func(*bed, Barrier) *Journal){
		"the server goes away":     followAcrossRestart,
		"barrier":                  followWaitsForTheBarrier,
		"the callback's error":     followEndsWithItsCallback,
		"the context ends at rest": followEndsAtRest,
	} {
		t.Run(name, func(t *testing.T) {
			r := NewRecent()
			test(t, func(b *bed, barrier Barrier) *Journal { return b.sharing(r, barrier) })
			if kept, _, _ := r.state(); kept != 0 || r.reading {
				t.Errorf("%d events are kept for nobody, read: %v", kept, r.reading)
			}
		})
	}
}

func followEndsAtRest(t *testing.T, open func(*bed, Barrier) *Journal) {
	j := open(newBed(t), nil)
	f := follow(t, j, 1)
	atRest(t, f, j.recent, j, "a", Record{})
	f.stop(t)
}

// gathered runs Follow until it has taken the event last, and returns all that it was given.
func gathered(t *testing.T, j *Journal, last uint64, pause time.Duration) (all []Message) {
	t.Helper()
	enough := errors.New("enough")
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	err := j.Follow(ctx, 1, func(batch []Message) error {
		if all = append(all, batch...); batch[len(batch)-1].Sequence >= last {
			return enough
		}
		time.Sleep(pause)
		return nil
	})
	if !errors.Is(err, enough) {
		t.Errorf("%v after %d of %d events", err, len(all), last)
	}
	return all
}

// Sixty-four writers of this process and eight of another one append while the journal is followed: every event comes once, in order and as
// it is in the store.
func TestFollowRecentConcurrently(t *testing.T) {
	for name, c := range map[string]struct {
		others int
		pause  time.Duration // of theirs
	}{"alone": {}, "others": {8, 0}, "others now and then": {1, 3 * time.Millisecond}} {
		t.Run(name, func(t *testing.T) {
			b := newBed(t)
			r := NewRecent()
			const own, each = 64, 60
			last := uint64((own + c.others) * each)
			read := make(chan []Message, 1)
			follower := b.sharing(r, nil)
			go func() { read <- gathered(t, follower, last, 5*time.Millisecond) }()
			var all sync.WaitGroup
			for i := range own + c.others {
				j, pause := b.journal(nil), c.pause
				if i < own {
					j, pause = b.sharing(r, nil), time.Millisecond
				}
				all.Go(func() {
					var last Record
					for n := range each {
						e := entry(fmt.Sprintf("o-%d", i), last, n)
						var err error
						if n%3 != 0 {
							last, err = j.Append(t.Context(), e)
						} else if p, started := j.Start(t.Context(), e); started != nil {
							err = started
						} else {
							last, err = p.Wait(t.Context())
						}
						if err != nil {
							t.Error(err)
							return
						}
						time.Sleep(pause)
					}
				})
			}
			all.Wait()
			got, want := <-read, gathered(t, b.journal(nil), last, 0)
			shared := 0
			for i := range max(len(got), len(want)) {
				g, w := got[min(i, len(got)-1)], want[min(i, len(want)-1)]
				if g.hash != "" {
					shared++
				}
				same(t, g, w)
				if g.Sequence != uint64(i+1) || t.Failed() {
					t.Fatalf("event %d in place of %d, %d of %d events", g.Sequence, i+1, len(got), len(want))
				}
			}
			t.Logf("%d of %d events came from this process", shared, len(got))
			if c.others == 0 && shared < len(got)/2 {
				t.Errorf("%d of %d events came from this process", shared, len(got))
			}
		})
	}
}

// same compares an event with the store's.
func same(t *testing.T, got, want Message) {
	t.Helper()
	gotState, err1 := got.State()
	wantState, err2 := want.State()
	if err := cmp.Or(err1, err2); err != nil {
		t.Fatal(err)
	}
	if got.Subject != want.Subject || got.Sequence != want.Sequence || !bytes.Equal(got.Data, want.Data) || got.Hash() != want.Hash() ||
		!bytes.Equal(gotState, wantState) || !reflect.DeepEqual(ownHeaders(got), ownHeaders(want)) || !reflect.DeepEqual(decode(got), decode(want)) {
		t.Errorf("event %d differs:\n%+v\n%+v", want.Sequence, got, want)
	}
}

// ownHeaders are a message's headers without what the server adds to one that is read.
func ownHeaders(m Message) nats.Header {
	h := maps.Clone(lean.Parsed(m.Header))
	for _, added := range []string{
		jetstream.StreamHeader, jetstream.SequenceHeader, jetstream.SubjectHeader, "Nats-Time-Stamp", headerNumPending, jetstream.LastSequenceHeader,
	} {
		delete(h, added)
	}
	return h
}

// An event is the same with all that it can have, and seals of what this process has written are those of the store's.
func TestRecentIsWhatTheStoreHas(t *testing.T) {
	b := newBed(t)
	r := NewRecent()
	barrier := newFakeBarrier()
	barrier.release(100, nil)
	j := b.sharing(r, barrier)
	file := filepath.Join(t.TempDir(), "seals")
	stop := sealing(t, j, file, 7)
	previous := Record{}
	for n := range 30 {
		e := entry("a", previous, n)
		e.Data = map[string]any{"text": "ä<>& \u2028", "n": n}
		e.CeSubject = "several words\r\nWaybill-Previous: x"
		var err error
		if previous, err = j.Append(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	sealed(t, file, 28)
	for deadline := time.Now().Add(20 * time.Second); ; runtime.Gosched() {
		if kept, _, waits := r.state(); waits && kept == 0 {
			break
		} else if time.Now().After(deadline) {
			t.Fatal("not all was read")
		}
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	again := filepath.Join(t.TempDir(), "again")
	stop = sealing(t, b.journal(nil), again, 7)
	sealed(t, again, 28)
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	one, err1 := ReadSeals(file)
	two, err2 := ReadSeals(again)
	if err := cmp.Or(err1, err2); err != nil || !slices.Equal(one[:4], two[:4]) {
		t.Errorf("%v: the seals are\n%+v, of the store\n%+v", err, one, two)
	}
	if v := violations(t, j, one); len(v) > 0 {
		t.Error(v)
	}
}

// What others wrote stands between: it is read from the store, at the latest when a list is asked for or a moment has passed.
func TestRecentGaps(t *testing.T) {
	b := newBed(t)
	barrier := newFakeBarrier()
	barrier.release(1_000_000, nil)
	other := b.journal(nil)
	r, j, f, own := rested(t, b, barrier, "own")

	// Between events of this process, and a batch of its own.
	foreign := mustAppend(t, other, "other", Record{}, 2)
	before := own.Sequence
	own = mustAppend(t, j, "own", own, 1)
	f.take(t, before+1, 3)
	own = atRest(t, f, r, j, "own", own)
	before = own.Sequence
	if _, err := j.AppendBatch(t.Context(), []Entry{entry("x", Record{}, 1), entry("y", Record{}, 1)}); err != nil {
		t.Fatal(err)
	}
	own = mustAppend(t, j, "own", own, 1)
	f.take(t, before+1, 3)

	// At rest, where none of this process tells of it.
	var took, hurried []time.Duration
	for range 9 {
		own = atRest(t, f, r, j, "own", own)
		began := time.Now()
		foreign = mustAppend(t, other, "other", foreign, 1)
		f.take(t, foreign.Sequence, 1)
		took = append(took, time.Since(began))

		own = atRest(t, f, r, j, "own", own)
		began = time.Now()
		foreign = mustAppend(t, other, "other", foreign, 1)
		j.Hurry()
		f.take(t, foreign.Sequence, 1)
		hurried = append(hurried, time.Since(began))
	}
	slices.Sort(took)
	slices.Sort(hurried)
	t.Logf("seen after %s at the median, asked for after %s", took[4], hurried[4])
	if took[4] > 250*time.Millisecond || hurried[4] > lookInterval/2 {
		t.Errorf("seen after %s at the median, asked for after %s", took[4], hurried[4])
	}
}

// A list waits for what the barrier knows to be durable: that is handed over in one batch with what stands before it.
func TestRecentHurriesWithOthers(t *testing.T) {
	b := newBed(t)
	barrier := newFakeBarrier()
	barrier.release(1_000, nil)
	other := b.journal(nil)
	_, j, f, own := rested(t, b, barrier, "own")
	own = mustAppend(t, j, "own", own, 1)
	n := own.Sequence
	barrier.awaited(t, n, n) // the reader has taken it
	barrier.release(n+2, nil)
	mustAppend(t, j, "own", own, 1)
	mustAppend(t, other, "other", Record{}, 1)
	j.Hurry()
	f.take(t, n, 1)
	select {
	case batch := <-f.batches:
		if len(batch) != 2 || batch[1].Sequence != n+2 {
			t.Errorf("%d events from %d on, want %d and %d together", len(batch), batch[0].Sequence, n+1, n+2)
		}
	case <-time.After(10 * time.Second):
		t.Fatalf("events %d and %d do not come", n+1, n+2)
	}
}

// Many events of others come one batch after the other, without a look in between.
func TestRecentManyOfOthers(t *testing.T) {
	b := newBed(t)
	barrier := newFakeBarrier()
	barrier.release(1_000, nil)
	other := b.journal(nil)
	_, j, f, own := rested(t, b, barrier, "own")
	n := own.Sequence
	const many = 20 * FollowBatch
	mustAppend(t, other, "other", mustAppend(t, other, "other", Record{}, 1), many-1)
	barrier.awaited(t, n+1, n+many) // the reader has seen some of them
	start := time.Now()
	barrier.release(n+many, nil)
	j.Hurry()
	f.take(t, n+1, many)
	took := time.Since(start)
	start = time.Now()
	if _, err := other.Range(t.Context(), n+1, many); err != nil {
		t.Fatal(err)
	}
	// A rest after each batch would come to twice as much, beside what reading takes on a busy machine.
	if read := time.Since(start); took > 3*read/2+many/FollowBatch*lookInterval/2 {
		t.Errorf("it took %s, and %s to read the same at once", took, read)
	}
}

// While a busy reader hands over what stands before a gap, a late acknowledgement closes that: nothing is read from the store.
func TestRecentLateAckOfABusyProcess(t *testing.T) {
	b := newBed(t)
	barrier := newFakeBarrier()
	barrier.release(1_000_000, nil)
	r, j, f, own := rested(t, b, barrier, "own")
	d := newDeaf(b)
	late, err := Open(b.ConnectBy(d), Options{Site: site, Barrier: barrier, Log: zerolog.Nop(), Recent: r})
	if err != nil {
		t.Fatal(err)
	}
	first := own.Sequence + 1
	own = mustAppend(t, j, "own", own, 1)
	barrier.awaited(t, first, first) // the reader is busy with it
	const before, behind = FollowBatch + 100, 100
	own = mustAppend(t, j, "own", own, before)
	d.hold()
	acknowledged := make(chan error, 1)
	go func() {
		_, err := late.Append(t.Context(), entry("late", Record{}, 1))
		acknowledged <- err
	}()
	gap := first + before + 1
	for deadline := time.Now().Add(20 * time.Second); ; runtime.Gosched() {
		if last, err := j.Last(t.Context()); err != nil || time.Now().After(deadline) {
			t.Fatal(last, err)
		} else if last == gap {
			break
		}
	}
	mustAppend(t, j, "own", own, behind)
	f.take(t, first, 1+FollowBatch)
	barrier.awaited(t, gap-100, gap+behind) // the reader is busy with what follows
	d.hear()
	if err := <-acknowledged; err != nil {
		t.Fatal(err)
	}
	for next := gap - 100; next <= gap+behind; {
		var batch []Message
		select {
		case batch = <-f.batches:
		case <-time.After(10 * time.Second):
			t.Fatalf("event %d does not come", next)
		}
		for _, m := range batch {
			if m.Sequence != next || m.hash == "" {
				t.Fatalf("event %d in place of %d, from the store: %v", m.Sequence, next, m.hash == "")
			}
			next++
		}
	}
}

// An append whose acknowledgement was lost is in the store alone.
func TestRecentLostAck(t *testing.T) {
	b := newBed(t)
	r, j, f, own := rested(t, b, nil, "own")
	d := newDeaf(b)
	lost, err := Open(b.ConnectBy(d), Options{Site: site, Log: zerolog.Nop(), Recent: r})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	d.hold()
	defer d.hear()
	if _, err := lost.Append(ctx, entry("lost", Record{}, 1)); !errors.Is(err, ErrOutcomeUnknown) {
		t.Fatalf("%v, want an unknown outcome", err)
	}
	mustAppend(t, j, "own", own, 2)
	f.take(t, own.Sequence+1, 3)
}

// A reader that falls behind finds what does not fit in the store; no more is kept than there is room for, by number and by bytes.
func TestRecentFallingBehind(t *testing.T) {
	for name, c := range map[string]struct{ events, size int }{"many": {recentEvents + 1500, 1}, "large": {450, 100_000}} {
		t.Run(name, func(t *testing.T) {
			b := newBed(t)
			r, j, f, own := rested(t, b, nil, "own")
			first := own.Sequence + 1
			for range c.events {
				e := entry("own", own, 1)
				e.Data = strings.Repeat("x", c.size)
				var err error
				if own, err = j.Append(t.Context(), e); err != nil {
					t.Fatal(err)
				}
			}
			kept, size, _ := r.state()
			if kept == 0 || kept >= c.events || kept > recentEvents || size > recentBytes {
				t.Errorf("%d of %d events are kept, %d bytes", kept, c.events, size)
			}
			f.take(t, first, c.events)
			atRest(t, f, r, j, "own", own) // it is back
			if kept, size, _ := r.state(); kept != 0 || size != 0 {
				t.Errorf("%d events of %d bytes are kept at rest", kept, size)
			}
		})
	}
}

// What was not durable may be gone after a restart, with other events in its place: the next reader gets the store's.
func TestRecentAndAnotherStore(t *testing.T) {
	before := newBed(t)
	barrier := newFakeBarrier()
	barrier.release(1_000, nil)
	r, j, f, own := rested(t, before, barrier, "a")
	n := own.Sequence
	barrier.release(n, nil)
	mustAppend(t, j, "a", own, 5) // not durable
	barrier.awaited(t, n+1, n+5)
	f.stop(t)
	if kept, _, _ := r.state(); kept != 0 {
		t.Errorf("%d events outlive their reader", kept)
	}
	mustAppend(t, j, "b", Record{}, 1)

	after := newBed(t)
	other := after.journal(nil)
	last := mustAppend(t, other, "c", Record{}, int(n))
	f = follow(t, after.sharing(r, nil), 1)
	f.take(t, 1, int(n))
	mustAppend(t, other, "c", last, 5)
	for next := n + 1; next <= n+5; {
		select {
		case batch := <-f.batches:
			for _, m := range batch {
				if m.Sequence != next || m.Subject != orderSubject("c") {
					t.Fatalf("event %d of %s in place of %d of this store", m.Sequence, m.Subject, next)
				}
				next++
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("event %d does not come", next)
		}
	}
}

// One reader at a time takes from it; another one is sent everything.
func TestRecentHasOneReader(t *testing.T) {
	b := newBed(t)
	r, j, one, last := rested(t, b, nil, "a")
	two := follow(t, j, 1)
	n := int(last.Sequence)
	two.take(t, 1, n)
	if r.attach(uint64(n)) {
		t.Error("two readers take from it")
	}
	last = mustAppend(t, j, "a", last, 3)
	one.take(t, uint64(n+1), 3)
	two.take(t, uint64(n+1), 3)
	one.stop(t)
	mustAppend(t, j, "a", last, 3)
	two.take(t, uint64(n+4), 3)
	if kept, _, _ := r.state(); kept != 0 {
		t.Errorf("%d events are kept for nobody", kept)
	}
}

// What was read from the store before it was acknowledged is not kept, nor what is too far ahead: its place is another event's.
func TestRecentLateAndEarly(t *testing.T) {
	r := NewRecent()
	r.attach(9)
	for _, sequence := range []uint64{8, 12, 10, 9, 11} {
		r.add(&Message{Data: []byte("x")}, sequence)
	}
	r.from(13, FollowBatch)
	r.add(&Message{Data: []byte("x")}, 11)
	if kept, _, _ := r.state(); kept != 0 {
		t.Errorf("%d events are kept behind the reader", kept)
	}
	r.add(&Message{Data: []byte("x")}, 13+recentEvents)
	r.add(&Message{Data: []byte("x")}, 14)
	if batch, missing, _ := r.from(13, FollowBatch); len(batch) != 0 || !missing {
		t.Errorf("in place of event 13 comes %+v, missing: %v", batch, missing)
	}
	if batch, _, _ := r.from(14, FollowBatch); len(batch) != 1 || batch[0].Sequence != 14 {
		t.Errorf("in place of event 14 comes %+v", batch)
	}
}

func TestNobodyReads(t *testing.T) {
	b := newBed(t)
	r := NewRecent()
	mustAppend(t, b.sharing(r, nil), "a", Record{}, 10)
	if kept, _, _ := r.state(); kept != 0 {
		t.Errorf("%d events are kept for nobody", kept)
	}
}

// BenchmarkRecent measures what an append pays for being kept, with its reader.
func BenchmarkRecent(b *testing.B) {
	r := NewRecent()
	r.attach(1)
	j := &Journal{now: time.Now, recent: r}
	m, record, err := j.message(b.Context(), benchEntry("o-1", Record{}))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for n := uint64(1); b.Loop(); n++ {
		r.add(r.copyOf(m, record), n)
		if n%FollowBatch == 0 {
			r.from(n+1, FollowBatch)
		}
	}
}
