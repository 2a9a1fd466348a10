package payment

import (
	"waybill/internal/id"
	"waybill/internal/money"
	"waybill/internal/timestamp"
)

// Command is something that is asked of a payment: one of the types of this file. At is when it is asked. A DueAt is when
// the background process must look at the payment if nothing else has happened by then.
type Command interface{ command() }

// Create begins a payment. Creating again what was created for the same order, method and amount is a repeat.
type Create struct {
	PaymentID id.Payment
	OrderID   id.Order
	Method    Method
	Amount    money.Money
	Token     []byte
	TokenHint string
	DueAt     timestamp.Time
	At        timestamp.Time
}

// Process says that the gateway is about to be asked, after requires_action with the new token where there is one.
type Process struct {
	Token     []byte
	TokenHint string
	DueAt     timestamp.Time
	At        timestamp.Time
}

// Authorize says that the gateway authorized the whole amount.
type Authorize struct{ At timestamp.Time }

// Decline says that the gateway declined, and why.
type Decline struct {
	Code string
	At   timestamp.Time
}

// RequireAction says that the gateway wants Action of the customer first.
type RequireAction struct {
	Action string
	DueAt  timestamp.Time
	At     timestamp.Time
}

// MarkUnknown says that nobody waits for the gateway's answer any more: the truth must be asked for.
type MarkUnknown struct {
	DueAt timestamp.Time
	At    timestamp.Time
}

// CaptureIntent is recorded before the gateway is asked to capture, so that a crash in between is settled afterwards. It
// takes its amount off what other captures may take.
type CaptureIntent struct {
	CaptureID id.Capture
	Amount    money.Money
	DueAt     timestamp.Time
	At        timestamp.Time
}

// Capture says that the gateway captured. It needs the intent, except on a payment of unknown outcome that the gateway
// turns out to have captured whole.
type Capture struct {
	CaptureID id.Capture
	Amount    money.Money
	At        timestamp.Time
}

// CaptureFailed says that the gateway refused a capture for good; its amount is free again, its id is used up.
type CaptureFailed struct {
	CaptureID id.Capture
	Code      string
	At        timestamp.Time
}

// CaptureCash says that the whole amount of a cash payment is in the till.
type CaptureCash struct{ At timestamp.Time }

// VoidIntent is recorded before the gateway is asked to void; from then on nothing more is captured.
type VoidIntent struct {
	DueAt timestamp.Time
	At    timestamp.Time
}

// Void says that the gateway gave up what was not captured, and will authorize nothing under this id.
type Void struct{ At timestamp.Time }

// Expire says that the authorization ran out.
type Expire struct{ At timestamp.Time }

// AcceptOffline takes the payment on trust while the gateway is out of reach.
type AcceptOffline struct {
	DueAt timestamp.Time
	At    timestamp.Time
}

// DeclineAfterAcceptance says that the gateway declined what had been accepted offline.
type DeclineAfterAcceptance struct {
	Code string
	At   timestamp.Time
}

func (Create) command()                 {}
func (Process) command()                {}
func (Authorize) command()              {}
func (Decline) command()                {}
func (RequireAction) command()          {}
func (MarkUnknown) command()            {}
func (CaptureIntent) command()          {}
func (Capture) command()                {}
func (CaptureFailed) command()          {}
func (CaptureCash) command()            {}
func (VoidIntent) command()             {}
func (Void) command()                   {}
func (Expire) command()                 {}
func (AcceptOffline) command()          {}
func (DeclineAfterAcceptance) command() {}
