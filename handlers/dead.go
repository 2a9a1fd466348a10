package handlers

import (
	"context"
	"strconv"

	"waybill/internal/fault"
	"waybill/internal/journal"
	"waybill/internal/rpc"
	"waybill/internal/timestamp"
	"waybill/subjects"
)

// Dead serves the dead letters: what a consumer gave up, with the reason, until somebody sends it again or discards it.
type Dead struct {
	letters *journal.Stream
	calls   *rpc.Caller
	site    subjects.Site
}

// NewDead makes the service on the stream DEAD.
func NewDead(letters *journal.Stream, calls *rpc.Caller, site subjects.Site) *Dead {
	return &Dead{letters, calls, site}
}

// Register lists the service's endpoints.
func (d *Dead) Register(s *rpc.Server) {
	rpc.Handle(s, subjects.DeadList, d.list)
	rpc.Handle(s, subjects.DeadGet, d.get)
	rpc.Handle(s, subjects.DeadRedrive, d.redrive)
	rpc.Handle(s, subjects.DeadDiscard, d.discard)
}

func (d *Dead) list(ctx context.Context, r *subjects.ListRequest) (*subjects.DeadLetters, error) {
	from, err := sequenceCursor(r.Cursor)
	if err != nil {
		return nil, err
	}
	found, err := d.letters.Range(ctx, from, r.Size()+1)
	if err != nil {
		return nil, err
	}
	out := &subjects.DeadLetters{Letters: []subjects.DeadInfo{}}
	for i, m := range found {
		if i == r.Size() {
			out.NextCursor = strconv.FormatUint(m.Sequence, 10)
			break
		}
		out.Letters = append(out.Letters, letter(m))
	}
	return out, nil
}

// sequenceCursor is a cursor that is a sequence to start at; the first where it is empty.
func sequenceCursor(cursor string) (uint64, error) {
	if cursor == "" {
		return 1, nil
	}
	n, err := strconv.ParseUint(cursor, 10, 64)
	if err != nil || n == 0 {
		return 0, fault.Invalid("cursor", "cursor is not one that a list returned")
	}
	return n, nil
}

func letter(m journal.Message) subjects.DeadInfo {
	tries, _ := strconv.Atoi(m.Header.Get(journal.HeaderDeadTries))
	sequence, _ := strconv.ParseUint(m.Header.Get(journal.HeaderDeadSequence), 10, 64)
	at, _ := timestamp.Parse(m.Header.Get(subjects.HeaderTime))
	return subjects.DeadInfo{
		ID: m.Sequence, Consumer: subjects.Durable(m.Header.Get(journal.HeaderDeadConsumer)), Reason: m.Header.Get(journal.HeaderDeadReason),
		Tries: tries, Sequence: sequence, Type: m.Header.Get(subjects.HeaderType), Subject: m.Header.Get(journal.HeaderDeadSubject), Time: at,
	}
}

func (d *Dead) find(ctx context.Context, n uint64) (subjects.DeadInfo, error) {
	found, err := d.letters.Range(ctx, n, 1)
	if err != nil {
		return subjects.DeadInfo{}, err
	}
	if len(found) == 0 || found[0].Sequence != n {
		return subjects.DeadInfo{}, fault.New(fault.NotFound, "there is no dead letter %d", n).WithField("id")
	}
	out := letter(found[0])
	if subjects.Raw(found[0].Data).IsValid() {
		out.Data = found[0].Data
	}
	return out, nil
}

func (d *Dead) get(ctx context.Context, r *subjects.DeadRequest) (*subjects.DeadInfo, error) {
	out, err := d.find(ctx, r.ID)
	if err != nil {
		return nil, err
	}
	return &out, nil
}

// redrive has the consumer's service handle the original once more. What is handled is idempotent, so a letter that could
// not be removed afterwards does no harm.
func (d *Dead) redrive(ctx context.Context, r *subjects.DeadRequest) (*subjects.DeadInfo, error) {
	out, err := d.find(ctx, r.ID)
	if err != nil {
		return nil, err
	}
	owner, ok := subjects.OwnerOf(out.Consumer)
	if !ok {
		return nil, fault.New(fault.FailedPrecondition, "nobody here is the consumer %.60q; discard the letter", string(out.Consumer))
	}
	if _, err := rpc.Call(ctx, d.calls, subjects.Redrive(owner), &subjects.RedriveRequest{Consumer: out.Consumer, Sequence: out.Sequence}, rpc.WithDefer()); err != nil {
		return nil, err
	}
	if _, err := d.letters.DeleteMessage(ctx, r.ID); err != nil {
		return nil, err
	}
	return &out, nil
}

func (d *Dead) discard(ctx context.Context, r *subjects.DeadRequest) (*subjects.DeadInfo, error) {
	out, err := d.find(ctx, r.ID)
	if err != nil {
		return nil, err
	}
	if _, err := d.letters.DeleteMessage(ctx, r.ID); err != nil {
		return nil, err
	}
	return &out, nil
}
