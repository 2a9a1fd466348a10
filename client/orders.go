package client

import (
	"context"
	"fmt"
	"iter"

	"waybill/internal/id"
	"waybill/subjects"
)

// Orders are the methods of the order service.
type Orders struct{ c *Client }

// NewOrderID returns a fresh random id for an order, for callers that want to know it before they place the order.
func NewOrderID() id.Order { return id.Order(id.New()) }

// Place places an order and returns it when its outcome is durable: confirmed, rejected with its reason, or pending or
// needs_action where the payment takes longer. An order without an id is given one, so that repeating it is safe; after an
// error that id stands in the error's text. Errors: invalid_argument, already_exists (the id names another order),
// failed_precondition (prices, unknown items), resource_exhausted; *NoAnswer: ask again with the same id.
func (o Orders) Place(ctx context.Context, r subjects.PlaceRequest) (*subjects.OrderInfo, error) {
	if r.OrderID != "" {
		return Call(ctx, o.c, subjects.OrderPlace, &r)
	}
	r.OrderID = NewOrderID()
	info, err := Call(ctx, o.c, subjects.OrderPlace, &r)
	if err != nil {
		return nil, fmt.Errorf("order %s: %w", r.OrderID, err)
	}
	return info, nil
}

// Get returns an order. Errors: not_found.
func (o Orders) Get(ctx context.Context, order id.Order) (*subjects.OrderInfo, error) {
	return Call(ctx, o.c, subjects.OrderGet, &subjects.GetOrderRequest{OrderID: order})
}

// Cancel cancels an order that has not left the house; reason is for people and may be empty. It returns the order as
// cancelled, or as cancelling where the money is not yet back. Errors: not_found, failed_precondition.
func (o Orders) Cancel(ctx context.Context, order id.Order, reason string) (*subjects.OrderInfo, error) {
	return Call(ctx, o.c, subjects.OrderCancel, &subjects.CancelRequest{OrderID: order, Reason: reason})
}

// List returns a page of orders, newest first.
func (o Orders) List(ctx context.Context, r subjects.ListOrdersRequest) (*subjects.Orders, error) {
	return Call(ctx, o.c, subjects.OrderList, &r)
}

// All iterates over every order that the filter lets through, newest first, a page at a time; the filter's cursor is where
// it starts. Each page has the client's timeout of its own where ctx has no deadline. It ends after an error.
func (o Orders) All(ctx context.Context, filter subjects.ListOrdersRequest) iter.Seq2[subjects.OrderInfo, error] {
	start := filter.Cursor
	return pages(func(cursor string) ([]subjects.OrderInfo, string, error) {
		r := filter
		if r.Cursor = cursor; cursor == "" {
			r.Cursor = start
		}
		page, err := o.List(ctx, r)
		if err != nil {
			return nil, "", err
		}
		return page.Orders, page.NextCursor, nil
	})
}

// History returns an order's story in journal order: its own events and those of its payment, reservation and shipments.
// Errors: not_found.
func (o Orders) History(ctx context.Context, order id.Order) (*subjects.History, error) {
	return Call(ctx, o.c, subjects.OrderHistory, &subjects.OrderRequest{OrderID: order})
}
