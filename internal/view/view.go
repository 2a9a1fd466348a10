// Package view keeps the read models for lists and searches: the last state of every aggregate of the journal, in SQLite,
// with the indexes that the lists need. A view holds nothing of its own and can be rebuilt from the journal at any time; it
// shows exactly what the journal's events up to its position say, because rows and position move in one transaction.
package view

import (
	"context"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"waybill/internal/fault"
)

// View is the read model of one site in one file. All its methods are safe for concurrent use: reads see a whole batch or
// nothing of it and don't block writes, Apply and Reset take turns. After Close every method answers unavailable.
type View struct {
	path string
	log  zerolog.Logger

	writing    chan struct{} // holds one token while Apply, Reset or Close is at work
	mu         sync.RWMutex  // held for reading while store is used, for writing while it is replaced or closed
	store      *store        // nil once closed
	progress   progress
	dueChanged chan struct{}
	idle       *time.Timer // runs out when nothing was applied for idleAfter
}

// idleAfter is how long a view without events keeps what makes writing fast.
const idleAfter = 5 * time.Second

// Open opens the view at path, or makes an empty one. A file of another schema version or a damaged one is thrown away,
// which the log says; the position is then 0 and the caller applies the journal from its beginning. A file that was in use
// when the system went down is read through once to check it; where only the process was killed, it is whole. Errors: unavailable
// when the file can't be opened or written.
func Open(ctx context.Context, path string, log zerolog.Logger) (*View, error) {
	st, at, err := openStore(ctx, path, log)
	if err != nil {
		return nil, err
	}
	v := &View{path: path, log: log, writing: make(chan struct{}, 1), store: st, dueChanged: make(chan struct{}, 1)}
	v.progress.move(at)
	v.idle = time.AfterFunc(idleAfter, v.rest)
	return v, nil
}

// rest gives back the memory that a busy writer needs: some megabytes, in many small pieces, each of which keeps a page of the heap.
func (v *View) rest() {
	select {
	case v.writing <- struct{}{}:
		defer func() { <-v.writing }()
	default:
		return // whoever is writing does not rest
	}
	ctx := context.Background() // a moment without input or output
	err := v.with(ctx, "give memory back", func(s *store) error { return s.forget(ctx) })
	if err != nil && fault.CodeOf(err) != fault.Unavailable {
		v.log.Warn().Err(err).Msg("the lists keep the memory that they don't need")
	}
}

// Close waits for the Apply at work and for the reads under way, then closes the file. A second Close does nothing.
func (v *View) Close() error {
	v.writing <- struct{}{}
	defer func() { <-v.writing }()
	v.idle.Stop()
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.store == nil {
		return nil
	}
	err := v.store.close(true)
	v.store = nil
	v.progress.close()
	if err != nil {
		return fault.Wrap(err, fault.Unavailable, "the view %s could not be closed cleanly; it will be checked at the next start", v.path)
	}
	return nil
}

// Reset empties the view and sets its position to 0. It replaces the file, so it also mends a damaged one.
func (v *View) Reset(ctx context.Context) error {
	unlock, err := v.lockWriter(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.store == nil {
		return errClosed()
	}
	// What closing the old file says does not matter: the file goes.
	_ = v.store.close(false)
	v.store = nil
	if err := removeFiles(v.path); err != nil {
		v.progress.close()
		return fault.Wrap(err, fault.Unavailable, "the view %s could not be removed; stop the program, delete the file and start again", v.path)
	}
	st, at, err := openStore(ctx, v.path, v.log)
	if err != nil {
		v.progress.close()
		return err
	}
	v.store = st
	v.progress.move(at)
	return nil
}

// Position is the sequence and the id of the last event that was applied; 0 and empty for an empty view. The rows that any
// later read shows are at least that new.
func (v *View) Position(ctx context.Context) (sequence uint64, eventID string, err error) {
	if err := ctx.Err(); err != nil {
		return 0, "", err
	}
	at, open := v.progress.now()
	if !open {
		return 0, "", errClosed()
	}
	return at.sequence, at.eventID, nil
}

// WaitFor returns once the position is at sequence or beyond it. Errors: deadline_exceeded when ctx ends first, unavailable
// when the view is closed meanwhile.
func (v *View) WaitFor(ctx context.Context, sequence uint64) error {
	for {
		at, moved, open := v.progress.watch()
		switch {
		case !open:
			return errClosed()
		case at.sequence >= sequence:
			return nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return fault.Wrap(ctx.Err(), fault.DeadlineExceeded,
				"the lists have not caught up with event %d in time (they are at %d); ask again", sequence, at.sequence)
		}
	}
}

// lockWriter waits for the turn to change the view.
func (v *View) lockWriter(ctx context.Context) (unlock func(), err error) {
	select {
	case v.writing <- struct{}{}:
		return func() { <-v.writing }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// with calls f with the open store and keeps it open meanwhile.
func (v *View) with(ctx context.Context, what string, f func(*store) error) error {
	v.mu.RLock()
	defer v.mu.RUnlock()
	if v.store == nil {
		return errClosed()
	}
	return v.store.explain(ctx, what, f(v.store))
}

func errClosed() error {
	return fault.New(fault.Unavailable, "the lists are closed: the program is stopping")
}

// position is how far the view has applied the journal.
type position struct {
	sequence uint64
	eventID  string
}

// progress is the position as memory knows it, with a wake-up for those who wait for it to move. It follows the file's: it
// moves after the transaction is committed.
type progress struct {
	mu     sync.Mutex
	at     position
	moved  chan struct{} // closed at the next move; nil while nobody waits
	closed bool
}

func (p *progress) now() (at position, open bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.at, !p.closed
}

func (p *progress) watch() (at position, moved <-chan struct{}, open bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.moved == nil {
		p.moved = make(chan struct{})
	}
	return p.at, p.moved, !p.closed
}

func (p *progress) move(to position) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.at = to
	p.wake()
}

func (p *progress) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	p.wake()
}

func (p *progress) wake() {
	if p.moved != nil {
		close(p.moved)
		p.moved = nil
	}
}
