package journal

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"waybill/internal/fault"
	"waybill/internal/guard"
	"waybill/internal/id"
	"waybill/internal/lean"
	"waybill/internal/scope"
	"waybill/internal/timestamp"
	"waybill/subjects"
)

// Entry is an event to append.
type Entry struct {
	Subject   string         // the aggregate's subject
	Kind      subjects.Kind  // with Event the CloudEvents type
	Event     string         // past tense: placed
	CeSubject string         // the aggregate's id; empty: the subject's last token
	ID        string         // globally unique; empty: a new one. An append that is repeated must carry the id of its first try
	Time      timestamp.Time // zero: now
	Data      any            // what happened
	State     any            // the aggregate after it
	Previous  Record         // the last event of the subject that the writer saw; zero: none
	Fence     *Fence         // compare-and-set on another subject in place of the own one
}

// Fence states that sequence is the last one on the exact subject: the append of a writer who holds a claim is refused as soon
// as somebody else claims. What the aggregate's own last event is stays the writer's knowledge.
type Fence struct {
	Subject  string
	Sequence uint64
}

// maxCausation bounds a cause that came in from outside; ids are much shorter.
const maxCausation = 200

// Append writes one event, if nobody was first, and returns it as it stands in the journal. It notes the sequence in the scope
// and in the barrier, and does not wait for durability.
//
// An event that is already there with this id as an answer to the same Previous counts as written: after a lost acknowledgement
// Append looks itself, and a caller may repeat the append with the same id.
//
// Errors: ErrConflict; invalid_argument (an event that can't be encoded or is too large); resource_exhausted (the store is
// full); unavailable (the store is away, or Previous was written by a newer program); unavailable with ErrOutcomeUnknown in its
// chain when the event may or may not be there; deadline_exceeded when ctx had ended before anything was sent.
func (j *Journal) Append(ctx context.Context, e Entry) (Record, error) {
	m, r, err := j.message(ctx, e)
	if err != nil {
		return Record{}, err
	}
	ack, err := request(ctx, j.link, m)
	var kept *Message
	if err == nil && !ack.Duplicate {
		kept = j.recent.copyOf(m, r)
	}
	m.release()
	if e.ID == "" && refusedAs(err, codeWrongLastSequence) {
		return Record{}, ErrConflict // the id is new and was sent once: it can't be there
	}
	if err != nil {
		return j.settle(ctx, e, r, err)
	}
	if ack.Duplicate {
		return j.stored(ctx, r, ack.Seq)
	}
	r.Sequence = ack.Seq
	j.recent.add(kept, ack.Seq)
	j.note(ctx, r.Sequence)
	return r, nil
}

// outgoing is an event in its wire form. Headers may be added until wire is called. Its memory is used again once it was released: the
// connection copies what it sends.
type outgoing struct {
	subject string
	header  lean.Builder
	block   lean.Header // of header, once it is ended
	payload []byte
}

var outgoings = sync.Pool{New: func() any { return new(outgoing) }}

// wire ends the headers and returns them. They are good until release.
func (m *outgoing) wire() lean.Header {
	if m.block == nil {
		m.block = m.header.Header()
	}
	return m.block
}

func (m *outgoing) release() {
	m.header.Reset()
	m.subject, m.block, m.payload = "", nil, nil
	outgoings.Put(m)
}

