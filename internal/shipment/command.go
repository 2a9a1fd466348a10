package shipment

import (
	"waybill/internal/id"
	"waybill/internal/timestamp"
)

// Command is something that is asked of a shipment: one of the types of this file, except Split, which DecideSplit takes.
// At is when it is asked.
type Command interface {
	// target is the status that the shipment has once the command has happened.
	target() Status
}

// Plan begins a shipment. Planning again what was planned with the same content is a repeat.
type Plan struct {
	ShipmentID id.Shipment
	OrderID    id.Order
	Fulfilment Fulfilment
	Lines      []Line // one per SKU, with amounts
	At         timestamp.Time
}

// Book says that a carrier will fetch a shipment that is to be shipped.
type Book struct {
	Carrier  string
	Tracking string
	At       timestamp.Time
}

// Prepare begins putting together a shipment that is to be picked up.
type Prepare struct{ At timestamp.Time }

// Ready says that it can be picked up.
type Ready struct{ At timestamp.Time }

// Dispatch says that it left, for the first time or again. Carrier and Tracking replace those known, where given.
type Dispatch struct {
	Carrier  string
	Tracking string
	At       timestamp.Time
}

// Deliver says that it was handed over.
type Deliver struct{ At timestamp.Time }

// Fail says that it could not be handed over, and why.
type Fail struct {
	Reason string
	At     timestamp.Time
}

// Return says that it came back, and why.
type Return struct {
	Reason string
	At     timestamp.Time
}

// Cancel says that it will not leave, and why.
type Cancel struct {
	Reason string
	At     timestamp.Time
}

// Split takes a part out of a pending shipment and makes it a shipment of its own, NewID. The amounts of Lines don't count.
// With a Key, splitting again the same lines under the same key is a repeat; without one it is another split.
type Split struct {
	Lines []Line
	NewID id.Shipment
	Key   string
	At    timestamp.Time
}

func (Plan) target() Status     { return StatusPending }
func (Book) target() Status     { return StatusBooked }
func (Prepare) target() Status  { return StatusPreparing }
func (Ready) target() Status    { return StatusReady }
func (Dispatch) target() Status { return StatusDispatched }
func (Deliver) target() Status  { return StatusDelivered }
func (Fail) target() Status     { return StatusDeliveryFailed }
func (Return) target() Status   { return StatusReturned }
func (Cancel) target() Status   { return StatusCancelled }
