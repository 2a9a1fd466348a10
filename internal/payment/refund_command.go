package payment

import (
	"waybill/internal/id"
	"waybill/internal/money"
	"waybill/internal/timestamp"
)

// RefundCommand is something that is asked of a payment's refunds: one of the types of this file. At is when it is asked.
type RefundCommand interface{ refundCommand() }

// StartRefund is recorded before the gateway is asked; its amount can't be refunded a second time from then on. DueAt is
// when the background process must look at it if nothing else has happened by then. PaymentID may be left out where the
// state names it already.
type StartRefund struct {
	PaymentID id.Payment
	RefundID  id.Refund
	Amount    money.Money
	DueAt     timestamp.Time
	At        timestamp.Time
}

// SettleRefund says that the customer has the money.
type SettleRefund struct {
	RefundID id.Refund
	At       timestamp.Time
}

// FailRefund says that the gateway refused the refund for good.
type FailRefund struct {
	RefundID id.Refund
	Code     string
	At       timestamp.Time
}

// ReverseRefund says that a settled refund came back.
type ReverseRefund struct {
	RefundID id.Refund
	At       timestamp.Time
}

func (StartRefund) refundCommand()   {}
func (SettleRefund) refundCommand()  {}
func (FailRefund) refundCommand()    {}
func (ReverseRefund) refundCommand() {}
