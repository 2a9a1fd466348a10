package client

import (
	"context"
	"iter"
	"math"
	"strings"

	"waybill/internal/id"
	"waybill/subjects"
)

// Final reports whether an order with this status will never change again by itself.
func Final(s subjects.OrderStatus) bool {
	switch s {
	case "completed", "cancelled", "rejected", "expired":
		return true
	}
	return false
}

// Watch iterates over an order's states: as it is now, and then as it is after each change of its own, its payment's or its
// shipments'. It ends after a final state, or with ctx's error. Changes that come faster than they are read are seen as one.
// Errors: not_found, and those of Events.
func (c *Client) Watch(ctx context.Context, order id.Order) iter.Seq2[*subjects.OrderInfo, error] {
	return func(yield func(*subjects.OrderInfo, error) bool) {
		// The journal's end first, the order after it: whatever the order does not show yet is then still to come.
		from, err := c.next(ctx)
		if err != nil {
			yield(nil, err)
			return
		}
		info, err := c.Orders.Get(ctx, order)
		if !yield(info, err) || err != nil || Final(info.Status) {
			return
		}
		f := filter{subjects.KindOrder: {}, subjects.KindPayment: {}, subjects.KindRefund: {}, subjects.KindShipment: {}}
		stopped := false
		err = c.follow(ctx, from, f, math.MaxUint64, func(e Event, _ error) bool {
			if !concerns(e, order) {
				return true
			}
			info, err := c.Orders.Get(ctx, order)
			stopped = !yield(info, err) || err != nil || Final(info.Status)
			return !stopped
		})
		if err != nil && !stopped {
			yield(nil, err)
		}
	}
}

// concerns reports whether an event is of the order, its payment or one of its shipments.
func concerns(e Event, order id.Order) bool {
	switch e.Kind {
	case subjects.KindOrder:
		return e.ID == string(order)
	case subjects.KindPayment, subjects.KindRefund:
		return e.ID == string(id.PaymentOf(order))
	case subjects.KindShipment:
		return strings.HasPrefix(e.ID, string(order)+"-s")
	}
	return false
}
