package subjects

import (
	"waybill/internal/fault"
	"waybill/internal/id"
)

// Method is how an order is paid.
type Method string

// The methods.
const (
	Card Method = "card"
	Cash Method = "cash"
)

// PaymentInfo is the state of an order's payment. Σ captured ≤ authorized and Σ refunded ≤ captured, always.
type PaymentInfo struct {
	PaymentID   id.Payment    `json:"payment_id"`
	OrderID     id.Order      `json:"order_id"`
	Method      Method        `json:"method"`
	Status      PaymentStatus `json:"status"`
	Amount      Money         `json:"amount"`
	Authorized  Money         `json:"authorized"`
	Captured    Money         `json:"captured"`
	Refunded    Money         `json:"refunded"`
	DeclineCode string        `json:"decline_code,omitzero"`
	Action      string        `json:"action,omitzero"` // what the customer must do while the status is requires_action
}

// AuthorizeRequest asks for an amount to be set aside (card) or taken into the till at once (cash).
type AuthorizeRequest struct {
	PaymentID id.Payment `json:"payment_id"`
	OrderID   id.Order   `json:"order_id"`
	Amount    Money      `json:"amount"`
	Method    Method     `json:"method"`
	Token     string     `json:"token,omitzero"`
}

// Validate checks the request's shape.
func (r *AuthorizeRequest) Validate() error {
	return first(id.CheckDerived("payment_id", r.PaymentID), id.Check("order_id", r.OrderID), amount("amount", r.Amount, 0),
		method("method", "token", r.Method, r.Token))
}

func method(field, tokenField string, m Method, t string) error {
	if err := oneOf(field, m, false, Card, Cash); err != nil {
		return err
	}
	if m == Card {
		return token(tokenField, t)
	}
	if t != "" {
		return fault.Invalid(tokenField, "%s is for cards; cash has none", tokenField)
	}
	return nil
}

// CaptureRequest takes an authorized amount, once per CaptureID.
type CaptureRequest struct {
	PaymentID id.Payment `json:"payment_id"`
	CaptureID id.Capture `json:"capture_id"`
	Amount    Money      `json:"amount"`
}

// Validate checks the request's shape.
func (r *CaptureRequest) Validate() error {
	return first(id.CheckDerived("payment_id", r.PaymentID), id.CheckDerived("capture_id", r.CaptureID), amount("amount", r.Amount, 1))
}

// RefundRequest gives a captured amount back, once per RefundID.
type RefundRequest struct {
	PaymentID id.Payment `json:"payment_id"`
	RefundID  id.Refund  `json:"refund_id"`
	Amount    Money      `json:"amount"`
}

// Validate checks the request's shape.
func (r *RefundRequest) Validate() error {
	return first(id.CheckDerived("payment_id", r.PaymentID), id.CheckDerived("refund_id", r.RefundID), amount("amount", r.Amount, 1))
}

// PaymentRequest names a payment.
type PaymentRequest struct {
	PaymentID id.Payment `json:"payment_id"`
}

// Validate checks the request's shape.
func (r *PaymentRequest) Validate() error { return id.CheckDerived("payment_id", r.PaymentID) }

// ResumeRequest goes on with a payment that required an action of the customer, with the token that came of it if there is
// a new one.
type ResumeRequest struct {
	PaymentID id.Payment `json:"payment_id"`
	Token     string     `json:"token,omitzero"`
}

// Validate checks the request's shape.
func (r *ResumeRequest) Validate() error {
	err := id.CheckDerived("payment_id", r.PaymentID)
	if err == nil && r.Token != "" {
		err = token("token", r.Token)
	}
	return err
}

// LedgerEntry is one line of the sandbox gateway's own books.
type LedgerEntry struct {
	Time      Time       `json:"time"`
	Operation string     `json:"operation"` // authorize, capture, void, refund
	PaymentID id.Payment `json:"payment_id"`
	ID        string     `json:"id"` // the capture's or refund's; the payment's else
	Amount    Money      `json:"amount"`
	Result    string     `json:"result"` // approved, declined, refused
}

// Ledger is a page of the sandbox gateway's books, in the order in which they were written.
type Ledger struct {
	Entries    []LedgerEntry `json:"entries"`
	NextCursor string        `json:"next_cursor"`
}

// The payment service's endpoints.
var (
	PaymentAuthorize = Endpoint[AuthorizeRequest, PaymentInfo]{Service: Payment, Method: "authorize", Idempotent: true, Doc: "Sets an amount aside, or takes cash; a decline is a reply with status failed."}
	PaymentCapture   = Endpoint[CaptureRequest, PaymentInfo]{Service: Payment, Method: "capture", Idempotent: true, Doc: "Takes an authorized amount or a part of it, once per capture id."}
	PaymentRefund    = Endpoint[RefundRequest, PaymentInfo]{Service: Payment, Method: "refund", Idempotent: true, Doc: "Gives back a captured amount or a part of it, once per refund id."}
	PaymentVoid      = Endpoint[PaymentRequest, PaymentInfo]{Service: Payment, Method: "void", Idempotent: true, Doc: "Gives up what is authorized and not captured."}
	PaymentResume    = Endpoint[ResumeRequest, PaymentInfo]{Service: Payment, Method: "resume", Doc: "Goes on after the customer has done what the payment required."}
	PaymentGet       = Endpoint[PaymentRequest, PaymentInfo]{Service: Payment, Method: "get", Idempotent: true, Doc: "Returns a payment."}
	PaymentLedger    = Endpoint[ListRequest, Ledger]{Service: Payment, Method: "ledger", Idempotent: true, Doc: "Reads the sandbox gateway's own books."}
)

// SettleRequest brings a payment whose outcome is not known to an end that is: the gateway is asked, and then the payment is
// authorized again with the same id or, with Void, voided. It serves also for a payment that was never made.
type SettleRequest struct {
	PaymentID id.Payment `json:"payment_id"`
	OrderID   id.Order   `json:"order_id"`
	Amount    Money      `json:"amount"`
	Method    Method     `json:"method"`
	Token     string     `json:"token,omitzero"`
	Void      bool       `json:"void,omitzero"`
}

// Validate checks the request's shape.
func (r *SettleRequest) Validate() error {
	return first(id.CheckDerived("payment_id", r.PaymentID), id.Check("order_id", r.OrderID), amount("amount", r.Amount, 0),
		oneOf("method", r.Method, false, Card, Cash))
}

// PaymentSettle is for the order process: see SettleRequest. unavailable means that the gateway did not answer: ask again.
var PaymentSettle = Endpoint[SettleRequest, PaymentInfo]{Service: Payment, Method: "settle", Internal: true, Idempotent: true, Doc: "Finds out what became of a payment and brings it to an end."}
