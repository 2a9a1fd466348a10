package handlers

import (
	"context"
	"encoding/hex"
	"sync"
	"time"

	"waybill/internal/fault"
	"waybill/internal/guard"
	"waybill/internal/id"
	"waybill/internal/inventory"
	"waybill/internal/journal"
	"waybill/internal/rpc"
	"waybill/internal/scope"
	"waybill/subjects"
)

// stockroom is the state of one term. mu guards all of it; nothing waits while it is held.
type stockroom struct {
	*Inventory
	fence *journal.Fence
	end   context.CancelCauseFunc
	wake  chan struct{} // the earliest time limit may have changed

	mu       *sync.Mutex // goes with the book
	book     *inventory.Book
	stock    map[id.SKU]link       // the last event of each SKU
	lately   *recent               // the last events of reservations, which a load from before may have missed
	sent     *sending              // the last event that was sent, nil at first
	flight   map[*sending]struct{} // all whose fate is not known
	sequence uint64                // of the last event when the term began
	began    place                 // the last event of the book when the term began
	lost     error                 // why the book can't be trusted any more
}

// sending is an event on its way; done is closed when its fate is known.
type sending struct {
	link
	done     chan struct{}
	sequence uint64
	err      error
}

// newStockroom begins a term after the claim of the fence. end ends it.
func newStockroom(v *Inventory, fence *journal.Fence, end context.CancelCauseFunc) *stockroom {
	return &stockroom{
		Inventory: v, mu: new(sync.Mutex), book: inventory.NewBook(), stock: make(map[id.SKU]link), lately: newRecent(4096), flight: make(map[*sending]struct{}),
		fence: fence, sequence: fence.Sequence, end: end, wake: make(chan struct{}, 1),
	}
}

func (t *stockroom) register(s *rpc.Server) {
	rpc.Handle(s, subjects.InventoryReceive, t.receive)
	rpc.Handle(s, subjects.InventoryAdjust, t.adjust)
	rpc.Handle(s, subjects.InventoryGet, t.get)
	rpc.Handle(s, subjects.InventoryList, t.list)
	rpc.Handle(s, subjects.InventoryReserve, t.reserve)
	rpc.Handle(s, subjects.InventoryExtend, t.extend)
	rpc.Handle(s, subjects.InventoryCommit, t.commit)
	rpc.Handle(s, subjects.InventoryRelease, t.release)
	rpc.Handle(s, subjects.InventoryConsume, t.consume)
	rpc.Handle(s, subjects.InventoryEnd, t.endReservation)
}

// read rebuilds the book: from the one at hand or the snapshot, where the journal bears it out, and the journal after it; else from the whole journal.
func (t *stockroom) read(ctx context.Context) error {
	if !t.resume(ctx) {
		t.restore(ctx)
	}
	return t.readRest(ctx)
}

// readRest applies what the journal has after the book; where that can't have happened to it, all of the journal to an empty one.
func (t *stockroom) readRest(ctx context.Context) error {
	if t.began.sequence > 0 {
		err := t.replay(ctx)
		if err == nil || ctx.Err() != nil || fault.CodeOf(err) != fault.Internal {
			return err
		}
		t.log.Warn().Err(err).Msg("the journal does not follow from the snapshot of the stock; all of it is read")
		t.mu.Lock()
		t.book, t.began = inventory.NewBook(), place{}
		t.mu.Unlock()
		clear(t.stock)
	}
	return t.replay(ctx)
}

// replay applies what the journal has after the last event of the book.
func (t *stockroom) replay(ctx context.Context) error {
	start, n, from := time.Now(), 0, t.began.sequence+1
	_, err := t.journal.Replay(ctx, from, []string{
		subjects.EventsOf(t.site, subjects.KindStock), subjects.EventsOf(t.site, subjects.KindReservation),
	}, func(r journal.Record) error {
		_, event := r.Event()
		e, err := inventory.Decode(inventory.EventType(event), r.Data)
		if err != nil {
			return err
		}
		t.mu.Lock() // a snapshot of it may just be written
		err = t.book.Apply(e)
		t.mu.Unlock()
		if err != nil {
			return err
		}
		l := newLink(r)
		t.link(e, l)
		t.began = place{l, r.Sequence}
		n++
		return nil
	})
	stocks, reservations := t.book.Len()
	t.log.Info().Uint64("from", from).Int("events", n).Int("skus", stocks).Int("reservations", reservations).
		Int64("ms", time.Since(start).Milliseconds()).Msg("stock read from the journal")
	return err
}

// link remembers what the next event of the same aggregate has to name. A reservation's is loaded when it is needed: there are
// as many as there are open orders, and few have a next event at any moment.
func (t *stockroom) link(e inventory.Event, l link) {
	if sku := e.Aggregate().SKU; sku != "" {
		t.stock[sku] = l
	}
}

