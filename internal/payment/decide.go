package payment

import (
	"waybill/internal/fault"
	"waybill/internal/id"
	"waybill/internal/money"
)

// Decide says which event follows from a command. (nil, nil) means that it has already happened and the stored state is
// the answer: the payment has the status that the command leads to, or the capture of that id and amount is there.
//
// Errors: not_found for a payment that does not exist; failed_precondition for a transition that the table forbids, a
// capture over what is left, or a void and a capture at the same time; already_exists for a payment or capture of other
// content under the same id; resource_exhausted over MaxCaptures; invalid_argument for a command that makes no sense in any
// state.
func Decide(s State, c Command) (Event, error) {
	switch c := c.(type) {
	case Create:
		return create(s, c)
	case Process:
		if s.Status == StatusRequiresAction && s.Voiding {
			return nil, beingVoided()
		}
		return s.to(StatusProcessing, Processing{Token: c.Token, TokenHint: c.TokenHint, DueAt: c.DueAt, At: c.At})
	case Authorize:
		return s.to(StatusAuthorized, Authorized{Amount: s.Amount, At: c.At})
	case Decline:
		return s.to(StatusFailed, Failed{Code: c.Code, At: c.At})
	case RequireAction:
		return s.to(StatusRequiresAction, RequiresAction{Action: c.Action, DueAt: c.DueAt, At: c.At})
	case MarkUnknown:
		return s.to(StatusUnknown, Unknown{DueAt: c.DueAt, At: c.At})
	case CaptureIntent:
		return captureIntent(s, c)
	case Capture:
		return capture(s, c)
	case CaptureFailed:
		return captureFailed(s, c)
	case CaptureCash:
		return captureCash(s, c)
	case VoidIntent:
		return voidIntent(s, c)
	case Void:
		if s.capturing() && Allowed(s.Status, StatusVoided) {
			return nil, beingCaptured(StatusVoided)
		}
		return s.to(StatusVoided, Voided{At: c.At})
	case Expire:
		if s.capturing() && Allowed(s.Status, StatusExpired) {
			return nil, beingCaptured(StatusExpired)
		}
		return s.to(StatusExpired, Expired{At: c.At})
	case AcceptOffline:
		return s.to(StatusAcceptedOffline, AcceptedOffline{DueAt: c.DueAt, At: c.At})
	case DeclineAfterAcceptance:
		if s.capturing() && Allowed(s.Status, StatusDeclinedAfterAcceptance) {
			return nil, beingCaptured(StatusDeclinedAfterAcceptance)
		}
		return s.to(StatusDeclinedAfterAcceptance, DeclinedAfterAcceptance{Code: c.Code, At: c.At})
	}
	return nil, fault.New(fault.Internal, "a payment knows no command %T", c)
}

// to is the event e, which leads to the given status, where the table allows it.
func (s State) to(to Status, e Event) (Event, error) {
	if s.Status == to {
		return nil, nil
	}
	if !Allowed(s.Status, to) {
		return nil, refuse(s.Status, to)
	}
	return e, nil
}

func create(s State, c Create) (Event, error) {
	if s.Status != "" {
		// The token is not compared: it is sealed anew each time, and a later one may have taken its place.
		if s.OrderID == c.OrderID && s.Method == c.Method && s.Amount == c.Amount {
			return nil, nil
		}
		return nil, fault.New(fault.AlreadyExists, "the payment %s exists with another order, method or amount", s.PaymentID).WithField("payment_id")
	}
	if err := id.CheckDerived("payment_id", c.PaymentID); err != nil {
		return nil, err
	}
	switch {
	case c.Method != Card && c.Method != Cash:
		return nil, fault.Invalid("method", "the method of payment is %s or %s", Card, Cash)
	case !c.Amount.Valid() || c.Amount.Amount < 0:
		return nil, fault.Invalid("amount", "the amount of a payment is not negative and in a known currency")
	}
	return Created{PaymentID: c.PaymentID, OrderID: c.OrderID, Method: c.Method, Amount: c.Amount, Token: c.Token,
		TokenHint: c.TokenHint, DueAt: c.DueAt, At: c.At}, nil
}

func voidIntent(s State, c VoidIntent) (Event, error) {
	switch {
	case s.Voiding || s.Status == StatusVoided:
		return nil, nil
	case !Allowed(s.Status, StatusVoided):
		return nil, refuse(s.Status, StatusVoided)
	case s.capturing():
		return nil, beingCaptured(StatusVoided)
	}
	return Voiding{DueAt: c.DueAt, At: c.At}, nil
}