// message builds an entry's wire form and the record that it will be.
func (j *Journal) message(ctx context.Context, e Entry) (*outgoing, Record, error) {
	if err := ctx.Err(); err != nil {
		return nil, Record{}, fault.From(err)
	}
	if e.Previous.Version > Version {
		return nil, Record{}, fault.New(fault.Unavailable, "%s was written by a newer program; update this one", e.Subject)
	}
	if e.CeSubject == "" {
		e.CeSubject = e.Subject[strings.LastIndexByte(e.Subject, '.')+1:]
	}
	if e.ID == "" {
		e.ID = id.NewEvent()
	}
	if e.Time.IsZero() {
		e.Time = timestamp.Of(j.now())
	}
	payload, data, state, err := encodeBody(e.Data, e.State)
	if err != nil {
		return nil, Record{}, fault.Wrap(err, fault.InvalidArgument, "the event %s.%s can't be written as JSON", e.Kind, e.Event)
	}
	r := Record{
		Subject: e.Subject, ID: e.ID, Type: subjects.TypeOf(e.Kind, e.Event), CeSubject: e.CeSubject, Time: e.Time,
		PreviousID: e.Previous.ID, PreviousHash: e.Previous.Hash, Version: Version,
	}
	if s := scope.From(ctx); s != nil {
		r.Causation, r.Traceparent = s.Origin()
		r.Causation = r.Causation[:min(len(r.Causation), maxCausation)]
	}
	ceTime, previous := e.Time.String(), e.Previous.previous()
	r.Hash = Hash(r.ID, r.Type, ceTime, r.Subject, previous, payload)
	r.Data, r.State = data, state

	m := outgoings.Get().(*outgoing)
	m.subject, m.payload = e.Subject, payload
	h := &m.header
	h.Grow(headerRoom)
	h.Set(subjects.HeaderSpecVersion, "1.0")
	h.Set(subjects.HeaderID, r.ID)
	h.Set(subjects.HeaderSource, j.source)
	h.Set(subjects.HeaderType, r.Type)
	h.Set(subjects.HeaderTime, ceTime)
	h.Set(subjects.HeaderSubject, r.CeSubject)
	h.Set(subjects.HeaderMsgID, r.ID)
	h.Set(subjects.HeaderPrevious, previous)
	h.Set(subjects.HeaderCausation, r.Causation)
	h.Set(subjects.HeaderTraceparent, r.Traceparent)
	h.Set(jetstream.ExpectedStreamHeader, subjects.StreamJournal)
	switch {
	case e.Fence != nil && guard.Off(guard.Fence), e.Fence == nil && guard.Off(guard.CAS):
		// The store takes it whatever was there before.
	case e.Fence != nil:
		h.SetInt(jetstream.ExpectedLastSubjSeqHeader, int64(e.Fence.Sequence))
		h.Set(jetstream.ExpectedLastSubjSeqSubjHeader, e.Fence.Subject)
	default:
		h.SetInt(jetstream.ExpectedLastSubjSeqHeader, int64(e.Previous.Sequence))
	}
	return m, r, nil
}

// headerRoom is what an event's headers take, in bytes, with some to spare.
const headerRoom = 768

// settleTime is how long Append may look for its own event after the caller's time has run out: whether the event is there
// decides what the writer may do next, so it is worth a moment.
const settleTime = 500 * time.Millisecond

// stored returns the event at the sequence, which the server takes for r: r's first try may have had another time and content,
// and what is stored counts.
func (j *Journal) stored(ctx context.Context, r Record, sequence uint64) (Record, error) {
	found, err := j.stream.Range(ctx, sequence, 1)
	switch {
	case err != nil:
		return Record{}, fault.Wrap(errors.Join(ErrOutcomeUnknown, err), fault.Unavailable,
			"the event %s is in the journal and can't be read now; ask again with the same id", r.ID)
	case len(found) != 1 || found[0].Header.Get(subjects.HeaderID) != r.ID || found[0].Subject != r.Subject:
		return Record{}, fault.New(fault.AlreadyExists, "the event id %s was used before for something else", r.ID)
	}
	j.note(ctx, sequence)
	return decode(found[0]), nil
}

// settle finds out what became of an append that was not acknowledged.
func (j *Journal) settle(ctx context.Context, e Entry, r Record, cause error) (Record, error) {
	lost := refusedAs(cause, codeWrongLastSequence, codeSequenceInProcess)
	doubled := refusedAs(cause, codeDuplicateInBatch, codeDuplicateInProcess)
	if answered(cause) && !lost && !doubled {
		return Record{}, publishFault(cause, "the event")
	}
	look, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTime)
	defer cancel()
	after := e.Previous.Sequence
	if e.Fence != nil {
		after = max(after, e.Fence.Sequence) // a fenced writer may not know its last event's sequence yet
	}
	own, others, err := j.find(look, r, after)
	switch {
	case err == nil && own.ID != "":
		j.note(ctx, own.Sequence)
		return own, nil
	case lost:
		return Record{}, ErrConflict
	case err == nil && others && e.Fence == nil:
		// Another event follows Previous: an append still on its way can't win any more.
		return Record{}, ErrConflict
	}
	return Record{}, fault.Wrap(errors.Join(ErrOutcomeUnknown, cause, err), fault.Unavailable,
		"the journal did not answer in time; the outcome is unknown, ask again with the same id to learn it")
}

// find looks for r's event id among the events of its subject after the given sequence; others tells whether there are any.
func (j *Journal) find(ctx context.Context, r Record, after uint64) (own Record, others bool, err error) {
	const depth = 1000 // nobody gets further ahead of a writer that waits for its answer
	m, ok, err := j.stream.Get(ctx, r.Subject)
	if err != nil || !ok || m.Sequence <= after {
		return Record{}, false, err
	}
	if m.Header.Get(subjects.HeaderID) == r.ID {
		return decode(m), false, nil
	}
	found, err := j.stream.Next(ctx, r.Subject, after+1, depth)
	for _, m := range found {
		if m.Header.Get(subjects.HeaderID) == r.ID {
			return decode(m), true, nil
		}
	}
	return Record{}, true, err
}
