package inventory

import (
	"waybill/internal/fault"
	"waybill/internal/id"
	"waybill/internal/quick"
	"waybill/internal/timestamp"
)

// EventType is an event's name in the contract.
type EventType string

// The types of events, on a SKU's stock and on a reservation.
const (
	TypeReceived EventType = "received"
	TypeAdjusted EventType = "adjusted"

	TypeHeld      EventType = "held"
	TypeExtended  EventType = "extended"
	TypeCommitted EventType = "committed"
	TypeReleased  EventType = "released"
	TypeExpired   EventType = "expired"
	TypeConsumed  EventType = "consumed"
)

// EventTypes lists every type of event.
var EventTypes = []EventType{TypeReceived, TypeAdjusted, TypeHeld, TypeExtended, TypeCommitted, TypeReleased, TypeExpired, TypeConsumed}

// Aggregate names what an event happened to: exactly one of its fields is set.
type Aggregate struct {
	SKU           id.SKU
	ReservationID id.Reservation
}

// Event is something that happened to the stock of a SKU or to a reservation: one of the types of this file, by value. At
// is when it happened.
type Event interface {
	Type() EventType
	// Aggregate names what it happened to.
	Aggregate() Aggregate
}

// Received: units came in.
type Received struct {
	SKU       id.SKU         `json:"sku"`
	Quantity  int64          `json:"quantity"`
	Reference id.Reference   `json:"reference"`
	At        timestamp.Time `json:"at,omitzero"`
}

// Adjusted: the units on hand were corrected.
type Adjusted struct {
	SKU       id.SKU         `json:"sku"`
	Quantity  int64          `json:"quantity"`
	Reference id.Reference   `json:"reference"`
	At        timestamp.Time `json:"at,omitzero"`
}

// Held: units were set aside. Lines are summed per SKU and sorted.
type Held struct {
	ReservationID id.Reservation `json:"reservation_id"`
	Lines         []Line         `json:"lines"`
	ExpiresAt     timestamp.Time `json:"expires_at,omitzero"`
	At            timestamp.Time `json:"at,omitzero"`
}

// Extended: the time limit was moved, or taken away.
type Extended struct {
	ReservationID id.Reservation `json:"reservation_id"`
	ExpiresAt     timestamp.Time `json:"expires_at,omitzero"`
	At            timestamp.Time `json:"at,omitzero"`
}

// Committed: the units are set aside for good.
type Committed struct {
	ReservationID id.Reservation `json:"reservation_id"`
	At            timestamp.Time `json:"at,omitzero"`
}

// Released: Lines, what had not been consumed, were given back. With BeforeHold nothing was: the reservation ended before it
// began, and Lines are what it would have held.
type Released struct {
	ReservationID id.Reservation `json:"reservation_id"`
	Lines         []Line         `json:"lines,omitempty"`
	BeforeHold    bool           `json:"before_hold,omitzero"`
	At            timestamp.Time `json:"at,omitzero"`
}

// Expired: the time limit came and Lines were given back.
type Expired struct {
	ReservationID id.Reservation `json:"reservation_id"`
	Lines         []Line         `json:"lines,omitempty"`
	At            timestamp.Time `json:"at,omitzero"`
}

// Consumed: Lines left the stock with a shipment.
type Consumed struct {
	ReservationID id.Reservation `json:"reservation_id"`
	ShipmentID    id.Shipment    `json:"shipment_id"`
	Lines         []Line         `json:"lines"`
	At            timestamp.Time `json:"at,omitzero"`
}

// The types, as the contract spells them, and the aggregates.

func (Received) Type() EventType  { return TypeReceived }
func (Adjusted) Type() EventType  { return TypeAdjusted }
func (Held) Type() EventType      { return TypeHeld }
func (Extended) Type() EventType  { return TypeExtended }
func (Committed) Type() EventType { return TypeCommitted }
func (Released) Type() EventType  { return TypeReleased }
func (Expired) Type() EventType   { return TypeExpired }
func (Consumed) Type() EventType  { return TypeConsumed }

func (e Received) Aggregate() Aggregate  { return Aggregate{SKU: e.SKU} }
func (e Adjusted) Aggregate() Aggregate  { return Aggregate{SKU: e.SKU} }
func (e Held) Aggregate() Aggregate      { return Aggregate{ReservationID: e.ReservationID} }
func (e Extended) Aggregate() Aggregate  { return Aggregate{ReservationID: e.ReservationID} }
func (e Committed) Aggregate() Aggregate { return Aggregate{ReservationID: e.ReservationID} }
func (e Released) Aggregate() Aggregate  { return Aggregate{ReservationID: e.ReservationID} }
func (e Expired) Aggregate() Aggregate   { return Aggregate{ReservationID: e.ReservationID} }
func (e Consumed) Aggregate() Aggregate  { return Aggregate{ReservationID: e.ReservationID} }

// Decode reads an event's data as it stands in the journal, ignoring fields that it does not know. Errors: unavailable for
// a type that this program does not know, internal for data that can't be read.
func Decode(t EventType, data []byte) (Event, error) {
	switch t {
	case TypeReceived:
		return decode[Received](data)
	case TypeAdjusted:
		return decode[Adjusted](data)
	case TypeHeld:
		return decode[Held](data)
	case TypeExtended:
		return decode[Extended](data)
	case TypeCommitted:
		return decode[Committed](data)
	case TypeReleased:
		return decode[Released](data)
	case TypeExpired:
		return decode[Expired](data)
	case TypeConsumed:
		return decode[Consumed](data)
	}
	return nil, fault.New(fault.Unavailable, "the inventory event %.40q was written by a newer program; use that one", string(t))
}

func decode[E Event](data []byte) (Event, error) {
	var e E
	if err := quick.Unmarshal(data, &e); err != nil {
		return nil, fault.Wrap(err, fault.Internal, "the data of a %s event can't be read; run waybill verify", e.Type())
	}
	return e, nil
}
