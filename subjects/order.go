package subjects

import (
	"strconv"

	"waybill/internal/fault"
	"waybill/internal/id"
)

// Fulfilment is how an order reaches its customer.
type Fulfilment string

// The ways of fulfilment.
const (
	Ship   Fulfilment = "ship"
	Pickup Fulfilment = "pickup"
)

// Address is where an order is shipped to. Line2 and Region are optional; Country is an ISO 3166-1 alpha-2 code.
type Address struct {
	Name       string `json:"name"`
	Line1      string `json:"line1"`
	Line2      string `json:"line2,omitzero"`
	City       string `json:"city"`
	Region     string `json:"region,omitzero"`
	PostalCode string `json:"postal_code"`
	Country    string `json:"country"`
}

func (a *Address) validate(field string) error {
	err := first(text(field+".name", a.Name, maxName, false), text(field+".line1", a.Line1, maxAddressLine, false),
		text(field+".line2", a.Line2, maxAddressLine, true), text(field+".city", a.City, maxName, false),
		text(field+".region", a.Region, maxName, true), text(field+".postal_code", a.PostalCode, 20, false))
	if err == nil && (len(a.Country) != 2 || a.Country[0] < 'A' || a.Country[0] > 'Z' || a.Country[1] < 'A' || a.Country[1] > 'Z') {
		err = fault.Invalid(field+".country", "%s.country must be two capital letters such as DE (ISO 3166-1)", field)
	}
	return err
}

// PlacePayment is how the customer pays: the gateway's token for a card, nothing more for cash.
type PlacePayment struct {
	Method Method `json:"method"`
	Token  string `json:"token,omitzero"`
}

// PlaceRequest places an order. OrderID is the idempotency key; where it is absent it follows from the Idempotency-Key header.
type PlaceRequest struct {
	OrderID       id.Order     `json:"order_id,omitzero"`
	CustomerID    id.Customer  `json:"customer_id"`
	Email         string       `json:"email,omitzero"`
	Lines         []StockLine  `json:"lines"`
	Fulfilment    Fulfilment   `json:"fulfilment"`
	ShipTo        *Address     `json:"ship_to,omitzero"`
	Payment       PlacePayment `json:"payment"`
	ExpectedTotal *Money       `json:"expected_total,omitzero"`

	mentioned []int // where each of the summed lines stood first
}

// LineField names a field of the i-th summed line as the caller wrote it: where its SKU stood first.
func (r *PlaceRequest) LineField(i int, field string) string {
	if i < len(r.mentioned) {
		i = r.mentioned[i]
	}
	return at("lines", i, field)
}

// Validate checks the request's shape and sums lines of the same SKU, in the order of their first mention.
func (r *PlaceRequest) Validate() error {
	if r.OrderID != "" {
		if err := id.Check("order_id", r.OrderID); err != nil {
			return err
		}
	}
	if err := first(id.Check("customer_id", r.CustomerID), email("email", r.Email), stockLines(r.Lines)); err != nil {
		return err
	}
	r.Lines, r.mentioned = sumLines(r.Lines)
	for i, l := range r.Lines {
		if err := quantity(r.LineField(i, "quantity"), l.Quantity); err != nil {
			return fault.Invalid(r.LineField(i, "quantity"), "the lines of %s add up to more than %d", l.SKU, MaxQuantity)
		}
	}
	if err := oneOf("fulfilment", r.Fulfilment, false, Ship, Pickup); err != nil {
		return err
	}
	switch {
	case r.Fulfilment == Ship && r.ShipTo == nil:
		return fault.Invalid("ship_to", "ship_to is missing: the order is to be shipped")
	case r.Fulfilment == Pickup && r.ShipTo != nil:
		return fault.Invalid("ship_to", "ship_to must be absent: the order is picked up")
	case r.ShipTo != nil:
		if err := r.ShipTo.validate("ship_to"); err != nil {
			return err
		}
	}
	if err := method("payment.method", "payment.token", r.Payment.Method, r.Payment.Token); err != nil {
		return err
	}
	if r.ExpectedTotal != nil {
		return amount("expected_total", *r.ExpectedTotal, 0)
	}
	return nil
}

// sumLines adds up the lines of each SKU, in the order of their first mention, and tells where that was.
func sumLines(lines []StockLine) (out []StockLine, mentioned []int) {
	at := make(map[id.SKU]int, len(lines))
	out, mentioned = make([]StockLine, 0, len(lines)), make([]int, 0, len(lines))
	for n, l := range lines {
		if i, ok := at[l.SKU]; ok {
			out[i].Quantity += l.Quantity // at most MaxLines × MaxQuantity: no overflow
			continue
		}
		at[l.SKU] = len(out)
		out, mentioned = append(out, l), append(mentioned, n)
	}
	return out, mentioned
}

// Reason says why an order is not simply confirmed.
type Reason struct {
	Code    string `json:"code"` // out_of_stock, payment_declined, …
	Message string `json:"message"`
}

// Line is a priced line of an order: Total is the quantity's price without tax.
type Line struct {
	SKU       id.SKU `json:"sku"`
	Name      string `json:"name"`
	Quantity  int64  `json:"quantity"`
	UnitPrice Money  `json:"unit_price"`
	TaxRateBP int64  `json:"tax_rate_bp"`
	Total     Money  `json:"total"`
}

