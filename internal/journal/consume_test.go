package journal

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"

	"waybill/internal/fault"
	"waybill/internal/journal/journaltest"
	"waybill/internal/scope"
	"waybill/subjects"
)

// consumer is a running consumer whose handler asks the test what to answer.
type consumer struct {
	t    *testing.T
	j    *Journal
	stop func(context.Context) error

	mu      sync.Mutex
	handled map[string][]uint64 // by subject, in the order of the calls
	calls   int
	changed chan struct{}
}

// consume starts a consumer; answer is called with the event and the number of its try.
func consume(b *bed, barrier Barrier, change func(*ConsumerConfig), answer func(ctx context.Context, r Record, try int) error) *consumer {
	t := b.t.(*testing.T)
	t.Helper()
	c := &consumer{t: t, j: b.journal(barrier), handled: make(map[string][]uint64), changed: make(chan struct{})}
	config := ConsumerConfig{
		Durable: subjects.DurableNotify, Filter: subjects.EventsOf(site, subjects.KindOrder),
		Backoff: []time.Duration{time.Millisecond, 5 * time.Millisecond}, MaxTries: 3, AckWait: 2 * time.Second, Log: zerolog.Nop(),
		Handle: func(ctx context.Context, r Record) error {
			c.mu.Lock()
			c.handled[r.Subject] = append(c.handled[r.Subject], r.Sequence)
			try := 0
			for _, s := range c.handled[r.Subject] {
				if s == r.Sequence {
					try++
				}
			}
			c.calls++
			close(c.changed)
			c.changed = make(chan struct{})
			c.mu.Unlock()
			return answer(ctx, r, try)
		},
	}
	if change != nil {
		change(&config)
	}
	if err := EnsureConsumer(t.Context(), b.JetStream(), config); err != nil {
		t.Fatal(err)
	}
	var err error
	if c.stop, err = c.j.Consume(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.end() })
	return c
}

func (c *consumer) end() {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := c.stop(ctx); err != nil {
		c.t.Error(err)
	}
}

// until waits until ok holds for what was handled.
func (c *consumer) until(what string, ok func() bool) {
	c.t.Helper()
	deadline := time.After(20 * time.Second)
	for {
		c.mu.Lock()
		done, changed := ok(), c.changed
		c.mu.Unlock()
		if done {
			return
		}
		select {
		case <-changed:
		case <-deadline:
			c.mu.Lock()
			defer c.mu.Unlock()
			c.t.Fatalf("%s does not come; handled %v", what, c.handled)
		}
	}
}

func (c *consumer) count(subject string) int { return len(c.handled[subject]) }

// drained waits until the server knows that nothing is left.
func (c *consumer) drained() Lag {
	c.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; {
		lag, err := c.j.Lag(c.t.Context(), subjects.DurableNotify)
		if err != nil {
			c.t.Fatal(err)
		}
		if lag.Pending == 0 && lag.InFlight == 0 {
			return lag
		}
		if time.Now().After(deadline) {
			c.t.Fatalf("%+v is left", lag)
		}
	}
}

