package journal

import (
	"context"

	"github.com/go-json-experiment/json/jsontext"

	"waybill/internal/fault"
)

// Load returns the last event of the exact subject; ok is false where there is none. Its cost does not grow with the journal.
// It notes the event's sequence in the scope. Errors: unavailable, deadline_exceeded, internal for an event that can't be read.
func (j *Journal) Load(ctx context.Context, subject string) (r Record, ok bool, err error) {
	m, ok, err := j.stream.Get(ctx, subject)
	if err != nil || !ok {
		return Record{}, false, err
	}
	r = decode(m)
	if err := r.readable(); err != nil {
		return Record{}, false, err
	}
	j.note(ctx, r.Sequence)
	return r, true, nil
}

// State returns what the aggregate of the exact subject is after its last event; ok is false where there is none. It is cheaper than
// Load, as nobody writes or reads the event's headers, and notes nothing: what is written on the grounds of it comes behind it in the
// journal. Errors: those of Load.
func (j *Journal) State(ctx context.Context, subject string) (state jsontext.Value, ok bool, err error) {
	payload, ok, err := j.stream.Body(ctx, subject)
	if err != nil || !ok {
		return nil, false, err
	}
	b, err := decodeBody(payload)
	if err != nil {
		return nil, false, fault.Wrap(err, fault.Internal, "the last event of %s can't be read; run waybill verify", subject)
	}
	return b.State, true, nil
}

// LoadMany returns the last event of each of the exact subjects that has one, by subject, all as of one moment. At most 1024
// subjects. Errors: those of Load, invalid_argument for too many.
func (j *Journal) LoadMany(ctx context.Context, subjects []string) (map[string]Record, error) {
	if len(subjects) == 1 { // a get of one is much cheaper than a batch of one
		r, ok, err := j.Load(ctx, subjects[0])
		switch {
		case err != nil:
			return nil, err
		case !ok:
			return map[string]Record{}, nil
		}
		return map[string]Record{r.Subject: r}, nil
	}
	found, err := j.stream.Last(ctx, subjects)
	if err != nil {
		return nil, err
	}
	records := make(map[string]Record, len(found))
	for _, m := range found {
		r := decode(m)
		if err := r.readable(); err != nil {
			return nil, err
		}
		j.note(ctx, r.Sequence)
		records[r.Subject] = r
	}
	return records, nil
}

// maxHistory bounds one aggregate's history; the longest in practice, a busy SKU's, stays far below.
const maxHistory = 1 << 20

// History returns all events of the exact subject in order, malformed ones included, and notes the last one's sequence in the
// scope. Its cost grows with the history alone. Errors: those of Load, resource_exhausted for a history over a million events.
func (j *Journal) History(ctx context.Context, subject string) ([]Record, error) {
	found, err := j.stream.Next(ctx, subject, 1, maxHistory+1)
	if err != nil {
		return nil, err
	}
	if len(found) > maxHistory {
		return nil, fault.New(fault.ResourceExhausted, "%s has more than %d events; read the journal by sequence", subject, maxHistory)
	}
	return j.records(ctx, found), nil
}

// Range returns up to limit events of any subject from the sequence on, in order, malformed ones included. Fewer than limit
// means that the end was reached. It notes the last one's sequence in the scope. Errors: unavailable, deadline_exceeded.
func (j *Journal) Range(ctx context.Context, from uint64, limit int) ([]Record, error) {
	found, err := j.stream.Range(ctx, from, limit)
	if err != nil {
		return nil, err
	}
	return j.records(ctx, found), nil
}

// Last is the sequence of the journal's last event, 0 for an empty one. It notes nothing. Errors: unavailable, deadline_exceeded.
func (j *Journal) Last(ctx context.Context) (uint64, error) { return j.stream.LastSequence(ctx) }

func (j *Journal) records(ctx context.Context, found []Message) []Record {
	records := make([]Record, len(found))
	for i, m := range found {
		records[i] = decode(m)
	}
	if n := len(records); n > 0 {
		j.note(ctx, records[n-1].Sequence)
	}
	return records
}

// readable is an error unless r can be read.
func (r Record) readable() error {
	if r.Malformed != "" {
		return unreadable(r.Sequence, r.Malformed)
	}
	return nil
}

func unreadable(sequence uint64, why string) error {
	return fault.New(fault.Internal, "event %d of the journal can't be read (%s); run waybill verify", sequence, why)
}