// link is what an event says of the one before it on its subject.
type link struct{ id, hash [16]byte }

func newLink(r journal.Record) (l link) {
	// Both are 32 hexadecimal digits, as id.NewEvent and journal.Hash make them; anything else breaks the chain, which verify finds.
	_, _ = hex.Decode(l.id[:], []byte(r.ID[:min(len(r.ID), 32)]))
	_, _ = hex.Decode(l.hash[:], []byte(r.Hash[:min(len(r.Hash), 32)]))
	return l
}

// record is the event as far as the next one has to know it.
func (l link) record() journal.Record {
	return journal.Record{ID: hex.EncodeToString(l.id[:]), Hash: hex.EncodeToString(l.hash[:])}
}

// place is an event and where it stands in the journal.
type place struct {
	link
	sequence uint64
}

// known is what the journal has of a reservation: its last event, and its state where it has ended and the book does not hold
// it any more.
type known struct {
	last  journal.Record
	ended *inventory.Reservation
}

// do decides a command and writes its event. reservation is the one it is about; empty for stock. When it returns without
// error, the journal has all that the answer rests on. now is what the event made of its aggregate; nil where none was written.
func (t *stockroom) do(ctx context.Context, c inventory.Command, reservation id.Reservation) (now any, err error) {
	stored, err := t.before(ctx, c, reservation)
	if err != nil {
		return nil, err
	}
	start := time.Now()
	p, now, s, err := t.decide(ctx, c, reservation, stored)
	if p == nil {
		if failed := t.settled(ctx, s); failed != nil {
			return nil, failed // what the refusal rests on may not be so
		}
		return nil, err
	}
	// The event is on its way, whether or not its caller still waits: its fate is what the book hangs on.
	r, err := p.Wait(context.WithoutCancel(ctx))
	s.sequence, s.err = r.Sequence, err
	close(s.done)
	t.land(s)
	if err != nil {
		return nil, fault.Wrap(err, fault.Unavailable, "the stock could not be written; ask again with the same id")
	}
	changed(t.hook, &t.log, r, "", start)
	return now, nil
}

// decide is the part of do under the lock: it sends the event, and tells what it makes of its aggregate. Without an event s is the
// last one that was sent before.
func (t *stockroom) decide(ctx context.Context, c inventory.Command, reservation id.Reservation, stored known) (p *journal.Pending, now any, s *sending, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.lost != nil {
		return nil, nil, nil, fault.Wrap(t.lost, fault.Unavailable, "the stock is being read anew; try again")
	}
	if late, ok := t.lately.get(reservation); ok {
		stored = known{late.record(), late.ended}
	}
	if guard.Off(guard.Idempotency) {
		stored.ended = nil
	}
	e, err := t.book.Decide(c, stored.ended)
	if err != nil || e == nil {
		return nil, nil, t.sent, err
	}
	state, err := t.book.After(e)
	if err != nil {
		return nil, nil, nil, err
	}
	subject, kind, key := t.aggregate(e)
	last := stored.last
	if l, ok := t.stock[e.Aggregate().SKU]; ok {
		last = l.record()
	}
	p, err = t.journal.Start(ctx, journal.Entry{
		Subject: subject, Kind: kind, Event: string(e.Type()), CeSubject: key, Time: t.clock.now(),
		Data: e, State: state, Previous: last, Fence: t.fence,
	})
	if err != nil {
		return nil, nil, nil, err
	}
	if err := t.book.Apply(e); err != nil {
		t.lost = err // After had allowed it: the book is at odds with itself
		t.end(err)
	}
	l := newLink(p.Record())
	t.link(e, l)
	if now, ok := state.(inventory.Reservation); ok {
		k := late{link: l}
		if !now.Status.Live() {
			k.ended = &now
		}
		t.lately.put(now.ReservationID, k)
	}
	t.sent = &sending{link: l, done: make(chan struct{})}
	t.flight[t.sent] = struct{}{}
	select {
	case t.wake <- struct{}{}:
	default:
	}
	return p, state, t.sent, nil
}

func (t *stockroom) aggregate(e inventory.Event) (subject string, kind subjects.Kind, key string) {
	if a := e.Aggregate(); a.ReservationID != "" {
		return subjects.Event(t.site, subjects.KindReservation, a.ReservationID), subjects.KindReservation, string(a.ReservationID)
	}
	sku := e.Aggregate().SKU
	return subjects.Event(t.site, subjects.KindStock, sku), subjects.KindStock, string(sku)
}

