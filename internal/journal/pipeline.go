package journal

import (
	"context"
	"errors"

	"github.com/nats-io/nats.go/jetstream"

	"waybill/internal/fault"
)

// Pending is an event that was sent and not yet acknowledged.
type Pending struct {
	j      *Journal
	entry  Entry
	record Record
	ack    jetstream.PubAckFuture
}

// Start sends an event without waiting for the store: events reach the journal in the order in which Start was called, by one
// goroutine at a time. It is for a single writer that decides on what it has sent, and that gives up what it knows when a
// Wait fails. Its errors are those of Append before anything is sent.
func (j *Journal) Start(ctx context.Context, e Entry) (*Pending, error) {
	m, r, err := j.message(ctx, e)
	if err != nil {
		return nil, err
	}
	// No retry by the client: it would put a late event behind those that were sent after it.
	ack, err := j.js.PublishMsgAsync(m, jetstream.WithRetryAttempts(0))
	if err != nil {
		return nil, fault.Wrap(err, fault.Unavailable, "the journal can't be reached; try again")
	}
	return &Pending{j: j, entry: e, record: r, ack: ack}, nil
}

// Record is the event as it was sent: with its id and hash, without its sequence.
func (p *Pending) Record() Record { return p.record }

// Wait returns the event as it stands in the journal. Its errors are those of Append. It may be called by one goroutine.
func (p *Pending) Wait(ctx context.Context) (Record, error) {
	select {
	case ack := <-p.ack.Ok():
		if ack.Duplicate {
			return p.j.stored(ctx, p.record, ack.Sequence)
		}
		r := p.record
		r.Sequence = ack.Sequence
		p.j.note(ctx, r.Sequence)
		return r, nil
	case err := <-p.ack.Err():
		var api *jetstream.APIError
		if errors.As(err, &api) {
			err = &apiError{Code: api.Code, ErrCode: int(api.ErrorCode), Description: api.Description}
		}
		return p.j.settle(ctx, p.entry, p.record, err)
	case <-ctx.Done():
		return p.j.settle(ctx, p.entry, p.record, ctx.Err())
	}
}
