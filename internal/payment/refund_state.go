package payment

import (
	"slices"

	"waybill/internal/id"
	"waybill/internal/money"
	"waybill/internal/timestamp"
)

// RefundStatus is where one refund stands. The empty RefundStatus is that of a refund which does not exist yet.
type RefundStatus string

// The statuses of a refund.
const (
	RefundStatusPending  RefundStatus = "pending"  // the gateway is asked, or about to be
	RefundStatusSettled  RefundStatus = "settled"  // the customer has the money
	RefundStatusFailed   RefundStatus = "failed"   // refused for good; its amount can be refunded under another id
	RefundStatusReversed RefundStatus = "reversed" // settled, and come back to us
)

// RefundStatuses lists every status but the empty one.
var RefundStatuses = []RefundStatus{RefundStatusPending, RefundStatusSettled, RefundStatusFailed, RefundStatusReversed}

// MaxRefunds bounds how many refunds one payment may have: they stand in one state together.
const MaxRefunds = 1000

// Refund is one refund of a payment.
type Refund struct {
	RefundID  id.Refund      `json:"refund_id"`
	Amount    money.Money    `json:"amount"`
	Status    RefundStatus   `json:"status"`
	Code      string         `json:"code,omitempty"` // why the gateway refused it
	CreatedAt timestamp.Time `json:"created_at,omitzero"`
	UpdatedAt timestamp.Time `json:"updated_at,omitzero"`
	DueAt     timestamp.Time `json:"due_at,omitzero"` // when the background process must look at it next; only while pending
}

// RefundState is all refunds of one payment after their last event: one aggregate, so that a compare-and-set on it keeps
// Σ refunded ≤ captured whoever refunds at the same time.
type RefundState struct {
	PaymentID id.Payment     `json:"payment_id"`
	Refunds   []Refund       `json:"refunds,omitempty"` // in the order of their beginnings
	Refunded  money.Money    `json:"refunded"`          // Σ settled
	UpdatedAt timestamp.Time `json:"updated_at,omitzero"`
	DueAt     timestamp.Time `json:"due_at,omitzero"` // the earliest of the pending refunds'
}

// Refund returns the refund of that id.
func (s RefundState) Refund(r id.Refund) (Refund, bool) {
	if i := s.find(r); i >= 0 {
		return s.Refunds[i], true
	}
	return Refund{}, false
}

// Refundable is what of the captured amount is neither refunded nor about to be.
func (s RefundState) Refundable(captured money.Money) money.Money {
	for _, r := range s.Refunds {
		if r.Status == RefundStatusPending || r.Status == RefundStatusSettled {
			captured.Amount -= r.Amount.Amount
		}
	}
	return captured
}

func (s RefundState) find(r id.Refund) int {
	return slices.IndexFunc(s.Refunds, func(known Refund) bool { return known.RefundID == r })
}
