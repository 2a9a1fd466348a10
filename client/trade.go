package client

import (
	"context"
	"iter"

	"waybill/internal/id"
	"waybill/internal/rpc"
	"waybill/subjects"
)

// Catalog are the methods of the catalog.
type Catalog struct{ c *Client }

// Put makes or replaces an item.
func (s Catalog) Put(ctx context.Context, r subjects.PutItemRequest) (*subjects.Item, error) {
	return Call(ctx, s.c, subjects.CatalogPut, &r)
}

// Get returns an item. Errors: not_found.
func (s Catalog) Get(ctx context.Context, sku id.SKU) (*subjects.Item, error) {
	return Call(ctx, s.c, subjects.CatalogGet, &subjects.SKURequest{SKU: sku})
}

// List returns a page of the items, by SKU.
func (s Catalog) List(ctx context.Context, p subjects.Page) (*subjects.Items, error) {
	return Call(ctx, s.c, subjects.CatalogList, &subjects.ListRequest{Page: p})
}

// All iterates over the items by SKU. It ends after an error.
func (s Catalog) All(ctx context.Context) iter.Seq2[subjects.Item, error] {
	return pages(func(cursor string) ([]subjects.Item, string, error) {
		page, err := s.List(ctx, subjects.Page{Limit: subjects.MaxLimit, Cursor: cursor})
		if err != nil {
			return nil, "", err
		}
		return page.Items, page.NextCursor, nil
	})
}

// Inventory are the methods of the inventory.
type Inventory struct{ c *Client }

// Receive adds stock, once per reference of an SKU. Errors: already_exists (the reference stands for something else).
func (s Inventory) Receive(ctx context.Context, r subjects.ReceiveRequest) (*subjects.Stock, error) {
	return Call(ctx, s.c, subjects.InventoryReceive, &r)
}

// Adjust corrects stock, once per reference of an SKU. Errors: already_exists; failed_precondition where less would be left
// than is reserved.
func (s Inventory) Adjust(ctx context.Context, r subjects.AdjustRequest) (*subjects.Stock, error) {
	return Call(ctx, s.c, subjects.InventoryAdjust, &r)
}

// Get returns the stock of an SKU. Errors: not_found.
func (s Inventory) Get(ctx context.Context, sku id.SKU) (*subjects.Stock, error) {
	return Call(ctx, s.c, subjects.InventoryGet, &subjects.SKURequest{SKU: sku})
}

// List returns a page of the stock, by SKU.
func (s Inventory) List(ctx context.Context, p subjects.Page) (*subjects.Stocks, error) {
	return Call(ctx, s.c, subjects.InventoryList, &subjects.ListRequest{Page: p})
}

// All iterates over the stock by SKU. It ends after an error.
func (s Inventory) All(ctx context.Context) iter.Seq2[subjects.Stock, error] {
	return pages(func(cursor string) ([]subjects.Stock, string, error) {
		page, err := s.List(ctx, subjects.Page{Limit: subjects.MaxLimit, Cursor: cursor})
		if err != nil {
			return nil, "", err
		}
		return page.Items, page.NextCursor, nil
	})
}

// Reserve holds stock: all lines or none. Errors: failed_precondition names every SKU that is short; already_exists.
func (s Inventory) Reserve(ctx context.Context, r subjects.ReserveRequest) (*subjects.Reservation, error) {
	return Call(ctx, s.c, subjects.InventoryReserve, &r)
}

// Extend makes a held reservation expire a TTL from now. Errors: not_found, failed_precondition.
func (s Inventory) Extend(ctx context.Context, r subjects.ReservationRequest) (*subjects.Reservation, error) {
	return Call(ctx, s.c, subjects.InventoryExtend, &r)
}

// Commit makes a held reservation firm. Errors: not_found, failed_precondition.
func (s Inventory) Commit(ctx context.Context, r id.Reservation) (*subjects.Reservation, error) {
	return Call(ctx, s.c, subjects.InventoryCommit, &subjects.ReservationRequest{ReservationID: r})
}

// Release gives back what is reserved and not yet consumed. Errors: not_found, failed_precondition.
func (s Inventory) Release(ctx context.Context, r id.Reservation) (*subjects.Reservation, error) {
	return Call(ctx, s.c, subjects.InventoryRelease, &subjects.ReservationRequest{ReservationID: r})
}

// Consume takes reserved stock out with a shipment, once per shipment. Errors: not_found, failed_precondition,
// already_exists.
func (s Inventory) Consume(ctx context.Context, r subjects.ConsumeRequest) (*subjects.Reservation, error) {
	return Call(ctx, s.c, subjects.InventoryConsume, &r)
}

// Payments are the methods of the payment service.
type Payments struct{ c *Client }

// Authorize sets an amount aside, or takes cash. A decline is a payment with status failed, not an error.
func (s Payments) Authorize(ctx context.Context, r subjects.AuthorizeRequest) (*subjects.PaymentInfo, error) {
	return Call(ctx, s.c, subjects.PaymentAuthorize, &r)
}

// Capture takes an authorized amount or a part of it, once per capture id. Errors: not_found, failed_precondition,
// already_exists.
func (s Payments) Capture(ctx context.Context, r subjects.CaptureRequest) (*subjects.PaymentInfo, error) {
	return Call(ctx, s.c, subjects.PaymentCapture, &r)
}

