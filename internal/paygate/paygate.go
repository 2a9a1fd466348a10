// Package paygate says what the payment service needs of a payment gateway. It holds no code: only the interface, and what it
// speaks in.
package paygate

import (
	"context"

	"waybill/internal/id"
	"waybill/internal/money"
)

// Gateway is what the payment service needs of a payment gateway. Every call is idempotent by the ids in it: asked again
// with the same content it answers what it answered first, and does nothing twice.
//
// An error (a fault of code unavailable or deadline_exceeded) means that the truth is unknown: the gateway may have done
// what it was asked, and has to be asked with Query. Everything that a gateway decided, a refusal too, is a result and no error.
// Implementations are safe for concurrent use.
type Gateway interface {
	// Name names the gateway in logs and health.
	Name() string
	// Outside reports whether a question leaves the site. All that such a question rests on is made durable before it is put, so that
	// the gateway never knows of a payment that the site has forgotten. A gateway inside keeps its books in the site's journal: an
	// entry stands behind the question there, and an answer behind its entry. Within the process that holds the store that order alone
	// sees to it that a power cut does not leave the later without the earlier; between processes each is durable before the next.
	Outside() bool
	// Authorize reserves the amount on the customer's account. After OutcomeActionRequired it may be asked again with
	// another token; it is refused for a payment that was voided before.
	Authorize(ctx context.Context, r AuthorizeRequest) (AuthorizeResult, error)
	// Capture takes amount, at most what is authorized and not captured yet, once per capture id.
	Capture(ctx context.Context, payment id.Payment, capture id.Capture, amount money.Money) (Result, error)
	// Void gives back what is authorized and not captured. It is approved also for a payment that the gateway never saw:
	// from then on it refuses to authorize it.
	Void(ctx context.Context, payment id.Payment) (Result, error)
	// Refund gives back amount, at most what is captured and not refunded yet, once per refund id.
	Refund(ctx context.Context, payment id.Payment, refund id.Refund, amount money.Money) (Result, error)
	// Query tells what the gateway knows of the payment. An unknown payment is a status with Known false, and never
	// final: a request may still be on its way.
	Query(ctx context.Context, payment id.Payment) (Status, error)
}

// AuthorizeRequest asks for an amount on a token that stands for the customer's means of payment.
type AuthorizeRequest struct {
	PaymentID id.Payment
	Amount    money.Money
	Token     string
	// Resumed says that the customer has done what OutcomeActionRequired asked for.
	Resumed bool
}

// Outcome is a gateway's answer to an authorization.
type Outcome string

// The outcomes of an authorization.
const (
	OutcomeApproved       Outcome = "approved"
	OutcomeDeclined       Outcome = "declined"        // the customer's bank said no
	OutcomeActionRequired Outcome = "action_required" // the customer has to do something first
	OutcomeRefused        Outcome = "refused"         // the gateway does not accept the request, as after a void
)

// AuthorizeResult is what became of an authorization. DeclineCode says why it was declined or refused, Action what the
// customer has to do.
type AuthorizeResult struct {
	Outcome     Outcome
	DeclineCode string
	Action      string
}

// Result is the answer to a capture, void or refund; Code says why it was not approved.
type Result struct {
	Approved bool
	Code     string
}

// Status is all that a gateway knows of one payment. Authorized is what was authorized in all, whether or not it was
// voided later; the amounts are zero Money where nothing happened.
type Status struct {
	Known          bool
	Authorized     money.Money
	Captured       money.Money
	Refunded       money.Money
	Voided         bool
	Declined       bool
	DeclineCode    string
	ActionRequired bool
	Captures       map[id.Capture]money.Money
	Refunds        map[id.Refund]money.Money
}