// captureIntent looks at the id before the status: a repeat is answered whatever became of the payment since.
func captureIntent(s State, c CaptureIntent) (Event, error) {
	if known, ok := s.Capture(c.CaptureID); ok {
		return nil, sameAmount(known, c.Amount)
	}
	if s.Status == "" {
		return nil, refuse(s.Status, StatusCaptured)
	}
	if err := checkCapture(s, c.CaptureID, c.Amount); err != nil {
		return nil, err
	}
	left := s.Capturable()
	switch {
	case s.Method == Cash:
		return nil, fault.New(fault.FailedPrecondition, "a cash payment is captured in the till, at once and whole")
	case s.Status != StatusAuthorized && s.Status != StatusPartiallyCaptured && s.Status != StatusAcceptedOffline:
		return nil, refuse(s.Status, StatusCaptured)
	case s.Voiding:
		return nil, beingVoided()
	case left.Less(c.Amount), c.Amount.Amount == 0 && s.capturing():
		return nil, fault.New(fault.FailedPrecondition, "a capture of %s is more than the %s that are left to capture", c.Amount, left).WithField("amount")
	case s.Status == StatusAcceptedOffline && c.Amount != s.Amount:
		return nil, fault.New(fault.FailedPrecondition, "a payment accepted offline is captured whole: %s", s.Amount).WithField("amount")
	case len(s.Captures) >= MaxCaptures:
		return nil, fault.New(fault.ResourceExhausted, "a payment has at most %d captures", MaxCaptures)
	}
	return Capturing{CaptureID: c.CaptureID, Amount: c.Amount, DueAt: c.DueAt, At: c.At}, nil
}

func capture(s State, c Capture) (Event, error) {
	known, ok := s.Capture(c.CaptureID)
	switch {
	case ok && known.Status == CaptureStatusCaptured:
		return nil, sameAmount(known, c.Amount)
	case ok && known.Status == CaptureStatusFailed:
		return nil, fault.New(fault.FailedPrecondition, "the capture %s is %s and cannot become %s; use another capture_id",
			c.CaptureID, CaptureStatusFailed, CaptureStatusCaptured)
	case ok:
		if err := sameAmount(known, c.Amount); err != nil {
			return nil, err
		}
	case s.Status == StatusUnknown && c.Amount == s.Amount:
		// The gateway was asked, and had captured the whole of it by itself: there is no intent to settle.
		if err := checkCapture(s, c.CaptureID, c.Amount); err != nil {
			return nil, err
		}
	case s.Status == StatusAuthorized || s.Status == StatusPartiallyCaptured || s.Status == StatusAcceptedOffline || s.Status == StatusUnknown:
		return nil, fault.New(fault.FailedPrecondition, "the payment is %s and cannot become %s by a capture without an intent", s.Status, StatusCaptured)
	default:
		return nil, refuse(s.Status, StatusCaptured)
	}
	return Captured{CaptureID: c.CaptureID, Amount: c.Amount, At: c.At}, nil
}

func captureFailed(s State, c CaptureFailed) (Event, error) {
	known, ok := s.Capture(c.CaptureID)
	switch {
	case s.Status == "":
		return nil, refuse(s.Status, StatusCaptured)
	case !ok:
		return nil, fault.New(fault.FailedPrecondition, "the payment has no capture %s that could fail", c.CaptureID).WithField("capture_id")
	case known.Status == CaptureStatusFailed:
		return nil, nil
	case known.Status == CaptureStatusCaptured:
		return nil, fault.New(fault.FailedPrecondition, "the capture %s is %s and cannot become %s", c.CaptureID, known.Status, CaptureStatusFailed)
	}
	return CaptureDropped{CaptureID: c.CaptureID, Code: c.Code, At: c.At}, nil
}

func captureCash(s State, c CaptureCash) (Event, error) {
	switch {
	case s.Status != "" && s.Method != Cash:
		return nil, fault.New(fault.FailedPrecondition, "the payment is by %s; only the gateway can capture it", s.Method)
	case s.Status == StatusCaptured:
		return nil, nil
	case s.Status != StatusProcessing && s.Status != StatusUnknown:
		return nil, refuse(s.Status, StatusCaptured)
	}
	return Captured{CaptureID: CashCapture, Amount: s.Amount, At: c.At}, nil
}

func checkCapture(s State, capture id.Capture, amount money.Money) error {
	if err := id.CheckDerived("capture_id", capture); err != nil {
		return err
	}
	return checkPart(s.Amount, amount)
}

// checkPart checks an amount to be captured or refunded of a whole. Only nothing has a part of nothing.
func checkPart(whole, part money.Money) error {
	switch {
	case !part.Valid() || part.Amount < 0 || part.Amount == 0 && whole.Amount != 0:
		return fault.Invalid("amount", "the amount must be positive and in a known currency")
	case part.Currency != whole.Currency:
		return fault.Invalid("amount", "the payment is in %s, not in %s", whole.Currency, part.Currency)
	}
	return nil
}

func sameAmount(known CaptureEntry, amount money.Money) error {
	if known.Amount != amount {
		return fault.New(fault.AlreadyExists, "the capture %s exists with the amount %s", known.CaptureID, known.Amount).WithField("capture_id")
	}
	return nil
}

func refuse(from, to Status) error {
	if from == "" {
		return fault.New(fault.NotFound, "there is no such payment")
	}
	return fault.New(fault.FailedPrecondition, "the payment is %s and cannot become %s", from, to)
}

func beingVoided() error {
	return fault.New(fault.FailedPrecondition, "the payment is being voided; nothing more is captured or authorized")
}

func beingCaptured(to Status) error {
	return fault.New(fault.FailedPrecondition, "the payment cannot become %s while a capture is pending; settle that first", to)
}
