package shipment

import (
	"waybill/internal/fault"
	"waybill/internal/id"
	"waybill/internal/quick"
	"waybill/internal/timestamp"
)

// EventType is an event's name in the contract.
type EventType string

// The types of a shipment's events.
const (
	TypePlanned        EventType = "planned"
	TypeBooked         EventType = "booked"
	TypePreparing      EventType = "preparing"
	TypeReady          EventType = "ready"
	TypeDispatched     EventType = "dispatched"
	TypeDeliveryFailed EventType = "delivery_failed"
	TypeDelivered      EventType = "delivered"
	TypeReturned       EventType = "returned"
	TypeCancelled      EventType = "cancelled"
)

// EventTypes lists every type of event.
var EventTypes = []EventType{TypePlanned, TypeBooked, TypePreparing, TypeReady, TypeDispatched, TypeDeliveryFailed, TypeDelivered,
	TypeReturned, TypeCancelled}

// Event is something that happened to a shipment: one of the types of this file, by value. At is when it happened.
type Event interface{ Type() EventType }

// Planned begins the shipment, or with SplitInto reduces its plan to what the split left. A shipment that was split off
// another begins with that one as SplitFrom.
type Planned struct {
	ShipmentID id.Shipment    `json:"shipment_id"`
	OrderID    id.Order       `json:"order_id"`
	Fulfilment Fulfilment     `json:"fulfilment"`
	Lines      []Line         `json:"lines"`
	SplitInto  id.Shipment    `json:"split_into,omitempty"`
	SplitFrom  id.Shipment    `json:"split_from,omitempty"`
	Key        string         `json:"key,omitempty"` // the split's idempotency key, with SplitInto
	At         timestamp.Time `json:"at,omitzero"`
}

// Booked: a carrier will fetch it.
type Booked struct {
	Carrier  string         `json:"carrier,omitempty"`
	Tracking string         `json:"tracking,omitempty"`
	At       timestamp.Time `json:"at,omitzero"`
}

// Preparing: it is being put together for pickup.
type Preparing struct {
	At timestamp.Time `json:"at,omitzero"`
}

// BecameReady is the event ready: it can be picked up.
type BecameReady struct {
	At timestamp.Time `json:"at,omitzero"`
}

// Dispatched: it left. Carrier and Tracking are those from now on.
type Dispatched struct {
	Carrier  string         `json:"carrier,omitempty"`
	Tracking string         `json:"tracking,omitempty"`
	At       timestamp.Time `json:"at,omitzero"`
}

// DeliveryFailed: it could not be handed over.
type DeliveryFailed struct {
	Reason string         `json:"reason,omitempty"`
	At     timestamp.Time `json:"at,omitzero"`
}

// Delivered: it was handed over.
type Delivered struct {
	At timestamp.Time `json:"at,omitzero"`
}

// Returned: it came back.
type Returned struct {
	Reason string         `json:"reason,omitempty"`
	At     timestamp.Time `json:"at,omitzero"`
}

// Cancelled: it will not leave.
type Cancelled struct {
	Reason string         `json:"reason,omitempty"`
	At     timestamp.Time `json:"at,omitzero"`
}

// The types, as the contract spells them.

func (Planned) Type() EventType        { return TypePlanned }
func (Booked) Type() EventType         { return TypeBooked }
func (Preparing) Type() EventType      { return TypePreparing }
func (BecameReady) Type() EventType    { return TypeReady }
func (Dispatched) Type() EventType     { return TypeDispatched }
func (DeliveryFailed) Type() EventType { return TypeDeliveryFailed }
func (Delivered) Type() EventType      { return TypeDelivered }
func (Returned) Type() EventType       { return TypeReturned }
func (Cancelled) Type() EventType      { return TypeCancelled }

// Decode reads an event's data as it stands in the journal, ignoring fields that it does not know. Errors: unavailable for
// a type that this program does not know, internal for data that can't be read.
func Decode(t EventType, data []byte) (Event, error) {
	switch t {
	case TypePlanned:
		return decode[Planned](data)
	case TypeBooked:
		return decode[Booked](data)
	case TypePreparing:
		return decode[Preparing](data)
	case TypeReady:
		return decode[BecameReady](data)
	case TypeDispatched:
		return decode[Dispatched](data)
	case TypeDeliveryFailed:
		return decode[DeliveryFailed](data)
	case TypeDelivered:
		return decode[Delivered](data)
	case TypeReturned:
		return decode[Returned](data)
	case TypeCancelled:
		return decode[Cancelled](data)
	}
	return nil, fault.New(fault.Unavailable, "the shipment event %.40q was written by a newer program; use that one", string(t))
}

func decode[E Event](data []byte) (Event, error) {
	var e E
	if err := quick.Unmarshal(data, &e); err != nil {
		return nil, fault.Wrap(err, fault.Internal, "the data of a %s event can't be read; run waybill verify", e.Type())
	}
	return e, nil
}
