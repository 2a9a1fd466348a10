package journal

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"waybill/internal/fault"
	"waybill/internal/scope"
	"waybill/internal/timestamp"
	"waybill/subjects"
)

var update = flag.Bool("update", false, "write the golden files anew")

func codeIs(t *testing.T, err error, code fault.Code) {
	t.Helper()
	if got := fault.CodeOf(err); got != code {
		t.Fatalf("code %q in place of %q: %v", got, code, err)
	}
}

// The wire form of an event is a contract for good: headers and body, byte for byte.
func TestWireForm(t *testing.T) {
	b := newBed(t)
	j := b.journal(nil)
	ctx := scope.With(t.Context(), &scope.Scope{
		Cause: "req-1", Traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
	})
	at := timestamp.Of(time.Date(2026, 1, 2, 3, 4, 5, 678e6, time.UTC))
	first := Entry{
		Subject: orderSubject("o-1"), Kind: subjects.KindOrder, Event: "placed", ID: "00000000000000000000000000000001", Time: at,
		Data: map[string]any{"z": 1, "a": "é"}, State: count{1},
	}
	r, err := j.Append(ctx, first)
	if err != nil {
		t.Fatal(err)
	}
	second := first
	second.Event, second.ID, second.Previous = "confirmed", "00000000000000000000000000000002", r
	if _, err := j.Append(ctx, second); err != nil {
		t.Fatal(err)
	}
	stored, err := j.stream.Range(t.Context(), 1, 10)
	if err != nil {
		t.Fatal(err)
	}
	var got strings.Builder
	for _, m := range stored {
		fmt.Fprintf(&got, "%s\n", m.Subject)
		for _, h := range slices.Sorted(maps.Keys(ownHeaders(m))) {
			fmt.Fprintf(&got, "%s: %s\n", h, m.Header.Get(h))
		}
		fmt.Fprintf(&got, "\n%s\n\n", m.Data)
	}
	const golden = "testdata/event.golden"
	if *update {
		if err := os.WriteFile(golden, []byte(got.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got.String() != string(want) {
		t.Errorf("the wire form changed:\n%s\nwant:\n%s", got.String(), want)
	}
}

func TestAppendedIsLoaded(t *testing.T) {
	b := newBed(t)
	barrier := newFakeBarrier()
	j := b.journal(barrier)
	s := &scope.Scope{Cause: "req-7"}
	appended, err := j.Append(scope.With(t.Context(), s), entry("o-1", Record{}, 1))
	if err != nil {
		t.Fatal(err)
	}
	read := &scope.Scope{}
	loaded, ok, err := j.Load(scope.With(t.Context(), read), orderSubject("o-1"))
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	if fmt.Sprint(loaded) != fmt.Sprint(appended) {
		t.Errorf("loaded %v\nappended %v", loaded, appended)
	}
	if kind, event := loaded.Event(); kind != subjects.KindOrder || event != "placed" || loaded.CeSubject != "o-1" || loaded.Causation != "req-7" {
		t.Errorf("loaded %+v", loaded)
	}
	if s.Highest() != 1 || read.Highest() != 1 || barrier.noted != 1 {
		t.Errorf("noted %d by the append, %d by the load, %d at the barrier; want 1", s.Highest(), read.Highest(), barrier.noted)
	}
}

// Many writers that load, decide and append: every one of them gets in, and no decision is lost.
func TestConcurrentWriters(t *testing.T) {
	const writers, each = 8, 10
	b := newBed(t)
	ctx := t.Context()
	var all sync.WaitGroup
	for range writers {
		j := b.journal(nil)
		all.Go(func() {
			for done := 0; done < each; {
				last, _, err := j.Load(ctx, orderSubject("o-1"))
				if err == nil {
					_, err = j.Append(ctx, entry("o-1", last, done))
				}
				switch {
				case err == nil:
					done++
				case !errors.Is(err, ErrConflict):
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	history, err := b.journal(nil).History(ctx, orderSubject("o-1"))
	if err != nil {
		t.Fatal(err)
	}
	if len(history) != writers*each {
		t.Fatalf("%d events, want %d", len(history), writers*each)
	}
	var previous Record
	for _, r := range history {
		if !r.Follows(previous) {
			t.Errorf("event %d does not follow %d", r.Sequence, previous.Sequence)
		}
		previous = r
	}
}

// The same event sent again, as a caller does who never saw the answer, is the event that is there.
func TestAppendAgain(t *testing.T) {
	j := newBed(t).journal(nil)
	e := entry("o-1", Record{}, 1)
	e.ID = "the-same"
	first, err := j.Append(t.Context(), e)
	if err != nil {
		t.Fatal(err)
	}
	again, err := j.Append(t.Context(), e)
	if err != nil || again.Sequence != first.Sequence || again.Hash != first.Hash {
		t.Fatalf("%+v %v, want %+v", again, err, first)
	}
	mustAppend(t, j, "o-1", first, 3)
	again, err = j.Append(t.Context(), e)
	if err != nil || again.Sequence != first.Sequence {
		t.Fatalf("behind three others: %+v %v, want %+v", again, err, first)
	}
	e.ID = "another"
	if _, err := j.Append(t.Context(), e); !errors.Is(err, ErrConflict) {
		t.Fatalf("%v, want a conflict", err)
	}
}

// The store takes the event and its answer is lost.
func TestLostAck(t *testing.T) {
	b := newBed(t)
	d := newDeaf(b)
	j := b.journalOn(b.ConnectBy(d), nil)

	// The answer comes too late, but in time to look.
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	d.hold()
	context.AfterFunc(ctx, d.hear)
	r, err := j.Append(ctx, entry("o-1", Record{}, 1))
	if err != nil || r.Sequence != 1 {
		t.Fatalf("%+v %v, want event 1", r, err)
	}

	// Nobody can tell: the error says so, and the same event again is the one that was written.
	e := entry("o-1", r, 2)
	e.ID = "unsure"
	ctx, cancel = context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	d.hold()
	_, err = j.Append(ctx, e)
	codeIs(t, err, fault.Unavailable)
	if !errors.Is(err, ErrOutcomeUnknown) {
		t.Fatalf("%v does not say that the outcome is unknown", err)
	}
	d.hear()
	r, err = j.Append(t.Context(), e)
	if err != nil || r.Sequence != 2 {
		t.Fatalf("%+v %v, want event 2", r, err)
	}
}

// No answer came, and somebody else's event is where the own one would be: it can't come any more.
func TestUnansweredAndOvertaken(t *testing.T) {
	j := newBed(t).journal(nil)
	e := entry("o-1", Record{}, 1)
	e.ID = "late"
	_, own, err := j.message(t.Context(), e)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := j.settle(t.Context(), e, own, nats.ErrTimeout); !errors.Is(err, ErrOutcomeUnknown) {
		t.Fatalf("%v, want an unknown outcome while nothing is there", err)
	}
	mustAppend(t, j, "o-1", Record{}, 1)
	if _, err := j.settle(t.Context(), e, own, nats.ErrTimeout); !errors.Is(err, ErrConflict) {
		t.Fatalf("%v, want a conflict", err)
	}
}

func TestFence(t *testing.T) {
	j := newBed(t).journal(nil)
	ctx := t.Context()
	claim := func(previous Record) Record {
		r, err := j.Append(ctx, Entry{
			Subject: subjects.Event(site, subjects.KindLeader, "inventory"), Kind: subjects.KindLeader, Event: "claimed", Previous: previous,
		})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	write := func(claim, previous Record) (Record, error) {
		e := entry("sku", previous, 1)
		e.Fence = &Fence{Subject: claim.Subject, Sequence: claim.Sequence}
		return j.Append(ctx, e)
	}
	old := claim(Record{})
	r, err := write(old, Record{})
	if err != nil {
		t.Fatal(err)
	}
	if r, err = write(old, r); err != nil {
		t.Fatal(err)
	}
	current := claim(old)
	if _, err := write(old, r); !errors.Is(err, ErrConflict) {
		t.Fatalf("%v, want a conflict for the deposed writer", err)
	}
	if _, err := write(current, r); err != nil {
		t.Fatal(err)
	}
	if history, err := j.History(ctx, r.Subject); err != nil || len(history) != 3 {
		t.Fatalf("%d events and %v, want 3", len(history), err)
	}
}

// A fenced append is de-duplicated by the server, which answers with the first one's place: what is stored counts, not what was
// sent the second time, or the chain of hashes would break.
func TestFencedAgain(t *testing.T) {
	j := newBed(t).journal(nil)
	claim := mustAppend(t, j, "claim", Record{}, 1)
	e := entry("sku", Record{}, 1)
	e.ID, e.Fence = "the-same", &Fence{Subject: claim.Subject, Sequence: claim.Sequence}
	e.Time = timestamp.Of(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))
	first, err := j.Append(t.Context(), e)
	if err != nil {
		t.Fatal(err)
	}
	e.Time = e.Time.Add(time.Second)
	again, err := j.Append(t.Context(), e)
	if err != nil || fmt.Sprint(again) != fmt.Sprint(first) {
		t.Fatalf("%+v %v, want %+v", again, err, first)
	}
	e.Subject = orderSubject("another")
	_, err = j.Append(t.Context(), e)
	codeIs(t, err, fault.AlreadyExists)

	// No answer came, and others have followed since the claim: it is found without its predecessor's sequence.
	e = entry("sku", Record{ID: first.ID, Hash: first.Hash}, 2)
	e.ID, e.Fence = "the-next", &Fence{Subject: claim.Subject, Sequence: claim.Sequence}
	next, err := j.Append(t.Context(), e)
	if err != nil {
		t.Fatal(err)
	}
	mustAppend(t, j, "sku", next, 100)
	if found, err := j.settle(t.Context(), e, Record{Subject: e.Subject, ID: e.ID}, nats.ErrTimeout); err != nil || found.Sequence != next.Sequence {
		t.Fatalf("%+v %v, want %+v", found, err, next)
	}
}

// Events sent without waiting reach the journal in the order in which they were sent, and one that is there already is found.
func TestStart(t *testing.T) {
	j := newBed(t).journal(nil)
	claim := mustAppend(t, j, "claim", Record{}, 1)
	var previous Record
	var sent []*Pending
	for i := range 50 {
		e := entry("sku", previous, i)
		e.ID, e.Fence = fmt.Sprintf("e-%d", i), &Fence{Subject: claim.Subject, Sequence: claim.Sequence}
		p, err := j.Start(t.Context(), e)
		if err != nil {
			t.Fatal(err)
		}
		previous, sent = p.Record(), append(sent, p)
	}
	for i, p := range sent {
		if r, err := p.Wait(t.Context()); err != nil || r.Sequence != uint64(i+2) {
			t.Fatalf("%+v %v at place %d", r, err, i)
		}
	}
	again := entry("sku", Record{}, 7)
	again.ID, again.Fence = "e-0", &Fence{Subject: claim.Subject, Sequence: claim.Sequence}
	p, err := j.Start(t.Context(), again)
	if err != nil {
		t.Fatal(err)
	}
	if r, err := p.Wait(t.Context()); err != nil || r.Sequence != 2 || r.Hash != sent[0].Record().Hash {
		t.Errorf("%+v %v, want the first one", r, err)
	}
	mustAppend(t, j, "claim", claim, 1)
	if p, err = j.Start(t.Context(), entry("other", Record{}, 1)); err == nil {
		_, err = p.Wait(t.Context())
	}
	if err != nil {
		t.Error(err)
	}
	late := entry("sku", previous, 51)
	late.Fence = again.Fence
	if p, err = j.Start(t.Context(), late); err == nil {
		_, err = p.Wait(t.Context())
	}
	if !errors.Is(err, ErrConflict) {
		t.Errorf("%v, want a conflict for the deposed writer", err)
	}
}

func TestAppendRefused(t *testing.T) {
	b := newBed(t, func(c *jetstream.StreamConfig) { c.MaxMsgs = 2 })
	j := b.journal(nil)
	ctx := t.Context()
	last := mustAppend(t, j, "o-1", Record{}, 2)

	_, err := j.Append(ctx, entry("o-1", last, 3))
	codeIs(t, err, fault.ResourceExhausted)

	newer := last
	newer.Version = Version + 1
	_, err = j.Append(ctx, entry("o-1", newer, 3))
	codeIs(t, err, fault.Unavailable)

	big := entry("o-2", Record{}, 1)
	big.Data = strings.Repeat("x", 2<<20)
	_, err = j.Append(ctx, big)
	codeIs(t, err, fault.InvalidArgument)

	unfit := entry("o-2", Record{}, 1)
	unfit.Data = func() {}
	_, err = j.Append(ctx, unfit)
	codeIs(t, err, fault.InvalidArgument)

	elsewhere := entry("o-2", Record{}, 1)
	elsewhere.Subject = "wb.other.evt.order.o-2"
	_, err = j.Append(ctx, elsewhere)
	codeIs(t, err, fault.Unavailable)
	if errors.Is(err, ErrOutcomeUnknown) {
		t.Errorf("%v: without a stream nothing can have been written", err)
	}

	ended, cancel := context.WithCancel(ctx)
	cancel()
	_, err = j.Append(ended, entry("o-2", Record{}, 1))
	codeIs(t, err, fault.DeadlineExceeded)
}

func TestBatch(t *testing.T) {
	j := newBed(t).journal(nil)
	ctx := t.Context()
	a := mustAppend(t, j, "a", Record{}, 1)
	batch := []Entry{entry("a", a, 2), entry("b", Record{}, 1), entry("c", Record{}, 1)}
	batch[0].ID, batch[1].ID, batch[2].ID = "e-a", "e-b", "e-c"
	s := &scope.Scope{}
	records, err := j.AppendBatch(scope.With(ctx, s), batch)
	if err != nil {
		t.Fatal(err)
	}
	check := func(records []Record) {
		t.Helper()
		for i, r := range records {
			loaded, ok, err := j.Load(ctx, batch[i].Subject)
			if err != nil || !ok || loaded.Sequence != uint64(i+2) || r.Sequence != loaded.Sequence || r.Hash != loaded.Hash {
				t.Errorf("entry %d is %+v, loaded %+v %v", i, r, loaded, err)
			}
		}
		if len(records) != 3 || s.Highest() != 4 {
			t.Errorf("%d records, noted %d", len(records), s.Highest())
		}
	}
	check(records)

	// The same batch again is the batch that is there.
	records, err = j.AppendBatch(ctx, batch)
	if err != nil {
		t.Fatal(err)
	}
	check(records)

	// One entry's conflict keeps out all of them.
	lost := []Entry{entry("d", Record{}, 1), entry("a", a, 3), entry("e", Record{}, 1)}
	if _, err := j.AppendBatch(ctx, lost); !errors.Is(err, ErrConflict) {
		t.Fatalf("%v, want a conflict", err)
	}
	for _, id := range []string{"d", "e"} {
		if _, ok, err := j.Load(ctx, orderSubject(id)); ok || err != nil {
			t.Errorf("%s of a lost batch was written (%v)", id, err)
		}
	}
	_, err = j.AppendBatch(ctx, []Entry{entry("f", Record{}, 1), entry("f", Record{}, 2)})
	codeIs(t, err, fault.InvalidArgument)
	if one, err := j.AppendBatch(ctx, []Entry{entry("g", Record{}, 1)}); err != nil || len(one) != 1 {
		t.Errorf("a batch of one: %v %v", one, err)
	}
	if none, err := j.AppendBatch(ctx, nil); err != nil || none != nil {
		t.Errorf("a batch of none: %v %v", none, err)
	}
}
