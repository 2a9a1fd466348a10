package verify

import (
	"waybill/internal/id"
	"waybill/internal/journal"
	"waybill/internal/money"
	"waybill/internal/payment"
	"waybill/subjects"
)

// paymentTrace is what is kept of a payment.
type paymentTrace struct {
	state      *payment.State // nil once the payment is final
	lost       bool
	order      id.Order
	since      uint64 // the sequence of its first event
	method     payment.Method
	status     payment.Status
	amount     money.Money
	authorized money.Money
	captured   money.Money
	captures   []payment.CaptureEntry
	voiding    bool
	sequence   uint64
}

func (c *check) paymentTrace(p id.Payment) *paymentTrace {
	t, ok := c.payments[p]
	if !ok {
		t = &paymentTrace{state: &payment.State{}}
		c.payments[p] = t
	}
	return t
}

func (c *check) payment(r journal.Record, p id.Payment, event string) {
	t := c.paymentTrace(p)
	if t.since == 0 {
		t.since = r.Sequence
	}
	e, err := payment.Decode(payment.EventType(event), r.Data)
	if err != nil {
		c.at(r, RuleBody, "%s", why(err))
	}
	before := payment.State{PaymentID: p, Status: t.status}
	if t.state != nil {
		before = *t.state
	}
	state, clean := step(c, r, err == nil && !t.lost,
		func() (payment.State, error) { return payment.Apply(before, e) },
		func(written *payment.State) string { return blamePayment(before.Status, e, written.Status) })
	if t.lost = state == nil; t.lost {
		return
	}
	if clean {
		c.captures(r, state)
		if state.PaymentID != p {
			c.at(r, RuleReference, "the event is of the payment %.80s", state.PaymentID)
		}
	}
	t.keep(state, r)
}

// blamePayment tells a step that may not be taken from one whose amount is wrong.
func blamePayment(before payment.Status, e payment.Event, written payment.Status) string {
	switch e.(type) {
	case payment.Authorized, payment.Capturing, payment.Captured:
		if before != "" && !before.Final() && (before == written || payment.Allowed(before, written)) {
			return RuleMoney
		}
	}
	return RuleTransition
}

// captures checks a payment's sums.
func (c *check) captures(r journal.Record, s *payment.State) {
	sum := money.Zero(s.Amount.Currency)
	for _, e := range s.Captures {
		if e.Status == payment.CaptureStatusCaptured {
			sum.Amount += e.Amount.Amount
		}
	}
	if sum != s.Captured || s.Captured.Amount < 0 || s.Authorized.Less(s.Captured) || s.Amount.Less(s.Authorized) {
		c.at(r, RuleMoney, "of %s, %s are authorized and %s captured, in captures of %s", s.Amount, s.Authorized, s.Captured, sum)
	}
}

func (t *paymentTrace) keep(s *payment.State, r journal.Record) {
	t.state, t.order, t.method, t.status, t.sequence = s, s.OrderID, s.Method, s.Status, r.Sequence
	t.amount, t.authorized, t.captured, t.captures = s.Amount, s.Authorized, s.Captured, s.Captures
	t.voiding = s.Voiding
	if s.Status.Final() {
		t.state = nil
	}
}

// open reports whether the gateway is being asked for something, or was and has not answered.
func (t *paymentTrace) open() bool {
	if t.voiding {
		return true
	}
	for _, e := range t.captures {
		if e.Status == payment.CaptureStatusPending {
			return true
		}
	}
	return t.authorizing()
}

// authorizing reports whether it is not known yet what became of the authorization.
func (t *paymentTrace) authorizing() bool {
	switch t.status {
	case payment.StatusCreated, payment.StatusProcessing, payment.StatusUnknown:
		return true
	}
	return false
}

func (t *paymentTrace) capture(c id.Capture) (payment.CaptureEntry, bool) {
	for _, e := range t.captures {
		if e.CaptureID == c {
			return e, true
		}
	}
	return payment.CaptureEntry{}, false
}

func (c *check) refund(r journal.Record, p id.Payment, event string) {
	before, seen := c.refunds[p]
	lost := seen && before == nil
	if !seen {
		before = &payment.RefundState{}
	}
	e, err := payment.DecodeRefund(payment.RefundEventType(event), r.Data)
	if err != nil {
		c.at(r, RuleBody, "%s", why(err))
	}
	state, clean := step(c, r, err == nil && !lost,
		func() (payment.RefundState, error) { return payment.ApplyRefund(*before, e) },
		func(*payment.RefundState) string { return blameRefund(*before, e) })
	c.refunds[p] = state
	if state == nil {
		return
	}
	pay, exists := c.payments[p]
	switch {
	case !clean || exists && pay.lost:
	case state.PaymentID != p || !exists:
		c.at(r, RuleReference, "the refund is of the payment %.80s, which is not its subject's or does not exist", state.PaymentID)
	case state.Refundable(pay.captured).Amount < 0:
		c.at(r, RuleMoney, "more is refunded than the %s that were captured", pay.captured)
	}
}

// blameRefund tells a step that may not be taken from one whose amount is wrong.
func blameRefund(before payment.RefundState, e payment.RefundEvent) string {
	var amount money.Money
	var known payment.Refund
	switch e := e.(type) {
	case payment.RefundPending:
		if e.Amount.Amount <= 0 {
			return RuleMoney
		}
		return RuleTransition
	case payment.RefundSettled:
		amount = e.Amount
		known, _ = before.Refund(e.RefundID)
	case payment.RefundReversed:
		amount = e.Amount
		known, _ = before.Refund(e.RefundID)
	}
	if known.Status != "" && known.Amount != amount {
		return RuleMoney
	}
	return RuleTransition
}

// refunded is the sum of what a payment gave back, and whether a refund is still on its way; it is unknown where lost is true.
func (c *check) refunded(p id.Payment) (sum int64, pending, lost bool) {
	s, ok := c.refunds[p]
	if !ok || s == nil {
		return 0, false, ok
	}
	for _, one := range s.Refunds {
		pending = pending || one.Status == payment.RefundStatusPending
	}
	return s.Refunded.Amount, pending, false
}

func (c *check) paymentSubject(p id.Payment) string {
	return subjects.Event(c.site, subjects.KindPayment, p)
}
