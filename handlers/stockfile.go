package handlers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"waybill/internal/inventory"
	"waybill/internal/snapshot"
)

// saving is where a process keeps its snapshot of the book, and what it needs to write one. A snapshot only spares a start the
// reading of what it holds: it is never believed where the journal does not bear it out.
type saving struct {
	file     string
	barrier  Barrier
	lowSpace func() bool

	size int64  // of the last one, in bytes
	upTo uint64 // the last event that is in it
}

// snapshotContent is what the file says that it holds.
const snapshotContent = "stock"

// When a snapshot is written. A tail of saveEvery events is read in a tenth of a second, so there is no need to write for fewer,
// and an idle site writes nothing. An event of the journal takes more than a kilobyte, so what is written for snapshots stays
// within a tenth of what the journal writes.
const (
	saveEvery    = 20_000           // events of the journal since the last one
	saveBytes    = 128              // bytes of a snapshot for each of these events
	saveAtStop   = 1000             // events that make it worth while at a clean stop
	savePause    = 10 * time.Second // at least, between two
	saveAgain    = 5 * time.Minute  // after one that failed
	saveLook     = 2 * time.Second
	saveStopTime = 2 * time.Second
)

// restore makes the book that of the snapshot, where there is one that the journal bears out. Else the book stays empty.
func (t *stockroom) restore(ctx context.Context) {
	if t.saving.file == "" {
		return
	}
	start := time.Now()
	book, at, err := t.open(ctx)
	switch {
	case errors.Is(err, snapshot.ErrNone):
		return
	case err != nil:
		t.log.Warn().Err(err).Str("file", t.saving.file).Msg("the snapshot of the stock is not used; all of the journal is read")
		return
	}
	t.book, t.began, t.saving.upTo = book, at, at.sequence
	_, reservations := book.Len()
	t.log.Info().Uint64("sequence", at.sequence).Int64("bytes", t.saving.size).Int("reservations", reservations).
		Int64("ms", time.Since(start).Milliseconds()).Msg("stock read from its snapshot")
}

// open reads the snapshot. The error says why it can't be used.
func (t *stockroom) open(ctx context.Context) (*inventory.Book, place, error) {
	s, err := snapshot.Open(t.saving.file)
	if err != nil {
		return nil, place{}, err
	}
	defer s.Close() // it is only read
	h := s.Header
	switch {
	case h.Content != snapshotContent || h.Site != t.site:
		return nil, place{}, fmt.Errorf("it is of the %.40q of the site %.40q", h.Content, string(h.Site))
	case h.Format != inventory.Format:
		return nil, place{}, fmt.Errorf("it has the format %d, this program has %d", h.Format, inventory.Format)
	case h.Sequence == 0:
		return nil, place{}, errors.New("it is of no event")
	}
	found, err := t.journal.Range(ctx, h.Sequence, 1)
	if err != nil {
		return nil, place{}, err
	}
	if len(found) != 1 || found[0].Sequence != h.Sequence || found[0].ID != h.ID || found[0].Hash != h.Hash {
		return nil, place{}, fmt.Errorf("the journal does not hold the event %d that it was taken after: it is of another journal, or of events that were lost", h.Sequence)
	}
	book, err := inventory.ReadBook(s.Content)
	if err != nil {
		return nil, place{}, err
	}
	t.saving.size = s.Size
	return book, place{newLink(found[0]), h.Sequence}, nil
}

// saveNowAndThen writes snapshots until ctx ends.
func (t *stockroom) saveNowAndThen(ctx context.Context) {
	tick := time.NewTicker(saveLook)
	defer tick.Stop()
	for next := time.Now(); ; {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		if time.Now().Before(next) || !t.due(ctx, max(saveEvery, uint64(t.saving.size)/saveBytes)) {
			continue
		}
		next = time.Now().Add(savePause)
		if err := t.save(ctx); err != nil && ctx.Err() == nil {
			t.log.Warn().Err(err).Str("file", t.saving.file).Msg("no snapshot of the stock could be written; a start would read more of the journal")
			next = time.Now().Add(saveAgain)
		}
	}
}