// OrderInfo is an order as its customer may see it. Revision is the journal sequence of the order's own last event. Email and
// ShipTo are absent once the customer was erased.
type OrderInfo struct {
	OrderID    id.Order       `json:"order_id"`
	Site       Site           `json:"site"`
	Status     OrderStatus    `json:"status"`
	Reason     *Reason        `json:"reason,omitzero"`
	CustomerID id.Customer    `json:"customer_id"`
	Email      string         `json:"email,omitzero"`
	Lines      []Line         `json:"lines"`
	Subtotal   Money          `json:"subtotal"`
	Tax        Money          `json:"tax"`
	Total      Money          `json:"total"`
	Fulfilment Fulfilment     `json:"fulfilment"`
	ShipTo     *Address       `json:"ship_to,omitzero"`
	Payment    *PaymentInfo   `json:"payment,omitzero"`
	Shipments  []ShipmentInfo `json:"shipments"`
	CreatedAt  Time           `json:"created_at"`
	UpdatedAt  Time           `json:"updated_at"`
	Revision   uint64         `json:"revision"`
}

// OrderRequest names an order.
type OrderRequest struct {
	OrderID id.Order `json:"order_id"`
}

// Validate checks the request's shape.
func (r *OrderRequest) Validate() error { return id.Check("order_id", r.OrderID) }

// CancelRequest asks for an order to be cancelled; Reason is for people.
type CancelRequest struct {
	OrderID id.Order `json:"order_id"`
	Reason  string   `json:"reason,omitzero"`
}

// Validate checks the request's shape.
func (r *CancelRequest) Validate() error {
	return first(id.Check("order_id", r.OrderID), text("reason", r.Reason, maxReason, true))
}

// GetOrderRequest is OrderRequest; a reason is accepted and ignored, as the methods share one form.
type GetOrderRequest = CancelRequest

// ListOrdersRequest asks for orders, newest first. Text is looked for in order and customer ids, SKUs and item names.
type ListOrdersRequest struct {
	Page
	Status     OrderStatus `json:"status,omitzero"`
	CustomerID id.Customer `json:"customer_id,omitzero"`
	Since      Time        `json:"since,omitzero"` // created at or after
	Until      Time        `json:"until,omitzero"` // created before
	Text       string      `json:"text,omitzero"`
}

// Validate checks the request's shape.
func (r *ListOrdersRequest) Validate() error {
	err := first(r.Page.Validate(), oneOf("status", r.Status, true, OrderStatuses...), text("text", r.Text, 100, true))
	if err == nil && r.CustomerID != "" {
		err = id.Check("customer_id", r.CustomerID)
	}
	return err
}

// Orders is a page of orders.
type Orders struct {
	Orders     []OrderInfo `json:"orders"`
	NextCursor string      `json:"next_cursor"`
}

// HistoryEvent is one event of an order's story.
type HistoryEvent struct {
	Sequence uint64 `json:"sequence"`
	Time     Time   `json:"time"`
	Type     string `json:"type"` // the CloudEvents type, such as waybill.order.placed.v1
	Data     Raw    `json:"data"`
}

// History is the story of an order, of its payment, reservation and shipments, in journal order.
type History struct {
	Events []HistoryEvent `json:"events"`
}

// The order service's endpoints.
var (
	OrderPlace   = Endpoint[PlaceRequest, OrderInfo]{Service: Order, Method: "place", Idempotent: true, Doc: "Places an order; answers when its outcome is durable."}
	OrderGet     = Endpoint[GetOrderRequest, OrderInfo]{Service: Order, Method: "get", Idempotent: true, Doc: "Returns an order."}
	OrderCancel  = Endpoint[CancelRequest, OrderInfo]{Service: Order, Method: "cancel", Idempotent: true, Doc: "Cancels an order that has not left the house."}
	OrderList    = Endpoint[ListOrdersRequest, Orders]{Service: Order, Method: "list", Idempotent: true, Doc: "Lists orders, newest first."}
	OrderHistory = Endpoint[OrderRequest, History]{Service: Order, Method: "history", Idempotent: true, Doc: "Tells an order's story from the journal."}
)

// EraseRequest names the customer whose personal data becomes unreadable, for good.
type EraseRequest struct {
	CustomerID id.Customer `json:"customer_id"`
}

// Validate checks the request's shape.
func (r *EraseRequest) Validate() error { return id.Check("customer_id", r.CustomerID) }

// Erased says whether there was a key to destroy.
type Erased struct {
	CustomerID id.Customer `json:"customer_id"`
	Erased     bool        `json:"erased"`
}

// CustomerErase destroys the key that a customer's personal data is sealed with.
var CustomerErase = Endpoint[EraseRequest, Erased]{Service: Customer, Method: "erase", Idempotent: true, Doc: "Makes a customer's personal data unreadable, for good."}

// Sequence writes a journal sequence as Waybill-Sequence has it.
func Sequence(n uint64) string { return strconv.FormatUint(n, 10) }

// OrderProceed has the order process look at an order now: because its payment went on, or because it is due.
var OrderProceed = Endpoint[OrderRequest, Empty]{Service: Order, Method: "proceed", Internal: true, Idempotent: true, Doc: "Carries an order as far as it can go now."}
