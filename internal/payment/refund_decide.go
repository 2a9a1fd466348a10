package payment

import (
	"waybill/internal/fault"
	"waybill/internal/id"
	"waybill/internal/money"
)

// DecideRefund says which event follows from a command on the refunds of a payment of which captured has been captured.
// (nil, nil) means that it has already happened and the stored state is the answer; for StartRefund, that the refund of
// that id and amount is there, whatever became of it.
//
// Errors: not_found for a refund that does not exist; failed_precondition for a transition that the table forbids or a
// refund of more than is left; already_exists for another amount under the same id; resource_exhausted over MaxRefunds;
// invalid_argument for a command that makes no sense in any state.
func DecideRefund(s RefundState, captured money.Money, c RefundCommand) (RefundEvent, error) {
	switch c := c.(type) {
	case StartRefund:
		return startRefund(s, captured, c)
	case SettleRefund:
		r, _ := s.Refund(c.RefundID)
		return r.to(RefundStatusSettled, RefundSettled{RefundID: c.RefundID, Amount: r.Amount, At: c.At})
	case FailRefund:
		r, _ := s.Refund(c.RefundID)
		return r.to(RefundStatusFailed, RefundFailed{RefundID: c.RefundID, Code: c.Code, At: c.At})
	case ReverseRefund:
		r, _ := s.Refund(c.RefundID)
		return r.to(RefundStatusReversed, RefundReversed{RefundID: c.RefundID, Amount: r.Amount, At: c.At})
	}
	return nil, fault.New(fault.Internal, "a refund knows no command %T", c)
}

func (r Refund) to(to RefundStatus, e RefundEvent) (RefundEvent, error) {
	switch {
	case r.Status == to:
		return nil, nil
	case r.Status == "":
		return nil, fault.New(fault.NotFound, "there is no such refund")
	case !RefundAllowed(r.Status, to):
		return nil, fault.New(fault.FailedPrecondition, "the refund is %s and cannot become %s", r.Status, to)
	}
	return e, nil
}

func startRefund(s RefundState, captured money.Money, c StartRefund) (RefundEvent, error) {
	if known, ok := s.Refund(c.RefundID); ok {
		if known.Amount != c.Amount {
			return nil, fault.New(fault.AlreadyExists, "the refund %s exists with the amount %s", c.RefundID, known.Amount).WithField("refund_id")
		}
		return nil, nil
	}
	payment := s.PaymentID
	if payment == "" {
		payment = c.PaymentID
	}
	if err := id.CheckDerived("payment_id", payment); err != nil {
		return nil, err
	}
	if err := id.CheckDerived("refund_id", c.RefundID); err != nil {
		return nil, err
	}
	left := s.Refundable(captured)
	switch {
	case c.PaymentID != "" && c.PaymentID != payment:
		return nil, fault.New(fault.Internal, "a refund of the payment %s met the refunds of %s", c.PaymentID, payment)
	case !c.Amount.Valid() || c.Amount.Amount <= 0:
		return nil, fault.Invalid("amount", "the amount must be positive and in a known currency")
	case c.Amount.Currency != captured.Currency:
		return nil, fault.Invalid("amount", "the payment is in %s, not in %s", captured.Currency, c.Amount.Currency)
	case left.Less(c.Amount):
		return nil, fault.New(fault.FailedPrecondition, "a refund of %s is more than the %s that are left to refund", c.Amount, left).WithField("amount")
	case len(s.Refunds) >= MaxRefunds:
		return nil, fault.New(fault.ResourceExhausted, "a payment has at most %d refunds", MaxRefunds)
	}
	return RefundPending{PaymentID: payment, RefundID: c.RefundID, Amount: c.Amount, DueAt: c.DueAt, At: c.At}, nil
}
