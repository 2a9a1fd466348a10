// Package shipment is the state machine of a shipment: the part of an order that leaves together, or is picked up together.
// A split conserves: the units and amounts of both parts are those of the whole. Everything here is pure and deterministic:
// no clock, no I/O, no shared state; every function is safe for concurrent use and leaves its arguments as they were.
package shipment

import (
	"waybill/internal/id"
	"waybill/internal/money"
	"waybill/internal/timestamp"
)

// Status is where a shipment stands. The empty Status is that of a shipment which does not exist yet.
type Status string

// The statuses of a shipment.
const (
	StatusPending        Status = "pending"         // planned; can still be split
	StatusBooked         Status = "booked"          // a carrier will fetch it
	StatusPreparing      Status = "preparing"       // being put together for pickup
	StatusReady          Status = "ready"           // waiting to be picked up
	StatusDispatched     Status = "dispatched"      // on its way
	StatusDeliveryFailed Status = "delivery_failed" // could not be handed over; may be sent again or come back
	StatusDelivered      Status = "delivered"       // handed over
	StatusReturned       Status = "returned"        // come back to the site
	StatusCancelled      Status = "cancelled"       // never left
)

// Statuses lists every status but the empty one.
var Statuses = []Status{StatusPending, StatusBooked, StatusPreparing, StatusReady, StatusDispatched, StatusDeliveryFailed,
	StatusDelivered, StatusReturned, StatusCancelled}

// Final reports whether nothing can happen to the shipment any more.
func (s Status) Final() bool {
	return s == StatusDelivered || s == StatusReturned || s == StatusCancelled
}

// Fulfilment is how the goods reach the customer.
type Fulfilment string

// The ways of fulfilment.
const (
	Ship   Fulfilment = "ship"
	Pickup Fulfilment = "pickup"
)

// MaxSplits bounds how often one shipment may be split; the parts may be split again.
const MaxSplits = 100

// Line is the units of one SKU in a shipment, and what they cost the customer, tax included.
type Line struct {
	SKU      id.SKU      `json:"sku"`
	Quantity int64       `json:"quantity"`
	Amount   money.Money `json:"amount"`
}

// SplitKey remembers a split under the idempotency key of the request, to answer its repeat.
type SplitKey struct {
	Key   string      `json:"key"`
	Child id.Shipment `json:"child"`
	Lines []Line      `json:"lines"` // of the child, when it was split off
}

// State is a shipment after its last event. It is what the journal keeps as the event's state.
type State struct {
	ShipmentID id.Shipment    `json:"shipment_id"`
	OrderID    id.Order       `json:"order_id"`
	Status     Status         `json:"status"`
	Fulfilment Fulfilment     `json:"fulfilment"`
	Lines      []Line         `json:"lines,omitempty"`
	Amount     money.Money    `json:"amount"`               // Σ Line.Amount
	Parent     id.Shipment    `json:"parent,omitempty"`     // the shipment that this one was split off
	Children   []id.Shipment  `json:"children,omitempty"`   // the shipments split off this one, in that order
	SplitKeys  []SplitKey     `json:"split_keys,omitempty"` // of the splits that were asked for with a key
	Carrier    string         `json:"carrier,omitempty"`    // who carries it
	Tracking   string         `json:"tracking,omitempty"`   // the carrier's number for it
	Reason     string         `json:"reason,omitempty"`     // why delivery failed, or it was returned or cancelled
	CreatedAt  timestamp.Time `json:"created_at,omitzero"`
	UpdatedAt  timestamp.Time `json:"updated_at,omitzero"`
}

// Split returns the split that was asked for with the key.
func (s State) Split(key string) (SplitKey, bool) {
	for _, k := range s.SplitKeys {
		if key != "" && k.Key == key {
			return k, true
		}
	}
	return SplitKey{}, false
}
