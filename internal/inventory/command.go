package inventory

import (
	"waybill/internal/id"
	"waybill/internal/timestamp"
)

// Command is something that is asked of the stock: one of the types of this file. At is when it is asked.
type Command interface{ command() }

// Receive adds 1 to MaxQuantity units that came in. The reference makes it happen once: it is unique per SKU, for good.
type Receive struct {
	SKU       id.SKU
	Quantity  int64
	Reference id.Reference
	At        timestamp.Time
}

// Adjust corrects the units on hand by up to MaxQuantity either way, but never below what is reserved. The reference is as
// in Receive, and of the same namespace.
type Adjust struct {
	SKU       id.SKU
	Quantity  int64
	Reference id.Reference
	At        timestamp.Time
}

// Hold sets units aside: all lines or none. A zero ExpiresAt is without limit.
type Hold struct {
	ReservationID id.Reservation
	Lines         []Line
	ExpiresAt     timestamp.Time
	At            timestamp.Time
}

// Extend moves the time limit of a held reservation to a later one, or takes it away where ExpiresAt is zero.
type Extend struct {
	ReservationID id.Reservation
	ExpiresAt     timestamp.Time
	At            timestamp.Time
}

// Commit sets a held reservation's units aside for good.
type Commit struct {
	ReservationID id.Reservation
	At            timestamp.Time
}

// Release gives back what has not been consumed.
type Release struct {
	ReservationID id.Reservation
	At            timestamp.Time
}

// End makes sure that the reservation keeps nothing, now and later: it releases a live one, and of one that was never held
// it leaves a tombstone, so that the Hold that is still on its way finds a released reservation. Lines are those of the Hold.
// It is refused once units were consumed: then goods have left, and what the reservation was for can't be taken back.
type End struct {
	ReservationID id.Reservation
	Lines         []Line
	At            timestamp.Time
}

// Expire gives back a held reservation whose time limit has come.
type Expire struct {
	ReservationID id.Reservation
	At            timestamp.Time
}

// Consume takes reserved units out of the stock with a shipment, once per shipment.
type Consume struct {
	ReservationID id.Reservation
	ShipmentID    id.Shipment
	Lines         []Line
	At            timestamp.Time
}

func (Receive) command() {}
func (Adjust) command()  {}
func (Hold) command()    {}
func (Extend) command()  {}
func (Commit) command()  {}
func (Release) command() {}
func (End) command()     {}
func (Expire) command()  {}
func (Consume) command() {}
