package handlers

import (
	"context"
	"sync"
)

// turns lets one request at a time work on each id within this process. It only saves work that a compare-and-set would
// throw away, and lets a duplicate wait for the original; what must never happen twice is kept by the journal.
type turns[K comparable] struct {
	mu   sync.Mutex
	busy map[K]chan struct{}
}

func newTurns[K comparable]() *turns[K] { return &turns[K]{busy: make(map[K]chan struct{})} }

// begin takes the turn and returns its end; where another has it, it returns no end but the channel that is closed when the
// other's turn ends.
func (t *turns[K]) begin(id K) (end func(), busy <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if c, ok := t.busy[id]; ok {
		return nil, c
	}
	c := make(chan struct{})
	t.busy[id] = c
	return func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		delete(t.busy, id)
		close(c)
	}, nil
}

// take waits for the turn, as long as ctx lasts.
func (t *turns[K]) take(ctx context.Context, id K) (end func(), err error) {
	for {
		end, busy := t.begin(id)
		if end != nil {
			return end, nil
		}
		select {
		case <-busy:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// inTurn does something and ends the turn, also when it panics.
func inTurn[T any](end func(), f func() (T, error)) (T, error) {
	defer end()
	return f()
}
