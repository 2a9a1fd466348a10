package handlers

import (
	"context"
	"errors"
	"time"

	"waybill/configs"
	"waybill/internal/fault"
	"waybill/internal/guard"
	"waybill/internal/inventory"
	"waybill/internal/journal"
	"waybill/internal/order"
	"waybill/internal/payment"
	"waybill/subjects"
)

// holdWait is how long the stock may take to answer before it is asked again; doubled each time, as it may be busy and not gone.
const holdWait = 2 * time.Second

// hold reserves what the order needs. Whoever leads the stock may have been killed with the question at hand: it is put again, to
// whoever leads by then, as long as there is time. again says that it was put more than once: an earlier one may still be answered.
func (o *Orders) hold(ctx context.Context, h held[order.State]) (r *subjects.Reservation, again bool, err error) {
	for wait := holdWait; ; wait *= 2 {
		asking, cancel := context.WithTimeout(ctx, wait)
		r, err = call(asking, o.calls, o.hook, subjects.InventoryReserve, &subjects.ReserveRequest{
			ReservationID: h.state.ReservationID, Lines: stockLines(h.state.Lines),
		})
		cancel()
		if err == nil || ctx.Err() != nil || fault.CodeOf(err) != fault.DeadlineExceeded {
			return r, again, err
		}
		again = true
	}
}

// advance carries a pending order towards its outcome: hold the stock, pay, confirm; or undo and reject. pay authorizes the
// payment (a live request) or finds out what became of it (the background process). Where a part does not answer, the order
// stays pending and the background process goes on with it. Every step is idempotent, so two at work on one order do no harm:
// the compare-and-set on the order lets one of them say how it ended, and the other undoes what it did for nothing.
//
// again says that others may be, or have been, at work on the order: what is refused is then refused for good. So it is where the
// stock was asked twice, because the first question may lie with a leader that stood still, and be answered later.
func (o *Orders) advance(ctx context.Context, h held[order.State], again bool,
	pay func(context.Context) (*subjects.PaymentInfo, error)) (held[order.State], *subjects.PaymentInfo, error) {
	r, asked, err := o.hold(ctx, h)
	switch {
	case err != nil && outcomeUnknown(err):
		return h, nil, nil
	case err != nil, !holds(r):
		message := "the reservation does not hold"
		if err != nil {
			message = fault.From(err).Message
		}
		h, err = o.reject(ctx, h, order.Reason{Code: order.ReasonOutOfStock, Message: message}, again || asked)
		return h, nil, err
	}
	info, err := pay(ctx)
	switch {
	case err != nil && outcomeUnknown(err):
		return h, nil, nil
	case err != nil:
		h, err = o.reject(ctx, h, order.Reason{Code: order.ReasonPaymentDeclined, Message: fault.From(err).Message}, true)
		return h, nil, err
	}
	if info.Amount != h.state.Total {
		h, err = o.reject(ctx, h, order.Reason{Code: order.ReasonPaymentDeclined, Message: "the payment is of another amount"}, true)
		return h, info, err
	}
	now := o.clock.now()
	switch info.Status {
	case payment.StatusAuthorized, payment.StatusPartiallyCaptured, payment.StatusCaptured:
		h, err = o.decide(ctx, h, order.Confirm{At: now})
		if err == nil && h.state.Status == order.StatusConfirmed {
			info = o.captureOnConfirm(ctx, h, info)
		}
		return h, info, err
	case payment.StatusRequiresAction:
		h, err = o.decide(ctx, h, order.NeedAction{
			Reason: order.Reason{Code: "payment_action_required", Message: "the customer must " + info.Action + "; then resume the payment"},
			DueAt:  o.due(), ExpiresAt: h.state.ExpiresAt, At: now,
		})
		return h, info, err
	case payment.StatusFailed, payment.StatusVoided, payment.StatusExpired, payment.StatusDeclinedAfterAcceptance:
		message := "the payment was " + string(info.Status)
		if info.DeclineCode != "" {
			message = "the card was declined: " + info.DeclineCode
		}
		h, err = o.reject(ctx, h, order.Reason{Code: order.ReasonPaymentDeclined, Message: message}, true)
		return h, info, err
	}
	return h, info, nil
}

// holds reports whether a reservation keeps its stock for the order until the order ends it.
func holds(r *subjects.Reservation) bool {
	return (r.Status == inventory.StatusHeld || r.Status == inventory.StatusCommitted) && r.ExpiresAt.IsZero()
}

