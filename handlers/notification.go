package handlers

import (
	"context"
	"errors"
	"slices"

	"github.com/rs/zerolog"

	"waybill/configs"
	"waybill/internal/fault"
	"waybill/internal/id"
	"waybill/internal/journal"
	"waybill/internal/order"
	"waybill/internal/rpc"
	"waybill/internal/shipment"
	"waybill/internal/view"
	"waybill/subjects"
)

// Channel is a way to reach a customer. Send is asked again after an error; Message.ID makes a repeat harmless.
type Channel interface {
	Name() string
	Send(ctx context.Context, m Message) error
}

// Message is what a customer is told. What is personal is not in it: a channel that needs it asks for the order.
type Message struct {
	ID      id.Notification
	OrderID id.Order
	Event   string
}

// LogChannel writes messages to the log: the first channel, and the one that never fails.
type LogChannel struct{ Log zerolog.Logger }

// Name is "log".
func (LogChannel) Name() string { return "log" }

// Send writes one line.
func (c LogChannel) Send(_ context.Context, m Message) error {
	c.Log.Info().Str("notification_id", string(m.ID)).Str("order_id", string(m.OrderID)).Str("tells", m.Event).Msg("customer notified")
	return nil
}

// Notifications tells customers what became of their orders: at least once, in the order of each aggregate's events.
type Notifications struct {
	journal  *journal.Journal
	lists    *Lists
	channel  Channel
	live     *configs.Live
	clock    Clock
	messages machine[notice, noticeCommand, *noticeEvent]
}

// notice is a notification's state, as the journal has it.
type notice struct {
	NotificationID id.Notification `json:"notification_id"`
	OrderID        id.Order        `json:"order_id"`
	Event          string          `json:"event"`
	Channel        string          `json:"channel"`
	Status         string          `json:"status"`
	Tries          int             `json:"tries"`
	Error          string          `json:"error,omitzero"`
	CreatedAt      subjects.Time   `json:"created_at"`
	UpdatedAt      subjects.Time   `json:"updated_at"`
}

// noticeEvent is what happens to a notification: its name is the status that it leads to.
type noticeEvent struct {
	Status         string          `json:"status"`
	NotificationID id.Notification `json:"notification_id"`
	OrderID        id.Order        `json:"order_id"`
	Event          string          `json:"event"`
	Channel        string          `json:"channel"`
	Error          string          `json:"error,omitzero"`
	At             subjects.Time   `json:"at"`
}

type noticeCommand = noticeEvent

// noticeTransitions says which status may follow which; a notification that was delivered or given up can be queued again.
var noticeTransitions = map[string][]string{
	"":          {"queued"},
	"queued":    {"delivered", "failed", "dead"},
	"failed":    {"delivered", "failed", "dead", "queued"},
	"delivered": {"queued"},
	"dead":      {"queued"},
}

// NotificationsDeps is what the notification service uses.
type NotificationsDeps struct {
	Journal *journal.Journal
	Lists   *Lists
	Channel Channel
	Live    *configs.Live
	Site    subjects.Site
	Clock   Clock
	Log     zerolog.Logger
	Hook    Hook
}

// NewNotifications makes the service.
func NewNotifications(d NotificationsDeps) *Notifications {
	return &Notifications{
		journal: d.Journal, lists: d.Lists, channel: d.Channel, live: d.Live, clock: d.Clock,
		messages: machine[notice, noticeCommand, *noticeEvent]{
			journal: d.Journal, clock: d.Clock, site: d.Site, kind: subjects.KindNotification, hook: d.Hook, log: d.Log,
			decide: decideNotice, apply: applyNotice,
			order: func(s notice) id.Order { return s.OrderID },
			name: func(e *noticeEvent) string {
				if e == nil {
					return ""
				}
				return e.Status
			},
		},
	}
}

func decideNotice(s notice, c noticeCommand) (*noticeEvent, error) {
	for _, to := range noticeTransitions[s.Status] {
		if to == c.Status {
			return &c, nil
		}
	}
	if s.Status == c.Status {
		return nil, nil
	}
	return nil, fault.New(fault.FailedPrecondition, "the notification is %s and cannot become %s", s.Status, c.Status)
}

