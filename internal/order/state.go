// Package order is the state machine of an order: which commands are possible when, which event follows, and what the
// order is after it. Everything here is pure and deterministic: no clock, no I/O, no shared state; every function is safe
// for concurrent use and leaves its arguments as they were.
package order

import (
	"waybill/internal/id"
	"waybill/internal/money"
	"waybill/internal/timestamp"
)

// Status is where an order stands. The empty Status is that of an order which does not exist yet.
type Status string

// The statuses of an order.
const (
	StatusPending     Status = "pending"      // placed; its stock or its payment is not settled yet
	StatusConfirmed   Status = "confirmed"    // stock is held and payment authorized
	StatusNeedsAction Status = "needs_action" // the customer or the operator must do something; Reason says what
	StatusFulfilling  Status = "fulfilling"   // goods have begun to leave
	StatusCompleted   Status = "completed"    // all delivered, consumed and captured
	StatusCancelling  Status = "cancelling"   // asked to be cancelled; compensation is under way
	StatusCancelled   Status = "cancelled"    // compensation is confirmed
	StatusRejected    Status = "rejected"     // never came about, and nothing of it is left
	StatusExpired     Status = "expired"      // ran out of time before it was confirmed, and nothing of it is left
)

// Statuses lists every status but the empty one.
var Statuses = []Status{StatusPending, StatusConfirmed, StatusNeedsAction, StatusFulfilling, StatusCompleted,
	StatusCancelling, StatusCancelled, StatusRejected, StatusExpired}

// Final reports whether nothing can happen to the order any more.
func (s Status) Final() bool {
	switch s {
	case StatusCompleted, StatusCancelled, StatusRejected, StatusExpired:
		return true
	}
	return false
}

// open reports whether the order still waits for its outcome: the time in which its gateway token is kept and it can expire.
func (s Status) open() bool { return s == StatusPending || s == StatusNeedsAction }

// Fulfilment is how the goods reach the customer.
type Fulfilment string

// The ways of fulfilment.
const (
	Ship   Fulfilment = "ship"
	Pickup Fulfilment = "pickup"
)

// Method is how the customer pays.
type Method string

// The methods of payment.
const (
	Card Method = "card"
	Cash Method = "cash"
)

// Codes of a Reason.
const (
	ReasonOutOfStock      = "out_of_stock"
	ReasonPaymentDeclined = "payment_declined"
	ReasonCancelled       = "cancelled" // the message is what the one who cancelled gave as reason
)

// Reason says why an order is in needs_action, rejected, expired, cancelling or cancelled.
type Reason struct {
	Code    string `json:"code"`
	Message string `json:"message,omitempty"`
}

// State is an order after its last event. It is what the journal keeps as the event's state.
type State struct {
	OrderID    id.Order    `json:"order_id"`
	Status     Status      `json:"status"`
	Reason     *Reason     `json:"reason,omitzero"`
	CustomerID id.Customer `json:"customer_id"`
	Lines      []Line      `json:"lines,omitempty"`
	Subtotal   money.Money `json:"subtotal"` // Σ Line.Total
	Tax        money.Money `json:"tax"`      // Σ of the lines' taxes, each rounded once
	Total      money.Money `json:"total"`    // Subtotal + Tax
	Fulfilment Fulfilment  `json:"fulfilment"`
	Method     Method      `json:"payment_method"`
	// Sealed is the customer's mail and address under the customer's key: opaque here.
	Sealed []byte `json:"sealed,omitempty"`
	// Token is the sealed gateway token: opaque here, and dropped as soon as the status leaves pending and needs_action.
	Token []byte `json:"token,omitempty"`
	// RequestHash names the content of the request that placed the order, to tell a repeat from another order.
	RequestHash   string         `json:"request_hash"`
	PaymentID     id.Payment     `json:"payment_id"`
	ReservationID id.Reservation `json:"reservation_id"`
	CreatedAt     timestamp.Time `json:"created_at,omitzero"`
	UpdatedAt     timestamp.Time `json:"updated_at,omitzero"`
	// DueAt is when the background process must look at the order next; only in pending, needs_action and cancelling.
	DueAt timestamp.Time `json:"due_at,omitzero"`
	// ExpiresAt is when the order expires unless it is confirmed before; only in pending and needs_action.
	ExpiresAt timestamp.Time `json:"expires_at,omitzero"`
}
