package subjects

import (
	"waybill/internal/fault"
	"waybill/internal/id"
)

// ShipmentInfo is a part of an order that leaves the house at once. Carrier and Tracking are empty until it is booked.
type ShipmentInfo struct {
	ShipmentID id.Shipment    `json:"shipment_id"`
	OrderID    id.Order       `json:"order_id"`
	Status     ShipmentStatus `json:"status"`
	Lines      []StockLine    `json:"lines"`
	Carrier    string         `json:"carrier"`
	Tracking   string         `json:"tracking"`
	Reason     string         `json:"reason,omitzero"`
	CreatedAt  Time           `json:"created_at"`
	UpdatedAt  Time           `json:"updated_at"`
}

// ShipmentRequest is what each verb of the shipping service takes: the carrier and tracking for book and dispatch, the reason
// for fail, return and cancel, the lines that leave the shipment for split.
type ShipmentRequest struct {
	ShipmentID id.Shipment `json:"shipment_id"`
	Carrier    string      `json:"carrier,omitzero"`
	Tracking   string      `json:"tracking,omitzero"`
	Reason     string      `json:"reason,omitzero"`
	Lines      []StockLine `json:"lines,omitzero"`
}

// Validate checks the request's shape.
func (r *ShipmentRequest) Validate() error {
	err := first(id.CheckDerived("shipment_id", r.ShipmentID), text("carrier", r.Carrier, 100, true),
		text("tracking", r.Tracking, 100, true), text("reason", r.Reason, maxReason, true))
	if err == nil && len(r.Lines) > 0 {
		if err = stockLines(r.Lines); err == nil {
			r.Lines, _ = sumLines(r.Lines)
		}
	}
	return err
}

// ListShipmentsRequest asks for shipments, newest first.
type ListShipmentsRequest struct {
	Page
	Status  ShipmentStatus `json:"status,omitzero"`
	OrderID id.Order       `json:"order_id,omitzero"`
}

// Validate checks the request's shape.
func (r *ListShipmentsRequest) Validate() error {
	err := first(r.Page.Validate(), oneOf("status", r.Status, true, ShipmentStatuses...))
	if err == nil && r.OrderID != "" {
		err = id.Check("order_id", r.OrderID)
	}
	return err
}

// Shipments is a page of shipments.
type Shipments struct {
	Shipments  []ShipmentInfo `json:"shipments"`
	NextCursor string         `json:"next_cursor"`
}

func verb(method, doc string) Endpoint[ShipmentRequest, ShipmentInfo] {
	return Endpoint[ShipmentRequest, ShipmentInfo]{Service: Shipping, Method: method, Idempotent: method != "split", Doc: doc}
}

// The shipping service's endpoints.
var (
	ShippingList     = Endpoint[ListShipmentsRequest, Shipments]{Service: Shipping, Method: "list", Idempotent: true, Doc: "Lists shipments, newest first."}
	ShippingGet      = verb("get", "Returns a shipment.")
	ShippingBook     = verb("book", "Books a carrier for a shipment.")
	ShippingPrepare  = verb("prepare", "Begins to prepare an order that is picked up.")
	ShippingReady    = verb("ready", "Says that an order can be picked up.")
	ShippingDispatch = verb("dispatch", "Hands a shipment to its carrier: consumes the stock and captures the payment.")
	ShippingDeliver  = verb("deliver", "Says that a shipment has arrived, or was picked up.")
	ShippingFail     = verb("fail", "Says that a shipment could not be delivered.")
	ShippingReturn   = verb("return", "Says that a shipment has come back.")
	ShippingSplit    = verb("split", "Moves lines of a planned shipment into a new one.")
)

// CancelShipmentsRequest cancels every shipment of an order that has not left the house.
type CancelShipmentsRequest struct {
	OrderID id.Order `json:"order_id"`
	Reason  string   `json:"reason,omitzero"`
}

// Validate checks the request's shape.
func (r *CancelShipmentsRequest) Validate() error { return id.Check("order_id", r.OrderID) }

// ShippingCancel is for the order process, which has made sure that no stock of the order was consumed.
var ShippingCancel = Endpoint[CancelShipmentsRequest, Shipments]{Service: Shipping, Method: "cancel", Internal: true, Idempotent: true, Doc: "Cancels an order's shipments."}

// NeedLines is the refusal of a split without lines.
func NeedLines() error {
	return fault.Invalid("lines", "lines is missing: name what leaves the shipment")
}
