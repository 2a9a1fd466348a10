package handlers

import (
	"context"
	"errors"
	"strconv"

	"waybill/internal/fault"
	"waybill/internal/id"
	"waybill/internal/journal"
	"waybill/internal/order"
	"waybill/subjects"
)

// The ids under which the order process moves money. They follow from what has been moved before, so that a repeat is a repeat,
// and what somebody else has moved under an id of this form is none.

func refundOf(s order.State, refunded subjects.Money) id.Refund {
	return id.Refund(string(s.OrderID) + "-r" + strconv.FormatInt(refunded.Amount, 36))
}

func captureOf(s order.State, captured subjects.Money) id.Capture {
	return id.Capture(string(s.OrderID) + "-c" + strconv.FormatInt(captured.Amount, 36))
}

// cancel takes an order back. The reservation decides between leaving and cancelling: where its stock was consumed, the
// goods have left, the order goes on and the cancellation is refused.
func (o *Orders) cancel(ctx context.Context, r *subjects.CancelRequest) (*subjects.OrderInfo, error) {
	work, stop := answerIn(ctx)
	defer stop()
	now := o.clock.now()
	h, err := o.orders.command(work, string(r.OrderID), func(h held[order.State]) order.Command {
		if h.state.Status == order.StatusCancelled { // a repeat: the stored order is the answer
			return order.FinishCancel{At: now}
		}
		return order.Cancel{Reason: r.Reason, DueAt: o.due(), At: now}
	})
	if fault.CodeOf(err) == fault.NotFound {
		return nil, noOrder(r.OrderID)
	}
	if err != nil {
		return nil, err
	}
	if h.state.Status == order.StatusCancelling {
		h, err = o.finishCancel(work, h)
		switch {
		case err != nil && outcomeUnknown(err):
			o.wake(r.OrderID) // the answer is the order as it is: cancelling
		case err != nil:
			return nil, err
		}
	}
	if s := h.state.Status; s != order.StatusCancelling && s != order.StatusCancelled {
		// What its shipments have done meanwhile did not move an order that was cancelling.
		if err := o.progress(work, r.OrderID); err != nil {
			o.wake(r.OrderID)
		}
		return nil, fault.New(fault.FailedPrecondition, "goods of the order %s have left; it can't be cancelled any more", r.OrderID)
	}
	return o.info(ctx, h, nil)
}

// finishCancel carries a cancelling order to cancelled, or back to fulfilling where goods have left. It may be called any
// number of times by any number at once.
func (o *Orders) finishCancel(ctx context.Context, h held[order.State]) (held[order.State], error) {
	_, err := call(ctx, o.calls, o.hook, subjects.InventoryEnd, &subjects.EndRequest{
		ReservationID: h.state.ReservationID, Lines: stockLines(h.state.Lines),
	})
	if fault.CodeOf(err) == fault.FailedPrecondition {
		return o.settled(ctx, h, order.Reopen{At: o.clock.now()})
	}
	if err != nil {
		return h, err
	}
	if _, err := call(ctx, o.calls, o.hook, subjects.ShippingCancel, &subjects.CancelShipmentsRequest{
		OrderID: h.state.OrderID, Reason: "the order was cancelled",
	}); err != nil {
		return h, err
	}
	if err := o.giveBack(ctx, h.state); err != nil {
		return h, err
	}
	return o.settled(ctx, h, order.FinishCancel{At: o.clock.now()})
}

// settled appends the last event of a compensation; where another process of the site was first, its word is the same.
func (o *Orders) settled(ctx context.Context, h held[order.State], c order.Command) (held[order.State], error) {
	next, err := o.orders.step(ctx, string(h.state.OrderID), h, c)
	if errors.Is(err, journal.ErrConflict) {
		return o.orders.load(ctx, string(h.state.OrderID))
	}
	return next, err
}

// expire ends an order that was not confirmed in time, after everything that was done for it is undone.
func (o *Orders) expire(ctx context.Context, h held[order.State]) (held[order.State], error) {
	if err := o.undo(ctx, h.state); err != nil {
		return h, err
	}
	return o.settled(ctx, h, order.Expire{
		Reason: order.Reason{Code: "expired", Message: "the order was not confirmed in time"}, At: o.clock.now(),
	})
}