// Refund gives back a captured amount or a part of it, once per refund id. Errors: not_found, failed_precondition,
// already_exists.
func (s Payments) Refund(ctx context.Context, r subjects.RefundRequest) (*subjects.PaymentInfo, error) {
	return Call(ctx, s.c, subjects.PaymentRefund, &r)
}

// Void gives up what is authorized and not captured. Errors: not_found, failed_precondition.
func (s Payments) Void(ctx context.Context, p id.Payment) (*subjects.PaymentInfo, error) {
	return Call(ctx, s.c, subjects.PaymentVoid, &subjects.PaymentRequest{PaymentID: p})
}

// Resume goes on with a payment that required an action of the customer, with the token that came of it where there is a new
// one. It is asked once. Errors: not_found, failed_precondition.
func (s Payments) Resume(ctx context.Context, p id.Payment, token string) (*subjects.PaymentInfo, error) {
	return Call(ctx, s.c, subjects.PaymentResume, &subjects.ResumeRequest{PaymentID: p, Token: token})
}

// Get returns a payment. Errors: not_found.
func (s Payments) Get(ctx context.Context, p id.Payment) (*subjects.PaymentInfo, error) {
	return Call(ctx, s.c, subjects.PaymentGet, &subjects.PaymentRequest{PaymentID: p})
}

// Ledger returns a page of the sandbox gateway's own books. Errors: unimplemented for a real gateway.
func (s Payments) Ledger(ctx context.Context, p subjects.Page) (*subjects.Ledger, error) {
	return Call(ctx, s.c, subjects.PaymentLedger, &subjects.ListRequest{Page: p})
}

// AllLedger iterates over the sandbox gateway's books in the order of their writing. It ends after an error.
func (s Payments) AllLedger(ctx context.Context) iter.Seq2[subjects.LedgerEntry, error] {
	return pages(func(cursor string) ([]subjects.LedgerEntry, string, error) {
		page, err := s.Ledger(ctx, subjects.Page{Limit: subjects.MaxLimit, Cursor: cursor})
		if err != nil {
			return nil, "", err
		}
		return page.Entries, page.NextCursor, nil
	})
}

// Shipping are the methods of the shipping service. Its verbs take what they need of the request; errors of each: not_found,
// and failed_precondition where the shipment's status does not allow it.
type Shipping struct{ c *Client }

// List returns a page of shipments, newest first.
func (s Shipping) List(ctx context.Context, r subjects.ListShipmentsRequest) (*subjects.Shipments, error) {
	return Call(ctx, s.c, subjects.ShippingList, &r)
}

// Get returns a shipment.
func (s Shipping) Get(ctx context.Context, shipment id.Shipment) (*subjects.ShipmentInfo, error) {
	return Call(ctx, s.c, subjects.ShippingGet, &subjects.ShipmentRequest{ShipmentID: shipment})
}

// Book books a carrier.
func (s Shipping) Book(ctx context.Context, r subjects.ShipmentRequest) (*subjects.ShipmentInfo, error) {
	return Call(ctx, s.c, subjects.ShippingBook, &r)
}

// Prepare begins to prepare an order that is picked up.
func (s Shipping) Prepare(ctx context.Context, r subjects.ShipmentRequest) (*subjects.ShipmentInfo, error) {
	return Call(ctx, s.c, subjects.ShippingPrepare, &r)
}

// Ready says that an order can be picked up.
func (s Shipping) Ready(ctx context.Context, r subjects.ShipmentRequest) (*subjects.ShipmentInfo, error) {
	return Call(ctx, s.c, subjects.ShippingReady, &r)
}

// Dispatch hands a shipment to its carrier: stock is consumed and the payment captured.
func (s Shipping) Dispatch(ctx context.Context, r subjects.ShipmentRequest) (*subjects.ShipmentInfo, error) {
	return Call(ctx, s.c, subjects.ShippingDispatch, &r)
}

// Deliver says that a shipment has arrived, or was picked up.
func (s Shipping) Deliver(ctx context.Context, r subjects.ShipmentRequest) (*subjects.ShipmentInfo, error) {
	return Call(ctx, s.c, subjects.ShippingDeliver, &r)
}

// Fail says that a shipment could not be delivered.
func (s Shipping) Fail(ctx context.Context, r subjects.ShipmentRequest) (*subjects.ShipmentInfo, error) {
	return Call(ctx, s.c, subjects.ShippingFail, &r)
}

// Return says that a shipment has come back.
func (s Shipping) Return(ctx context.Context, r subjects.ShipmentRequest) (*subjects.ShipmentInfo, error) {
	return Call(ctx, s.c, subjects.ShippingReturn, &r)
}

// Split moves the request's lines out of a planned shipment into a new one, and returns the former with what is left in it;
// the order shows both. A key of its own makes repeating it safe.
func (s Shipping) Split(ctx context.Context, r subjects.ShipmentRequest) (*subjects.ShipmentInfo, error) {
	return call(ctx, s.c, subjects.ShippingSplit, &r, true, rpc.WithIdempotencyKey(id.New()))
}
