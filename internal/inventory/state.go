// Package inventory is the state machine of stock: what is on hand of each SKU, and the reservations on it. The Book holds
// a site's whole stock in the memory of its one writer and decides; after every event 0 ≤ reserved ≤ on hand, and
// received + adjusted = on hand + consumed, for each SKU. No clock, no I/O. The Book is not safe for concurrent use;
// everything else here is pure.
package inventory

import (
	"waybill/internal/id"
	"waybill/internal/timestamp"
)

// Stock is what there is of one SKU. Held and committed units both count as reserved.
type Stock struct {
	SKU       id.SKU `json:"sku"`
	OnHand    int64  `json:"on_hand"`
	Reserved  int64  `json:"reserved"`
	Available int64  `json:"available"` // OnHand - Reserved
}

// Status is where a reservation stands. The empty Status is that of a reservation which does not exist yet.
type Status string

// The statuses of a reservation.
const (
	StatusHeld              Status = "held"               // units are set aside, perhaps for a limited time
	StatusCommitted         Status = "committed"          // set aside for good
	StatusPartiallyConsumed Status = "partially_consumed" // some units have left
	StatusConsumed          Status = "consumed"           // all units have left
	StatusReleased          Status = "released"           // what had not left was given back
	StatusExpired           Status = "expired"            // the time limit came and all was given back
)

// Statuses lists every status but the empty one.
var Statuses = []Status{StatusHeld, StatusCommitted, StatusPartiallyConsumed, StatusConsumed, StatusReleased, StatusExpired}

// Live reports whether the reservation still keeps units from others.
func (s Status) Live() bool {
	return s == StatusHeld || s == StatusCommitted || s == StatusPartiallyConsumed
}

// Consumption is the units of a reservation that left with one shipment.
type Consumption struct {
	ShipmentID id.Shipment `json:"shipment_id"`
	Lines      []Line      `json:"lines"`
}

// Reservation is a reservation after its last event. It is what the journal keeps as the event's state. Its slices are
// never written to once it is made, so copies may share them.
type Reservation struct {
	ReservationID id.Reservation `json:"reservation_id"`
	Status        Status         `json:"status"`
	Lines         []Line         `json:"lines,omitempty"` // as reserved: one per SKU, sorted by SKU
	Consumptions  []Consumption  `json:"consumptions,omitempty"`
	ExpiresAt     timestamp.Time `json:"expires_at,omitzero"` // only while held; zero is without limit
	UpdatedAt     timestamp.Time `json:"updated_at,omitzero"`
}

// Left is what the reservation has not consumed yet, one line per SKU and sorted, whether or not it is still live.
func (r Reservation) Left() []Line {
	left := r.Lines
	for _, c := range r.Consumptions {
		left = subtract(left, c.Lines)
	}
	return left
}

func (r Reservation) consumption(s id.Shipment) (Consumption, bool) {
	for _, c := range r.Consumptions {
		if c.ShipmentID == s {
			return c, true
		}
	}
	return Consumption{}, false
}
