package node

import (
	"context"
	"path/filepath"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"waybill/handlers"
	"waybill/internal/fault"
	"waybill/internal/journal"
	"waybill/internal/view"
	"waybill/subjects"
)

// models keeps the read models up with the journal, in one goroutine, and rebuilds them when they are of another journal or
// when it is asked to. Where this process holds the store, the same reading of the journal is sealed.
type models struct {
	view       *view.View
	journal    *journal.Journal
	disconnect func()
	log        zerolog.Logger
	seals      string // the file of the seals; empty where another process holds the store
	cancel     context.CancelFunc
	running    sync.WaitGroup
	wanted     chan struct{} // holds one wish for a list

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
	feed, closeFeed, err := n.store.bus("journal")
	if err != nil {
		nc.Close()
		return nil, err
	}
	disconnect := func() { closeFeed(); nc.Close() }
	j, err := n.openJournal(nc, feed, feed)
	if err != nil {
		disconnect()
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background()) // ended by stop
	m := &models{view: v, journal: j, disconnect: disconnect, log: n.log, cancel: cancel, wanted: make(chan struct{}, 1)}
	asking, done := context.WithTimeout(ctx, 10*time.Second)
	defer done()
	if m.target, err = j.Last(asking); err != nil {
		cancel()
		disconnect()
		return nil, err
	}
	n.barrier.Note(m.target) // what the store holds at the start is covered by the next sync
	if n.store.own != nil {
		m.seals = n.sealFile()
	}
	m.running.Go(func() { m.run(ctx) })
	return m, nil
}

func (n *life) sealFile() string { return filepath.Join(n.opts.Config.Data, "seals.jsonl") }

func (m *models) stop() {
	m.cancel()
	m.running.Wait()
	m.disconnect()
}

// retryModels and retrySeals are how long what failed rests before it is tried again: read models and seals can wait, orders
// can't.
const (
	retryModels = time.Second
	retrySeals  = 10 * time.Second
)

// run reads until ctx ends.
func (m *models) run(ctx context.Context) {
	for ctx.Err() == nil {
		err := m.read(ctx)
		if err != nil && ctx.Err() == nil {
			m.behind(err)
			select {
			case <-time.After(retryModels):
			case <-ctx.Done():
			}
		}
	}
}

func (m *models) behind(err error) {
	m.log.Error().Err(err).Msg("the read models fell behind; they are tried again")
}

func (m *models) unsealed(err error) {
	m.log.Error().Err(err).Msg("the journal is not sealed at present; run waybill verify")
}

// read follows the journal once for the read models and the sealer, from where the one begins that is further behind; each
// passes over what it has. One that fails lets the other go on until the reading begins anew, after its rest.
func (m *models) read(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	m.mu.Lock()
	m.restart = cancel
	m.mu.Unlock()
	from, err := m.position(ctx)
	if err != nil {
		return err
	}
	sealer, err := m.sealer(ctx)
	if err != nil {
		m.unsealed(err)
		defer time.AfterFunc(retrySeals, cancel).Stop()
	}
	if sealer != nil {
		defer func() {
			if err := sealer.Close(); err != nil {
				m.unsealed(err)
			}
		}()
		from = min(from, sealer.Last())
	}
	projecting, sealing := true, sealer != nil
	return m.journal.Follow(ctx, from+1, func(batch []journal.Message) error {
		if projecting {
			if err := m.project(ctx, batch); err != nil && ctx.Err() == nil {
				m.behind(err)
				projecting = false
				time.AfterFunc(retryModels, cancel)
			}
		}
		if sealing {
			if err := sealer.Add(batch); err != nil {
				m.unsealed(err)
				sealing = false
				time.AfterFunc(retrySeals, cancel)
			}
		}
		if last := batch[len(batch)-1]; len(batch) < journal.FollowBatch && !m.catchingUp(last.Sequence) {
			m.gather(ctx)
		}
		return nil
	})
}

// position is the read models' position, after it is made sure that they are of this journal: after a power cut sequences may
// come back with other events.
func (m *models) position(ctx context.Context) (uint64, error) {
	m.mu.Lock()
	rebuild := m.rebuild
	m.mu.Unlock()
	at, id, err := m.view.Position(ctx)
	if err != nil {
		return 0, err
	}
	if at > 0 && !rebuild {
		found, err := m.journal.Range(ctx, at, 1)
		if err != nil {
			return 0, err
		}
		if len(found) == 0 || found[0].Sequence != at || found[0].ID != id {
			m.log.Warn().Uint64("sequence", at).Msg("the read models are of another journal; they are built anew")
			rebuild = true
		}
	}
	if !rebuild {
		return at, nil
	}
	if err := m.view.Reset(ctx); err != nil {
		return 0, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.rebuild = false
	return 0, nil
}

// sealer opens the sealer; there is none where another process holds the store.
func (m *models) sealer(ctx context.Context) (*journal.Sealer, error) {
	if m.seals == "" {
		return nil, nil
	}
	return journal.OpenSealer(ctx, m.journal, m.seals, 0)
}

func (m *models) project(ctx context.Context, batch []journal.Message) error {
	return handlers.Project(ctx, m.view, batch, func(err error) {
		m.log.Error().Err(err).Msg("an event is missing in the read models")
	})
}

// gatherTime is how long events are gathered before they are applied together, while nobody asks for a list: one transaction
// for many, and one row for what happened to an aggregate meanwhile. The first one after a rest is applied at once.
const gatherTime = 100 * time.Millisecond

func (m *models) gather(ctx context.Context) {
	timer := time.NewTimer(gatherTime)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-m.wanted:
	case <-ctx.Done():
	}
}

// catchingUp reports whether the journal held more at the start, or when a rebuild was asked for: that is not gathered.
func (m *models) catchingUp(at uint64) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return at < m.target
}

// hurry ends the gathering: somebody wants a list.
func (m *models) hurry() {
	m.journal.Hurry()
	select {
	case m.wanted <- struct{}{}:
	default:
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

// modelsCheck is what /readyz and health call the read models.
const modelsCheck = "read models"

// missing says how far behind the read models are, until they have caught up with the journal as it was at the start.
func (m *models) missing() []string {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second) // readiness is asked without a context
	defer cancel()
	s, err := m.State(ctx)
	switch {
	case err != nil:
		return []string{modelsCheck + ": " + fault.From(err).Message}
	case s.Sequence < s.Target:
		return []string{modelsCheck + ": at event " + subjects.Sequence(s.Sequence) + " of " + subjects.Sequence(s.Target)}
	}
	return nil
}
