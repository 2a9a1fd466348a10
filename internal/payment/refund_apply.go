package payment

import (
	"slices"

	"waybill/internal/fault"
	"waybill/internal/id"
	"waybill/internal/money"
	"waybill/internal/timestamp"
)

// ApplyRefund is the payment's refunds after the event. It writes to nothing of s. An event that can't have happened to s
// is an error of code internal; that the sum stays within what is captured is for DecideRefund, which is told that.
func ApplyRefund(s RefundState, e RefundEvent) (RefundState, error) {
	n, ok := applyRefund(s, e)
	if !ok {
		return RefundState{}, fault.New(fault.Internal, "the refund event %T is impossible for the refunds of payment %q", e, string(s.PaymentID))
	}
	return n, nil
}

func applyRefund(s RefundState, e RefundEvent) (RefundState, bool) {
	switch e := e.(type) {
	case RefundPending:
		if s.find(e.RefundID) >= 0 || e.Amount.Amount <= 0 || s.PaymentID != "" && s.PaymentID != e.PaymentID {
			return s, false
		}
		if s.PaymentID == "" {
			s.PaymentID, s.Refunded = e.PaymentID, money.Zero(e.Amount.Currency)
		}
		s.Refunds = append(slices.Clone(s.Refunds), Refund{RefundID: e.RefundID, Amount: e.Amount, Status: RefundStatusPending,
			CreatedAt: e.At, UpdatedAt: e.At, DueAt: e.DueAt})
		s.UpdatedAt = e.At
		return s.withDue(), s.Refunded.Currency == e.Amount.Currency
	case RefundSettled:
		if r, _ := s.Refund(e.RefundID); r.Amount != e.Amount {
			return s, false
		}
		return s.moveRefund(e.RefundID, RefundStatusSettled, "", e.Amount.Amount, e.At)
	case RefundFailed:
		return s.moveRefund(e.RefundID, RefundStatusFailed, e.Code, 0, e.At)
	case RefundReversed:
		if r, _ := s.Refund(e.RefundID); r.Amount != e.Amount {
			return s, false
		}
		return s.moveRefund(e.RefundID, RefundStatusReversed, "", -e.Amount.Amount, e.At)
	}
	return s, false
}

// moveRefund changes one refund's status and adds delta, in minor units, to the sum of what is refunded.
func (s RefundState) moveRefund(refund id.Refund, to RefundStatus, code string, delta int64, at timestamp.Time) (RefundState, bool) {
	i := s.find(refund)
	if i < 0 || !RefundAllowed(s.Refunds[i].Status, to) {
		return s, false
	}
	var err error
	if s.Refunded, err = s.Refunded.Add(money.Money{Amount: delta, Currency: s.Refunded.Currency}); err != nil || s.Refunded.Amount < 0 {
		return s, false
	}
	s.Refunds = slices.Clone(s.Refunds)
	r := &s.Refunds[i]
	r.Status, r.Code, r.UpdatedAt, r.DueAt = to, code, at, timestamp.Time{}
	s.UpdatedAt = at
	return s.withDue(), true
}

// withDue sets the earliest of the pending refunds' due times.
func (s RefundState) withDue() RefundState {
	s.DueAt = timestamp.Time{}
	for _, r := range s.Refunds {
		if !r.DueAt.IsZero() && (s.DueAt.IsZero() || r.DueAt.Before(s.DueAt)) {
			s.DueAt = r.DueAt
		}
	}
	return s
}
