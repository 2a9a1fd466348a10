package handlers

import (
	"context"
	"strconv"

	"waybill/internal/fault"
	"waybill/internal/journal"
	"waybill/internal/rpc"
	"waybill/subjects"
)

// Store is the process that holds the journal's store, as the service journal sees it.
type Store interface {
	// Wait returns once everything up to sequence is durable.
	Wait(ctx context.Context, sequence uint64) error
	// Sync returns once all that was written before is durable.
	Sync(ctx context.Context) error
	Durable() uint64
	Strict() bool
	// ID names the NATS server that runs the store. It is new at each start.
	ID() string
}

// ReadModels are the read models of this process.
type ReadModels interface {
	// State says how far they have come, and how far the journal is.
	State(ctx context.Context) (subjects.ViewState, error)
	// Rebuild throws them away and begins anew; it returns at once.
	Rebuild(ctx context.Context) error
}

// Journals serves what concerns the journal as a whole: its durability for the other processes of the site, its seals, and
// the read models that are built from it. store is nil in a process that does not hold the store, which then serves no sync
// and no seals.
type Journals struct {
	store  Store
	seals  string
	models ReadModels
}

// NewJournals makes the service. seals is the file of the seals.
func NewJournals(store Store, seals string, models ReadModels) *Journals {
	return &Journals{store, seals, models}
}

// Register lists the service's endpoints.
func (j *Journals) Register(s *rpc.Server) {
	if j.store != nil {
		rpc.Handle(s, subjects.JournalSync, j.sync)
		rpc.Handle(s, subjects.JournalSeals, j.list)
	}
	rpc.Handle(s, subjects.JournalView, j.view)
	rpc.Handle(s, subjects.JournalRebuild, j.rebuild)
}

func (j *Journals) sync(ctx context.Context, r *subjects.SyncRequest) (*subjects.Synced, error) {
	if r.Sequence > 0 && r.Store == "" {
		return nil, fault.Invalid("store", "name the server that acknowledged the sequence %d", r.Sequence)
	}
	if r.Store != "" && r.Store != j.store.ID() {
		return nil, fault.New(fault.Unavailable, "the store was restarted, and what it had acknowledged before may be gone: ask again with the same id")
	}
	err := error(nil)
	if r.Sequence == 0 {
		err = j.store.Sync(ctx)
	} else {
		err = j.store.Wait(ctx, r.Sequence)
	}
	if err != nil {
		return nil, err
	}
	return &subjects.Synced{Durable: j.store.Durable(), Strict: j.store.Strict()}, nil
}

func (j *Journals) list(_ context.Context, r *subjects.ListRequest) (*subjects.Seals, error) {
	from, err := sequenceCursor(r.Cursor)
	if err != nil {
		return nil, err
	}
	all, err := journal.ReadSeals(j.seals)
	if err != nil {
		return nil, err
	}
	out := &subjects.Seals{Seals: []subjects.Seal{}}
	for _, s := range all {
		if s.To < from {
			continue
		}
		if len(out.Seals) == r.Size() {
			out.NextCursor = strconv.FormatUint(s.From, 10)
			break
		}
		out.Seals = append(out.Seals, subjects.Seal(s))
	}
	return out, nil
}

func (j *Journals) view(ctx context.Context, _ *subjects.Empty) (*subjects.ViewState, error) {
	s, err := j.models.State(ctx)
	return &s, err
}

func (j *Journals) rebuild(ctx context.Context, _ *subjects.Empty) (*subjects.ViewState, error) {
	if err := j.models.Rebuild(ctx); err != nil {
		return nil, err
	}
	return j.view(ctx, nil)
}
