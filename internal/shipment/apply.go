package shipment

import (
	"slices"

	"waybill/internal/fault"
	"waybill/internal/timestamp"
)

// Apply is the shipment after the event. It shares with s what did not change and writes to nothing of it. An event that
// can't have happened to s, or a split that would lose or make units or money, is an error of code internal.
func Apply(s State, e Event) (State, error) {
	n, ok := apply(s, e)
	if !ok {
		return State{}, fault.New(fault.Internal, "the event %T is impossible for a shipment whose status is %q", e, string(s.Status))
	}
	return n, nil
}

func apply(s State, e Event) (State, bool) {
	switch e := e.(type) {
	case Planned:
		if s.Status != "" {
			return s.reduce(e)
		}
		amount, err := sum(e.Lines)
		return State{ShipmentID: e.ShipmentID, OrderID: e.OrderID, Status: StatusPending, Fulfilment: e.Fulfilment, Lines: e.Lines,
			Amount: amount, Parent: e.SplitFrom, CreatedAt: e.At, UpdatedAt: e.At}, err == nil && check(e.Lines) == nil && e.SplitInto == ""
	case Booked:
		s.Carrier, s.Tracking = e.Carrier, e.Tracking
		n, ok := s.move(StatusBooked, "", e.At)
		return n, ok && s.Fulfilment == Ship
	case Preparing:
		n, ok := s.move(StatusPreparing, "", e.At)
		return n, ok && s.Fulfilment == Pickup
	case BecameReady:
		return s.move(StatusReady, "", e.At)
	case Dispatched:
		s.Carrier, s.Tracking = e.Carrier, e.Tracking
		return s.move(StatusDispatched, "", e.At)
	case DeliveryFailed:
		return s.move(StatusDeliveryFailed, e.Reason, e.At)
	case Delivered:
		return s.move(StatusDelivered, "", e.At)
	case Returned:
		return s.move(StatusReturned, e.Reason, e.At)
	case Cancelled:
		return s.move(StatusCancelled, e.Reason, e.At)
	}
	return s, false
}

// reduce is the parent after a split: what it lost, in units and in money, is what the child has.
func (s State) reduce(e Planned) (State, bool) {
	if s.Status != StatusPending || e.ShipmentID != s.ShipmentID || e.SplitInto == "" || slices.Contains(s.Children, e.SplitInto) {
		return s, false
	}
	child, ok := difference(s.Lines, e.Lines)
	amount, err := sum(e.Lines)
	if !ok || len(child) == 0 || err != nil || check(e.Lines) != nil {
		return s, false
	}
	s.Lines, s.Amount, s.UpdatedAt = e.Lines, amount, e.At
	s.Children = append(slices.Clone(s.Children), e.SplitInto)
	if e.Key != "" {
		s.SplitKeys = append(slices.Clone(s.SplitKeys), SplitKey{e.Key, e.SplitInto, child})
	}
	return s, true
}

// difference is what lines have over rest; false where rest is not a part of them.
func difference(lines, rest []Line) (over []Line, ok bool) {
	found := 0
	for _, l := range lines {
		if i := find(rest, l.SKU); i >= 0 {
			found++
			l.Quantity -= rest[i].Quantity
			l.Amount.Amount -= rest[i].Amount.Amount
			if l.Quantity < 0 || l.Amount.Amount < 0 || l.Amount.Currency != rest[i].Amount.Currency || l.Quantity == 0 && l.Amount.Amount != 0 {
				return nil, false
			}
		}
		if l.Quantity > 0 {
			over = append(over, l)
		}
	}
	return over, found == len(rest)
}

func (s State) move(to Status, reason string, at timestamp.Time) (State, bool) {
	ok := Allowed(s.Status, to)
	s.Status, s.Reason, s.UpdatedAt = to, reason, at
	return s, ok
}
