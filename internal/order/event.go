package order

import (
	"waybill/internal/fault"
	"waybill/internal/id"
	"waybill/internal/money"
	"waybill/internal/quick"
	"waybill/internal/timestamp"
)

// EventType is an event's name in the contract.
type EventType string

// The types of an order's events.
const (
	TypePlaced      EventType = "placed"
	TypeConfirmed   EventType = "confirmed"
	TypeRejected    EventType = "rejected"
	TypeNeedsAction EventType = "needs_action"
	TypeResumed     EventType = "resumed"
	TypeFulfilling  EventType = "fulfilling"
	TypeCompleted   EventType = "completed"
	TypeCancelling  EventType = "cancelling"
	TypeCancelled   EventType = "cancelled"
	TypeExpired     EventType = "expired"
)

// EventTypes lists every type of event.
var EventTypes = []EventType{TypePlaced, TypeConfirmed, TypeRejected, TypeNeedsAction, TypeResumed, TypeFulfilling,
	TypeCompleted, TypeCancelling, TypeCancelled, TypeExpired}

// Event is something that happened to an order: one of the types of this file, by value. At is when it happened.
type Event interface{ Type() EventType }

// Placed begins the order, in pending.
type Placed struct {
	OrderID       id.Order       `json:"order_id"`
	CustomerID    id.Customer    `json:"customer_id"`
	Lines         []Line         `json:"lines"`
	Subtotal      money.Money    `json:"subtotal"`
	Tax           money.Money    `json:"tax"`
	Total         money.Money    `json:"total"`
	Fulfilment    Fulfilment     `json:"fulfilment"`
	Method        Method         `json:"payment_method"`
	Sealed        []byte         `json:"sealed,omitempty"`
	Token         []byte         `json:"token,omitempty"`
	RequestHash   string         `json:"request_hash"`
	PaymentID     id.Payment     `json:"payment_id"`
	ReservationID id.Reservation `json:"reservation_id"`
	DueAt         timestamp.Time `json:"due_at,omitzero"`
	ExpiresAt     timestamp.Time `json:"expires_at,omitzero"`
	At            timestamp.Time `json:"at,omitzero"`
}

// Confirmed: stock is held and payment authorized.
type Confirmed struct {
	At timestamp.Time `json:"at,omitzero"`
}

// Rejected: the order did not come about.
type Rejected struct {
	Reason Reason         `json:"reason"`
	At     timestamp.Time `json:"at,omitzero"`
}

// NeedsAction: the customer or the operator must act.
type NeedsAction struct {
	Reason    Reason         `json:"reason"`
	DueAt     timestamp.Time `json:"due_at,omitzero"`
	ExpiresAt timestamp.Time `json:"expires_at,omitzero"`
	At        timestamp.Time `json:"at,omitzero"`
}

// Resumed: the order went on from needs_action to Status.
type Resumed struct {
	Status Status         `json:"status"`
	DueAt  timestamp.Time `json:"due_at,omitzero"`
	At     timestamp.Time `json:"at,omitzero"`
}

// Fulfilling: goods have begun to leave, or a cancellation found that they had.
type Fulfilling struct {
	At timestamp.Time `json:"at,omitzero"`
}

// Completed: all is delivered, consumed and captured.
type Completed struct {
	At timestamp.Time `json:"at,omitzero"`
}

// Cancelling: the cancellation was accepted and is being carried out.
type Cancelling struct {
	Reason string         `json:"reason,omitempty"`
	DueAt  timestamp.Time `json:"due_at,omitzero"`
	At     timestamp.Time `json:"at,omitzero"`
}

// Cancelled: everything that was done for the order has been undone.
type Cancelled struct {
	At timestamp.Time `json:"at,omitzero"`
}

// Expired: the order ran out of time.
type Expired struct {
	Reason Reason         `json:"reason"`
	At     timestamp.Time `json:"at,omitzero"`
}

// The types, as the contract spells them.

func (Placed) Type() EventType      { return TypePlaced }
func (Confirmed) Type() EventType   { return TypeConfirmed }
func (Rejected) Type() EventType    { return TypeRejected }
func (NeedsAction) Type() EventType { return TypeNeedsAction }
func (Resumed) Type() EventType     { return TypeResumed }
func (Fulfilling) Type() EventType  { return TypeFulfilling }
func (Completed) Type() EventType   { return TypeCompleted }
func (Cancelling) Type() EventType  { return TypeCancelling }
func (Cancelled) Type() EventType   { return TypeCancelled }
func (Expired) Type() EventType     { return TypeExpired }

// Decode reads an event's data as it stands in the journal, ignoring fields that it does not know. Errors: unavailable for
// a type that this program does not know, internal for data that can't be read.
func Decode(t EventType, data []byte) (Event, error) {
	switch t {
	case TypePlaced:
		return decode[Placed](data)
	case TypeConfirmed:
		return decode[Confirmed](data)
	case TypeRejected:
		return decode[Rejected](data)
	case TypeNeedsAction:
		return decode[NeedsAction](data)
	case TypeResumed:
		return decode[Resumed](data)
	case TypeFulfilling:
		return decode[Fulfilling](data)
	case TypeCompleted:
		return decode[Completed](data)
	case TypeCancelling:
		return decode[Cancelling](data)
	case TypeCancelled:
		return decode[Cancelled](data)
	case TypeExpired:
		return decode[Expired](data)
	}
	return nil, fault.New(fault.Unavailable, "the order event %.40q was written by a newer program; use that one", string(t))
}

func decode[E Event](data []byte) (Event, error) {
	var e E
	if err := quick.Unmarshal(data, &e); err != nil {
		return nil, fault.Wrap(err, fault.Internal, "the data of a %s event can't be read; run waybill verify", e.Type())
	}
	return e, nil
}
