package view

import (
	"context"
	"database/sql"
	"errors"
	"hash/fnv"
	"slices"
	"strconv"

	"waybill/internal/fault"
	"waybill/subjects"
)

// Apply brings the view up to the last event of batch, in one transaction: after an error nothing of the batch is in it. The
// batch's sequences must rise; events at or below the position are skipped, so a batch may be repeated. Of each aggregate
// only the last state in the batch is written, so large batches cost less an event. States are kept as they are, byte by byte.
//
// Errors: internal for a batch out of order or a state that can't be read; resource_exhausted when the disk is full;
// unavailable when the file is damaged or the view is closed. A context that ends stops the batch between two rows.
func (v *View) Apply(ctx context.Context, events []Event) error {
	unlock, err := v.lockWriter(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	defer v.idle.Reset(idleAfter)
	at, _ := v.progress.now()
	wake := false
	err = v.with(ctx, "take in events", func(s *store) error {
		if err := s.batch.collect(events, at.sequence); err != nil {
			return err
		}
		defer s.batch.reset()
		if s.batch.last == nil {
			return nil
		}
		to := position{s.batch.last.Sequence, s.batch.last.EventID}
		if err := s.write(ctx, to); err != nil {
			return err
		}
		wake = s.batch.due
		v.progress.move(to)
		return nil
	})
	if wake {
		select {
		case v.dueChanged <- struct{}{}:
		default: // the receiver has not taken the last signal yet, and will look after this commit
		}
	}
	return err
}

// batch is the events of one Apply, each aggregate once. Its memory is used again by the next.
type batch struct {
	rows  []row
	index map[key]int // in rows
	last  *Event      // nil when there is nothing to apply
	due   bool        // some row is on the work list
}

type key struct {
	table int
	id    string
}

type row struct {
	table   int
	first   uint64 // sequence of the aggregate's first event in the batch
	event   *Event // its last one
	columns columns
}

// maxKept bounds the rows whose memory a batch keeps for the next one.
const maxKept = 4096

func (b *batch) reset() {
	if len(b.rows) > maxKept {
		*b = batch{}
		return
	}
	clear(b.rows)
	clear(b.index)
	b.rows, b.last, b.due = b.rows[:0], nil, false
}

// collect picks what is to be written of the events after position.
func (b *batch) collect(events []Event, position uint64) (err error) {
	defer func() {
		if err != nil {
			b.reset()
		}
	}()
	if b.index == nil {
		b.index = make(map[key]int)
	}
	previous := uint64(0)
	for i := range events {
		e := &events[i]
		if e.Sequence <= previous {
			return fault.New(fault.Internal, "event %d comes after event %d in a batch for the lists", e.Sequence, previous)
		}
		previous = e.Sequence
		if e.Sequence <= position {
			continue
		}
		b.last = e
		t := tableOf(e.Kind)
		if t < 0 {
			continue
		}
		if n, ok := b.index[key{t, e.ID}]; ok {
			b.rows[n].event = e
			continue
		}
		b.index[key{t, e.ID}] = len(b.rows)
		b.rows = append(b.rows, row{table: t, first: e.Sequence, event: e})
	}
	// Orders are written before their parts, payments before their refunds.
	slices.SortStableFunc(b.rows, func(x, y row) int { return x.table - y.table })
	for i := range b.rows {
		r := &b.rows[i]
		if r.columns, err = tables[r.table].read(r.event); err != nil {
			return err
		}
		b.due = b.due || r.columns.due.Valid
	}
	return nil
}

// Shows reports whether the view has rows for the kind; events of others only move its position.
func Shows(kind subjects.Kind) bool { return tableOf(kind) >= 0 }

// tableOf is the index of the kind's table, or -1.
func tableOf(kind subjects.Kind) int {
	for i := range tables {
		if tables[i].kind == kind {
			return i
		}
	}
	return -1
}

// write commits the batch and the position together.
func (s *store) write(ctx context.Context, to position) (err error) {
	// A statement whose context can end costs a goroutine each; here the context is looked at between the statements.
	whole := context.WithoutCancel(ctx)
	if _, err := s.begin.ExecContext(whole); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			s.recent.empty()
			// After some errors SQLite has rolled back itself and refuses this; the first error says what happened.
			_, _ = s.conn.ExecContext(whole, "ROLLBACK")
		}
	}()
	for i := range s.batch.rows {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := s.put(whole, &s.batch.rows[i]); err != nil {
			return err
		}
	}
	if _, err := s.moveTo.ExecContext(whole, int64(to.sequence), to.eventID); err != nil {
		return err
	}
	_, err = s.commit.ExecContext(whole)
	return err
}

