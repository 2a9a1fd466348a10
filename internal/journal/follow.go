package journal

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"waybill/internal/fault"
	"waybill/internal/id"
	"waybill/internal/sleep"
	"waybill/subjects"
)

// FollowBatch is the most events that Follow hands over at once: so many mean that there are more. followPull is how many are asked
// for at once: the more, the less the server and the reader wait for one another.
const (
	FollowBatch = 1000
	followPull  = 5000
)

// Replay calls fn, from this goroutine, with every event from the given sequence on that one of the filters matches (none: all),
// in order and malformed ones included, and returns after what was the last event of the journal at the call; last is that
// sequence. It asks no barrier: what it shows is acknowledged, and after a power cut might not be there.
//
// It reads every event and picks them here: a server that is given several filters goes through all subjects of a block for
// each message, which takes about twice as long as sending all of them.
// Errors: fn's as they are, ctx's, unavailable.
func (j *Journal) Replay(ctx context.Context, from uint64, filters []string, fn func(Record) error) (last uint64, err error) {
	if last, err = j.Last(ctx); err != nil || from > last {
		return last, err
	}
	t := tail{j: j, pick: filters, next: max(from, 1), until: last}
	err = t.run(ctx, func(batch []Message) error {
		for _, m := range batch {
			if err := fn(decode(m)); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		err = ctx.Err()
	}
	return last, err
}

// Follow calls fn, from this goroutine, with the events from the given sequence on, as they come, in order, none twice, malformed ones
// included, in batches of up to 1000, undecoded: fn decodes what it needs.
// Before fn is called the barrier has been waited for, so fn sees durable events only. Nothing is sent while fn is at work, so
// fn may take its time and gets in one batch what has come meanwhile. When the server goes away or forgets its reader, Follow
// goes on after the last event that fn took. It returns nil when ctx ends, fn's error as it is, and the barrier's.
//
// With Options.Recent it takes what this process has appended from there. What others append meanwhile comes within 250 ms then, and
// after Hurry at once.
func (j *Journal) Follow(ctx context.Context, from uint64, fn func(batch []Message) error) error {
	t := tail{j: j, next: max(from, 1)}
	if j.recent.attach(t.next) {
		defer j.recent.detach()
		t.recent = j.recent
	}
	return t.run(ctx, func(batch []Message) error {
		if err := j.barrier.Wait(ctx, batch[len(batch)-1].Sequence); err != nil {
			return err
		}
		return fn(batch)
	})
}

// Hurry has Follow, where it takes this process's events from Options.Recent, look at once for those of others up to the highest
// durable sequence that the barrier knows of.
func (j *Journal) Hurry() { j.recent.hurry() }

// tail reads the journal in order through ephemeral consumers without acknowledgement, one after another where one is lost, and where
// this process appends to it, once it has caught up, from what that has appended.
type tail struct {
	j      *Journal
	recent *Recent  // nil: none
	pick   []string // the subjects that are handed over; none: all
	next   uint64   // the sequence to go on from
	until  uint64   // the last sequence to deliver; 0: goes on for ever
	done   bool     // until was reached
}

// stopped wraps an error of the reader itself, at which there is nothing to try again.
type stopped struct{ error }

// run reads until the end. It returns nil at the end of ctx and at until, and fn's error.
func (t *tail) run(ctx context.Context, fn func([]Message) error) error {
	const longest = 2 * time.Second
	wait := 20 * time.Millisecond
	for tries := 0; ; tries++ {
		before := t.next
		err := t.read(ctx, fn)
		var stop stopped
		switch {
		case ctx.Err() != nil, t.done:
			return nil
		case errors.As(err, &stop):
			return stop.error
		case t.next > before:
			wait, tries = 20*time.Millisecond, 0
		}
		if t.until > 0 && tries >= 5 {
			return readFault(err, "the journal")
		}
		t.j.log.Warn().Err(err).Uint64("next", t.next).Msg("reading the journal was interrupted and goes on")
		sleep.For(ctx, wait)
		wait = min(2*wait, longest)
	}
}

// read reads until something goes wrong or ctx ends.
func (t *tail) read(ctx context.Context, fn func([]Message) error) error {
	if err := t.pull(ctx, fn); err != nil || t.recent == nil {
		return err
	}
	return t.share(ctx, fn)
}

// lookInterval is how often the store is asked for events of others while this process appends nothing; gapPatience is how long an
// event is waited for of which a later one is known: its acknowledgement may be on its way.
const (
	lookInterval = 125 * time.Millisecond
	gapPatience  = 5 * time.Millisecond
)

// share hands over what this process has appended, and from the store what is missing there.
func (t *tail) share(ctx context.Context, fn func([]Message) error) error {
	hurry, full, waited := false, false, false
	for ctx.Err() == nil {
		batch, missing, asked := t.recent.from(t.next, FollowBatch)
		hurry = hurry || asked
		// A list that is asked for waits for what the barrier knows to be durable, whoever wrote it. Where nobody waits, what is kept
		// comes first: while it is handed over an acknowledgement that is late has the time to come.
		owed := (hurry || full && len(batch) == 0) && len(batch) < FollowBatch && t.j.barrier.Durable() >= t.next+uint64(len(batch))
		gap := owed || missing && len(batch) == 0
		if gap && missing && !waited {
			waited = true
			sleep.For(ctx, gapPatience)
			continue
		}
		if !gap && len(batch) == 0 {
			if !hurry && !full && t.recent.wait(ctx, lookInterval) {
				continue
			}
			more, err := t.j.stream.more(ctx, t.next)
			if err != nil {
				return err
			}
			gap, hurry, full = more, false, false
			if !more {
				continue
			}
		}
		if gap { // somebody else wrote it
			var err error
			if batch, err = t.j.stream.Range(ctx, t.next, FollowBatch); err != nil {
				return err
			}
			if len(batch) == 0 { // it does not find what it has acknowledged: who is in no hurry costs little
				hurry, full = false, false
				sleep.For(ctx, lookInterval)
				continue
			}
		}
		if err := t.hand(batch, fn); err != nil {
			return err
		}
		full = len(batch) == FollowBatch // there are more
		hurry, waited = hurry && full, false
	}
	return nil
}

// pull makes one consumer and reads from it until something goes wrong, or little is left and share can go on.
func (t *tail) pull(ctx context.Context, fn func([]Message) error) error {
	setup, cancel := context.WithTimeout(ctx, 2*heartbeat) // a server that went away may have swallowed the request
	defer cancel()
	consumer, err := t.j.js.CreateConsumer(setup, subjects.StreamJournal, t.config())
	if err != nil {
		return err
	}
	if t.until > 0 && consumer.CachedInfo().NumPending == 0 {
		t.done = true
		return nil
	}
	p, err := t.j.newPuller(consumer.CachedInfo().Name, followPull, FollowBatch)
	if err != nil {
		return err
	}
	defer p.close()

	var delivered, pending uint64
	for {
		msgs, err := p.next(ctx)
		if err != nil {
			return err
		}
		batch := make([]Message, 0, len(msgs))
		for _, m := range msgs {
			stored, d, err := message(m)
			if err != nil {
				return err
			}
			pending = d.pending
			if delivered++; d.consumer != delivered {
				// Something was lost on the way: what came before it is good, the rest is read again.
				err = fault.New(fault.Unavailable, "delivery %d came in place of %d", d.consumer, delivered)
				return errors.Join(err, t.hand(batch, fn))
			}
			if t.until > 0 && d.stream > t.until {
				t.done = true
				break
			}
			if len(t.pick) == 0 || matches(t.pick, stored.Subject) {
				batch = append(batch, stored)
			}
			if t.until > 0 && (d.stream == t.until || d.pending == 0) {
				t.done = true
				break
			}
		}
		if err := t.hand(batch, fn); err != nil || t.done || t.recent != nil && pending < FollowBatch {
			return err
		}
	}
}

// matches reports whether one of the filters is the subject, or the subject with a wildcard in place of its last token.
func matches(filters []string, subject string) bool {
	all := subject[:strings.LastIndexByte(subject, '.')+1]
	for _, f := range filters {
		if f == subject || f == all+"*" {
			return true
		}
	}
	return false
}

// hand gives a batch to fn and moves on behind it.
func (t *tail) hand(batch []Message, fn func([]Message) error) error {
	if len(batch) == 0 {
		return nil
	}
	if err := fn(batch); err != nil {
		t.done = false
		return stopped{err}
	}
	t.next = batch[len(batch)-1].Sequence + 1
	return nil
}

func (t *tail) config() jetstream.ConsumerConfig {
	return jetstream.ConsumerConfig{
		Name:              t.j.reader + id.New(),
		DeliverPolicy:     jetstream.DeliverByStartSequencePolicy,
		OptStartSeq:       t.next,
		AckPolicy:         jetstream.AckNonePolicy,
		InactiveThreshold: pullExpiry, // how a reader ends: the server forgets it
		MemoryStorage:     true,
		Replicas:          1,
	}
}
