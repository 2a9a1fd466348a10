package payment

import "slices"

// refundTransitions is every change of a refund's status that there is.
var refundTransitions = map[RefundStatus][]RefundStatus{
	"":                  {RefundStatusPending},
	RefundStatusPending: {RefundStatusSettled, RefundStatusFailed},
	RefundStatusSettled: {RefundStatusReversed},
}

// RefundAllowed reports whether an event may take a refund from one status to the other.
func RefundAllowed(from, to RefundStatus) bool { return slices.Contains(refundTransitions[from], to) }
