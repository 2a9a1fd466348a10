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
	turn chan struct{} // holds the right to the book at hand: to bring it up to date, or to take it
	room *stockroom    // its book alone is of use; nil for none; whoever has the turn uses it
	seen uint64        // the journal's last event when the book was brought up to date; as room

	writing chan struct{} // holds the right to write the snapshot

	mu     sync.Mutex // guards what follows; nothing waits while it is held
	leads  bool
	served bool               // the term that leads has the book, or goes without
	end    context.CancelFunc // of bringing the book up to date; nil while nobody does
	former *stockroom         // of the term that has ended, whose snapshot has not been written yet
}

func newStandby() *standby {
	return &standby{turn: make(chan struct{}, 1), writing: make(chan struct{}, 1)}
}

const (
	followInterval = time.Second
	followEvery    = 1000             // events of the journal that make it worth while; a new leader reads them in some 10 ms
	followAgain    = 30 * time.Second // after a failure
	handWait       = time.Second      // for the book at hand, by whoever takes over: who has it may hang in a call to the disk
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

// catchUp brings the book up to date where that is worth while, and writes a snapshot of it where one is due.
func (v *Inventory) catchUp(ctx context.Context, j *journal.Journal) error {
	t, c, err := v.readOn(ctx, j)
	if c == nil || err != nil {
		return err
	}
	return t.write(ctx, c)
}

// readOn brings the book up to date. Where a snapshot is due it returns the book's stockroom and what is to be written: a term may take the
// book as soon as this has returned, and go on with it. One that begins meanwhile ends this, and may take the book as far as it has come.
func (v *Inventory) readOn(ctx context.Context, j *journal.Journal) (*stockroom, *cutting, error) {
	s := v.standby
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s.turn <- struct{}{} // whoever else has it only takes the book
	defer func() { <-s.turn }()
	if !s.begin(cancel) {
		return nil, nil, nil
	}
	defer s.ended()
	last, err := j.Last(ctx)
	if err != nil || s.room != nil && last < s.seen+followEvery {
		return nil, nil, nil // a journal that does not answer has no more to read
	}
	t := s.room
	if s.room = nil; t == nil {
		own := *v
		own.journal, own.log = j, v.log.Level(zerolog.WarnLevel) // that it has read a little more is no news
		t = newStockroom(&own, &journal.Fence{}, nil)
		t.restore(ctx)
	}
	if err := t.readRest(ctx); err != nil {
		if ctx.Err() != nil && s.wanted() {
			s.room = t // it is whole up to where it was read
		}
		return nil, nil, err
	}
	if !s.wanted() {
		return nil, nil, nil
	}
	s.room, s.seen = t, last
	if !t.due(ctx, max(saveEvery, uint64(t.saving.size)/saveBytes)) {
		return nil, nil, nil
	}
	c, err := t.cut()
	return t, c, err
}

// wanted reports whether the book may still be taken: not by a term that has gone on without.
func (s *standby) wanted() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.leads || !s.served
}

// begin notes that the book is brought up to date; false: this process leads.
func (s *standby) begin(end context.CancelFunc) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.leads {
		return false
	}
	s.end = end
	return true
}

func (s *standby) ended() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.end = nil
}

// lead notes that a term begins. It waits for nothing.
func (s *standby) lead() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.leads, s.served, s.former = true, false, nil
	if s.end != nil {
		s.end()
	}
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
	former := s.former
	s.former = nil
	s.mu.Unlock()
	if former != nil {
		former.saveLast(ctx)
	}
}

// take takes the book at hand; nil where there is none, or whoever has it does not give it up within a second.
func (s *standby) take(ctx context.Context) *stockroom {
	timer := time.NewTimer(handWait)
	defer timer.Stop()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.served = true
	}()
	select {
	case s.turn <- struct{}{}:
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return nil
	}
	ready := s.room
	s.room = nil
	<-s.turn
	return ready
}

// resume takes the book that is at hand, where there is one that the journal bears out.
func (t *stockroom) resume(ctx context.Context) bool {
	ready := t.standby.take(ctx)
	if ready == nil || ready.began.sequence == 0 {
		return false
	}
	found, err := t.journal.Range(ctx, ready.began.sequence, 1)
	if err != nil || len(found) != 1 || found[0].Sequence != ready.began.sequence || newLink(found[0]) != ready.began.link {
		t.log.Warn().Err(err).Msg("the book of the stock that was at hand does not follow the journal; it is read anew")
		return false
	}
	t.mu = ready.mu // a snapshot of the book may just be written
	t.mu.Lock()
	defer t.mu.Unlock()
	t.book, t.stock, t.began = ready.book, ready.stock, ready.began
	t.saving.size, t.saving.upTo = ready.saving.size, ready.saving.upTo
	return true
}
