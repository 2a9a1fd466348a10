package payment

import (
	"waybill/internal/fault"
	"waybill/internal/id"
	"waybill/internal/money"
	"waybill/internal/quick"
	"waybill/internal/timestamp"
)

// EventType is an event's name in the contract.
type EventType string

// The types of a payment's events. Those that leave the status as it is are capturing, capture_failed and voiding.
const (
	TypeCreated                 EventType = "created"
	TypeProcessing              EventType = "processing"
	TypeAuthorized              EventType = "authorized"
	TypeCapturing               EventType = "capturing"
	TypeCaptured                EventType = "captured"
	TypeCaptureFailed           EventType = "capture_failed"
	TypeVoiding                 EventType = "voiding"
	TypeVoided                  EventType = "voided"
	TypeExpired                 EventType = "expired"
	TypeFailed                  EventType = "failed"
	TypeUnknown                 EventType = "unknown"
	TypeRequiresAction          EventType = "requires_action"
	TypeAcceptedOffline         EventType = "accepted_offline"
	TypeDeclinedAfterAcceptance EventType = "declined_after_acceptance"
)

// EventTypes lists every type of event.
var EventTypes = []EventType{TypeCreated, TypeProcessing, TypeAuthorized, TypeCapturing, TypeCaptured, TypeCaptureFailed, TypeVoiding,
	TypeVoided, TypeExpired, TypeFailed, TypeUnknown, TypeRequiresAction, TypeAcceptedOffline, TypeDeclinedAfterAcceptance}

// Event is something that happened to a payment: one of the types of this file, by value. At is when it happened.
type Event interface{ Type() EventType }

// Created begins the payment.
type Created struct {
	PaymentID id.Payment     `json:"payment_id"`
	OrderID   id.Order       `json:"order_id"`
	Method    Method         `json:"method"`
	Amount    money.Money    `json:"amount"`
	Token     []byte         `json:"token,omitempty"`
	TokenHint string         `json:"token_hint,omitempty"`
	DueAt     timestamp.Time `json:"due_at,omitzero"`
	At        timestamp.Time `json:"at,omitzero"`
}

// Processing: the gateway is about to be asked; with the new token after requires_action.
type Processing struct {
	Token     []byte         `json:"token,omitempty"`
	TokenHint string         `json:"token_hint,omitempty"`
	DueAt     timestamp.Time `json:"due_at,omitzero"`
	At        timestamp.Time `json:"at,omitzero"`
}

// Authorized: Amount is reserved.
type Authorized struct {
	Amount money.Money    `json:"amount"`
	At     timestamp.Time `json:"at,omitzero"`
}

// Capturing: the gateway is about to be asked to capture.
type Capturing struct {
	CaptureID id.Capture     `json:"capture_id"`
	Amount    money.Money    `json:"amount"`
	DueAt     timestamp.Time `json:"due_at,omitzero"`
	At        timestamp.Time `json:"at,omitzero"`
}

// Captured: Amount is ours.
type Captured struct {
	CaptureID id.Capture     `json:"capture_id"`
	Amount    money.Money    `json:"amount"`
	At        timestamp.Time `json:"at,omitzero"`
}

// CaptureDropped is the event capture_failed: the gateway refused the capture.
type CaptureDropped struct {
	CaptureID id.Capture     `json:"capture_id"`
	Code      string         `json:"code,omitempty"`
	At        timestamp.Time `json:"at,omitzero"`
}

// Voiding: the gateway is about to be asked to void.
type Voiding struct {
	DueAt timestamp.Time `json:"due_at,omitzero"`
	At    timestamp.Time `json:"at,omitzero"`
}

// Voided: what was not captured is given up.
type Voided struct {
	At timestamp.Time `json:"at,omitzero"`
}

// Expired: the authorization ran out.
type Expired struct {
	At timestamp.Time `json:"at,omitzero"`
}

// Failed: the gateway declined.
type Failed struct {
	Code string         `json:"code,omitempty"`
	At   timestamp.Time `json:"at,omitzero"`
}

// Unknown: no answer of the gateway was waited for any longer.
type Unknown struct {
	DueAt timestamp.Time `json:"due_at,omitzero"`
	At    timestamp.Time `json:"at,omitzero"`
}

// RequiresAction: the gateway wants Action of the customer.
type RequiresAction struct {
	Action string         `json:"action,omitempty"`
	DueAt  timestamp.Time `json:"due_at,omitzero"`
	At     timestamp.Time `json:"at,omitzero"`
}

// AcceptedOffline: the payment was taken on trust.
type AcceptedOffline struct {
	DueAt timestamp.Time `json:"due_at,omitzero"`
	At    timestamp.Time `json:"at,omitzero"`
}

// DeclinedAfterAcceptance: what was taken on trust was declined.
type DeclinedAfterAcceptance struct {
	Code string         `json:"code,omitempty"`
	At   timestamp.Time `json:"at,omitzero"`
}

// The types, as the contract spells them.

func (Created) Type() EventType                 { return TypeCreated }
func (Processing) Type() EventType              { return TypeProcessing }
func (Authorized) Type() EventType              { return TypeAuthorized }
func (Capturing) Type() EventType               { return TypeCapturing }
func (Captured) Type() EventType                { return TypeCaptured }
func (CaptureDropped) Type() EventType          { return TypeCaptureFailed }
func (Voiding) Type() EventType                 { return TypeVoiding }
func (Voided) Type() EventType                  { return TypeVoided }
func (Expired) Type() EventType                 { return TypeExpired }
func (Failed) Type() EventType                  { return TypeFailed }
func (Unknown) Type() EventType                 { return TypeUnknown }
func (RequiresAction) Type() EventType          { return TypeRequiresAction }
func (AcceptedOffline) Type() EventType         { return TypeAcceptedOffline }
func (DeclinedAfterAcceptance) Type() EventType { return TypeDeclinedAfterAcceptance }

// Decode reads an event's data as it stands in the journal, ignoring fields that it does not know. Errors: unavailable for
// a type that this program does not know, internal for data that can't be read.
func Decode(t EventType, data []byte) (Event, error) {
	switch t {
	case TypeCreated:
		return decode[Created](data)
	case TypeProcessing:
		return decode[Processing](data)
	case TypeAuthorized:
		return decode[Authorized](data)
	case TypeCapturing:
		return decode[Capturing](data)
	case TypeCaptured:
		return decode[Captured](data)
	case TypeCaptureFailed:
		return decode[CaptureDropped](data)
	case TypeVoiding:
		return decode[Voiding](data)
	case TypeVoided:
		return decode[Voided](data)
	case TypeExpired:
		return decode[Expired](data)
	case TypeFailed:
		return decode[Failed](data)
	case TypeUnknown:
		return decode[Unknown](data)
	case TypeRequiresAction:
		return decode[RequiresAction](data)
	case TypeAcceptedOffline:
		return decode[AcceptedOffline](data)
	case TypeDeclinedAfterAcceptance:
		return decode[DeclinedAfterAcceptance](data)
	}
	return nil, fault.New(fault.Unavailable, "the payment event %.40q was written by a newer program; use that one", string(t))
}

func decode[E Event](data []byte) (Event, error) {
	var e E
	if err := quick.Unmarshal(data, &e); err != nil {
		return nil, fault.Wrap(err, fault.Internal, "the data of a %s event can't be read; run waybill verify", e.Type())
	}
	return e, nil
}
