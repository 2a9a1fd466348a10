package order

import (
	"waybill/internal/id"
	"waybill/internal/timestamp"
)

// Command is something that is asked of an order: one of the types of this file. At is when it is asked.
type Command interface {
	// target is the status that the order has once the command has happened.
	target() Status
}

// Place begins an order. Lines are priced here; their Total need not be filled in. Placing again what was placed with the
// same RequestHash is a repeat, with another one it is already_exists.
type Place struct {
	OrderID       id.Order
	CustomerID    id.Customer
	Lines         []Line
	Fulfilment    Fulfilment
	Method        Method
	Sealed        []byte
	Token         []byte
	RequestHash   string
	PaymentID     id.Payment
	ReservationID id.Reservation
	DueAt         timestamp.Time
	ExpiresAt     timestamp.Time
	At            timestamp.Time
}

// Confirm says that stock is held and payment authorized.
type Confirm struct{ At timestamp.Time }

// Reject ends a pending order, after everything that was done for it has been undone.
type Reject struct {
	Reason Reason
	At     timestamp.Time
}

// NeedAction hands the order to the customer or the operator. A zero ExpiresAt means that it waits without limit.
type NeedAction struct {
	Reason    Reason
	DueAt     timestamp.Time
	ExpiresAt timestamp.Time
	At        timestamp.Time
}

// Resume takes an order out of needs_action to pending, confirmed or fulfilling. DueAt counts for pending only, which
// keeps the ExpiresAt that the order had.
type Resume struct {
	To    Status
	DueAt timestamp.Time
	At    timestamp.Time
}

// Fulfil says that goods have begun to leave.
type Fulfil struct{ At timestamp.Time }

// Complete says that all is delivered, consumed and captured.
type Complete struct{ At timestamp.Time }

// Cancel begins the cancellation; what Reason says is shown with the order.
type Cancel struct {
	Reason string
	DueAt  timestamp.Time
	At     timestamp.Time
}

// FinishCancel ends a cancellation whose compensation is confirmed.
type FinishCancel struct{ At timestamp.Time }

// Reopen refuses a cancellation that came too late: the stock was consumed already.
type Reopen struct{ At timestamp.Time }

// Expire ends an order whose ExpiresAt has come, after everything that was done for it has been undone.
type Expire struct {
	Reason Reason
	At     timestamp.Time
}

func (Place) target() Status        { return StatusPending }
func (Confirm) target() Status      { return StatusConfirmed }
func (Reject) target() Status       { return StatusRejected }
func (NeedAction) target() Status   { return StatusNeedsAction }
func (c Resume) target() Status     { return c.To }
func (Fulfil) target() Status       { return StatusFulfilling }
func (Complete) target() Status     { return StatusCompleted }
func (Cancel) target() Status       { return StatusCancelling }
func (FinishCancel) target() Status { return StatusCancelled }
func (Reopen) target() Status       { return StatusFulfilling }
func (Expire) target() Status       { return StatusExpired }
