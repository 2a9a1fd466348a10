// Package verify reads a site's whole journal and checks what must always hold: that every event is sound, is a step that may be
// taken and says truly what it led to, that stock and money add up, that orders agree with their parts and with the payment
// gateway's own books, and, once everything has had time to come to an end, that it has. It changes nothing. What it keeps in
// memory is a few hundred bytes for each order and 16 for each event, whatever the events' size; the states of the orders,
// payments and shipments that are still open come on top of that.
package verify

import (
	"context"

	"waybill/internal/journal"
	"waybill/internal/timestamp"
	"waybill/subjects"
)

// The rules, as a Violation names them.
const (
	RuleSequence     = "sequence"     // the journal has every sequence from 1 on, once and in order
	RuleEnvelope     = "envelope"     // an event's subject and headers are those of the contract, and its id is its own
	RuleBody         = "body"         // an event's body can be read
	RulePrevious     = "previous"     // an event names the one before it on its subject
	RuleChain        = "chain"        // the event before it is still what it was when it was named
	RuleState        = "state"        // the state that an event carries is the one before it with the event applied
	RuleTransition   = "transition"   // an event is a step that its state machine's table allows
	RuleMoney        = "money"        // Σ lines + tax = total; Σ captured ≤ authorized; Σ refunded ≤ captured
	RuleStock        = "stock"        // 0 ≤ reserved ≤ on hand; nothing is received or adjusted twice; nothing leaves unconsumed
	RuleReference    = "reference"    // an order and its payment, reservation and shipments belong together and agree
	RuleLedger       = "ledger"       // the payment gateway's own books agree with the journal to the cent
	RuleStuck        = "stuck"        // nothing waits that should have come to an end (only when Settled)
	RuleSeal         = "seal"         // the journal is what the store sealed
	RuleNotification = "notification" // customers are told of what happened, and of nothing else
)

// Rules lists every rule.
var Rules = []string{RuleSequence, RuleEnvelope, RuleBody, RulePrevious, RuleChain, RuleState, RuleTransition, RuleMoney, RuleStock,
	RuleReference, RuleLedger, RuleStuck, RuleSeal, RuleNotification}

// MaxViolations is how many violations a Report lists; the others are counted.
const MaxViolations = 1000

// Source is what a verification reads. Only Replay is needed; what else is nil is not checked. The functions that return pages
// are called with an empty cursor first and then with the one that came back, until that is empty.
type Source struct {
	// Replay calls fn with every event of the journal from the sequence on, in order, and returns the sequence that was the
	// last one when it began. (*journal.Journal).Replay without filters is it.
	Replay func(ctx context.Context, from uint64, fn func(journal.Record) error) (last uint64, err error)
	// Last is the sequence of the journal's last event: the total that progress is told.
	Last func(ctx context.Context) (uint64, error)
	// Messages returns up to limit stored messages from the sequence on, for the headers that a Record does not carry.
	// (*journal.Stream).Range is it.
	Messages func(ctx context.Context, from uint64, limit int) ([]journal.Message, error)
	// Ledger returns the payment gateway's own books. The error unimplemented means that they are kept elsewhere.
	Ledger func(ctx context.Context, cursor string) (entries []subjects.LedgerEntry, next string, err error)
	// Seals returns the store's seals over the journal, the oldest first.
	Seals func(ctx context.Context, cursor string) (seals []subjects.Seal, next string, err error)
	// DeadLetters returns the dead letters. Give it only where nobody has discarded any: a notification that was given up is
	// then expected to lie there.
	DeadLetters func(ctx context.Context, cursor string) (letters []subjects.DeadInfo, next string, err error)

	// Settled says that everything has had time to come to an end: what still waits is a violation then.
	Settled bool
	// Now is when that is judged; zero is the present.
	Now timestamp.Time
}

// FromJournal is the source that reads the journal alone.
func FromJournal(j *journal.Journal) Source {
	return Source{
		Last: j.Last,
		Replay: func(ctx context.Context, from uint64, fn func(journal.Record) error) (uint64, error) {
			return j.Replay(ctx, from, nil, fn)
		},
	}
}

// Report is what a verification found.
type Report struct {
	Events     uint64      `json:"events"`
	Orders     uint64      `json:"orders"`
	Last       uint64      `json:"last"` // sequence of the last event
	Violations []Violation `json:"violations"`
	Omitted    uint64      `json:"omitted,omitzero"` // violations beyond MaxViolations
}

// Violation is one thing that is broken. Sequence is the event at which it shows; 0 where it shows at none.
type Violation struct {
	Rule     string `json:"rule"`
	Subject  string `json:"subject"`
	Sequence uint64 `json:"sequence"`
	Message  string `json:"message"`
}

// Run reads the source and checks it. progress, unless nil, is called from this goroutine now and then with how many events are
// read and how many there are (as many as are read where the source does not say). What is broken stands in the report; an error
// means that the source could not be read to its end, and is the source's own.
//
// It may run while the site is at work: what is only half done is then no violation, unless Settled says that it should be done.
func Run(ctx context.Context, src Source, progress func(done, total uint64)) (Report, error) {
	c := newCheck(src)
	for _, part := range []func(context.Context) error{
		c.readSeals, // they vouch for what is in the journal by now
		c.countBooks,
		func(ctx context.Context) error { return c.readJournal(ctx, progress) },
		c.readMessages,
		c.readBooks,
		c.readLetters,
	} {
		if err := part(ctx); err != nil {
			return c.report, err
		}
	}
	c.conclude()
	return c.report, nil
}