func applyNotice(s notice, e *noticeEvent) (notice, error) {
	if s.CreatedAt.IsZero() {
		s.CreatedAt = e.At
	}
	s.NotificationID, s.OrderID, s.Event, s.Channel = e.NotificationID, e.OrderID, e.Event, e.Channel
	s.Status, s.Error, s.UpdatedAt = e.Status, e.Error, e.At
	switch e.Status {
	case "queued":
		s.Tries = 0
	default:
		s.Tries++
	}
	return s, nil
}

// Register lists the service's endpoints.
func (n *Notifications) Register(s *rpc.Server) {
	rpc.Handle(s, subjects.NotificationList, n.list)
	rpc.Handle(s, subjects.NotificationRedeliver, n.redeliver)
	rpc.Handle(s, subjects.Redrive(subjects.Notification), redrive(n.journal, subjects.Notification, n.notifyAgain))
}

// NotifyTypes are the events that a customer is told of.
var NotifyTypes = []string{
	subjects.TypeOf(subjects.KindOrder, string(order.TypeConfirmed)), subjects.TypeOf(subjects.KindOrder, string(order.TypeRejected)),
	subjects.TypeOf(subjects.KindOrder, string(order.TypeNeedsAction)), subjects.TypeOf(subjects.KindOrder, string(order.TypeCancelled)),
	subjects.TypeOf(subjects.KindOrder, string(order.TypeExpired)), subjects.TypeOf(subjects.KindShipment, string(shipment.TypeDispatched)),
	subjects.TypeOf(subjects.KindShipment, string(shipment.TypeReady)), subjects.TypeOf(subjects.KindShipment, string(shipment.TypeDelivered)),
}

// Notify is the consumer of order and shipment events. It is acknowledged once the journal says that the message was
// delivered, which is also its record of having done so. A channel that fails is asked again with the consumer's back-off;
// after notification.max_tries the notification is dead, and the event goes to the dead letters.
func (n *Notifications) Notify(ctx context.Context, r journal.Record) error {
	return n.notify(ctx, r, false)
}

// notifyAgain is Notify for a dead letter that is sent once more: a notification that was given up begins anew.
func (n *Notifications) notifyAgain(ctx context.Context, r journal.Record) error {
	return n.notify(ctx, r, true)
}

func (n *Notifications) notify(ctx context.Context, r journal.Record, again bool) error {
	if !slices.Contains(NotifyTypes, r.Type) {
		return nil
	}
	kind, event := r.Event()
	var about struct {
		OrderID id.Order `json:"order_id"`
	}
	if err := decodeState(r, &about); err != nil {
		return err
	}
	m := Message{ID: id.NotificationOf(r.CeSubject, event), OrderID: about.OrderID, Event: string(kind) + "." + event}
	// Nearly always it is told for the first time, which the append finds out by itself.
	h, err := n.messages.step(ctx, string(m.ID), held[notice]{}, n.becomes(m, "queued", nil)(held[notice]{}))
	if errors.Is(err, journal.ErrConflict) {
		h, err = n.known(ctx, r, m, again)
	}
	if err != nil {
		return err
	}
	switch h.state.Status {
	case "delivered":
		return nil
	case "dead": // its dead letter may not have been written, or its acknowledgement was lost
		return givenUp(fault.New(fault.Unavailable, "%s", h.state.Error), h.state)
	}
	_, err = n.send(ctx, h)
	return err
}

// known is the notification of an event where the name of the first one is taken: by itself, or because the same has happened
// to the same aggregate before, such as a first dispatch; then it has the event's sequence in its name.
func (n *Notifications) known(ctx context.Context, r journal.Record, m Message, again bool) (held[notice], error) {
	told, err := n.journal.History(ctx, subjects.Event(n.messages.site, subjects.KindNotification, m.ID))
	if err != nil {
		return held[notice]{}, err
	}
	if len(told) > 0 && told[0].Causation != r.ID {
		_, event := r.Event()
		m.ID = id.NotificationAgain(r.CeSubject, event, r.Sequence)
	}
	h, err := n.messages.load(ctx, string(m.ID))
	if err != nil {
		return h, err
	}
	if !h.exists() || again && h.state.Status == "dead" {
		return n.messages.from(ctx, string(m.ID), h, n.becomes(m, "queued", nil))
	}
	return h, nil
}

