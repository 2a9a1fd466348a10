package verify

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash/maphash"
	"strings"
	"time"

	"waybill/internal/fault"
	"waybill/internal/id"
	"waybill/internal/inventory"
	"waybill/internal/journal"
	"waybill/internal/order"
	"waybill/internal/payment"
	"waybill/internal/timestamp"
	"waybill/subjects"
)

// check is a verification at work. One goroutine uses it.
type check struct {
	src    Source
	now    timestamp.Time
	report Report

	types  map[string]typeName
	site   subjects.Site // that of the first event; every other must be of the same
	ids    map[[16]byte]struct{}
	links  map[string]link // by subject
	seals  *journal.SealCheck
	sealed bool
	seed   maphash.Seed
	half   id.Order     // the order whose split is half read: its other event is the very next
	buffer bytes.Buffer // of spells

	orders       map[id.Order]*orderTrace
	payments     map[id.Payment]*paymentTrace
	refunds      map[id.Payment]*payment.RefundState // nil for refunds whose last event can't be read
	reservations map[id.Reservation]*reservationTrace
	shipments    map[id.Shipment]*shipmentTrace
	notices      map[id.Notification]*noticeTrace
	stock        stockroom
	books        books
}

// link is what the next event of an aggregate must name: 16 bytes each of the last one's id and of its hash.
type link struct {
	id, hash [16]byte
	sequence uint64
}

func newCheck(src Source) *check {
	c := &check{
		src: src, now: src.Now, report: Report{Violations: []Violation{}}, seed: maphash.MakeSeed(), types: typeNames(),
		ids: make(map[[16]byte]struct{}), links: make(map[string]link),
		orders: make(map[id.Order]*orderTrace), payments: make(map[id.Payment]*paymentTrace),
		refunds:      make(map[id.Payment]*payment.RefundState),
		reservations: make(map[id.Reservation]*reservationTrace), shipments: make(map[id.Shipment]*shipmentTrace),
		notices: make(map[id.Notification]*noticeTrace),
		stock:   stockroom{book: inventory.NewBook(), doubted: make(map[id.SKU]bool)},
	}
	if c.now.IsZero() {
		c.now = timestamp.Of(time.Now())
	}
	return c
}

// violation reports that a rule is broken.
func (c *check) violation(rule, subject string, sequence uint64, format string, args ...any) {
	if len(c.report.Violations) == MaxViolations {
		c.report.Omitted++
		return
	}
	c.report.Violations = append(c.report.Violations, Violation{rule, subject, sequence, fmt.Sprintf(format, args...)})
}

// at is violation for an event.
func (c *check) at(r journal.Record, rule, format string, args ...any) {
	c.violation(rule, r.Subject, r.Sequence, format, args...)
}

// why is a fault's message without its code, which would say less in a report than its words do.
func why(err error) string { return fault.From(err).Message }

func (c *check) readJournal(ctx context.Context, progress func(done, total uint64)) error {
	const often = 1000
	var total uint64
	if c.src.Last != nil && progress != nil {
		var err error
		if total, err = c.src.Last(ctx); err != nil {
			return err
		}
	}
	last, err := c.src.Replay(ctx, 1, func(r journal.Record) error {
		c.record(r)
		if progress != nil && c.report.Events%often == 0 {
			progress(c.report.Events, max(total, c.report.Events))
		}
		return ctx.Err()
	})
	if err != nil {
		return err
	}
	if c.report.Last < last {
		c.violation(RuleSequence, subjects.StreamJournal, last, "the events %d to %d are missing", c.report.Last+1, last)
	}
	if progress != nil {
		progress(c.report.Events, max(total, c.report.Events))
	}
	c.report.Orders = uint64(len(c.orders))
	return nil
}

// record takes the journal's next event.
func (c *check) record(r journal.Record) {
	c.report.Events++
	c.half = ""
	c.sequence(r)
	if c.sealed {
		c.seals.Add(r)
	}
	name, err := subjects.ParseEvent(r.Subject)
	if err != nil {
		c.at(r, RuleEnvelope, "this is not the subject of an event")
		return
	}
	event, ok := c.envelope(r, name)
	c.chain(r)
	switch {
	case r.Malformed != "":
		c.at(r, RuleBody, "the event can't be read: %s", r.Malformed)
		ok = false
	case r.Version > journal.Version:
		c.at(r, RuleEnvelope, "a newer program wrote the event, in version %d; verify with that one", r.Version)
		ok = false
	}
	if !ok {
		c.lose(r, name, event)
		return
	}
	switch name.Kind {
	case subjects.KindOrder:
		c.order(r, id.Order(name.ID), event)
	case subjects.KindPayment:
		c.payment(r, id.Payment(name.ID), event)
	case subjects.KindRefund:
		c.refund(r, id.Payment(name.ID), event)
	case subjects.KindLedger:
		c.entered(r, id.Payment(name.ID))
	case subjects.KindShipment:
		c.shipment(r, id.Shipment(name.ID), event)
	case subjects.KindStock:
		c.movement(r, id.SKU(name.ID), event)
	case subjects.KindReservation:
		c.reservation(r, id.Reservation(name.ID), event)
	case subjects.KindNotification:
		c.notification(r, id.Notification(name.ID), event)
	case subjects.KindCatalog:
		plain(c, r, name.ID, func(i subjects.Item) string { return string(i.SKU) })
	case subjects.KindWebhook:
		c.webhook(r, name.ID, event)
	case subjects.KindLeader:
		plain(c, r, name.ID, func(l claim) string { return l.Role })
	}
}

