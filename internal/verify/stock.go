package verify

import (
	"waybill/internal/id"
	"waybill/internal/inventory"
	"waybill/internal/journal"
	"waybill/internal/timestamp"
	"waybill/subjects"
)

// stockroom is the stock as the journal's events make it, decided on again event by event. The book keeps, after each one and for
// each SKU, received + adjusted = on hand + consumed and 0 ≤ reserved ≤ on hand, or refuses the event.
type stockroom struct {
	book    *inventory.Book
	doubted map[id.SKU]bool // an event of it was damaged: what follows on the SKU follows from that, and is not judged again
	lost    bool            // an event could not be read, and nobody knows of which SKUs it was: no stock is judged any more
}

// reservationTrace is what is kept of a reservation; while it is live, the book has the whole of it.
type reservationTrace struct {
	lost     bool
	status   inventory.Status
	lines    tally // units alone
	consumed bool  // some of it was
	expires  timestamp.Time
	sequence uint64
}

func (c *check) reservationTrace(r id.Reservation) *reservationTrace {
	t, ok := c.reservations[r]
	if !ok {
		t = &reservationTrace{}
		c.reservations[r] = t
	}
	return t
}

// movement takes an event of a SKU's stock.
func (c *check) movement(r journal.Record, sku id.SKU, event string) {
	e, err := inventory.Decode(inventory.EventType(event), r.Data)
	if err != nil {
		c.at(r, RuleBody, "%s", why(err))
		c.stock.doubted[sku] = true
		return
	}
	if e.Aggregate().SKU != sku {
		c.at(r, RuleReference, "the event is of the stock of %.80s", e.Aggregate().SKU)
		c.doubt(sku, e.Aggregate().SKU)
		return
	}
	if c.stock.lost || c.stock.doubted[sku] {
		return
	}
	_, clean := step(c, r, true,
		func() (inventory.Stock, error) {
			after, err := c.stock.book.After(e)
			s, _ := after.(inventory.Stock)
			return s, err
		},
		func(*inventory.Stock) string { return RuleStock })
	if !clean || c.stock.book.Apply(e) != nil {
		c.doubt(sku)
	}
}

// reservation takes an event of a reservation.
func (c *check) reservation(r journal.Record, res id.Reservation, event string) {
	t := c.reservationTrace(res)
	e, err := inventory.Decode(inventory.EventType(event), r.Data)
	if err != nil {
		c.at(r, RuleBody, "%s", why(err))
		c.stock.lost = true
	} else if other := e.Aggregate().ReservationID; other != res {
		c.at(r, RuleReference, "the event is of the reservation %.80s", other)
		c.doubtLines(e, &inventory.Reservation{})
		t.lost = true
		return
	}
	before, live := c.stock.book.Reservation(res)
	if !live && t.status != "" { // the book forgets what has ended
		before = inventory.Reservation{ReservationID: res, Status: t.status}
	}
	judge := err == nil && !t.lost && !c.stock.lost
	state, clean := step(c, r, judge,
		func() (inventory.Reservation, error) { return inventory.Apply(before, e) },
		func(*inventory.Reservation) string { return RuleTransition })
	if t.lost = state == nil; t.lost {
		c.stock.lost = true
		return
	}
	t.keep(c, state, r)
	switch {
	case c.stock.lost:
	case !judge || !clean:
		c.doubtLines(e, state)
		t.lost = true // the book has another than the journal
	default:
		c.take(r, t, e, state)
	}
	if consumed, is := e.(inventory.Consumed); is {
		c.consume(consumed)
	}
}

// take brings the book up to an event that the reservation itself allows: whether there was stock for it only the book knows.
func (c *check) take(r journal.Record, t *reservationTrace, e inventory.Event, state *inventory.Reservation) {
	doubted := false
	for _, l := range state.Lines {
		doubted = doubted || c.stock.doubted[l.SKU]
	}
	if err := c.stock.book.Apply(e); err != nil {
		if !doubted {
			c.at(r, RuleStock, "there was no stock for it: %s", why(err))
		}
		c.doubtLines(e, state)
		t.lost = true
	}
}

// doubtLines stops the judging of every SKU that an event may have touched.
func (c *check) doubtLines(e inventory.Event, state *inventory.Reservation) {
	lines := state.Lines
	switch e := e.(type) {
	case inventory.Held:
		lines = append(lines[:len(lines):len(lines)], e.Lines...)
	case inventory.Consumed:
		lines = append(lines[:len(lines):len(lines)], e.Lines...)
	case inventory.Released:
		lines = append(lines[:len(lines):len(lines)], e.Lines...)
	case inventory.Expired:
		lines = append(lines[:len(lines):len(lines)], e.Lines...)
	}
	for _, l := range lines {
		c.doubt(l.SKU)
	}
}

func (c *check) doubt(skus ...id.SKU) {
	for _, sku := range skus {
		c.stock.doubted[sku] = true
	}
}

// consume notes for a shipment what was consumed with it. A shipment's name may stand in a reservation before the shipment
// itself is in the journal only by damage, and one that is nobody's shipment is a caller's own affair.
func (c *check) consume(e inventory.Consumed) {
	s, ok := c.shipments[e.ShipmentID]
	if !ok || id.ReservationOf(s.order) != e.ReservationID {
		return
	}
	s.consumed = &tally{}
	for _, l := range e.Lines {
		s.consumed.add(c.seed, l.SKU, l.Quantity, 0)
	}
}

func (t *reservationTrace) keep(c *check, s *inventory.Reservation, r journal.Record) {
	t.status, t.consumed, t.expires, t.sequence, t.lines = s.Status, len(s.Consumptions) > 0, s.ExpiresAt, r.Sequence, tally{}
	for _, l := range s.Lines {
		t.lines.add(c.seed, l.SKU, l.Quantity, 0)
	}
}

func (c *check) reservationSubject(r id.Reservation) string {
	return subjects.Event(c.site, subjects.KindReservation, r)
}
