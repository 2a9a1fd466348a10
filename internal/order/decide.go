package order

import (
	"waybill/internal/fault"
	"waybill/internal/id"
)

// Decide says which event follows from a command. (nil, nil) means that it has already happened and the stored state is
// the answer: the order has the status that the command leads to; for Place, it was placed with the same RequestHash.
//
// Errors: not_found for an order that does not exist; failed_precondition for a transition that the table forbids, or an
// Expire before its time; already_exists for a Place of another request under the same id; invalid_argument for a command
// that makes no sense in any state.
func Decide(s State, c Command) (Event, error) {
	switch c := c.(type) {
	case nil:
		return nil, fault.New(fault.Internal, "no command was given")
	case Place:
		return place(s, c)
	case Resume:
		if !resumable(c.To) {
			return nil, fault.New(fault.InvalidArgument, "an order resumes to %s, %s or %s, not to %.40q",
				StatusPending, StatusConfirmed, StatusFulfilling, string(c.To))
		}
	}
	to := c.target()
	if s.Status == to {
		return nil, nil
	}
	if !Allowed(s.Status, to) {
		return nil, refuse(s.Status, to)
	}
	return decide(s, c)
}

// decide makes the event of a command whose transition the table allows; what it still refuses is a command that leads to
// the right status from the wrong one.
func decide(s State, c Command) (Event, error) {
	switch c := c.(type) {
	case Confirm:
		return Confirmed{At: c.At}, nil
	case Reject:
		return Rejected{Reason: c.Reason, At: c.At}, nil
	case NeedAction:
		return NeedsAction{Reason: c.Reason, DueAt: c.DueAt, ExpiresAt: c.ExpiresAt, At: c.At}, nil
	case Resume:
		if s.Status != StatusNeedsAction {
			return nil, refuse(s.Status, c.To)
		}
		return Resumed{Status: c.To, DueAt: c.DueAt, At: c.At}, nil
	case Fulfil:
		// Only Reopen ends a cancellation: a dispatch that comes during one must lose.
		if s.Status == StatusCancelling {
			return nil, refuse(s.Status, StatusFulfilling)
		}
		return Fulfilling{At: c.At}, nil
	case Reopen:
		if s.Status != StatusCancelling {
			return nil, refuse(s.Status, StatusFulfilling)
		}
		return Fulfilling{At: c.At}, nil
	case Complete:
		return Completed{At: c.At}, nil
	case Cancel:
		return Cancelling{Reason: c.Reason, DueAt: c.DueAt, At: c.At}, nil
	case FinishCancel:
		return Cancelled{At: c.At}, nil
	case Expire:
		if s.ExpiresAt.IsZero() || c.At.Before(s.ExpiresAt) {
			return nil, fault.New(fault.FailedPrecondition, "the order is %s and cannot become %s before its time", s.Status, StatusExpired)
		}
		return Expired{Reason: c.Reason, At: c.At}, nil
	}
	return nil, fault.New(fault.Internal, "an order knows no command %T", c)
}

func place(s State, c Place) (Event, error) {
	if s.Status != "" {
		if s.RequestHash == c.RequestHash {
			return nil, nil
		}
		return nil, fault.New(fault.AlreadyExists, "the order %s was placed with another request; choose another order_id", s.OrderID).
			WithField("order_id")
	}
	if err := id.Check("order_id", c.OrderID); err != nil {
		return nil, err
	}
	switch {
	case c.RequestHash == "":
		return nil, fault.New(fault.Internal, "an order is placed with the hash of its request")
	case c.Fulfilment != Ship && c.Fulfilment != Pickup:
		return nil, fault.Invalid("fulfilment", "fulfilment is %s or %s", Ship, Pickup)
	case c.Method != Card && c.Method != Cash:
		return nil, fault.Invalid("payment.method", "the method of payment is %s or %s", Card, Cash)
	}
	lines, subtotal, tax, total, err := Price(c.Lines)
	if err != nil {
		return nil, err
	}
	return Placed{
		OrderID: c.OrderID, CustomerID: c.CustomerID, Lines: lines, Subtotal: subtotal, Tax: tax, Total: total,
		Fulfilment: c.Fulfilment, Method: c.Method, Sealed: c.Sealed, Token: c.Token, RequestHash: c.RequestHash,
		PaymentID: c.PaymentID, ReservationID: c.ReservationID, DueAt: c.DueAt, ExpiresAt: c.ExpiresAt, At: c.At,
	}, nil
}

func refuse(from, to Status) error {
	if from == "" {
		return fault.New(fault.NotFound, "there is no such order")
	}
	return fault.New(fault.FailedPrecondition, "the order is %s and cannot become %s", from, to)
}
