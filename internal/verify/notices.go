package verify

import (
	"context"
	"slices"

	"waybill/internal/fault"
	"waybill/internal/id"
	"waybill/internal/journal"
	"waybill/internal/quick"
	"waybill/internal/timestamp"
	"waybill/subjects"
)

// The statuses of a notification.
const (
	noticeQueued    = "queued"
	noticeDelivered = "delivered"
	noticeFailed    = "failed"
	noticeDead      = "dead"
)

// noticeTransitions is every change of a notification's status that there is. It stands here a second time on purpose: there is no
// state machine to share, and a check that took the table from what it checks would agree with every mistake in it. So does tells.
var noticeTransitions = map[string][]string{
	"":              {noticeQueued},
	noticeQueued:    {noticeDelivered, noticeFailed, noticeDead},
	noticeFailed:    {noticeDelivered, noticeFailed, noticeDead, noticeQueued},
	noticeDelivered: {noticeQueued},
	noticeDead:      {noticeQueued},
}

// tells are the events that a customer is told of, each with what the notification says of it.
var tells = map[subjects.Kind]map[string]string{
	subjects.KindOrder: {"confirmed": "order.confirmed", "rejected": "order.rejected", "needs_action": "order.needs_action",
		"cancelled": "order.cancelled", "expired": "order.expired"},
	subjects.KindShipment: {"dispatched": "shipment.dispatched", "ready": "shipment.ready", "delivered": "shipment.delivered"},
}

// noticeTrace is what is kept of a notification that is due, or there.
type noticeTrace struct {
	about    string // the event that makes it due; empty where none has happened
	since    uint64 // that event's sequence
	lost     bool
	status   string // empty where nobody was told yet
	tries    int
	created  timestamp.Time
	sequence uint64
	letter   bool // a dead letter tells of it
}

// noticeEvent is what happens to a notification.
type noticeEvent struct {
	Status         string          `json:"status"`
	NotificationID id.Notification `json:"notification_id"`
	OrderID        id.Order        `json:"order_id"`
	Event          string          `json:"event"`
	Channel        string          `json:"channel"`
	Error          string          `json:"error,omitzero"`
	At             timestamp.Time  `json:"at"`
}

func (c *check) noticeTrace(n id.Notification) *noticeTrace {
	t, ok := c.notices[n]
	if !ok {
		t = &noticeTrace{}
		c.notices[n] = t
	}
	return t
}

// due notes that the customer is to be told of an event.
func (c *check) due(r journal.Record, kind subjects.Kind, event string) {
	about, ok := tells[kind][event]
	if !ok {
		return
	}
	t := c.noticeTrace(c.noticeOf(r.CeSubject, event, r.Sequence))
	t.about, t.since = about, r.Sequence
}

// noticeOf is the notification that tells of the event at the sequence: what has happened to the same before has its sequence in
// its name.
func (c *check) noticeOf(subject, event string, sequence uint64) id.Notification {
	first := id.NotificationOf(subject, event)
	if t, ok := c.notices[first]; ok && t.since != 0 && sequence != 0 && t.since != sequence {
		return id.NotificationAgain(subject, event, sequence)
	}
	return first
}

func (c *check) notification(r journal.Record, n id.Notification, event string) {
	t := c.noticeTrace(n)
	var e noticeEvent
	err := quick.Unmarshal(r.Data, &e)
	if err != nil {
		c.at(r, RuleBody, "the data can't be read: %v", err)
	}
	state, clean := step(c, r, err == nil && !t.lost,
		func() (subjects.NotificationInfo, error) { return t.after(e, event) },
		func(*subjects.NotificationInfo) string { return RuleTransition })
	if t.lost = state == nil; t.lost {
		return
	}
	if _, exists := c.orders[state.OrderID]; clean && (state.NotificationID != n || !exists) {
		c.at(r, RuleReference, "the event is of the notification %.80s, of the order %.80s", state.NotificationID, state.OrderID)
	}
	if clean && (t.about == "" || state.Event != t.about) {
		c.at(r, RuleNotification, "it tells of %.80s, which did not happen before", state.Event)
	}
	t.status, t.tries, t.created, t.sequence = state.Status, state.Tries, state.CreatedAt, r.Sequence
}

// after is the notification after the event of the given name.
func (t *noticeTrace) after(e noticeEvent, name string) (subjects.NotificationInfo, error) {
	if e.Status != name || !slices.Contains(noticeTransitions[t.status], e.Status) {
		return subjects.NotificationInfo{}, fault.New(fault.Internal,
			"the event %s, to %.40q, is impossible for a notification whose status is %q", name, e.Status, t.status)
	}
	n := subjects.NotificationInfo{
		NotificationID: e.NotificationID, OrderID: e.OrderID, Event: e.Event, Channel: e.Channel, Status: e.Status,
		Tries: t.tries + 1, Error: e.Error, CreatedAt: t.created, UpdatedAt: e.At,
	}
	if e.Status == noticeQueued {
		n.Tries = 0
	}
	if n.CreatedAt.IsZero() {
		n.CreatedAt = e.At
	}
	return n, nil
}

// readLetters reads the dead letters: each has its reason, and is the last word on the notification that it was to make.
func (c *check) readLetters(ctx context.Context) error {
	if c.src.DeadLetters == nil {
		return nil
	}
	return pages(ctx, c.src.DeadLetters, func(l subjects.DeadInfo) {
		if l.Reason == "" {
			c.violation(RuleNotification, l.Subject, l.Sequence, "the dead letter %d of %s has no reason", l.ID, l.Consumer)
		}
		name, err := subjects.ParseEvent(l.Subject)
		_, event, ok := subjects.ParseType(l.Type)
		if owner, _ := subjects.OwnerOf(l.Consumer); err != nil || !ok || owner != subjects.Notification {
			return
		}
		if t, ok := c.notices[c.noticeOf(name.ID, event, l.Sequence)]; ok {
			t.letter = true
		}
	})
}

// told checks that whoever was to be told was.
func (c *check) told(n id.Notification, t *noticeTrace) {
	subject := subjects.Event(c.site, subjects.KindNotification, n)
	switch {
	case t.lost || !c.src.Settled:
	case t.status == "":
		c.violation(RuleNotification, subject, t.since, "nobody was told of %s", t.about)
	case t.status == noticeQueued, t.status == noticeFailed:
		c.violation(RuleStuck, subject, t.sequence, "the notification is still %s", t.status)
	case t.status == noticeDead && c.src.DeadLetters != nil && !t.letter:
		c.violation(RuleNotification, subject, t.sequence, "the notification was given up, and no dead letter says why")
	}
}
