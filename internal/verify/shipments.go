package verify

import (
	"waybill/internal/id"
	"waybill/internal/journal"
	"waybill/internal/shipment"
	"waybill/subjects"
)

// shipmentTrace is what is kept of a shipment.
type shipmentTrace struct {
	state    *shipment.State // nil once the shipment is final
	lost     bool
	order    id.Order
	status   shipment.Status
	lines    tally
	consumed *tally // what was consumed of the stock with it; nil where nothing was
	sequence uint64
}

func (c *check) shipmentTrace(s id.Shipment) *shipmentTrace {
	t, ok := c.shipments[s]
	if !ok {
		t = &shipmentTrace{state: &shipment.State{}}
		c.shipments[s] = t
	}
	return t
}

func (c *check) shipment(r journal.Record, s id.Shipment, event string) {
	t := c.shipmentTrace(s)
	e, err := shipment.Decode(shipment.EventType(event), r.Data)
	if err != nil {
		c.at(r, RuleBody, "%s", why(err))
	}
	before := shipment.State{ShipmentID: s, Status: t.status}
	if t.state != nil {
		before = *t.state
	}
	state, clean := step(c, r, err == nil && !t.lost,
		func() (shipment.State, error) { return shipment.Apply(before, e) },
		func(written *shipment.State) string {
			if before.Status != written.Status && shipment.Allowed(before.Status, written.Status) || before.Status == written.Status {
				return RuleState
			}
			return RuleTransition
		})
	if t.lost = state == nil; t.lost {
		return
	}
	if state.ShipmentID != s && clean {
		c.at(r, RuleReference, "the event is of the shipment %.80s", state.ShipmentID)
	}
	if p, is := e.(shipment.Planned); is && p.SplitInto != "" {
		c.half = state.OrderID
	}
	left := gone(t.status)
	t.keep(c, state, r)
	if before.Status == "" && clean {
		c.planned(r, state)
	}
	if clean && !left && gone(t.status) {
		c.left(r, t)
	}
	c.due(r, subjects.KindShipment, event)
}

func (t *shipmentTrace) keep(c *check, s *shipment.State, r journal.Record) {
	t.state, t.order, t.status, t.sequence, t.lines = s, s.OrderID, s.Status, r.Sequence, tally{}
	for _, l := range s.Lines {
		t.lines.add(c.seed, l.SKU, l.Quantity, l.Amount.Amount)
	}
	if s.Status.Final() {
		t.state = nil
	}
}

// gone reports whether the goods of a shipment have left the house.
func gone(s shipment.Status) bool {
	switch s {
	case shipment.StatusDispatched, shipment.StatusDeliveryFailed, shipment.StatusDelivered, shipment.StatusReturned:
		return true
	}
	return false
}

// planned checks that a new shipment is a confirmed order's.
func (c *check) planned(r journal.Record, s *shipment.State) {
	if o, ok := c.orders[s.OrderID]; !ok || !o.confirmed && !o.lost {
		c.at(r, RuleReference, "the shipment is of the order %.80s, which was not confirmed before it", s.OrderID)
	}
}

// left checks that the goods of a shipment that leaves have been taken out of the stock.
func (c *check) left(r journal.Record, t *shipmentTrace) {
	switch {
	case c.stock.lost:
	case t.consumed == nil:
		c.at(r, RuleStock, "the goods left without being consumed from the stock")
	case t.consumed.units != t.lines.units:
		c.at(r, RuleStock, "other goods left than were consumed from the stock")
	}
}
