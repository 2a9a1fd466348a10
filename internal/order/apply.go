package order

import (
	"waybill/internal/fault"
	"waybill/internal/timestamp"
)

// Apply is the order after the event. It shares with s what did not change and writes to nothing of it. An event that
// can't have happened to s is an error of code internal.
func Apply(s State, e Event) (State, error) {
	switch e := e.(type) {
	case Placed:
		if s.Status != "" {
			return State{}, impossible(s.Status, e)
		}
		return State{
			OrderID: e.OrderID, Status: StatusPending, CustomerID: e.CustomerID, Lines: e.Lines, Subtotal: e.Subtotal, Tax: e.Tax,
			Total: e.Total, Fulfilment: e.Fulfilment, Method: e.Method, Sealed: e.Sealed, Token: e.Token, RequestHash: e.RequestHash,
			PaymentID: e.PaymentID, ReservationID: e.ReservationID, CreatedAt: e.At, UpdatedAt: e.At, DueAt: e.DueAt, ExpiresAt: e.ExpiresAt,
		}, nil
	case Confirmed:
		return move(s, StatusConfirmed, e, e.At, nil, timestamp.Time{})
	case Rejected:
		return move(s, StatusRejected, e, e.At, &e.Reason, timestamp.Time{})
	case NeedsAction:
		n, err := move(s, StatusNeedsAction, e, e.At, &e.Reason, e.DueAt)
		if err == nil {
			n.ExpiresAt = e.ExpiresAt
		}
		return n, err
	case Resumed:
		if s.Status != StatusNeedsAction || !resumable(e.Status) {
			return State{}, impossible(s.Status, e)
		}
		return move(s, e.Status, e, e.At, nil, e.DueAt)
	case Fulfilling:
		return move(s, StatusFulfilling, e, e.At, nil, timestamp.Time{})
	case Completed:
		return move(s, StatusCompleted, e, e.At, nil, timestamp.Time{})
	case Cancelling:
		return move(s, StatusCancelling, e, e.At, &Reason{ReasonCancelled, e.Reason}, e.DueAt)
	case Cancelled:
		return move(s, StatusCancelled, e, e.At, s.Reason, timestamp.Time{})
	case Expired:
		return move(s, StatusExpired, e, e.At, &e.Reason, timestamp.Time{})
	}
	return State{}, fault.New(fault.Internal, "an order knows no event %T", e)
}

// move changes the status and keeps the rule of which field stands in which status.
func move(s State, to Status, e Event, at timestamp.Time, reason *Reason, due timestamp.Time) (State, error) {
	if !Allowed(s.Status, to) {
		return State{}, impossible(s.Status, e)
	}
	s.Status, s.Reason, s.UpdatedAt, s.DueAt = to, reason, at, timestamp.Time{}
	if to.open() || to == StatusCancelling {
		s.DueAt = due
	}
	if !to.open() {
		s.Token, s.ExpiresAt = nil, timestamp.Time{}
	}
	return s, nil
}

func impossible(from Status, e Event) error {
	return fault.New(fault.Internal, "the event %s is impossible for an order whose status is %q", e.Type(), string(from))
}
