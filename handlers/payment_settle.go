package handlers

import (
	"context"
	"errors"
	"time"

	"waybill/configs"
	"waybill/internal/fault"
	"waybill/internal/id"
	"waybill/internal/paygate"
	"waybill/internal/payment"
	"waybill/internal/vault"
	"waybill/subjects"
)

// settle finds out what became of a payment and brings it to an end: what was intended is finished, what is unknown is asked
// for, and with Void what is not captured is given up. It serves for a payment that was never made, too: it is made and
// voided then, so that a request which is still on its way finds the door closed.
func (p *Payments) settle(ctx context.Context, r *subjects.SettleRequest) (*subjects.PaymentInfo, error) {
	work, cancel := answerIn(ctx)
	defer cancel()
	defer p.patientTurn(work, r.PaymentID)()
	h, err := p.payments.load(work, string(r.PaymentID))
	if err != nil {
		return nil, err
	}
	if !h.exists() {
		if h, err = p.create(work, &subjects.AuthorizeRequest{PaymentID: r.PaymentID, OrderID: r.OrderID, Amount: r.Amount, Method: r.Method, Token: r.Token}); err != nil {
			return nil, err
		}
	}
	// What an order gives back may be what somebody else has asked for in its name.
	if h.state.OrderID != r.OrderID || !r.Void && (h.state.Amount != r.Amount || h.state.Method != payment.Method(r.Method)) {
		return nil, fault.New(fault.AlreadyExists, "the payment %s exists with another order, method or amount", r.PaymentID).WithField("payment_id")
	}
	if h, err = p.finish(work, h); err != nil {
		return nil, err
	}
	if h, err = p.clear(work, h, r); err != nil {
		return nil, err
	}
	if err := p.finishRefunds(work, h); err != nil {
		return nil, err
	}
	return p.info(ctx, h)
}