// decide appends to an order that this process carries. Where another was first, its word stands; if that ended the order,
// what was done for it meanwhile is undone.
func (o *Orders) decide(ctx context.Context, h held[order.State], c order.Command) (held[order.State], error) {
	id := string(h.state.OrderID)
	next, err := o.orders.step(ctx, id, h, c)
	if !errors.Is(err, journal.ErrConflict) {
		return next, err
	}
	now, err := o.orders.load(ctx, id)
	if err != nil {
		return h, err
	}
	switch now.state.Status {
	case order.StatusRejected, order.StatusExpired, order.StatusCancelled:
		if err := o.undo(ctx, now.state); err != nil {
			o.log.Warn().Err(err).Str("order_id", id).Msg("what was done for an order that had ended could not be undone; waybill verify tells of it")
		}
	}
	return now, nil
}

// reject ends a pending order after everything that was done for it is undone; until then it stays pending. Where nobody else was at work
// on it there is nothing to undo, unless its payment was authorized from outside before there was an order.
func (o *Orders) reject(ctx context.Context, h held[order.State], why order.Reason, undo bool) (held[order.State], error) {
	if !undo {
		var err error
		if _, undo, err = o.journal.Load(ctx, subjects.Event(o.site, subjects.KindPayment, h.state.PaymentID)); err != nil {
			return h, nil
		}
	}
	if undo {
		if err := o.undo(ctx, h.state); err != nil {
			if outcomeUnknown(err) {
				return h, nil
			}
			return h, err
		}
	}
	return o.decide(ctx, h, order.Reject{Reason: why, At: o.clock.now()})
}

// undo gives back what an order holds: its stock and what was authorized or taken of its payment. When it returns without
// error all of that is confirmed, and nothing that is still on its way can take hold again. An error of code
// failed_precondition means that goods have left.
func (o *Orders) undo(ctx context.Context, s order.State) error {
	if guard.Off(guard.Compensation) {
		return nil
	}
	if _, err := call(ctx, o.calls, o.hook, subjects.InventoryEnd, &subjects.EndRequest{
		ReservationID: s.ReservationID, Lines: stockLines(s.Lines),
	}); err != nil {
		return err
	}
	return o.giveBack(ctx, s)
}

// giveBack voids what is authorized and refunds what is captured.
func (o *Orders) giveBack(ctx context.Context, s order.State) error {
	if guard.Off(guard.Compensation) {
		return nil
	}
	info, err := call(ctx, o.calls, o.hook, subjects.PaymentSettle, o.settle(s, true))
	if fault.CodeOf(err) == fault.AlreadyExists {
		return nil // somebody took the payment's id for something else: nothing was ever paid for this order
	}
	if err != nil {
		return err
	}
	switch info.Status {
	case payment.StatusVoided, payment.StatusFailed, payment.StatusExpired, payment.StatusCaptured, payment.StatusDeclinedAfterAcceptance:
	default:
		return fault.New(fault.Unavailable, "the payment of %s is %s and not given back yet", s.OrderID, info.Status)
	}
	left, err := info.Captured.Sub(info.Refunded)
	if err != nil || left.Amount <= 0 {
		return err
	}
	info, err = call(ctx, o.calls, o.hook, subjects.PaymentRefund, &subjects.RefundRequest{
		PaymentID: s.PaymentID, RefundID: refundOf(s, info.Refunded), Amount: left,
	})
	if err != nil {
		return err
	}
	if info.Refunded != info.Captured {
		return fault.New(fault.Unavailable, "the refund of %s is not settled yet", s.OrderID)
	}
	return nil
}

func (o *Orders) settle(s order.State, void bool) *subjects.SettleRequest {
	r := &subjects.SettleRequest{PaymentID: s.PaymentID, OrderID: s.OrderID, Amount: s.Total, Method: subjects.Method(s.Method), Void: void}
	if token, err := o.vault.OpenToken(string(s.OrderID), s.Token); err == nil {
		r.Token = token
	}
	return r
}

// captureOnConfirm captures the whole payment where the site is set to do so. What fails here is captured at dispatch.
func (o *Orders) captureOnConfirm(ctx context.Context, h held[order.State], info *subjects.PaymentInfo) *subjects.PaymentInfo {
	if o.live.String(configs.PaymentCapture) != configs.CaptureOnConfirm || info.Status != payment.StatusAuthorized || info.Amount.Amount == 0 {
		return info
	}
	captured, err := call(ctx, o.calls, o.hook, subjects.PaymentCapture, &subjects.CaptureRequest{
		PaymentID: h.state.PaymentID, CaptureID: captureOf(h.state, info.Captured), Amount: h.state.Total,
	})
	if err != nil {
		o.log.Warn().Err(err).Str("order_id", string(h.state.OrderID)).Msg("the payment was not captured on confirmation; it will be at dispatch")
		return info
	}
	return captured
}
