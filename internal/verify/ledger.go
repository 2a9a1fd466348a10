package verify

import (
	"context"

	"waybill/internal/fault"
	"waybill/internal/id"
	"waybill/internal/journal"
	"waybill/internal/payment"
	"waybill/internal/quick"
	"waybill/subjects"
)

// The operations and results in the gateway's books.
const (
	opAuthorize = "authorize"
	opCapture   = "capture"
	opVoid      = "void"
	opRefund    = "refund"
	approved    = "approved"
)

// books is what the payment gateway says that it did.
type books struct {
	read    bool
	before  int // entries that were there before the journal was read; what they tell of must be in it
	entries map[operation]*entry
}

// operation names what a gateway does once: the id is the capture's or the refund's, else the payment's.
type operation struct {
	op      string
	payment id.Payment
	id      string
}

// entry is an approved operation. late is one that may be newer than the journal that was read.
type entry struct {
	amount subjects.Money
	late   bool
}

// countBooks counts the gateway's entries before the journal is read. The books are read again after it: so the entries of the
// first reading have their events in the journal, and the events of the journal have their entries in the second reading,
// however busy the site is meanwhile.
func (c *check) countBooks(ctx context.Context) error {
	if c.src.Ledger == nil {
		return nil
	}
	err := pages(ctx, c.src.Ledger, func(subjects.LedgerEntry) { c.books.before++ })
	if fault.CodeOf(err) == fault.Unimplemented {
		c.src.Ledger = nil
		return nil
	}
	return err
}

func (c *check) readBooks(ctx context.Context) error {
	if c.src.Ledger == nil {
		return nil
	}
	b, n := &c.books, 0
	b.read, b.entries = true, make(map[operation]*entry)
	return pages(ctx, c.src.Ledger, func(e subjects.LedgerEntry) {
		n++
		if e.Result != approved {
			return
		}
		key := operation{e.Operation, e.PaymentID, e.ID}
		if _, twice := b.entries[key]; twice {
			c.violation(RuleLedger, c.paymentSubject(e.PaymentID), 0, "the gateway approved the %s of %.80s twice", e.Operation, e.ID)
			return
		}
		b.entries[key] = &entry{e.Amount, n > b.before}
	})
}

// entered checks an entry of the sandbox's books where it stands. What it says is compared with the payments as the gateway tells it.
func (c *check) entered(r journal.Record, p id.Payment) {
	var e subjects.LedgerEntry
	switch err := quick.Unmarshal(r.Data, &e); {
	case err != nil:
		c.at(r, RuleBody, "the entry can't be read: %v", err)
	case e.PaymentID != p:
		c.at(r, RuleReference, "the entry is of the payment %.80s", e.PaymentID)
	}
}

// explain checks that the journal tells of what the gateway did.
func (c *check) explain(o operation, e *entry) {
	t, ok := c.payments[o.payment]
	if e.late || ok && t.lost {
		return
	}
	blame := func(format string, args ...any) {
		var sequence uint64
		if ok {
			sequence = t.sequence
		}
		c.violation(RuleLedger, c.paymentSubject(o.payment), sequence, format, args...)
	}
	switch {
	case !ok:
		blame("the gateway approved the %s of %.80s for a payment that is not in the journal", o.op, o.id)
	case t.method == payment.Cash:
		blame("the gateway approved the %s of %.80s for a payment in cash", o.op, o.id)
	case o.op == opAuthorize && (t.amount.Amount == 0 || o.id != string(o.payment) || e.amount != t.amount):
		blame("the gateway authorized %s under the id %.80s for a payment of %s", e.amount, o.id, t.amount)
	case o.op == opAuthorize:
		// A payment that was voided before its outcome was known was authorized for nothing: the void is in the books as well.
		if t.authorized != t.amount && t.status != payment.StatusVoided && (c.src.Settled || !t.authorizing()) {
			blame("the gateway authorized the payment, which the journal has as %s", t.status)
		}
	case o.op == opCapture:
		known, exists := t.capture(id.Capture(o.id))
		pending := known.Status == payment.CaptureStatusPending && !c.src.Settled
		if !exists || known.Amount != e.amount || known.Status != payment.CaptureStatusCaptured && !pending {
			blame("the gateway captured %s under the id %.80s, of which the journal has: %s", e.amount, o.id, orNothing(known.Status, known.Amount))
		}
	case o.op == opVoid:
		if t.status != payment.StatusVoided && (c.src.Settled || !t.voiding) {
			blame("the gateway voided the payment, which the journal has as %s", t.status)
		}
	case o.op == opRefund:
		c.explainRefund(o, e, blame)
	default:
		blame("the gateway's books have an operation %.40q", o.op)
	}
}

func (c *check) explainRefund(o operation, e *entry, blame func(string, ...any)) {
	s, ok := c.refunds[o.payment]
	if ok && s == nil {
		return // it can't be read
	}
	var known payment.Refund
	if ok {
		known, _ = s.Refund(id.Refund(o.id))
	}
	switch known.Status {
	case payment.RefundStatusSettled, payment.RefundStatusReversed:
		ok = true
	case payment.RefundStatusPending:
		ok = !c.src.Settled
	default:
		ok = false
	}
	if !ok || known.Amount != e.amount {
		blame("the gateway refunded %s under the id %.80s, of which the journal has: %s", e.amount, o.id, orNothing(known.Status, known.Amount))
	}
}

func orNothing[S ~string](status S, amount subjects.Money) string {
	if status == "" {
		return "nothing"
	}
	return string(status) + ", " + amount.String()
}

// booked checks that the gateway did what the journal tells of a payment.
func (c *check) booked(p id.Payment, t *paymentTrace) {
	if !c.books.read || t.lost || t.method != payment.Card {
		return
	}
	want := func(op, id string, amount subjects.Money) {
		e := c.books.entries[operation{op, p, id}]
		switch {
		case e == nil:
			c.violation(RuleLedger, c.paymentSubject(p), t.sequence, "the gateway's books have no %s of %.80s, over %s", op, id, amount)
		case e.amount != amount:
			c.violation(RuleLedger, c.paymentSubject(p), t.sequence, "the %s of %.80s is over %s, and over %s in the gateway's books",
				op, id, amount, e.amount)
		}
	}
	if t.authorized.Amount > 0 {
		want(opAuthorize, string(p), t.amount)
	}
	var captured int64
	for _, e := range t.captures {
		if e.Status == payment.CaptureStatusCaptured && e.Amount.Amount > 0 {
			want(opCapture, string(e.CaptureID), e.Amount)
			captured += e.Amount.Amount
		}
	}
	if t.status == payment.StatusVoided {
		// What is given up is what the gateway had authorized, also where the journal never heard of that.
		var open subjects.Money
		if e := c.books.entries[operation{opAuthorize, p, string(p)}]; e != nil {
			open = subjects.Money{Amount: e.amount.Amount - captured, Currency: e.amount.Currency}
		}
		want(opVoid, string(p), open)
	}
	if s := c.refunds[p]; s != nil {
		for _, one := range s.Refunds {
			if one.Status == payment.RefundStatusSettled || one.Status == payment.RefundStatusReversed {
				want(opRefund, string(one.RefundID), one.Amount)
			}
		}
	}
}
