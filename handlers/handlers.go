// Package handlers is what runs because a message arrived: one file per service's endpoints, the order process that carries
// every order to its end, the consumers that plan shipments and notify customers, and the projection into the read models.
//
// Each handler follows one way: load the aggregate's last event, let its state machine decide, append the event, answer.
// Every step is idempotent by its ids, so any of them may be repeated after a crash, a timeout or a duplicate. Handlers know
// nothing of wire formats and durability: rpc decodes, encodes and waits for the journal to be durable.
package handlers

import (
	"context"
	"errors"
	"time"

	"github.com/rs/zerolog"

	"waybill/internal/fault"
	"waybill/internal/id"
	"waybill/internal/journal"
	"waybill/internal/quick"
	"waybill/internal/rpc"
	"waybill/internal/scope"
	"waybill/internal/timestamp"
	"waybill/subjects"
)

// Clock tells the time. Tests inject their own.
type Clock func() time.Time

func (c Clock) now() timestamp.Time { return timestamp.Of(c()) }

// Hook is called after each append, inner call and reply, with its name. Tests stop the process there; else it is nil.
type Hook func(point string)

func (h Hook) at(point string) {
	if h != nil {
		h(point)
	}
}

// call asks another service within the work on a request: the answer need not be durable yet, as the outermost waits for all.
func call[Req, Res any](ctx context.Context, c *rpc.Caller, h Hook, e subjects.Endpoint[Req, Res], r *Req) (*Res, error) {
	res, err := rpc.Call(ctx, c, e, r, rpc.WithDefer())
	h.at("call " + e.Name())
	return res, err
}

// inner reports whether the work in ctx is a part of another service's, which knows what it asks for.
func inner(ctx context.Context) bool {
	s := scope.From(ctx)
	return s != nil && s.Inner
}

// maxRaces bounds how often a command that lost a compare-and-set is decided again before its caller is told to.
const maxRaces = 16

// machine ties a pure state machine to the journal. S is an aggregate's state, C its commands, E its events.
type machine[S, C, E any] struct {
	journal *journal.Journal
	clock   Clock
	site    subjects.Site
	kind    subjects.Kind
	hook    Hook
	log     zerolog.Logger
	decide  func(S, C) (E, error)
	apply   func(S, E) (S, error)
	name    func(E) string   // an event's name; empty for "nothing happened"
	order   func(S) id.Order // for the log: the order that the aggregate belongs to; nil where it belongs to none
}

// held is an aggregate as its last event left it: what is decided on, and what the next append expects to be the last.
type held[S any] struct {
	state S
	last  journal.Record // the zero Record for an aggregate without events
}

func (h held[S]) exists() bool { return h.last.Sequence > 0 }

// load reads the aggregate's last event: one direct get, whatever the length of the journal.
func (m *machine[S, C, E]) load(ctx context.Context, key string) (held[S], error) {
	r, ok, err := m.journal.Load(ctx, subjects.Event(m.site, m.kind, key))
	if err != nil || !ok {
		return held[S]{}, err
	}
	return hold[S](r)
}

// hold decodes what a record says of its aggregate.
func hold[S any](r journal.Record) (held[S], error) {
	h := held[S]{last: r}
	return h, decodeState(r, &h.state)
}

// decodeState reads a state into what must be zero.
func decodeState(r journal.Record, into any) error {
	if err := quick.Unmarshal(r.State, into); err != nil {
		return fault.Wrap(err, fault.Internal, "event %d of the journal can't be read; run waybill verify", r.Sequence)
	}
	return nil
}

// step decides and appends once. Without an event h comes back as it was. journal.ErrConflict means that another writer was
// first; nothing was written then.
func (m *machine[S, C, E]) step(ctx context.Context, key string, h held[S], command C) (held[S], error) {
	e, err := m.decide(h.state, command)
	if err != nil {
		return h, err
	}
	event := m.name(e)
	if event == "" {
		return h, nil
	}
	state, err := m.apply(h.state, e)
	if err != nil {
		return h, err
	}
	start := time.Now()
	r, err := m.journal.Append(ctx, journal.Entry{
		Subject: subjects.Event(m.site, m.kind, key), Kind: m.kind, Event: event, CeSubject: key,
		Time: m.clock.now(), Data: e, State: state, Previous: h.last,
	})
	if err != nil {
		return h, err
	}
	var of id.Order
	if m.order != nil {
		of = m.order(state)
	}
	changed(m.hook, &m.log, r, of, start)
	return held[S]{state, r}, nil
}

// changed tells the log and the tests of an event that was appended since start. The journal has it: the log need not, and at a site's limit
// would be the larger of the two.
func changed(hook Hook, log *zerolog.Logger, r journal.Record, of id.Order, start time.Time) {
	kind, name := r.Event()
	event := string(kind) + "." + name
	hook.at("append " + event)
	line := log.Debug().Str("event", event).Str("id", r.CeSubject).Uint64("sequence", r.Sequence).Dur("took_ms", time.Since(start))
	if of != "" {
		line = line.Str("order_id", string(of))
	}
	line.Msg("state changed")
}

// command loads, decides and appends until no other writer comes between.
func (m *machine[S, C, E]) command(ctx context.Context, key string, command func(held[S]) C) (held[S], error) {
	h, err := m.load(ctx, key)
	if err != nil {
		return h, err
	}
	return m.from(ctx, key, h, command)
}

// from is command for who holds the aggregate already, or expects it to be new, the zero held: it is loaded only where another
// writer was first.
func (m *machine[S, C, E]) from(ctx context.Context, key string, h held[S], command func(held[S]) C) (held[S], error) {
	for range maxRaces {
		next, err := m.step(ctx, key, h, command(h))
		if !errors.Is(err, journal.ErrConflict) {
			return next, err
		}
		if h, err = m.load(ctx, key); err != nil {
			return h, err
		}
	}
	return held[S]{}, fault.New(fault.Aborted, "%s %s is changed by too many at once; try again", m.kind, key)
}

// answerIn leaves time to answer: it returns a context that ends a little before ctx does, so that a handler which waits for
// something can still say how far it came.
func answerIn(ctx context.Context) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return context.WithCancel(ctx)
	}
	return context.WithDeadline(ctx, deadline.Add(-min(500*time.Millisecond, time.Until(deadline)/4)))
}

// outcomeUnknown reports whether an error of an inner call leaves open whether the call was carried out, or says that it
// may succeed later: the order process goes on with it then.
func outcomeUnknown(err error) bool {
	switch fault.CodeOf(err) {
	case fault.Unavailable, fault.DeadlineExceeded, fault.Aborted, fault.ResourceExhausted, fault.Internal:
		return true
	}
	return false
}