// lose forgets what an aggregate is, after an event of which no more than its name can be read: the next one is taken at its word.
func (c *check) lose(r journal.Record, name subjects.EventName, event string) {
	c.due(r, name.Kind, event)
	switch name.Kind {
	case subjects.KindOrder:
		t := c.orderTrace(id.Order(name.ID))
		t.lost, t.confirmed = true, t.confirmed || event == string(order.TypeConfirmed)
	case subjects.KindPayment:
		c.paymentTrace(id.Payment(name.ID)).lost = true
	case subjects.KindRefund:
		c.refunds[id.Payment(name.ID)] = nil
	case subjects.KindShipment:
		c.shipmentTrace(id.Shipment(name.ID)).lost = true
	case subjects.KindStock:
		c.stock.doubted[id.SKU(name.ID)] = true
	case subjects.KindReservation:
		c.reservationTrace(id.Reservation(name.ID)).lost = true
		c.stock.lost = true // nobody knows of which SKUs it was
	case subjects.KindNotification:
		c.noticeTrace(id.Notification(name.ID)).lost = true
	}
}

// sequence checks that nothing is missing: the journal deletes nothing, so a gap is damage.
func (c *check) sequence(r journal.Record) {
	switch want := c.report.Last + 1; {
	case r.Sequence > want:
		c.at(r, RuleSequence, "the events %d to %d are missing", want, r.Sequence-1)
	case r.Sequence < want:
		c.at(r, RuleSequence, "event %d comes after event %d", r.Sequence, c.report.Last)
	}
	c.report.Last = max(c.report.Last, r.Sequence)
}

// envelope checks the headers and returns the event's name; ok is false, and the name empty, for an event of no known type.
func (c *check) envelope(r journal.Record, name subjects.EventName) (event string, ok bool) {
	if c.site == "" {
		c.site = name.Site
	}
	if name.Site != c.site {
		c.at(r, RuleEnvelope, "the event is of the site %s, in the journal of %s", name.Site, c.site)
	}
	if r.CeSubject != name.ID {
		c.at(r, RuleEnvelope, "%s is %.80q, not the last token of the subject", subjects.HeaderSubject, r.CeSubject)
	}
	if r.ID != "" { // without one the event is malformed
		key := fingerprint(r.ID)
		if _, twice := c.ids[key]; twice {
			c.at(r, RuleEnvelope, "another event has the same %s, %.80s", subjects.HeaderID, r.ID)
		}
		c.ids[key] = struct{}{}
	}
	is, ok := c.types[r.Type]
	if !ok || is.kind != name.Kind {
		if r.Type != "" { // without one the event is malformed
			c.at(r, RuleEnvelope, "%.80q is no type of event of a %s that this program knows", r.Type, name.Kind)
		}
		return "", false
	}
	return is.event, true
}

// typeName is a CloudEvents type, taken apart.
type typeName struct {
	kind  subjects.Kind
	event string
}

// typeNames are the types of all events that this program knows.
func typeNames() map[string]typeName {
	all := make(map[string]typeName)
	for kind, events := range subjects.EventsByKind {
		for _, e := range events {
			all[subjects.TypeOf(kind, e)] = typeName{kind, e}
		}
	}
	return all
}

// chain checks that the event names the one before it on its subject as that one is.
func (c *check) chain(r journal.Record) {
	before, ok := c.links[r.Subject]
	switch {
	case !ok && (r.PreviousID != "" || r.PreviousHash != ""):
		c.at(r, RulePrevious, "it names %.80s as the event before it, and is the first on its subject", r.PreviousID)
	case ok && r.PreviousID == "":
		c.at(r, RulePrevious, "it names no event before it, and event %d was", before.sequence)
	case ok && fingerprint(r.PreviousID) != before.id:
		c.at(r, RulePrevious, "it names %.80s as the event before it, and that was event %d", r.PreviousID, before.sequence)
	case ok && fingerprint(r.PreviousHash) != before.hash:
		c.at(r, RuleChain, "event %d is not what it was when this one named it", before.sequence)
	}
	c.links[r.Subject] = link{fingerprint(r.ID), fingerprint(r.Hash), r.Sequence}
}

// fingerprint is 16 bytes that stand for a text: those which it spells in hexadecimal, as ids and hashes do, else 16 of its SHA-256.
func fingerprint(s string) (f [16]byte) {
	if len(s) == 2*len(f) {
		var text [2 * len(f)]byte
		copy(text[:], s)
		if _, err := hex.Decode(f[:], text[:]); err == nil && strings.ToLower(s) == s {
			return f
		}
	}
	sum := sha256.Sum256([]byte(s))
	return [16]byte(sum[:16])
}
