package journal

import (
	"context"

	"waybill/internal/lean"
)

// Pending is an event that was sent and not yet acknowledged.
type Pending struct {
	j      *Journal
	entry  Entry
	record Record
	kept   *Message // for the reader of the journal in this process; nil where there is none
	reply  *lean.Pending
}

// Start sends an event without waiting for the store: events reach the journal in the order in which Start was called, by one
// goroutine at a time. It is for a single writer that decides on what it has sent, and that gives up what it knows when a
// Wait fails. Its errors are those of Append before anything is sent.
func (j *Journal) Start(ctx context.Context, e Entry) (*Pending, error) {
	m, r, err := j.message(ctx, e)
	if err != nil {
		return nil, err
	}
	p, err := j.link.Start(m.subject, m.wire(), m.payload)
	kept := j.recent.copyOf(m, r)
	m.release()
	if err != nil {
		return nil, publishFault(unsent{err}, "the event")
	}
	return &Pending{j: j, entry: e, record: r, kept: kept, reply: p}, nil
}

// Record is the event as it was sent: with its id and hash, without its sequence.
func (p *Pending) Record() Record { return p.record }

// Wait returns the event as it stands in the journal. Its errors are those of Append. It may be called by one goroutine. A
// ctx without an end waits for 5 s.
func (p *Pending) Wait(ctx context.Context) (Record, error) {
	ack, err := acknowledged(ctx, p.reply)
	if err != nil {
		return p.j.settle(ctx, p.entry, p.record, err)
	}
	if ack.Duplicate {
		return p.j.stored(ctx, p.record, ack.Seq)
	}
	r := p.record
	r.Sequence = ack.Seq
	p.j.recent.add(p.kept, ack.Seq)
	p.j.note(ctx, r.Sequence)
	return r, nil
}
