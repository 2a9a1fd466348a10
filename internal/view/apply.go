package view

import (
	"context"
	"database/sql/driver"
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
// unavailable when the file is damaged or the view is closed. A context that ends stops the batch soon.
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
	some  []*row      // those that are written together
	spans []span      // of the orders whose facts are new
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
	at      known
	isNew   bool
	owner   driver.Value
}

// span is a row of the table spans.
type span struct {
	chunk, earliest, latest int64
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
	clear(b.some[:cap(b.some)])
	b.rows, b.last, b.due = b.rows[:0], nil, false
	b.some, b.spans = b.some[:0], b.spans[:0]
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
func (s *store) write(ctx context.Context, to position) error {
	return s.conn.Raw(func(any) error { return s.transact(ctx, to) })
}

func (s *store) transact(ctx context.Context, to position) (err error) {
	// A statement whose context can end costs a goroutine each; here the context is looked at between the rows.
	whole := context.WithoutCancel(ctx)
	if _, err := s.begin.exec(whole); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			s.recent.empty()
			// After some errors SQLite has rolled back itself and refuses this; the first error says what happened.
			_, _ = s.rollback.exec(whole)
		}
	}()
	if err := s.claim(ctx, whole); err != nil {
		return err
	}
	rows := s.batch.rows
	for len(rows) > 0 {
		n := 1
		for n < len(rows) && rows[n].table == rows[0].table {
			n++
		}
		if err := s.put(ctx, whole, rows[:n]); err != nil {
			return err
		}
		rows = rows[n:]
	}
	for _, sp := range s.batch.spans {
		s.span.bind(0, sp.chunk, sp.earliest, sp.latest)
		if _, err := s.span.exec(whole); err != nil {
			return err
		}
	}
	s.moveTo.bind(0, int64(to.sequence), to.eventID)
	if _, err := s.moveTo.exec(whole); err != nil {
		return err
	}
	_, err = s.commit.exec(whole)
	return err
}

// claim finds out where the batch's aggregates stand. A new one gets its entry in ids, with the sequence of its first event as
// its num; its row is left to put.
func (s *store) claim(ctx, whole context.Context) error {
	b := &s.batch
	b.some = b.some[:0]
	for i := range b.rows {
		r := &b.rows[i]
		var found bool
		if r.at, found = s.recent.get(key{r.table, r.event.ID}); !found {
			b.some = append(b.some, r)
		}
	}
	// What is not remembered is new more often than not, so it is written first and looked up only if that did nothing.
	values := make([]driver.Value, 3)
	for rest := b.some; len(rest) > 0; {
		if err := ctx.Err(); err != nil {
			return err
		}
		n := min(len(rest), together)
		written, err := s.names.write(whole, n, func(i int) []driver.Value {
			r := rest[i]
			values[0], values[1], values[2] = r.event.ID, int64(r.table), int64(r.first)
			return values
		})
		if err != nil {
			return err
		}
		for _, r := range rest[:n] {
			r.at, r.isNew = known{num: int64(r.first)}, true
			if written < int64(n) {
				at, _, err := s.lookUp(whole, key{r.table, r.event.ID})
				if err != nil {
					return err
				}
				// What stood there before is of an earlier event: this batch begins after all of them.
				r.at, r.isNew = at, at.num == int64(r.first)
			}
			s.recent.put(key{r.table, r.event.ID}, r.at)
		}
		rest = rest[n:]
	}
	return nil
}

// put writes rows of one table.
func (s *store) put(ctx, whole context.Context, rows []row) error {
	b := &s.batch
	b.some = b.some[:0]
	table := rows[0].table
	var err error
	for i := range rows {
		if err := ctx.Err(); err != nil {
			return err
		}
		r := &rows[i]
		if r.owner, err = s.owner(whole, r); err != nil {
			return err
		}
		if r.isNew {
			b.some = append(b.some, r)
			continue
		}
		st, c := s.update[table], &r.columns
		st.bind(0, int64(r.event.Sequence), c.status, r.owner, dueValue(c), []byte(r.event.State), r.at.num)
		if _, err := st.exec(whole); err != nil {
			return err
		}
	}
	values := make([]driver.Value, 7)
	_, err = s.insert[table].write(whole, len(b.some), func(i int) []driver.Value {
		r := b.some[i]
		values[0], values[1], values[2], values[3] = int64(r.event.Sequence), r.columns.status, r.owner, dueValue(&r.columns)
		values[4], values[5], values[6] = []byte(r.event.State), r.at.num, r.event.ID
		return values
	})
	if err != nil || tables[table].kind != subjects.KindOrder {
		return err
	}
	return s.putFacts(whole, rows)
}

// dueValue is the value of the column due.
func dueValue(c *columns) driver.Value {
	if !c.due.Valid {
		return nil
	}
	return c.due.Int64
}

// putFacts writes what orders are searched by, where it is new or differs. The new orders are those of batch.some.
func (s *store) putFacts(ctx context.Context, rows []row) error {
	b := &s.batch
	values := make([]driver.Value, 4)
	facts := func(r *row) []driver.Value {
		values[0], values[1], values[2], values[3] = r.at.num, r.columns.created, r.columns.payment, r.columns.text
		return values
	}
	if _, err := s.facts.write(ctx, len(b.some), func(i int) []driver.Value { return facts(b.some[i]) }); err != nil {
		return err
	}
	for i := range rows {
		r := &rows[i]
		hash := r.columns.factsHash()
		if hash == r.at.facts {
			continue
		}
		written := int64(1)
		if !r.isNew {
			s.refact.bind(0, facts(r)...)
			var err error
			if written, err = s.refact.exec(ctx); err != nil {
				return err
			}
		}
		if written > 0 {
			b.span(r.at.num/chunk, r.columns.created)
		}
		r.at.facts = hash
		s.recent.put(key{r.table, r.event.ID}, r.at)
	}
	return nil
}

// span notes that an order of the chunk was created then.
func (b *batch) span(chunk, created int64) {
	for i := len(b.spans) - 1; i >= 0; i-- {
		if sp := &b.spans[i]; sp.chunk == chunk {
			sp.earliest, sp.latest = min(sp.earliest, created), max(sp.latest, created)
			return
		}
	}
	b.spans = append(b.spans, span{chunk, created, created})
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

// find is where the aggregate stands; found is false when it has no row yet.
func (s *store) find(ctx context.Context, k key) (at known, found bool, err error) {
	if at, found = s.recent.get(k); found {
		return at, true, nil
	}
	if at, found, err = s.lookUp(ctx, k); found {
		s.recent.put(k, at)
	}
	return at, found, err
}

// lookUp is find in the file.
func (s *store) lookUp(ctx context.Context, k key) (at known, found bool, err error) {
	s.number.bind(0, k.id, int64(k.table))
	at.num, found, err = s.number.number(ctx)
	return at, found, err
}

// owner is the value of the column of that name. In the journal causes come before effects, so an order has its row before
// any of its parts. A part without one is nobody's until its next event; that the order's row may be in this batch, though
// its first event comes after the part's last, must not matter, or a view would depend on how it was cut into batches.
func (s *store) owner(ctx context.Context, r *row) (driver.Value, error) {
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