// put writes one aggregate.
func (s *store) put(ctx context.Context, r *row) error {
	e, c := r.event, &r.columns
	owner, err := s.owner(ctx, r)
	if err != nil {
		return err
	}
	at, isNew, err := s.claim(ctx, key{r.table, e.ID}, r.first)
	if err != nil {
		return err
	}
	if isNew {
		_, err = s.insert[r.table].ExecContext(ctx, int64(e.Sequence), c.status, owner, c.due, []byte(e.State), at.num, e.ID)
	} else {
		_, err = s.update[r.table].ExecContext(ctx, int64(e.Sequence), c.status, owner, c.due, []byte(e.State), at.num)
	}
	if err != nil {
		return err
	}
	if tables[r.table].kind == subjects.KindOrder {
		if hash := c.factsHash(); hash != at.facts {
			if err := s.putFacts(ctx, at.num, c); err != nil {
				return err
			}
			at.facts = hash
		}
	}
	s.recent.put(key{r.table, e.ID}, at)
	return nil
}

// putFacts writes what an order is searched by, where it is new or differs.
func (s *store) putFacts(ctx context.Context, num int64, c *columns) error {
	done, err := s.facts.ExecContext(ctx, num, c.created, c.payment, c.text)
	if err != nil {
		return err
	}
	if n, err := done.RowsAffected(); err != nil || n == 0 {
		return err
	}
	_, err = s.span.ExecContext(ctx, num/chunk, c.created)
	return err
}

// factsHash tells one order's facts from another's; never 0.
func (c *columns) factsHash() uint64 {
	h := fnv.New64a()
	h.Write(strconv.AppendInt(nil, c.created, 10))
	h.Write([]byte(c.payment))
	h.Write([]byte{separator})
	h.Write(c.text)
	return h.Sum64() | 1
}

// claim is the aggregate's row, or makes its entry in ids with first as its num and leaves the row to the caller.
func (s *store) claim(ctx context.Context, k key, first uint64) (at known, isNew bool, err error) {
	if at, found := s.recent.get(k); found {
		return at, false, nil
	}
	// What is not remembered is new more often than not, so it is written first and looked up only if that did nothing.
	done, err := s.name.ExecContext(ctx, k.id, k.table, int64(first))
	if err != nil {
		return at, false, err
	}
	if n, err := done.RowsAffected(); err != nil || n == 1 {
		return known{num: int64(first)}, true, err
	}
	at, _, err = s.find(ctx, k)
	return at, false, err
}

// find is the aggregate's row; found is false when it has none yet.
func (s *store) find(ctx context.Context, k key) (at known, found bool, err error) {
	if at, found = s.recent.get(k); found {
		return at, true, nil
	}
	switch err := s.number.QueryRowContext(ctx, k.id, k.table).Scan(&at.num); {
	case err == nil:
		s.recent.put(k, at)
		return at, true, nil
	case errors.Is(err, sql.ErrNoRows):
		return at, false, nil
	default:
		return at, false, err
	}
}

// owner is the value of the column of that name. In the journal causes come before effects, so an order has its row before
// any of its parts. A part without one is nobody's until its next event; that the order's row may be in this batch, though
// its first event comes after the part's last, must not matter, or a view would depend on how it was cut into batches.
func (s *store) owner(ctx context.Context, r *row) (any, error) {
	parent := key{table: tableOf(subjects.KindOrder), id: r.columns.order}
	switch tables[r.table].kind {
	case subjects.KindOrder:
		return r.columns.customer, nil
	case subjects.KindRefund:
		parent = key{table: tableOf(subjects.KindPayment), id: r.event.ID}
	case subjects.KindCatalog, subjects.KindWebhook:
		return nil, nil
	}
	at, found, err := s.find(ctx, parent)
	if err != nil || !found || at.num > int64(r.event.Sequence) {
		return nil, err
	}
	return at.num, nil
}
