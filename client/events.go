package client

import (
	"context"
	"errors"
	"iter"
	"math"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"waybill/internal/fault"
	"waybill/subjects"
)

// Latest as the sequence to begin from means: only what comes from now on.
const Latest uint64 = math.MaxUint64

// consumerIdle is how long the server keeps a reader's consumer after the reader has gone.
const consumerIdle = 30 * time.Second

// Events iterates over the journal's events from the given sequence on, in order and without a gap, and goes on until ctx
// ends, for as long as that is; it then yields ctx's error and ends. from 0 or 1 is the beginning, Latest is what comes from
// now on. Filters are such as "order.confirmed", "order.*" or "*"; several let through what any of them does. A connection
// that breaks is picked up where it stopped, so each event comes exactly once per iteration. Begin again after the last
// sequence seen to go on later.
//
// The events are what the journal holds, which in a power cut may be a moment ahead of what is durable; GET /v1/events is
// for readers that must never be ahead. Errors: invalid_argument (a filter), permission_denied; *NoAnswer.
func (c *Client) Events(ctx context.Context, from uint64, filters ...string) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		f, err := parseFilter(filters)
		if err == nil && from == Latest {
			from, err = c.next(ctx)
		}
		if err == nil {
			err = c.follow(ctx, from, f, math.MaxUint64, yield)
		}
		if err != nil && !errors.Is(err, errStopped) {
			yield(Event{}, err)
		}
	}
}

// Replay is Events for what the journal holds now: it ends after the last event that was there when it began.
func (c *Client) Replay(ctx context.Context, from uint64, filters ...string) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		f, err := parseFilter(filters)
		var next uint64
		if err == nil {
			next, err = c.next(ctx)
		}
		if err == nil && max(from, 1) < next {
			err = c.follow(ctx, from, f, next-1, yield)
		}
		if err != nil && !errors.Is(err, errStopped) {
			yield(Event{}, err)
		}
	}
}

// Last is the sequence of the journal's last event; 0 for an empty journal.
func (c *Client) Last(ctx context.Context) (uint64, error) {
	next, err := c.next(ctx)
	return next - min(next, 1), err
}

// next is the sequence that the journal's next event will have.
func (c *Client) next(ctx context.Context) (uint64, error) {
	ctx, cancel := c.bounded(ctx)
	defer cancel()
	_, js, err := c.streams.open(ctx)
	if err != nil {
		return 0, fault.From(err)
	}
	ctx, leave := c.streams.flight.enter(ctx, anyOfJetStream)
	defer leave()
	stream, err := js.Stream(ctx, subjects.StreamJournal)
	if err != nil {
		return 0, c.journalError(ctx, err)
	}
	return stream.CachedInfo().State.LastSeq + 1, nil
}

// errStopped ends an iteration that its reader left.
var errStopped = errors.New("the reader stopped")

// follow yields the events from one sequence up to another that the filter lets through. It returns nil after the last one,
// errStopped when the reader has enough, and an error when there is no way on.
func (c *Client) follow(ctx context.Context, from uint64, f filter, to uint64, yield func(Event, error) bool) error {
	from = max(from, 1)
	for n := 0; ; n++ {
		next, err := c.read(ctx, from, f, to, yield)
		if err == nil || errors.Is(err, errStopped) {
			return err
		}
		if next > from {
			from, n = next, 0
		}
		switch {
		case ctx.Err() != nil:
			return fault.From(ctx.Err())
		case c.closed.Load(), fault.CodeOf(err) == fault.PermissionDenied, fault.CodeOf(err) == fault.NotFound:
			return err
		case !c.retry.pause(ctx, n):
			return err
		}
	}
}

// read is one ordered consumer's life. It returns the sequence to go on from.
func (c *Client) read(ctx context.Context, from uint64, f filter, to uint64, yield func(Event, error) bool) (uint64, error) {
	consumer, err := c.consumer(ctx, from, f)
	if err != nil {
		return from, err
	}
	if to != math.MaxUint64 && consumer.CachedInfo().NumPending == 0 {
		return from, nil // nothing that the filter lets through is left
	}
	messages, err := consumer.Messages(jetstream.PullMaxMessages(1000))
	if err != nil {
		return from, c.journalError(ctx, err)
	}
	defer messages.Stop()
	for {
		m, err := messages.Next(jetstream.NextContext(ctx))
		if err != nil {
			return from, c.journalError(ctx, err)
		}
		e, wanted, err := decodeEvent(m, f)
		if err != nil {
			return from, err
		}
		if e.Sequence > to {
			return from, nil
		}
		from = e.Sequence + 1
		if wanted && !yield(e, nil) {
			return from, errStopped
		}
		if meta, err := m.Metadata(); e.Sequence == to || to != math.MaxUint64 && err == nil && meta.NumPending == 0 {
			return from, nil
		}
	}
}

func (c *Client) consumer(ctx context.Context, from uint64, f filter) (jetstream.Consumer, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	_, js, err := c.streams.open(ctx)
	if err != nil {
		return nil, fault.From(err)
	}
	ctx, leave := c.streams.flight.enter(ctx, anyOfJetStream)
	defer leave()
	consumer, err := js.OrderedConsumer(ctx, subjects.StreamJournal, jetstream.OrderedConsumerConfig{
		FilterSubjects:    []string{f.subject(c.site)},
		DeliverPolicy:     jetstream.DeliverByStartSequencePolicy,
		OptStartSeq:       from,
		InactiveThreshold: consumerIdle,
	})
	if err != nil {
		return nil, c.journalError(ctx, err)
	}
	return consumer, nil
}

// journalError says what an error of JetStream means to a reader.
func (c *Client) journalError(ctx context.Context, err error) error {
	var e *Error
	switch {
	case errors.As(context.Cause(ctx), &e), errors.As(err, &e): // the server's refusal came beside the request
		return e
	case errors.Is(err, jetstream.ErrStreamNotFound):
		return fault.Wrap(err, fault.NotFound, "there is no journal of the site %s here", c.site)
	case errors.Is(err, nats.ErrNoResponders), errors.Is(err, jetstream.ErrJetStreamNotEnabled):
		return fault.Wrap(err, fault.Unavailable, "nobody keeps the journal of the site %s here: check the site's name and the address", c.site)
	case errors.Is(err, nats.ErrPermissionViolation):
		return fault.Wrap(err, fault.PermissionDenied, "this user may not read the journal")
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled), errors.Is(err, nats.ErrTimeout):
		return fault.Wrap(err, fault.DeadlineExceeded, "the journal did not answer in time")
	}
	return fault.Wrap(err, fault.Unavailable, "the journal can't be read: %v", err)
}
