// Package journal reads and writes a site's record of truth: one JetStream stream of events in one total order, where an
// aggregate's events share one subject and every append is a compare-and-set on it. It knows no domain. Of two writers that
// saw the same last event one wins; an append whose answer was lost is found again by its id; a consumer acts on durable
// events only, in the order of their subject, and leaves what it can't handle in the dead letters.
package journal

import (
	"cmp"
	"context"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"waybill/internal/lean"
	"waybill/internal/scope"
	"waybill/internal/sleep"
	"waybill/subjects"
)

// Barrier tells what of the journal would survive a power cut.
type Barrier interface {
	// Wait returns once everything up to sequence is durable.
	Wait(ctx context.Context, sequence uint64) error
	// Sync returns once all that was written before it was called is durable, whatever it is: what is kept beside the journal has
	// no sequence in it.
	Sync(ctx context.Context) error
	// Durable is the highest sequence that is known to be durable.
	Durable() uint64
	// Note tells the barrier that the store acknowledged the sequence: to whoever calls it, or to another service, which said so.
	Note(sequence uint64)
}

// Options are what Open needs beside a connection.
type Options struct {
	Site    subjects.Site
	Barrier Barrier          // nil: what the store acknowledged counts as durable
	Now     func() time.Time // nil: time.Now
	Log     zerolog.Logger
	Domain  string    // JetStream domain, for a server beyond a leaf node; empty is that of the server connected to
	Link    lean.Link // for appends and loads; nil: the connection itself
	Feed    lean.Bus  // of the connection's user, for what consumers and readers are sent; nil: the connection itself
	Reader  string    // begins the names of the readers that Replay and Follow make; empty: read-
	Recent  *Recent   // shared by the journals of the process that holds the store; nil: Follow is sent everything by the server
}

// Journal is the journal of one site over one connection. It is safe for concurrent use, holds no goroutine of its own and
// needs no closing; the connection stays the caller's.
type Journal struct {
	nc      *nats.Conn
	link    lean.Link // for requests of one reply
	feed    lean.Bus  // for what consumers deliver, and their acknowledgements
	js      jetstream.JetStream
	stream  *Stream
	site    subjects.Site
	source  string // of its events
	barrier Barrier
	now     func() time.Time
	log     zerolog.Logger
	reader  string
	recent  *Recent
}

// Open binds to the stream JOURNAL, which must exist by the first use. It sends nothing.
// Errors: invalid_argument for a site that is none or a domain that can't be.
func Open(nc *nats.Conn, o Options) (*Journal, error) {
	if err := o.Site.Check(); err != nil {
		return nil, err
	}
	js, err := openJetStream(nc, o.Domain)
	if err != nil {
		return nil, err
	}
	if o.Barrier == nil {
		o.Barrier = noBarrier{}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Link == nil {
		o.Link = lean.Over(nc)
	}
	if o.Feed == nil {
		o.Feed = lean.Over(nc)
	}
	return &Journal{
		nc: nc, link: o.Link, feed: o.Feed, js: js, stream: OpenStream(nc, subjects.StreamJournal, o.Domain).Over(o.Link),
		reader: cmp.Or(o.Reader, "read-"), site: o.Site, source: subjects.Source(o.Site), barrier: o.Barrier, now: o.Now, log: o.Log, recent: o.Recent,
	}, nil
}

// note records that the work in ctx rests on the sequence, which the store is known to hold.
func (j *Journal) note(ctx context.Context, sequence uint64) {
	scope.Note(ctx, sequence)
	j.barrier.Note(sequence)
}

// patience is how long a consumer gives others to make durable what it waits for.
const patience = 5 * time.Millisecond

// settled waits until everything up to sequence is durable, and first leaves it to those who are in a hurry to have it made so: while
// orders come in, their syncs take along what a consumer waits for, and one of its own would only keep them waiting.
func (j *Journal) settled(ctx context.Context, sequence uint64) error {
	j.barrier.Note(sequence)
	if j.barrier.Durable() < sequence {
		sleep.For(ctx, patience)
	}
	return j.barrier.Wait(ctx, sequence)
}

// noBarrier takes the store's acknowledgement for durable.
type noBarrier struct{}

func (noBarrier) Wait(context.Context, uint64) error { return nil }
func (noBarrier) Sync(context.Context) error         { return nil }
func (noBarrier) Durable() uint64                    { return ^uint64(0) }
func (noBarrier) Note(uint64)                        {}
