package handlers

import (
	"context"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"waybill/internal/journal"
	"waybill/internal/scope"
)

// standby is what a process that does not lead has ready for the moment in which it does: a book that is almost up to date, so that
// whoever takes over need not read the whole journal first.
type standby struct {
	mu     sync.Mutex // held while the book is brought up to date: a term that begins meanwhile waits for that
	leads  bool
	room   *stockroom // its book alone is of use; nil for none
	seen   uint64     // the journal's last event when the book was brought up to date
	former *stockroom // of the term that has ended, whose snapshot has not been written yet
}

const (
	followInterval = time.Second
	followEvery    = 1000             // events of the journal that make it worth while; a new leader reads them in some 10 ms
	followAgain    = 30 * time.Second // after a failure
)

// Follow keeps a book at hand while this process does not lead, until ctx ends. It also writes the snapshot of a term that has ended:
// Lead does not wait for it, as somebody else is to lead at once. So it must end after Lead has.
func (v *Inventory) Follow(ctx context.Context, j *journal.Journal) {
	ctx = scope.With(ctx, scope.New("inventory"))
	tick := time.NewTicker(followInterval)
	defer tick.Stop()
	for next := time.Now(); ; {
		select {
		case <-tick.C:
		case <-ctx.Done():
			v.saveFormer(ctx)
			return
		}
		v.saveFormer(ctx)
		if time.Now().Before(next) {
			continue
		}
		if err := v.catchUp(ctx, j); err != nil && ctx.Err() == nil {
			v.log.Debug().Err(err).Msg("no book of the stock is at hand; whoever takes over reads all of the journal")
			next = time.Now().Add(followAgain)
		}
	}
}

// catchUp brings the book up to date where that is worth while.
func (v *Inventory) catchUp(ctx context.Context, j *journal.Journal) error {
	s := v.standby
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.leads {
		return nil
	}
	last, err := j.Last(ctx)
	if err != nil || s.room != nil && last < s.seen+followEvery {
		return nil // a journal that does not answer has no more to read
	}
	t := s.room
	if s.room = nil; t == nil {
		own := *v
		own.journal, own.log = j, v.log.Level(zerolog.WarnLevel) // that it has read a little more is no news
		t = newStockroom(&own, &journal.Fence{}, nil)
		t.restore(ctx)
	}
	if err := t.replay(ctx); err != nil {
		return err
	}
	s.room, s.seen = t, last
	if t.due(ctx, max(saveEvery, uint64(t.saving.size)/saveBytes)) {
		return t.save(ctx)
	}
	return nil
}

// lead notes that a term begins.
func (s *standby) lead() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.leads, s.former = true, nil
}

// left notes that a term is over; t is nil where its book can't be trusted.
func (s *standby) left(t *stockroom) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.leads, s.former = false, t
}

func (v *Inventory) saveFormer(ctx context.Context) {
	s := v.standby
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.former != nil {
		s.former.saveLast(ctx)
		s.former = nil
	}
}

// resume takes the book that is at hand, where there is one that the journal bears out.
func (t *stockroom) resume(ctx context.Context) bool {
	s := t.standby
	s.mu.Lock()
	ready := s.room
	s.room = nil
	s.mu.Unlock()
	if ready == nil || ready.began.sequence == 0 {
		return false
	}
	found, err := t.journal.Range(ctx, ready.began.sequence, 1)
	if err != nil || len(found) != 1 || found[0].Sequence != ready.began.sequence || newLink(found[0]) != ready.began.link {
		t.log.Warn().Err(err).Msg("the book of the stock that was at hand does not follow the journal; it is read anew")
		return false
	}
	t.book, t.stock, t.began = ready.book, ready.stock, ready.began
	t.saving.size, t.saving.upTo = ready.saving.size, ready.saving.upTo
	return true
}