func TestConsume(t *testing.T) {
	b := newBed(t)
	j := b.journal(nil)
	var mu sync.Mutex
	causes := map[uint64]string{}
	c := consume(b, nil, nil, func(ctx context.Context, r Record, _ int) error {
		mu.Lock()
		defer mu.Unlock()
		causes[r.Sequence] = scope.From(ctx).Cause
		if _, ok := ctx.Deadline(); !ok || scope.From(ctx).Highest() != r.Sequence {
			return fault.New(fault.Internal, "the context has no end or no sequence")
		}
		return nil
	})
	want := map[string][]uint64{}
	last := map[string]Record{}
	for range 20 {
		for i := range 25 {
			id := fmt.Sprintf("o-%d", i)
			last[id] = mustAppend(t, j, id, last[id], 1)
			want[orderSubject(id)] = append(want[orderSubject(id)], last[id].Sequence)
		}
	}
	c.until("500 events", func() bool { return c.calls >= 500 })
	lag := c.drained()
	if lag.AckFloor != 500 || lag.Delivered != 500 {
		t.Errorf("%+v, want everything acknowledged", lag)
	}
	for subject, sequences := range want {
		if !slices.Equal(c.handled[subject], sequences) {
			t.Errorf("%s: %v, want %v", subject, c.handled[subject], sequences)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if causes[500] != last["o-24"].ID {
		t.Errorf("the cause of what follows from event 500 is %q, want %q", causes[500], last["o-24"].ID)
	}
	if _, err := j.Lag(t.Context(), "nobody"); fault.CodeOf(err) != fault.NotFound {
		t.Errorf("%v, want not_found", err)
	}
	if _, err := j.Consume(t.Context(), ConsumerConfig{Durable: "nobody"}); fault.CodeOf(err) != fault.NotFound {
		t.Errorf("%v, want not_found", err)
	}
}

// Events that the handler does not act on never reach it, and are acknowledged once they are durable.
func TestConsumeTypes(t *testing.T) {
	b := newBed(t)
	j := b.journal(nil)
	barrier := newFakeBarrier()
	placed := mustAppend(t, j, "o-1", Record{}, 4)
	e := entry("o-1", placed, 5)
	e.Event = "confirmed"
	confirmed, err := j.Append(t.Context(), e)
	if err != nil {
		t.Fatal(err)
	}
	c := consume(b, barrier, func(c *ConsumerConfig) { c.Types = []string{confirmed.Type} }, func(context.Context, Record, int) error { return nil })
	barrier.awaited(t, 1, 5)
	if lag, err := c.j.Lag(t.Context(), subjects.DurableNotify); err != nil || lag.AckFloor != 0 {
		t.Errorf("%+v (%v): acknowledged before they are durable", lag, err)
	}
	barrier.release(5, nil)
	if lag := c.drained(); lag.AckFloor != 5 {
		t.Errorf("%+v, want everything acknowledged", lag)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if got := c.handled[orderSubject("o-1")]; !slices.Equal(got, []uint64{5}) {
		t.Errorf("handled %v, want the one that was confirmed", got)
	}
}

// An event that fails, by error or panic, comes again; those behind it wait, those of other subjects don't.
func TestConsumeRetriesInOrder(t *testing.T) {
	for name, fail := range map[string]func() error{
		"error": func() error { return fault.New(fault.Unavailable, "not now") },
		"panic": func() error { panic("a bug") },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBed(t)
			j := b.journal(nil)
			mustAppend(t, j, "bad", Record{}, 4)   // 1 to 4
			mustAppend(t, j, "good", Record{}, 40) // 5 to 44
			c := consume(b, nil, func(c *ConsumerConfig) { c.Workers = 4 }, func(_ context.Context, r Record, try int) error {
				if (r.Sequence == 1 || r.Sequence == 3) && try < 3 {
					return fail()
				}
				return nil
			})
			c.until("the last event", func() bool { return c.count(orderSubject("bad")) >= 8 && c.count(orderSubject("good")) >= 40 })
			c.drained()
			if got, want := c.handled[orderSubject("bad")], []uint64{1, 1, 1, 2, 3, 3, 3, 4}; !slices.Equal(got, want) {
				t.Errorf("handled %v, want %v", got, want)
			}
			if got, want := c.handled[orderSubject("good")], numbers(5, 44); !slices.Equal(got, want) {
				t.Errorf("handled %v, want %v", got, want)
			}
			if dead := letters(t, b); len(dead) != 0 {
				t.Errorf("%d dead letters", len(dead))
			}
		})
	}
}

func letters(t *testing.T, b *bed) []Message {
	t.Helper()
	m, err := OpenStream(b.Connect(), subjects.StreamDead, "").Range(t.Context(), 1, 100)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestDeadLetters(t *testing.T) {
	b := newBed(t)
	j := b.journal(nil)
	first := mustAppend(t, j, "o-1", Record{}, 1)  // given up after three tries
	mustAppend(t, j, "o-1", first, 1)              // and then this one is handled
	second := mustAppend(t, j, "o-2", Record{}, 1) // given up at once
	garbage := nats.NewMsg(orderSubject("o-3"))
	garbage.Data = []byte("{")
	garbage.Header.Set(subjects.HeaderID, "e-3")
	if _, err := requestMsg(t.Context(), j.nc, garbage); err != nil {
		t.Fatal(err)
	}
	mustAppend(t, j, "o-4", Record{}, 1)

	c := consume(b, nil, nil, func(_ context.Context, r Record, _ int) error {
		switch r.ID {
		case first.ID:
			return errors.New("secret cause")
		case second.ID:
			return fault.New(fault.InvalidArgument, "of no use\nat all")
		}
		return nil
	})
	c.until("the others", func() bool { return c.count(orderSubject("o-1")) >= 4 && c.count(orderSubject("o-4")) >= 1 })
	c.drained()
	if got, want := c.handled[orderSubject("o-1")], []uint64{1, 1, 1, 2}; !slices.Equal(got, want) {
		t.Errorf("handled %v, want %v", got, want)
	}
	if got := c.handled[orderSubject("o-3")]; got != nil {
		t.Errorf("what can't be read was handled: %v", got)
	}
	type letter struct{ id, tries, sequence, subject, reason string }
	want := map[string]letter{
		"1": {first.ID, "3", "1", orderSubject("o-1"), "internal: an internal error occurred; the log of this site says more"},
		"3": {second.ID, "1", "3", orderSubject("o-2"), "invalid_argument: of no use at all"},
		"4": {"e-3", "1", "4", orderSubject("o-3"), "internal: event 4 of the journal can't be read"},
	}
	dead := letters(t, b)
	if len(dead) != len(want) {
		t.Errorf("%d dead letters, want %d", len(dead), len(want))
	}
	for _, m := range dead {
		h := m.Header
		w := want[h.Get(HeaderDeadSequence)]
		got := letter{h.Get(subjects.HeaderID), h.Get(HeaderDeadTries), h.Get(HeaderDeadSequence), h.Get(HeaderDeadSubject), w.reason}
		if got != w || !strings.HasPrefix(h.Get(HeaderDeadReason), w.reason) || h.Get(HeaderDeadConsumer) != "notify" ||
			m.Subject != subjects.DeadLetter(site, subjects.DurableNotify) {
			t.Errorf("%s %+v", m.Subject, h)
		}
		if strings.Contains(h.Get(HeaderDeadReason), "secret") || h.Get("Nats-Expected-Last-Subject-Sequence") != "" {
			t.Errorf("the letter tells too much: %+v", h)
		}
		original, err := j.stream.Range(t.Context(), j.sequence(t, h.Get(HeaderDeadSequence)), 1)
		if err != nil || string(original[0].Data) != string(m.Data) {
			t.Errorf("the letter's body is %q (%v)", m.Data, err)
		}
	}
}

func (j *Journal) sequence(t *testing.T, s string) (n uint64) {
	t.Helper()
	if _, err := fmt.Sscan(s, &n); err != nil {
		t.Fatal(err)
	}
	return n
}

// While a dead letter can't be written the event is not lost.
func TestDeadLetterNeedsItsStream(t *testing.T) {
	b := newBed(t)
	js := b.JetStream()
	if err := js.DeleteStream(t.Context(), subjects.StreamDead); err != nil {
		t.Fatal(err)
	}
	mustAppend(t, b.journal(nil), "o-1", Record{}, 1)
	c := consume(b, nil, nil, func(context.Context, Record, int) error { return fault.New(fault.InvalidArgument, "no") })
	c.until("three tries", func() bool { return c.calls >= 3 })
	b.Streams(journaltest.Dead())
	c.drained()
	if dead := letters(t, b); len(dead) != 1 {
		t.Errorf("%d dead letters, want 1", len(dead))
	}
}

// An event is not acknowledged before its dead letter is durable.
func TestDeadLetterIsDurable(t *testing.T) {
	b := newBed(t)
	barrier := newFakeBarrier()
	barrier.durable, barrier.syncFails = 1, errors.New("no disk")
	mustAppend(t, b.journal(nil), "o-1", Record{}, 1)
	c := consume(b, barrier, nil, func(context.Context, Record, int) error { return fault.New(fault.InvalidArgument, "no") })
	c.until("two tries", func() bool { return c.calls >= 2 })
	barrier.mu.Lock()
	barrier.syncFails = nil
	barrier.mu.Unlock()
	c.drained()
	if dead := letters(t, b); len(dead) != 1 {
		t.Errorf("%d dead letters, want 1", len(dead))
	}
}

// Nothing is acted on before it is durable.
func TestConsumeWaitsForTheBarrier(t *testing.T) {
	b := newBed(t)
	barrier := newFakeBarrier()
	mustAppend(t, b.journal(nil), "o-1", Record{}, 3)
	c := consume(b, barrier, nil, func(_ context.Context, r Record, _ int) error {
		if d := barrier.Durable(); d < r.Sequence {
			t.Errorf("event %d is handled while %d is durable", r.Sequence, d)
		}
		return nil
	})
	barrier.awaited(t, 1, 3)
	c.mu.Lock()
	if c.calls != 0 {
		t.Errorf("%d events are handled before they are durable", c.calls)
	}
	c.mu.Unlock()
	barrier.release(3, nil)
	c.until("three events", func() bool { return c.calls == 3 })
}

func TestConsumeAcrossRestart(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	j := b.journal(nil)
	last := mustAppend(t, j, "o-1", Record{}, 5)
	c := consume(b, nil, nil, func(context.Context, Record, int) error { return nil })
	c.until("five events", func() bool { return c.calls >= 5 })
	b.Stop()
	b.Run()
	last = mustAppend(t, b.journal(nil), "o-1", last, 5)
	c.until("the last event", func() bool { return slices.Contains(c.handled[orderSubject("o-1")], last.Sequence) })
	c.drained()
}

// Stopping lets a handler finish, gives back what was not begun, and ends a handler that takes too long.
func TestConsumeStops(t *testing.T) {
	b := newBed(t)
	j := b.journal(nil)
	mustAppend(t, j, "o-1", Record{}, 50)
	patient := func(c *ConsumerConfig) { c.AckWait = time.Minute }
	goOn := make(chan struct{})
	c := consume(b, nil, patient, func(context.Context, Record, int) error { <-goOn; return nil })
	c.until("the first event", func() bool { return c.calls == 1 })
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	codeIs(t, c.stop(ctx), fault.DeadlineExceeded)
	close(goOn)
	c.end()
	if c.calls != 1 {
		t.Errorf("%d events were begun, want the first alone", c.calls)
	}

	// Another process gets all that was given back at once, and not after AckWait.
	began := time.Now()
	d := consume(b, nil, patient, func(context.Context, Record, int) error { return nil })
	d.until("what was given back", func() bool { return d.count(orderSubject("o-1")) >= 49 })
	d.drained()
	d.end()
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("it took %v", took)
	}

	mustAppend(t, j, "o-2", Record{}, 1)
	e := consume(b, nil, patient, func(ctx context.Context, _ Record, _ int) error { <-ctx.Done(); return ctx.Err() })
	e.until("the last event", func() bool { return e.calls == 1 })
	ctx, cancel = context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	codeIs(t, e.stop(ctx), fault.DeadlineExceeded)
	e.end() // its context has ended, and so has it
}

// TestRetriesMayChange: how an event is tried again is asked for at each failure.
func TestRetriesMayChange(t *testing.T) {
	b := newBed(t)
	j := b.journal(nil)
	mustAppend(t, j, "o-1", Record{}, 1)
	var mu sync.Mutex
	most := 1000
	retry := func(c *ConsumerConfig) {
		c.Backoff, c.MaxTries = []time.Duration{time.Hour}, 1
		c.Retry = func() ([]time.Duration, int) {
			mu.Lock()
			defer mu.Unlock()
			return []time.Duration{time.Millisecond}, most
		}
	}
	c := consume(b, nil, retry, func(context.Context, Record, int) error { return errors.New("always") })
	c.until("some tries", func() bool { return c.calls >= 5 })
	if dead := letters(t, b); len(dead) != 0 {
		t.Errorf("%d dead letters before the last try", len(dead))
	}
	mu.Lock()
	most = 2
	mu.Unlock()
	c.drained()
	if dead := letters(t, b); len(dead) != 1 {
		t.Errorf("%d dead letters, want 1", len(dead))
	}
}