// before loads the last event of what the command is about, where this term does not know it.
func (t *stockroom) before(ctx context.Context, c inventory.Command, reservation id.Reservation) (known, error) {
	var sku id.SKU
	switch c := c.(type) {
	case inventory.Receive:
		sku = c.SKU
	case inventory.Adjust:
		sku = c.SKU
	default:
		return t.stored(ctx, reservation)
	}
	t.mu.Lock()
	_, exists := t.book.Stock(sku)
	_, linked := t.stock[sku]
	t.mu.Unlock()
	if !exists || linked {
		return known{}, nil
	}
	r, _, err := t.journal.Load(ctx, subjects.Event(t.site, subjects.KindStock, sku))
	r.Data, r.State = nil, nil
	return known{last: r}, err
}

// stored loads what the journal has of a reservation.
func (t *stockroom) stored(ctx context.Context, reservation id.Reservation) (known, error) {
	if reservation == "" {
		return known{}, nil
	}
	r, ok, err := t.journal.Load(ctx, subjects.Event(t.site, subjects.KindReservation, reservation))
	if err != nil || !ok {
		return known{}, err
	}
	h, err := hold[inventory.Reservation](r)
	if err != nil {
		return known{}, err
	}
	k := known{last: r}
	k.last.Data, k.last.State = nil, nil
	if !h.state.Status.Live() {
		k.ended = &h.state
	}
	return k, nil
}

// settled waits until everything that was sent up to s is in the journal, as what the book says rests on it, and makes sure that
// no other leader has written since: an answer that appends nothing has no fence of its own.
func (t *stockroom) settled(ctx context.Context, s *sending) error {
	sequence := t.sequence
	if s != nil {
		select {
		case <-s.done:
		case <-ctx.Done():
			return ctx.Err()
		}
		if s.err != nil {
			return fault.Wrap(s.err, fault.Unavailable, "the stock is being read anew; try again")
		}
		sequence = s.sequence
	}
	claimed, _, err := t.journal.Load(ctx, t.fence.Subject)
	if err != nil {
		return err
	}
	if claimed.Sequence != t.fence.Sequence {
		t.fail(journal.ErrConflict)
		return fault.New(fault.Unavailable, "another process leads the stock by now; try again")
	}
	scope.Note(ctx, sequence)
	return nil
}

// land takes note of an event's fate.
func (t *stockroom) land(s *sending) {
	if s.err != nil {
		t.fail(s.err)
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.flight, s)
}

// fail ends the term: the book holds an event that the journal may not have.
func (t *stockroom) fail(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.lost == nil {
		t.lost = err
	}
	t.end(err)
}

// expire releases held reservations when their time comes, late rather than never, until ctx ends.
func (t *stockroom) expire(ctx context.Context) {
	for ctx.Err() == nil {
		t.mu.Lock()
		r, at, ok := t.book.NextExpiry()
		t.mu.Unlock()
		wait := time.Duration(-1)
		if ok {
			if wait = at.Sub(t.clock.now()); wait <= 0 {
				if _, err := t.do(ctx, inventory.Expire{ReservationID: r, At: t.clock.now()}, r); err != nil && ctx.Err() == nil {
					t.log.Warn().Err(err).Str("reservation_id", string(r)).Msg("a reservation could not be ended; it is tried again")
					wait = time.Second
				} else {
					continue
				}
			}
		}
		t.sleep(ctx, wait)
	}
}

// sleep waits for d, at most a second at a time as the clock may be set; for ever where d is negative; and until the earliest
// time limit may have changed.
func (t *stockroom) sleep(ctx context.Context, d time.Duration) {
	var timer <-chan time.Time
	if d >= 0 {
		tm := time.NewTimer(min(d, time.Second))
		defer tm.Stop()
		timer = tm.C
	}
	select {
	case <-timer:
	case <-t.wake:
	case <-ctx.Done():
	}
}

// late is what the journal will have of a reservation, as this term sent it.
type late struct {
	link
	ended *inventory.Reservation
}

// recent keeps the last events of a few reservations, the oldest giving way: more of them than can be on their way at once.
type recent struct {
	byID  map[id.Reservation]late
	order []id.Reservation
	next  int
}

func newRecent(n int) *recent {
	return &recent{byID: make(map[id.Reservation]late, n), order: make([]id.Reservation, n)}
}

func (r *recent) get(reservation id.Reservation) (late, bool) {
	k, ok := r.byID[reservation]
	return k, ok
}

func (r *recent) put(reservation id.Reservation, k late) {
	if _, ok := r.byID[reservation]; !ok {
		delete(r.byID, r.order[r.next])
		r.order[r.next] = reservation
		r.next = (r.next + 1) % len(r.order)
	}
	r.byID[reservation] = k
}
