package payment

import (
	"waybill/internal/fault"
	"waybill/internal/id"
	"waybill/internal/money"
	"waybill/internal/quick"
	"waybill/internal/timestamp"
)

// RefundEventType is a refund event's name in the contract.
type RefundEventType string

// The types of refund events.
const (
	TypeRefundPending  RefundEventType = "pending"
	TypeRefundSettled  RefundEventType = "settled"
	TypeRefundFailed   RefundEventType = "failed"
	TypeRefundReversed RefundEventType = "reversed"
)

// RefundEventTypes lists every type of refund event.
var RefundEventTypes = []RefundEventType{TypeRefundPending, TypeRefundSettled, TypeRefundFailed, TypeRefundReversed}

// RefundEvent is something that happened to a refund: one of the types of this file, by value. At is when it happened.
type RefundEvent interface{ Type() RefundEventType }

// RefundPending: the gateway is about to be asked to refund Amount.
type RefundPending struct {
	PaymentID id.Payment     `json:"payment_id"`
	RefundID  id.Refund      `json:"refund_id"`
	Amount    money.Money    `json:"amount"`
	DueAt     timestamp.Time `json:"due_at,omitzero"`
	At        timestamp.Time `json:"at,omitzero"`
}

// RefundSettled: the customer has the money.
type RefundSettled struct {
	RefundID id.Refund      `json:"refund_id"`
	Amount   money.Money    `json:"amount"`
	At       timestamp.Time `json:"at,omitzero"`
}

// RefundFailed: the gateway refused.
type RefundFailed struct {
	RefundID id.Refund      `json:"refund_id"`
	Code     string         `json:"code,omitempty"`
	At       timestamp.Time `json:"at,omitzero"`
}

// RefundReversed: a settled refund came back.
type RefundReversed struct {
	RefundID id.Refund      `json:"refund_id"`
	Amount   money.Money    `json:"amount"`
	At       timestamp.Time `json:"at,omitzero"`
}

// The types, as the contract spells them.

func (RefundPending) Type() RefundEventType  { return TypeRefundPending }
func (RefundSettled) Type() RefundEventType  { return TypeRefundSettled }
func (RefundFailed) Type() RefundEventType   { return TypeRefundFailed }
func (RefundReversed) Type() RefundEventType { return TypeRefundReversed }

// DecodeRefund is Decode for refund events.
func DecodeRefund(t RefundEventType, data []byte) (RefundEvent, error) {
	switch t {
	case TypeRefundPending:
		return decodeRefund[RefundPending](data)
	case TypeRefundSettled:
		return decodeRefund[RefundSettled](data)
	case TypeRefundFailed:
		return decodeRefund[RefundFailed](data)
	case TypeRefundReversed:
		return decodeRefund[RefundReversed](data)
	}
	return nil, fault.New(fault.Unavailable, "the refund event %.40q was written by a newer program; use that one", string(t))
}

func decodeRefund[E RefundEvent](data []byte) (RefundEvent, error) {
	var e E
	if err := quick.Unmarshal(data, &e); err != nil {
		return nil, fault.Wrap(err, fault.Internal, "the data of a refund's %s event can't be read; run waybill verify", e.Type())
	}
	return e, nil
}
