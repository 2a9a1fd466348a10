// Package payment is the state machine of a payment, and beside it that of its refunds: which commands are possible when,
// which event follows, and what is true after it. At every moment 0 ≤ Σ captured ≤ authorized ≤ amount, and
// Σ refunded ≤ captured. The machines are pure and deterministic: no clock, no I/O, no shared state; every function is
// safe for concurrent use and leaves its arguments as they were.
package payment

import (
	"waybill/internal/id"
	"waybill/internal/money"
	"waybill/internal/timestamp"
)

// Status is where a payment stands. The empty Status is that of a payment which does not exist yet.
type Status string

// The statuses of a payment.
const (
	StatusCreated                 Status = "created"            // known, nothing asked of the gateway
	StatusProcessing              Status = "processing"         // the gateway is being asked to authorize
	StatusAuthorized              Status = "authorized"         // the amount is reserved; nothing captured
	StatusPartiallyCaptured       Status = "partially_captured" // part of it is captured
	StatusCaptured                Status = "captured"           // all of it is captured
	StatusRequiresAction          Status = "requires_action"    // the gateway wants something of the customer
	StatusUnknown                 Status = "unknown"            // no answer came; only asking the gateway tells the truth
	StatusFailed                  Status = "failed"             // declined
	StatusVoided                  Status = "voided"             // given up; what was captured before stays captured
	StatusExpired                 Status = "expired"            // the authorization ran out, uncaptured
	StatusAcceptedOffline         Status = "accepted_offline"   // taken on trust while the gateway is out of reach
	StatusDeclinedAfterAcceptance Status = "declined_after_acceptance"
)

// Statuses lists every status but the empty one.
var Statuses = []Status{StatusCreated, StatusProcessing, StatusAuthorized, StatusPartiallyCaptured, StatusCaptured, StatusRequiresAction,
	StatusUnknown, StatusFailed, StatusVoided, StatusExpired, StatusAcceptedOffline, StatusDeclinedAfterAcceptance}

// Final reports whether the status never changes again. Refunds, which are an aggregate of their own, may still happen.
func (s Status) Final() bool {
	switch s {
	case StatusCaptured, StatusFailed, StatusVoided, StatusExpired, StatusDeclinedAfterAcceptance:
		return true
	}
	return false
}

// unsettled reports whether an authorization may still be asked for, which needs the token.
func (s Status) unsettled() bool {
	switch s {
	case StatusCreated, StatusProcessing, StatusRequiresAction, StatusUnknown, StatusAcceptedOffline:
		return true
	}
	return false
}

// Method is how the customer pays.
type Method string

// The methods of payment.
const (
	Card Method = "card" // through the gateway
	Cash Method = "cash" // in the till; the gateway knows nothing of it
)

// CashCapture is the id of the one capture of a cash payment.
const CashCapture id.Capture = "cash"

// MaxCaptures bounds how many captures one payment may have, failed ones too: they stand in one state together.
const MaxCaptures = 1000

// CaptureStatus is where one capture stands.
type CaptureStatus string

// The statuses of a capture.
const (
	CaptureStatusPending  CaptureStatus = "pending"  // the gateway is asked, or about to be
	CaptureStatusCaptured CaptureStatus = "captured" // the money is ours
	CaptureStatusFailed   CaptureStatus = "failed"   // refused for good; its amount is free for another capture
)

// CaptureEntry is one capture of a payment.
type CaptureEntry struct {
	CaptureID id.Capture    `json:"capture_id"`
	Amount    money.Money   `json:"amount"`
	Status    CaptureStatus `json:"status"`
	Code      string        `json:"code,omitempty"` // why the gateway refused it
}

// State is a payment after its last event. It is what the journal keeps as the event's state.
type State struct {
	PaymentID  id.Payment  `json:"payment_id"`
	OrderID    id.Order    `json:"order_id"`
	Method     Method      `json:"method"`
	Status     Status      `json:"status"`
	Amount     money.Money `json:"amount"`
	Authorized money.Money `json:"authorized"`
	Captured   money.Money `json:"captured"` // Σ of the captures in status captured
	// Token is the sealed gateway token: opaque here, and dropped as soon as nothing can be authorized with it any more.
	Token       []byte         `json:"token,omitempty"`
	TokenHint   string         `json:"token_hint,omitempty"` // the token's last 4 characters
	Captures    []CaptureEntry `json:"captures,omitempty"`   // in the order of their intents
	DeclineCode string         `json:"decline_code,omitempty"`
	Action      string         `json:"action,omitempty"` // what the gateway wants of the customer; only in requires_action
	CreatedAt   timestamp.Time `json:"created_at,omitzero"`
	UpdatedAt   timestamp.Time `json:"updated_at,omitzero"`
	// DueAt is when the background process must look at the payment next; zero where nothing is open.
	DueAt timestamp.Time `json:"due_at,omitzero"`
	// Voiding: the gateway is asked to void, or about to be. No capture and no new authorization may begin.
	Voiding bool `json:"voiding,omitzero"`
}

// Capture returns the capture of that id.
func (s State) Capture(c id.Capture) (CaptureEntry, bool) {
	if i := s.find(c); i >= 0 {
		return s.Captures[i], true
	}
	return CaptureEntry{}, false
}

// Capturable is what a new capture may take at most: authorized (for a payment accepted offline its amount) less what is
// captured or pending; nothing once a void has begun.
func (s State) Capturable() money.Money {
	left := money.Zero(s.Amount.Currency)
	switch {
	case s.Voiding:
		return left
	case s.Status == StatusAuthorized || s.Status == StatusPartiallyCaptured:
		left = s.Authorized
	case s.Status == StatusAcceptedOffline:
		left = s.Amount
	}
	for _, c := range s.Captures {
		if c.Status != CaptureStatusFailed {
			left.Amount -= c.Amount.Amount
		}
	}
	return left
}

func (s State) find(c id.Capture) int {
	for i := range s.Captures {
		if s.Captures[i].CaptureID == c {
			return i
		}
	}
	return -1
}

func (s State) capturing() bool {
	for i := range s.Captures {
		if s.Captures[i].Status == CaptureStatusPending {
			return true
		}
	}
	return false
}