// patientTurn waits for the turn as long as a live request with a gateway that answers could keep it, and then goes on without:
// a request that is stuck must not hold up the one that finds out what became of it. The journal arbitrates between the two.
func (p *Payments) patientTurn(ctx context.Context, pay id.Payment) (end func()) {
	patience := p.live.Duration(configs.PaymentGatewayTimeout) + turnMargin
	if deadline, ok := ctx.Deadline(); ok {
		patience = min(patience, time.Until(deadline)/2) // the rest is for the work
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	end, err := p.turns.take(ctx, pay)
	if err != nil {
		return func() {}
	}
	return end
}

// turnMargin is what a live request takes beside its question to the gateway, generously.
const turnMargin = 250 * time.Millisecond

// finish carries out what the journal says was intended: captures and a void whose answers were lost.
func (p *Payments) finish(ctx context.Context, h held[payment.State]) (held[payment.State], error) {
	var err error
	for _, c := range h.state.Captures {
		if c.Status == payment.CaptureStatusPending {
			if h, err = p.finishCapture(ctx, h, c.CaptureID); err != nil {
				return h, err
			}
		}
	}
	if h.state.Voiding && h.state.Status != payment.StatusVoided {
		return p.finishVoid(ctx, h)
	}
	return h, nil
}

// clear takes a payment to a status that is certain.
func (p *Payments) clear(ctx context.Context, h held[payment.State], r *subjects.SettleRequest) (held[payment.State], error) {
	pay, now := string(h.state.PaymentID), p.clock.now()
	var err error
	if h.state.Status == payment.StatusCreated {
		if h, err = p.payments.step(ctx, pay, h, payment.Process{DueAt: p.due(), At: now}); err != nil {
			return h, err
		}
	}
	if h.state.Status == payment.StatusProcessing {
		// From here on a live handler that is still at work loses: its append expects the event before this one.
		if h, err = p.payments.step(ctx, pay, h, payment.MarkUnknown{DueAt: now.Add(p.live.Duration(configs.OrderRetryInterval)), At: now}); err != nil {
			return h, err
		}
	}
	switch h.state.Status {
	case payment.StatusUnknown:
		return p.inquire(ctx, h, r)
	case payment.StatusAuthorized, payment.StatusPartiallyCaptured, payment.StatusRequiresAction:
		if r.Void {
			return p.voidNow(ctx, h.state.PaymentID)
		}
	}
	return h, nil
}

// inquire asks the gateway what became of an authorization. That it knows nothing is never final, as the request may still be
// on its way: it is authorized again with the same id, or voided, after which the gateway refuses it.
func (p *Payments) inquire(ctx context.Context, h held[payment.State], r *subjects.SettleRequest) (held[payment.State], error) {
	pay := h.state.PaymentID
	if h.state.Method == payment.Cash {
		if r.Void {
			return p.finishVoid(ctx, h)
		}
		return p.record(ctx, h, payment.CaptureCash{At: p.clock.now()})
	}
	if h.state.Amount.Amount == 0 && !r.Void {
		return p.record(ctx, h, payment.Authorize{At: p.clock.now()})
	}
	known, err := ask(ctx, p, "gateway query", h.last.Sequence, func(ctx context.Context) (paygate.Status, error) {
		return p.gateway.Query(ctx, pay)
	})
	if err != nil {
		return h, err
	}
	switch {
	case known.Voided:
		return p.record(ctx, h, payment.Void{At: p.clock.now()})
	case known.Authorized.Amount > 0:
		h, err = p.record(ctx, h, payment.Authorize{At: p.clock.now()})
		if err == nil && r.Void && h.state.Status == payment.StatusAuthorized {
			return p.voidNow(ctx, pay)
		}
		return h, err
	case known.Declined:
		return p.record(ctx, h, payment.Decline{Code: known.DeclineCode, At: p.clock.now()})
	case r.Void || known.ActionRequired:
		// What the customer was to do, nobody could tell them: the payment is given up.
		return p.voidNow(ctx, pay)
	}
	token, err := p.token(h, r)
	if err != nil {
		return p.voidNow(ctx, pay)
	}
	c, err := p.authorization(ctx, h, paygate.AuthorizeRequest{PaymentID: pay, Amount: h.state.Amount, Token: token})
	if err != nil {
		return h, err
	}
	if _, ok := c.(payment.RequireAction); ok {
		return p.voidNow(ctx, pay)
	}
	return p.record(ctx, h, c)
}

// token is the one that the payment was made with, or the one that the order kept.
func (p *Payments) token(h held[payment.State], r *subjects.SettleRequest) (string, error) {
	if len(h.state.Token) > 0 {
		return p.vault.OpenToken(string(h.state.PaymentID), h.state.Token)
	}
	if r.Token == "" {
		return "", vault.ErrErased
	}
	return r.Token, nil
}

// refund gives back a captured amount. Like a capture it is intended first, and then carried out.
func (p *Payments) refund(ctx context.Context, r *subjects.RefundRequest) (*subjects.PaymentInfo, error) {
	end, err := p.turns.take(ctx, r.PaymentID)
	if err != nil {
		return nil, err
	}
	defer end()
	h, err := p.payments.load(ctx, string(r.PaymentID))
	if err != nil {
		return nil, err
	}
	if !h.exists() {
		return nil, noPayment(r.PaymentID)
	}
	refunds, err := p.refunds.command(ctx, string(r.PaymentID), func(held[payment.RefundState]) refundCommand {
		return refundCommand{payment.StartRefund{PaymentID: r.PaymentID, RefundID: r.RefundID, Amount: r.Amount, DueAt: p.due(), At: p.clock.now()}, h.state.Captured}
	})
	if err != nil {
		return nil, err
	}
	refunds, err = p.finishRefund(ctx, h, refunds, r.RefundID)
	if err != nil {
		return nil, err
	}
	if one, _ := refunds.state.Refund(r.RefundID); one.Status == payment.RefundStatusFailed {
		return nil, fault.New(fault.FailedPrecondition, "the gateway refused the refund: %s", one.Code)
	}
	return paymentInfo(h.state, refunds.state), nil
}

// finishRefund asks the gateway for a refund that is pending, and records its answer. Cash is given back from the till.
func (p *Payments) finishRefund(ctx context.Context, h held[payment.State], refunds held[payment.RefundState], refund id.Refund) (held[payment.RefundState], error) {
	one, ok := refunds.state.Refund(refund)
	if !ok || one.Status != payment.RefundStatusPending {
		return refunds, nil
	}
	answer := paygate.Result{Approved: true}
	if h.state.Method == payment.Card {
		var err error
		answer, err = ask(ctx, p, "gateway refund", refunds.last.Sequence, func(ctx context.Context) (paygate.Result, error) {
			return p.gateway.Refund(ctx, h.state.PaymentID, refund, one.Amount)
		})
		if err != nil {
			return refunds, err
		}
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordTimeout)
	defer cancel()
	return p.refunds.command(ctx, string(h.state.PaymentID), func(held[payment.RefundState]) refundCommand {
		if answer.Approved {
			return refundCommand{payment.SettleRefund{RefundID: refund, At: p.clock.now()}, h.state.Captured}
		}
		return refundCommand{payment.FailRefund{RefundID: refund, Code: answer.Code, At: p.clock.now()}, h.state.Captured}
	})
}

// finishRefunds carries out every refund whose answer was lost.
func (p *Payments) finishRefunds(ctx context.Context, h held[payment.State]) error {
	if h.state.Captured.Amount == 0 {
		return nil
	}
	refunds, err := p.refunds.load(ctx, string(h.state.PaymentID))
	if err != nil {
		return err
	}
	var failed error
	for _, one := range refunds.state.Refunds {
		refunds, err = p.finishRefund(ctx, h, refunds, one.RefundID)
		failed = errors.Join(failed, err)
	}
	return failed
}