// saveLast writes a snapshot at the end of a term whose ctx was ended from outside, when nothing changes any more.
func (t *stockroom) saveLast(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), saveStopTime)
	defer cancel()
	if !t.due(ctx, saveAtStop) {
		return
	}
	if err := t.save(ctx); err != nil {
		t.log.Warn().Err(err).Str("file", t.saving.file).Msg("no snapshot of the stock could be written; the next start reads more of the journal")
	}
}

// due reports whether the stock has an event so many events after the snapshot.
func (t *stockroom) due(ctx context.Context, events uint64) bool {
	if t.saving.file == "" || t.saving.lowSpace() {
		return false
	}
	t.mu.Lock()
	sent, lost := t.sent, t.lost
	t.mu.Unlock()
	at, err := t.reached(ctx, sent)
	return lost == nil && err == nil && at.sequence >= t.saving.upTo+events
}

// reached waits until the event that was sent is in the journal; nil is the last one when the term began.
func (t *stockroom) reached(ctx context.Context, s *sending) (place, error) {
	if s == nil {
		return t.began, nil
	}
	select {
	case <-s.done:
		return place{s.link, s.sequence}, s.err
	case <-ctx.Done():
		return place{}, ctx.Err()
	}
}

// cutting is the book as it was at one moment, to be written.
type cutting struct {
	cut    *inventory.Cut
	sent   *sending   // the last one that it holds; nil for none of this term
	flight []*sending // those that were under way
	err    error      // why it can't be trusted
}

// errWriting is that a book has one cut at a time.
var errWriting = errors.New("the snapshot before it is still being written: does the disk hang?")

// cut begins a snapshot, which must then be written. Error: errWriting where one of this process is being written.
func (t *stockroom) cut() (*cutting, error) {
	select {
	case t.standby.writing <- struct{}{}:
	default:
		return nil, errWriting
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return &cutting{t.book.Cut(), t.sent, slices.Collect(maps.Keys(t.flight)), t.lost}, nil
}

// save writes the book as it is now, once all of it is durable. Sales go on meanwhile. It fails where one of this process is being written.
func (t *stockroom) save(ctx context.Context) error {
	c, err := t.cut()
	if err != nil {
		return err
	}
	return t.write(ctx, c)
}

// write writes what was cut.
func (t *stockroom) write(ctx context.Context, c *cutting) error {
	start := time.Now()
	defer func() { <-t.standby.writing }()
	cut, err := c.cut, c.err
	for _, s := range c.flight { // one that is refused does not show in those after it
		if err == nil {
			_, err = t.reached(ctx, s)
		}
	}
	var at place
	if err == nil {
		at, err = t.reached(ctx, c.sent)
	}
	if err == nil {
		err = t.saving.barrier.Wait(ctx, at.sequence)
	}
	if err != nil {
		t.mu.Lock()
		defer t.mu.Unlock()
		cut.End()
		return err
	}
	last := at.record()
	size, err := snapshot.Write(t.saving.file, snapshot.Header{
		Content: snapshotContent, Format: inventory.Format, Site: t.site, Sequence: at.sequence, ID: last.ID, Hash: last.Hash,
	}, func(w io.Writer) error { return cut.Save(w, t.mu) })
	if err != nil {
		t.mu.Lock()
		defer t.mu.Unlock()
		cut.End() // it may not have begun
		return err
	}
	t.mu.Lock()
	t.saving.size, t.saving.upTo = size, at.sequence
	t.mu.Unlock()
	t.log.Debug().Uint64("sequence", at.sequence).Int64("bytes", size).Int64("ms", time.Since(start).Milliseconds()).Msg("snapshot of the stock written")
	return nil
}
