package inventory

import (
	"slices"

	"waybill/internal/fault"
	"waybill/internal/timestamp"
)

// Apply is the reservation after the event. It shares with r what did not change and writes to nothing of it. An event that
// can't have happened to r is an error of code internal. Whether there was stock for it only the Book knows.
func Apply(r Reservation, e Event) (Reservation, error) {
	n, ok := apply(r, e)
	if !ok || r.Status != "" && e.Aggregate().ReservationID != r.ReservationID {
		return Reservation{}, fault.New(fault.Internal, "the event %T is impossible for the reservation %q, whose status is %q",
			e, string(r.ReservationID), string(r.Status))
	}
	return n, nil
}

func apply(r Reservation, e Event) (Reservation, bool) {
	switch e := e.(type) {
	case Held:
		n := Reservation{ReservationID: e.ReservationID, Status: StatusHeld, Lines: e.Lines, ExpiresAt: e.ExpiresAt, UpdatedAt: e.At}
		return n, r.Status == "" && summed(e.Lines)
	case Extended:
		ok := r.Status == StatusHeld && !r.ExpiresAt.IsZero() && (e.ExpiresAt.IsZero() || r.ExpiresAt.Before(e.ExpiresAt))
		r.ExpiresAt, r.UpdatedAt = e.ExpiresAt, e.At
		return r, ok
	case Committed:
		return r.move(StatusCommitted, e.At)
	case Released:
		if r.Status == "" {
			n := Reservation{ReservationID: e.ReservationID, Status: StatusReleased, Lines: e.Lines, UpdatedAt: e.At}
			return n, e.BeforeHold && (len(e.Lines) == 0 || summed(e.Lines))
		}
		n, ok := r.move(StatusReleased, e.At)
		return n, ok && !e.BeforeHold && slices.Equal(e.Lines, r.Left())
	case Expired:
		n, ok := r.move(StatusExpired, e.At)
		return n, ok && !r.ExpiresAt.IsZero() && slices.Equal(e.Lines, r.Lines)
	case Consumed:
		return r.consumed(e)
	}
	return r, false
}

func (r Reservation) consumed(e Consumed) (Reservation, bool) {
	if _, again := r.consumption(e.ShipmentID); again || !summed(e.Lines) {
		return r, false
	}
	left := r.Left()
	for _, l := range e.Lines {
		if l.Quantity > quantity(left, l.SKU) {
			return r, false
		}
	}
	to := StatusPartiallyConsumed
	if len(subtract(left, e.Lines)) == 0 {
		to = StatusConsumed
	}
	r.Consumptions = append(slices.Clone(r.Consumptions), Consumption{e.ShipmentID, e.Lines})
	return r.move(to, e.At)
}

// move changes the status; a time limit stands in held only.
func (r Reservation) move(to Status, at timestamp.Time) (Reservation, bool) {
	ok := Allowed(r.Status, to)
	r.Status, r.UpdatedAt, r.ExpiresAt = to, at, timestamp.Time{}
	return r, ok
}