// givenUp is the error that sends an event to the dead letters at once.
func givenUp(why error, s notice) error {
	return fault.Wrap(why, fault.InvalidArgument, "the notification %s could not be delivered after %d tries", s.NotificationID, s.Tries)
}

// send asks the channel, and records what came of it.
func (n *Notifications) send(ctx context.Context, h held[notice]) (held[notice], error) {
	m := Message{h.state.NotificationID, h.state.OrderID, h.state.Event}
	failed := n.channel.Send(ctx, m)
	if failed == nil {
		return n.messages.from(ctx, string(m.ID), h, n.becomes(m, "delivered", nil))
	}
	if _, most := n.live.Retry(subjects.DurableNotify); h.state.Tries+1 >= most {
		h, err := n.messages.from(ctx, string(m.ID), h, n.becomes(m, "dead", failed))
		if err != nil {
			return h, err
		}
		return h, givenUp(failed, h.state)
	}
	h, err := n.messages.from(ctx, string(m.ID), h, n.becomes(m, "failed", failed))
	if err != nil {
		return h, err
	}
	return h, fault.Wrap(failed, fault.Unavailable, "the notification %s could not be delivered", m.ID)
}

func (n *Notifications) becomes(m Message, status string, why error) func(held[notice]) noticeCommand {
	return func(held[notice]) noticeCommand {
		c := noticeCommand{Status: status, NotificationID: m.ID, OrderID: m.OrderID, Event: m.Event, Channel: n.channel.Name(), At: n.clock.now()}
		if why != nil {
			c.Error = fault.From(why).Message
		}
		return c
	}
}

func (n *Notifications) list(ctx context.Context, r *subjects.ListNotificationsRequest) (*subjects.Notifications, error) {
	v, err := n.lists.fresh(ctx)
	if err != nil {
		return nil, err
	}
	rows, next, err := v.Notifications(ctx, view.NotificationFilter{OrderID: string(r.OrderID), Status: r.Status, Limit: r.Size(), Cursor: r.Cursor})
	if err != nil {
		return nil, err
	}
	states, err := decodeAll[notice](rows)
	if err != nil {
		return nil, err
	}
	out := &subjects.Notifications{Notifications: make([]subjects.NotificationInfo, len(states)), NextCursor: next}
	for i, s := range states {
		out.Notifications[i] = subjects.NotificationInfo(s)
	}
	return out, nil
}

// redeliver sends a notification again, whatever became of it before.
func (n *Notifications) redeliver(ctx context.Context, r *subjects.NotificationRequest) (*subjects.NotificationInfo, error) {
	h, err := n.messages.load(ctx, string(r.NotificationID))
	if err != nil {
		return nil, err
	}
	if !h.exists() {
		return nil, fault.New(fault.NotFound, "there is no notification %s", r.NotificationID).WithField("notification_id")
	}
	m := Message{h.state.NotificationID, h.state.OrderID, h.state.Event}
	if err := n.channel.Send(ctx, m); err != nil { // nobody would try again: what was known before stands
		return nil, fault.Wrap(err, fault.Unavailable, "the notification %s could not be delivered; try again", m.ID)
	}
	if s := h.state.Status; s == "delivered" || s == "dead" {
		if _, err := n.messages.command(ctx, string(m.ID), n.becomes(m, "queued", nil)); err != nil {
			return nil, err
		}
	}
	if h, err = n.messages.command(ctx, string(m.ID), n.becomes(m, "delivered", nil)); err != nil {
		return nil, err
	}
	out := subjects.NotificationInfo(h.state)
	return &out, nil
}
