package journal

import (
	"context"
	"errors"
	"strconv"

	"waybill/internal/fault"
	"waybill/internal/id"
	"waybill/subjects"
)

// maxBatch is the most events of one atomic batch that a server takes by default.
const maxBatch = 1000

// AppendBatch writes several events or none of them, with consecutive sequences, in the order given. Each entry has its own
// expectation; no two may share a subject, since each expectation is of before the batch. A batch costs several times an append:
// the server stages it on disk first. It notes the last sequence in the scope and the barrier.
// Errors: those of Append, for the batch as a whole.
func (j *Journal) AppendBatch(ctx context.Context, es []Entry) ([]Record, error) {
	switch {
	case len(es) == 0:
		return nil, nil
	case len(es) == 1:
		r, err := j.Append(ctx, es[0])
		if err != nil {
			return nil, err
		}
		return []Record{r}, nil
	case len(es) > maxBatch:
		return nil, fault.New(fault.InvalidArgument, "%d events are more than the %d of one batch", len(es), maxBatch)
	}
	msgs, records := make([]*outgoing, len(es)), make([]Record, len(es))
	seen := make(map[string]bool, len(es))
	batch := id.New()
	for i, e := range es {
		if seen[e.Subject] {
			return nil, fault.New(fault.InvalidArgument, "%s occurs twice in one batch", e.Subject)
		}
		seen[e.Subject] = true
		m, r, err := j.message(ctx, e)
		if err != nil {
			return nil, err
		}
		m.header.Set(headerBatchID, batch)
		m.header.Set(headerBatchSequence, strconv.Itoa(i+1))
		msgs[i], records[i] = m, r
	}
	last := len(msgs) - 1
	msgs[last].header.Set(headerBatchCommit, "1")

	// Only the commit is answered: a message that was not staged makes it fail as incomplete.
	for _, m := range msgs[:last] {
		if err := j.link.Publish(m.subject, m.wire(), m.payload); err != nil {
			return nil, publishFault(unsent{err}, "the batch")
		}
	}
	ack, err := request(ctx, j.link, msgs[last])
	if err == nil && ack.Count != len(msgs) {
		err = fault.New(fault.Internal, "the store took %d events of a batch of %d", ack.Count, len(msgs))
	}
	if err != nil {
		return j.settleBatch(ctx, es, records, err)
	}
	for i := range records {
		records[i].Sequence = ack.Seq - uint64(last-i)
	}
	j.note(ctx, ack.Seq)
	return records, nil
}

// settleBatch finds out what became of a batch that was not acknowledged. Since it is all or nothing, what became of its first
// event decides; the others then stand right behind it.
func (j *Journal) settleBatch(ctx context.Context, es []Entry, records []Record, cause error) ([]Record, error) {
	first, err := j.settle(ctx, es[0], records[0], cause)
	if err != nil {
		return nil, err
	}
	look, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTime)
	defer cancel()
	found, err := j.stream.Range(look, first.Sequence, len(records))
	if err != nil {
		return nil, fault.Wrap(errors.Join(ErrOutcomeUnknown, cause, err), fault.Unavailable,
			"the journal did not answer in time; ask again with the same ids to learn the outcome")
	}
	if len(found) != len(records) {
		return nil, fault.New(fault.Internal, "the batch at %d is not whole; run waybill verify", first.Sequence)
	}
	for i, m := range found {
		if m.Header.Get(subjects.HeaderID) != records[i].ID {
			return nil, fault.New(fault.AlreadyExists, "the event %s was written before, and not by this batch", es[0].ID)
		}
		records[i] = decode(m)
	}
	j.note(ctx, records[len(records)-1].Sequence)
	return records, nil
}
