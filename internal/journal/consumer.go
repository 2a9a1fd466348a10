package journal

import (
	"context"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"waybill/internal/fault"
	"waybill/subjects"
)

// ConsumerConfig describes a durable consumer of the journal and what it does with an event.
//
// An event is handed to Handle once everything up to it is durable. It is acknowledged when Handle returns nil. When Handle fails
// or panics it is tried again after Backoff's delay for that try, the last delay for all further ones; the later events of its
// subject wait behind it. After MaxTries tries by this process, or at once when it can't be read or Handle answers
// invalid_argument, it is given up: a dead letter with the original, the reason and the number of tries goes to the stream DEAD,
// and then the event is acknowledged. While the dead letter can't be written the event stays in the consumer and is tried again.
// An error that is retryable, or a deadline, says nothing of the event: then it is tried for as long as it takes.
//
// Acknowledgements are not durable: after a crash, events come again. Handle keeps its own record of what it has done.
type ConsumerConfig struct {
	Durable subjects.Durable
	// Filter is a subject, wildcards allowed; empty: the whole journal. There is one: for several the server goes through every subject of
	// the stream, with the store locked, each time that the store begins another file.
	Filter string
	Types  []string // the ce-types that Handle acts on, none: all; events of others are acknowledged unread once they are durable
	// Handle acts on one event. Its context carries a scope whose cause is the event, and ends after AckWait. Events of one subject
	// come one after another in order, those of different subjects concurrently. That order holds as long as the process lives and
	// is the only one on the durable: after a crash, what was not acknowledged comes again behind later events.
	Handle   func(ctx context.Context, r Record) error
	Workers  int             // handlers at once; 0: 8
	AckWait  time.Duration   // the longest that Handle may take; 0: 30 s
	Backoff  []time.Duration // delay before the second, third, … try; none: 250 ms, 1 s, 5 s, 15 s
	MaxTries int             // tries before an event is given up; 0: 10
	// Retry, where it is set, is asked at each failure for what then stands in for Backoff and MaxTries. It must not block.
	Retry func() (backoff []time.Duration, maxTries int)
	Log   zerolog.Logger
}

// consumerBatch is how many events are fetched at once, maxPending how many may be unacknowledged. The first event after a rest
// comes at once; those that follow it are gathered for a moment and come together.
const (
	consumerBatch  = 128
	maxPending     = 512
	consumerGather = 20 * time.Millisecond
)

func (c ConsumerConfig) withDefaults() ConsumerConfig {
	if c.Workers <= 0 {
		c.Workers = 8
	}
	if c.AckWait <= 0 {
		c.AckWait = 30 * time.Second
	}
	if len(c.Backoff) == 0 {
		c.Backoff = []time.Duration{250 * time.Millisecond, time.Second, 5 * time.Second, 15 * time.Second}
	}
	if c.MaxTries <= 0 {
		c.MaxTries = 10
	}
	return c
}

// now is c with the retries as they are at the moment.
func (c ConsumerConfig) now() ConsumerConfig {
	if c.Retry != nil {
		c.Backoff, c.MaxTries = c.Retry()
		c = c.withDefaults()
	}
	return c
}

// delay is how long to wait after the given number of tries.
func (c ConsumerConfig) delay(tries int) time.Duration {
	return c.Backoff[min(max(tries, 1), len(c.Backoff))-1]
}

// EnsureConsumer creates the durable consumer of c on the journal, or brings it to c's filter and waits. A new one starts at the
// journal's first event. Only Durable, Filter and AckWait matter here. Errors: unavailable.
func EnsureConsumer(ctx context.Context, js jetstream.JetStream, c ConsumerConfig) error {
	c = c.withDefaults()
	config := jetstream.ConsumerConfig{
		Durable:       string(c.Durable),
		DeliverPolicy: jetstream.DeliverAllPolicy,
		AckPolicy:     jetstream.AckExplicitPolicy,
		AckWait:       c.AckWait,
		MaxAckPending: maxPending,
		MaxDeliver:    -1, // giving up is this package's decision: the server would only stop delivering
		FilterSubject: c.Filter,
	}
	if _, err := js.CreateOrUpdateConsumer(ctx, subjects.StreamJournal, config); err != nil {
		return fault.Wrap(err, fault.Unavailable, "the consumer %s can't be set up; is JetStream up and its store writable?", c.Durable)
	}
	return nil
}

// Lag is how far a durable consumer is.
type Lag struct {
	Delivered   uint64 // journal sequence of the last event delivered
	AckFloor    uint64 // journal sequence up to which every event is acknowledged
	Pending     uint64 // events that wait to be delivered
	InFlight    int    // events delivered and not acknowledged yet
	Redelivered int    // of those, how many were delivered more than once
}

// Lag asks the server how far a durable consumer is. Errors: not_found, unavailable.
func (j *Journal) Lag(ctx context.Context, durable subjects.Durable) (Lag, error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	c, err := j.js.Consumer(ctx, subjects.StreamJournal, string(durable))
	if err != nil {
		return Lag{}, consumerFault(err, durable)
	}
	info := c.CachedInfo()
	return Lag{
		Delivered: info.Delivered.Stream, AckFloor: info.AckFloor.Stream, Pending: info.NumPending,
		InFlight: info.NumAckPending, Redelivered: info.NumRedelivered,
	}, nil
}
