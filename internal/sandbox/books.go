package sandbox

import (
	"context"
	"errors"
	"strconv"

	"waybill/internal/fault"
	"waybill/internal/id"
	"waybill/internal/journal"
	"waybill/internal/money"
	"waybill/internal/paygate"
	"waybill/internal/quick"
	"waybill/internal/timestamp"
	"waybill/subjects"
)

// Operation is what an entry of the books records.
type Operation string

// The operations.
const (
	OpAuthorize Operation = "authorize"
	OpCapture   Operation = "capture"
	OpVoid      Operation = "void"
	OpRefund    Operation = "refund"
)

// Outcome is what the gateway decided of an operation.
type Outcome string

// The outcomes in the books. An authorization that waits for the customer has none yet, and no entry in the ledger.
const (
	Approved Outcome = "approved"
	Declined Outcome = "declined"
	Refused  Outcome = "refused"
)

// Entry is one line of the ledger.
type Entry struct {
	Time      timestamp.Time `json:"time"`
	Operation Operation      `json:"operation"`
	PaymentID id.Payment     `json:"payment_id"`
	ID        string         `json:"id"` // of the payment, the capture or the refund
	Amount    money.Money    `json:"amount,omitzero"`
	Result    Outcome        `json:"result,omitzero"`
	Code      string         `json:"code,omitzero"` // why not approved
}

// apply carries out an operation, once: it appends the entry by compare-and-set, and decides again where another was first. first is
// false for an answer that stood in the books before.
func (g *Gateway) apply(ctx context.Context, p id.Payment, op operation) (is answer, first bool, err error) {
	if err := id.CheckDerived("payment_id", p); err != nil {
		return answer{}, false, err
	}
	const tries = 100 // each lost race is another's success; so many in a row mean that something is wrong
	for try := range tries {
		// A payment that is to be authorized is new but for the rare repeat: the append finds out, without a look before it.
		var before account
		var last written
		if try > 0 || op.name != OpAuthorize {
			if before, last, _, err = g.load(ctx, p); err != nil {
				return answer{}, false, err
			}
		}
		after, is, changed := op.decide(before)
		if changed {
			err = g.append(ctx, p, op, is, after, last)
		}
		switch {
		case err == nil:
			return is, changed, nil
		case !errors.Is(err, journal.ErrConflict):
			return answer{}, false, err
		}
	}
	return answer{}, false, fault.New(fault.Unavailable, "the sandbox gateway has too much to do with payment %s; ask again", p)
}

// append writes an entry behind the last one. A refusal that was written last already is not written again, so that a caller who
// insists does not fill the books.
func (g *Gateway) append(ctx context.Context, p id.Payment, op operation, is answer, after account, last written) error {
	e := Entry{
		Time: timestamp.Of(g.now()), Operation: op.name, PaymentID: p, ID: op.id, Amount: op.amount, Code: is.code,
	}
	switch is.outcome {
	case paygate.OutcomeApproved:
		e.Result = Approved
		if op.name == OpVoid {
			e.Amount = after.open()
		}
	case paygate.OutcomeDeclined:
		e.Result = Declined
	case paygate.OutcomeRefused:
		e.Result = Refused
	}
	if same := last.entry; e.Result == Refused {
		same.Time = e.Time
		if same == e {
			return nil
		}
	}
	_, err := g.books.Append(ctx, journal.Entry{
		Subject: subjects.Event(g.site, subjects.KindLedger, p), Kind: subjects.KindLedger, Event: "entered", CeSubject: string(p),
		Time: e.Time, Data: e, State: after, Previous: last.record,
	})
	return err
}

// written is the last entry of a payment, and the event that it is.
type written struct {
	entry  Entry
	record journal.Record
}

// load reads a payment's account; ok is false for a payment that the books don't know.
func (g *Gateway) load(ctx context.Context, p id.Payment) (a account, last written, ok bool, err error) {
	r, ok, err := g.books.Load(ctx, subjects.Event(g.site, subjects.KindLedger, p))
	if err != nil || !ok {
		return account{}, written{}, false, err
	}
	last = written{record: r}
	if last.entry, err = entryOf(r); err != nil {
		return account{}, written{}, false, err
	}
	if err := quick.Unmarshal(r.State, &a); err != nil {
		return account{}, written{}, false, unreadable(r, err)
	}
	return a, last, true, nil
}

func entryOf(r journal.Record) (e Entry, err error) {
	if err := quick.Unmarshal(r.Data, &e); err != nil {
		return Entry{}, unreadable(r, err)
	}
	return e, nil
}

func unreadable(r journal.Record, err error) error {
	return fault.Wrap(err, fault.Internal, "the entry of the sandbox's books at event %d can't be read; run waybill verify", r.Sequence)
}

// maxLedger is the most entries of one answer, ledgerLimit how many there are where the caller says nothing.
const (
	maxLedger   = 500
	ledgerLimit = 50
)

// ledgerBatch is how many events are read at once for the ledger, ledgerReads how often for one answer: it looks at 25,000 events.
const (
	ledgerBatch = 500
	ledgerReads = 50
)

// Ledger returns up to limit entries (0: 50; at most 500) in the order in which they were written, from the cursor on, and the
// cursor of what follows: empty at the end. The empty cursor begins at the first. It reads the journal as it stands and picks the entries
// here: to have the store look for them would keep it from writing meanwhile. So where few of the journal's events are entries, an answer
// may have fewer than limit of them, or none, and more follow. An entry that can't be read is passed over, and reported by verify.
// Errors: invalid_argument with the field, unavailable, deadline_exceeded.
func (g *Gateway) Ledger(ctx context.Context, cursor string, limit int) (entries []Entry, next string, err error) {
	from := uint64(1)
	if cursor != "" {
		if from, err = strconv.ParseUint(cursor, 10, 64); err != nil || from == 0 {
			return nil, "", fault.Invalid("cursor", "the cursor is none that this ledger gave")
		}
	}
	if limit == 0 {
		limit = ledgerLimit
	}
	if limit < 0 || limit > maxLedger {
		return nil, "", fault.Invalid("limit", "the limit must be 1 to %d", maxLedger)
	}
	entries = make([]Entry, 0, limit)
	for range ledgerReads {
		found, err := g.books.Range(ctx, from, ledgerBatch)
		if err != nil {
			return nil, "", err
		}
		for _, r := range found {
			if e, ok := g.shown(r); ok {
				if len(entries) == limit { // it tells that something follows
					return entries, strconv.FormatUint(r.Sequence, 10), nil
				}
				entries = append(entries, e)
			}
			from = r.Sequence + 1
		}
		if len(found) < ledgerBatch {
			return entries, "", nil
		}
	}
	return entries, strconv.FormatUint(from, 10), nil
}

// shown is the entry that an event is; ok is false where it is none of the ledger's.
func (g *Gateway) shown(r journal.Record) (e Entry, ok bool) {
	if name, err := subjects.ParseEvent(r.Subject); err != nil || name.Kind != subjects.KindLedger || r.Malformed != "" {
		return Entry{}, false
	}
	e, err := entryOf(r)
	return e, err == nil && e.Result != ""
}
