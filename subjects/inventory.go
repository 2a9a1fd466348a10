package subjects

import (
	"time"

	"waybill/internal/fault"
	"waybill/internal/id"
)

// Stock is what a site has of an SKU: available = on_hand - reserved, all at least 0 at every moment.
type Stock struct {
	SKU       id.SKU `json:"sku"`
	OnHand    int64  `json:"on_hand"`
	Reserved  int64  `json:"reserved"`
	Available int64  `json:"available"`
}

// Stocks is a page of the stock, by SKU.
type Stocks struct {
	Items      []Stock `json:"items"`
	NextCursor string  `json:"next_cursor"`
}

// ReceiveRequest adds stock. Reference makes it happen once per SKU, for good.
type ReceiveRequest struct {
	SKU       id.SKU       `json:"sku"`
	Quantity  int64        `json:"quantity"`
	Reference id.Reference `json:"reference"`
}

// Validate checks the request's shape.
func (r *ReceiveRequest) Validate() error {
	return first(id.Check("sku", r.SKU), quantity("quantity", r.Quantity), id.Check("reference", r.Reference))
}

// AdjustRequest corrects stock; Quantity may be negative.
type AdjustRequest struct {
	SKU       id.SKU       `json:"sku"`
	Quantity  int64        `json:"quantity"`
	Reference id.Reference `json:"reference"`
}

// Validate checks the request's shape.
func (r *AdjustRequest) Validate() error {
	err := first(id.Check("sku", r.SKU), id.Check("reference", r.Reference))
	if err == nil && (r.Quantity == 0 || r.Quantity > MaxQuantity || r.Quantity < -MaxQuantity) {
		err = fault.Invalid("quantity", "quantity must be -%d to %d and not 0", MaxQuantity, MaxQuantity)
	}
	return err
}

// StockLine is a quantity of an SKU.
type StockLine struct {
	SKU      id.SKU `json:"sku"`
	Quantity int64  `json:"quantity"`
}

func stockLines(lines []StockLine) error {
	if len(lines) == 0 || len(lines) > MaxLines {
		return fault.Invalid("lines", "lines must be 1 to %d", MaxLines)
	}
	for i, l := range lines {
		if id.Check("sku", l.SKU) != nil {
			return fault.Invalid(at("lines", i, "sku"), "%s must be 1 to %d characters of A-Z, a-z, 0-9, _ and -", at("lines", i, "sku"), id.MaxChosen)
		}
		if err := quantity(at("lines", i, "quantity"), l.Quantity); err != nil {
			return err
		}
	}
	return nil
}

// ReserveRequest holds stock: all lines or none. Without a TTL it holds until released or consumed.
type ReserveRequest struct {
	ReservationID id.Reservation `json:"reservation_id"`
	Lines         []StockLine    `json:"lines"`
	TTL           Duration       `json:"ttl,omitzero"`
}

// Validate checks the request's shape.
func (r *ReserveRequest) Validate() error {
	return first(id.CheckDerived("reservation_id", r.ReservationID), stockLines(r.Lines), ttl(r.TTL, true))
}

func ttl(d Duration, optional bool) error {
	if d == 0 && optional {
		return nil
	}
	if d < Duration(time.Millisecond) || d > Duration(MaxTTL) {
		return fault.Invalid("ttl", "ttl must be 1ms to %s", MaxTTL)
	}
	return nil
}

// ReservationRequest names a reservation; TTL counts from now and is for extend alone.
type ReservationRequest struct {
	ReservationID id.Reservation `json:"reservation_id"`
	TTL           Duration       `json:"ttl,omitzero"`
}

// Validate checks the request's shape.
func (r *ReservationRequest) Validate() error {
	return first(id.CheckDerived("reservation_id", r.ReservationID), ttl(r.TTL, true))
}

// ConsumeRequest takes reserved stock out of the house with a shipment, once per ShipmentID.
type ConsumeRequest struct {
	ReservationID id.Reservation `json:"reservation_id"`
	ShipmentID    id.Shipment    `json:"shipment_id"`
	Lines         []StockLine    `json:"lines"`
}

// Validate checks the request's shape.
func (r *ConsumeRequest) Validate() error {
	return first(id.CheckDerived("reservation_id", r.ReservationID), id.CheckDerived("shipment_id", r.ShipmentID), stockLines(r.Lines))
}

// Reservation is stock that is held for somebody. ExpiresAt is absent where it holds without limit.
type Reservation struct {
	ReservationID id.Reservation    `json:"reservation_id"`
	Status        ReservationStatus `json:"status"`
	Lines         []StockLine       `json:"lines"`
	ExpiresAt     Time              `json:"expires_at,omitzero"`
}

// The inventory's endpoints.
var (
	InventoryReceive = Endpoint[ReceiveRequest, Stock]{Service: Inventory, Method: "receive", Idempotent: true, Doc: "Adds stock, once per reference."}
	InventoryAdjust  = Endpoint[AdjustRequest, Stock]{Service: Inventory, Method: "adjust", Idempotent: true, Doc: "Corrects stock, once per reference; what is available never falls below 0."}
	InventoryGet     = Endpoint[SKURequest, Stock]{Service: Inventory, Method: "get", Idempotent: true, Doc: "Returns the stock of an SKU."}
	InventoryList    = Endpoint[ListRequest, Stocks]{Service: Inventory, Method: "list", Idempotent: true, Doc: "Lists the stock by SKU."}
	InventoryReserve = Endpoint[ReserveRequest, Reservation]{Service: Inventory, Method: "reserve", Idempotent: true, Doc: "Holds stock for a reservation: all lines or none."}
	InventoryExtend  = Endpoint[ReservationRequest, Reservation]{Service: Inventory, Method: "extend", Doc: "Makes a held reservation expire later."}
	InventoryCommit  = Endpoint[ReservationRequest, Reservation]{Service: Inventory, Method: "commit", Idempotent: true, Doc: "Makes a held reservation firm: it no longer expires."}
	InventoryRelease = Endpoint[ReservationRequest, Reservation]{Service: Inventory, Method: "release", Idempotent: true, Doc: "Gives back what is reserved and not yet consumed."}
	InventoryConsume = Endpoint[ConsumeRequest, Reservation]{Service: Inventory, Method: "consume", Idempotent: true, Doc: "Takes reserved stock out with a shipment, once per shipment."}
)

// EndRequest releases an order's reservation for good: what is live is released, and an id that was never held is refused
// from then on, so that a hold which is still on its way can't outlive its order.
type EndRequest struct {
	ReservationID id.Reservation `json:"reservation_id"`
	Lines         []StockLine    `json:"lines"`
}

// Validate checks the request's shape.
func (r *EndRequest) Validate() error {
	return first(id.CheckDerived("reservation_id", r.ReservationID), stockLines(r.Lines))
}

// InventoryEnd is for the order process: see EndRequest. failed_precondition means that stock was already consumed.
var InventoryEnd = Endpoint[EndRequest, Reservation]{Service: Inventory, Method: "end", Internal: true, Idempotent: true, Doc: "Releases a reservation for good, also one that was never made."}
