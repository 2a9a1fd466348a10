package payment

import (
	"slices"

	"waybill/internal/fault"
	"waybill/internal/money"
	"waybill/internal/timestamp"
)

// Apply is the payment after the event. It shares with s what did not change and writes to nothing of it. An event that
// can't have happened to s, or that would break a rule on its sums, is an error of code internal.
func Apply(s State, e Event) (State, error) {
	n, ok := apply(s, e)
	if !ok {
		kind := EventType("(none)")
		if e != nil {
			kind = e.Type()
		}
		return State{}, fault.New(fault.Internal, "the event %s (%T) is impossible for a payment whose status is %q", kind, e, string(s.Status))
	}
	return n, nil
}

func apply(s State, e Event) (State, bool) {
	switch e := e.(type) {
	case Created:
		zero := money.Zero(e.Amount.Currency)
		return State{
			PaymentID: e.PaymentID, OrderID: e.OrderID, Method: e.Method, Status: StatusCreated, Amount: e.Amount, Authorized: zero,
			Captured: zero, Token: e.Token, TokenHint: e.TokenHint, CreatedAt: e.At, UpdatedAt: e.At, DueAt: e.DueAt,
		}, s.Status == ""
	case Processing:
		if len(e.Token) > 0 {
			s.Token, s.TokenHint = e.Token, e.TokenHint
		}
		return s.move(StatusProcessing, e.At, e.DueAt)
	case Authorized:
		ok := e.Amount == s.Amount
		s.Authorized = e.Amount
		n, moved := s.move(StatusAuthorized, e.At, s.DueAt)
		return n, ok && moved
	case Failed:
		s.DeclineCode = e.Code
		return s.move(StatusFailed, e.At, timestamp.Time{})
	case RequiresAction:
		n, ok := s.move(StatusRequiresAction, e.At, e.DueAt)
		n.Action = e.Action
		return n, ok
	case Unknown:
		return s.move(StatusUnknown, e.At, e.DueAt)
	case Capturing:
		return s.capturingEvent(e)
	case Captured:
		return s.capturedEvent(e)
	case CaptureDropped:
		i := s.find(e.CaptureID)
		if i < 0 || s.Captures[i].Status != CaptureStatusPending {
			return s, false
		}
		s.Captures = slices.Clone(s.Captures)
		s.Captures[i].Status, s.Captures[i].Code = CaptureStatusFailed, e.Code
		s.UpdatedAt = e.At
		return s.settleDue(), true
	case Voiding:
		ok := Allowed(s.Status, StatusVoided) && !s.Voiding && !s.capturing()
		s.Voiding, s.UpdatedAt, s.DueAt = true, e.At, e.DueAt
		return s, ok
	case Voided:
		capturing := s.capturing()
		n, ok := s.move(StatusVoided, e.At, timestamp.Time{})
		return n, ok && !capturing
	case Expired:
		capturing := s.capturing()
		n, ok := s.move(StatusExpired, e.At, timestamp.Time{})
		return n, ok && !capturing
	case AcceptedOffline:
		return s.move(StatusAcceptedOffline, e.At, e.DueAt)
	case DeclinedAfterAcceptance:
		capturing := s.capturing()
		s.DeclineCode = e.Code
		n, ok := s.move(StatusDeclinedAfterAcceptance, e.At, timestamp.Time{})
		return n, ok && !capturing
	}
	return s, false
}

func (s State) capturingEvent(e Capturing) (State, bool) {
	left := s.Capturable()
	ok := s.Method == Card && s.find(e.CaptureID) < 0 && e.Amount.Currency == left.Currency && e.Amount.Amount >= 0 && !left.Less(e.Amount) &&
		(s.Status == StatusAuthorized || s.Status == StatusPartiallyCaptured || s.Status == StatusAcceptedOffline)
	s.Captures = append(slices.Clone(s.Captures), CaptureEntry{e.CaptureID, e.Amount, CaptureStatusPending, ""})
	s.UpdatedAt, s.DueAt = e.At, e.DueAt
	return s, ok && !s.Voiding && (e.Amount.Amount > 0 || s.Amount.Amount == 0)
}

// capturedEvent settles a pending capture. Where nothing was authorized before (cash, a payment accepted offline, one that
// the gateway turns out to have captured by itself) the whole amount is authorized and captured in one.
func (s State) capturedEvent(e Captured) (State, bool) {
	i := s.find(e.CaptureID)
	s.Captures = slices.Clone(s.Captures)
	switch {
	case i >= 0 && (s.Captures[i].Status != CaptureStatusPending || s.Captures[i].Amount != e.Amount):
		return s, false
	case i >= 0:
		s.Captures[i].Status = CaptureStatusCaptured
	case s.Status != StatusUnknown && (s.Status != StatusProcessing || s.Method != Cash):
		return s, false
	default:
		s.Captures = append(s.Captures, CaptureEntry{e.CaptureID, e.Amount, CaptureStatusCaptured, ""})
	}
	if s.Status.unsettled() {
		if e.Amount != s.Amount {
			return s, false
		}
		s.Authorized = s.Amount
	}
	var err error
	if s.Captured, err = s.Captured.Add(e.Amount); err != nil || s.Authorized.Less(s.Captured) {
		return s, false
	}
	to := StatusPartiallyCaptured
	if s.Captured == s.Authorized {
		to = StatusCaptured
	}
	n, ok := s.move(to, e.At, s.DueAt)
	return n.settleDue(), ok
}

// move changes the status and keeps the rule of which field stands in which status.
func (s State) move(to Status, at, due timestamp.Time) (State, bool) {
	if !Allowed(s.Status, to) {
		return s, false
	}
	s.Status, s.UpdatedAt, s.DueAt, s.Action = to, at, due, ""
	if !to.unsettled() {
		s.Token = nil
	}
	if to.Final() {
		s.Voiding = false
	}
	if to == StatusAuthorized {
		return s.settleDue(), true
	}
	return s, true
}

// settleDue keeps a due time only while a capture or a void is still open.
func (s State) settleDue() State {
	if !s.capturing() && !s.Voiding {
		s.DueAt = timestamp.Time{}
	}
	return s
}
