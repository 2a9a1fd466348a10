package verify

import (
	"slices"

	"waybill/internal/id"
	"waybill/internal/journal"
	"waybill/internal/money"
	"waybill/internal/order"
	"waybill/internal/timestamp"
	"waybill/subjects"
)

// orderTrace is what is kept of an order.
type orderTrace struct {
	state     *order.State // nil once the order is final: nothing can follow then
	lost      bool         // an event could not be read
	status    order.Status
	method    order.Method
	total     money.Money
	lines     tally // with each line's price, tax included
	due       timestamp.Time
	confirmed bool   // it once was
	since     uint64 // the sequence of its first event
	sequence  uint64

	parts parts // filled in when the whole journal is read
}

func (c *check) orderTrace(o id.Order) *orderTrace {
	t, ok := c.orders[o]
	if !ok {
		t = &orderTrace{state: &order.State{}}
		c.orders[o] = t
	}
	return t
}

func (c *check) order(r journal.Record, o id.Order, event string) {
	t := c.orderTrace(o)
	if t.since == 0 {
		t.since = r.Sequence
	}
	e, err := order.Decode(order.EventType(event), r.Data)
	if err != nil {
		c.at(r, RuleBody, "%s", why(err))
	}
	before := order.State{OrderID: o, Status: t.status}
	if t.state != nil {
		before = *t.state
	}
	state, clean := step(c, r, err == nil && !t.lost,
		func() (order.State, error) { return order.Apply(before, e) },
		func(*order.State) string { return RuleTransition })
	if t.lost = state == nil; t.lost {
		return
	}
	if placed, is := e.(order.Placed); is {
		c.placed(r, placed)
	}
	if state.OrderID != o && clean {
		c.at(r, RuleReference, "the event is of the order %.80s", state.OrderID)
	}
	t.keep(c, state, r)
	if order.EventType(event) == order.TypeConfirmed {
		t.confirmed = true
	}
	c.due(r, subjects.KindOrder, event)
}

func (t *orderTrace) keep(c *check, s *order.State, r journal.Record) {
	t.state, t.status, t.method, t.due, t.sequence = s, s.Status, s.Method, s.DueAt, r.Sequence
	t.total, t.lines = s.Total, tally{}
	for _, l := range s.Lines {
		gross, err := l.Gross()
		if err != nil {
			continue // reported when the order was placed
		}
		t.lines.add(c.seed, l.SKU, l.Quantity, gross.Amount)
	}
	if s.Status.Final() {
		t.state = nil
	}
}

// placed checks an order's sums and the names of its parts.
func (c *check) placed(r journal.Record, e order.Placed) {
	lines, subtotal, tax, total, err := order.Price(e.Lines)
	switch {
	case err != nil:
		c.at(r, RuleMoney, "the order can't be priced: %s", why(err))
	case !slices.Equal(lines, e.Lines) || subtotal != e.Subtotal || tax != e.Tax || total != e.Total:
		c.at(r, RuleMoney, "the lines come to %s and %s of tax, %s in all; the order says %s, %s and %s",
			subtotal, tax, total, e.Subtotal, e.Tax, e.Total)
	}
	if e.PaymentID != id.PaymentOf(e.OrderID) || e.ReservationID != id.ReservationOf(e.OrderID) {
		c.at(r, RuleReference, "its payment %.80s or its reservation %.80s is not the order's own", e.PaymentID, e.ReservationID)
	}
}

func (c *check) orderSubject(o id.Order) string { return subjects.Event(c.site, subjects.KindOrder, o) }
