package node

import (
	"context"
	"path/filepath"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"

	"waybill/handlers"
	"waybill/internal/fault"
	"waybill/internal/journal"
	"waybill/internal/view"
	"waybill/subjects"
)

// models keeps the read models up with the journal, in one goroutine, and rebuilds them when they are of another journal or
// when it is asked to. Beside them it runs the sealer where this process holds the store.
type models struct {
	view    *view.View
	journal *journal.Journal
	nc      *nats.Conn
	log     zerolog.Logger
	cancel  context.CancelFunc
	running sync.WaitGroup
	wanted  chan struct{} // holds one wish for a list

	mu      sync.Mutex
	target  uint64             // the journal's last sequence at the start, or when a rebuild was asked for
	restart context.CancelFunc // ends the current reading, so that the next begins anew
	rebuild bool
}

// follow starts the projection.
func (n *life) follow(v *view.View) (*models, error) {
	nc, err := n.store.connect("journal")
	if err != nil {
		return nil, err
	}
	j, err := n.openJournal(nc)
	if err != nil {
		nc.Close()
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background()) // ended by stop
	m := &models{view: v, journal: j, nc: nc, log: n.log, cancel: cancel, wanted: make(chan struct{}, 1)}
	asking, done := context.WithTimeout(ctx, 10*time.Second)
	defer done()
	if m.target, err = j.Last(asking); err != nil {
		cancel()
		nc.Close()
		return nil, err
	}
	n.barrier.Note(m.target) // what the store holds at the start is covered by the next sync
	m.running.Go(func() { m.run(ctx) })
	if n.store.own != nil {
		m.running.Go(func() { m.seal(ctx, n.sealFile()) })
	}
	return m, nil
}

func (n *life) sealFile() string { return filepath.Join(n.opts.Config.Data, "seals.jsonl") }

func (m *models) stop() {
	m.cancel()
	m.running.Wait()
	m.nc.Close()
}

// run reads until ctx ends. What fails is tried again after a moment: the read models can wait, orders can't.
func (m *models) run(ctx context.Context) {
	for ctx.Err() == nil {
		err := m.read(ctx)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			m.log.Error().Err(err).Msg("the read models fell behind; they are tried again")
			select {
			case <-time.After(time.Second):
			case <-ctx.Done():
			}
		}
	}
}

// read follows the journal from the view's position, after it has made sure that the view is of this journal: after a power
// cut sequences may come back with other events.
func (m *models) read(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	m.mu.Lock()
	rebuild := m.rebuild
	m.restart = cancel
	m.mu.Unlock()
	at, id, err := m.view.Position(ctx)
	if err != nil {
		return err
	}
	if at > 0 && !rebuild {
		found, err := m.journal.Range(ctx, at, 1)
		if err != nil {
			return err
		}
		if len(found) == 0 || found[0].Sequence != at || found[0].ID != id {
			m.log.Warn().Uint64("sequence", at).Msg("the read models are of another journal; they are built anew")
			rebuild = true
		}
	}
	if rebuild {
		if err := m.view.Reset(ctx); err != nil {
			return err
		}
		m.mu.Lock()
		m.rebuild = false
		m.mu.Unlock()
		at = 0
	}
	return m.journal.Follow(ctx, at+1, []string{}, func(batch []journal.Record) error {
		for _, r := range batch {
			if r.Malformed != "" {
				m.log.Error().Uint64("sequence", r.Sequence).Str("reason", r.Malformed).Msg("an event can't be read; run waybill verify")
			}
		}
		if err := handlers.Project(ctx, m.view, batch); err != nil {
			return err
		}
		m.gather(ctx)
		return nil
	})
}

// gatherTime is how long events are gathered before they are applied together, while nobody asks for a list: one transaction
// for many, and one row for what happened to an aggregate meanwhile.
const gatherTime = 25 * time.Millisecond

func (m *models) gather(ctx context.Context) {
	timer := time.NewTimer(gatherTime)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-m.wanted:
	case <-ctx.Done():
	}
}

// hurry ends the gathering: somebody wants a list.
func (m *models) hurry() {
	select {
	case m.wanted <- struct{}{}:
	default:
	}
}

// seal runs the sealer until ctx ends.
func (m *models) seal(ctx context.Context, file string) {
	for ctx.Err() == nil {
		if err := journal.RunSealer(ctx, m.journal, file, 1000); err != nil && ctx.Err() == nil {
			m.log.Error().Err(err).Msg("the journal is not sealed at present; run waybill verify")
			select {
			case <-time.After(10 * time.Second):
			case <-ctx.Done():
			}
		}
	}
}

// State implements handlers.ReadModels.
func (m *models) State(ctx context.Context) (subjects.ViewState, error) {
	at, _, err := m.view.Position(ctx)
	if err != nil {
		return subjects.ViewState{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.rebuild {
		at = 0
	}
	return subjects.ViewState{Sequence: at, Target: m.target}, nil
}

// Rebuild implements handlers.ReadModels.
func (m *models) Rebuild(ctx context.Context) error {
	last, err := m.journal.Last(ctx)
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.target, m.rebuild = last, true // the reader throws them away: nobody else writes to them
	if m.restart != nil {
		m.restart()
	}
	return nil
}

// missing says how far behind the read models are, until they have caught up with the journal as it was at the start.
func (m *models) missing() []string {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second) // readiness is asked without a context
	defer cancel()
	s, err := m.State(ctx)
	switch {
	case err != nil:
		return []string{"read models: " + fault.From(err).Message}
	case s.Sequence < s.Target:
		return []string{"read models: at event " + subjects.Sequence(s.Sequence) + " of " + subjects.Sequence(s.Target)}
	}
	return nil
}
