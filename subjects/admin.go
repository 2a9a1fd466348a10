package subjects

import (
	"net/url"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"waybill/internal/fault"
	"waybill/internal/id"
)

// Raw is a JSON value that is passed on as it is.
type Raw = jsontext.Value

// NotificationInfo is a message to a customer.
type NotificationInfo struct {
	NotificationID id.Notification `json:"notification_id"`
	OrderID        id.Order        `json:"order_id"`
	Event          string          `json:"event"`   // what it tells of, such as order.confirmed
	Channel        string          `json:"channel"` // how it is sent: log
	Status         string          `json:"status"`  // queued, delivered, failed, dead
	Tries          int             `json:"tries"`
	Error          string          `json:"error,omitzero"`
	CreatedAt      Time            `json:"created_at"`
	UpdatedAt      Time            `json:"updated_at"`
}

// NotificationStatuses are the statuses of a notification.
var NotificationStatuses = []string{"queued", "delivered", "failed", "dead"}

// ListNotificationsRequest asks for notifications, newest first.
type ListNotificationsRequest struct {
	Page
	OrderID id.Order `json:"order_id,omitzero"`
	Status  string   `json:"status,omitzero"`
}

// Validate checks the request's shape.
func (r *ListNotificationsRequest) Validate() error {
	err := first(r.Page.Validate(), oneOf("status", r.Status, true, NotificationStatuses...))
	if err == nil && r.OrderID != "" {
		err = id.Check("order_id", r.OrderID)
	}
	return err
}

// Notifications is a page of notifications.
type Notifications struct {
	Notifications []NotificationInfo `json:"notifications"`
	NextCursor    string             `json:"next_cursor"`
}

// NotificationRequest names a notification. Its id may be longer than others: it is made of an order's and an event's name.
type NotificationRequest struct {
	NotificationID id.Notification `json:"notification_id"`
}

// Validate checks the request's shape.
func (r *NotificationRequest) Validate() error {
	return id.CheckDerived("notification_id", r.NotificationID)
}

// WebhookInfo is somebody's wish to be told of events. Secret stands only in the reply that made it.
type WebhookInfo struct {
	WebhookID id.Webhook `json:"webhook_id"`
	URL       string     `json:"url"`
	Events    []string   `json:"events"`
	Secret    string     `json:"secret,omitzero"`
	CreatedAt Time       `json:"created_at"`
	UpdatedAt Time       `json:"updated_at"`
}

// PutWebhookRequest makes or replaces a webhook. Events are kind.event names, kind.* or *; without a Secret one is made.
type PutWebhookRequest struct {
	WebhookID id.Webhook `json:"webhook_id"`
	URL       string     `json:"url"`
	Events    []string   `json:"events"`
	Secret    string     `json:"secret,omitzero"`
}

// Validate checks the request's shape.
func (r *PutWebhookRequest) Validate() error {
	if err := id.Check("webhook_id", r.WebhookID); err != nil {
		return err
	}
	u, err := url.Parse(r.URL)
	if err != nil || len(r.URL) > maxURL || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.User != nil || u.Fragment != "" {
		return fault.Invalid("url", "url must be an http or https address without credentials, at most %d characters", maxURL)
	}
	if len(r.Events) == 0 || len(r.Events) > 50 {
		return fault.Invalid("events", "events must name 1 to 50 events, such as order.confirmed")
	}
	for i, e := range r.Events {
		if !eventPattern(e) {
			return fault.Invalid("events["+Sequence(uint64(i))+"]", "%.60q is not an event such as order.confirmed, order.* or *", e)
		}
	}
	if r.Secret != "" && (len(r.Secret) < 16 || len(r.Secret) > 128 || !printable(r.Secret)) {
		return fault.Invalid("secret", "secret must be 16 to 128 printable ASCII characters, or absent to have one made")
	}
	return nil
}

func eventPattern(e string) bool {
	if e == "*" {
		return true
	}
	kind, event, ok := strings.Cut(e, ".")
	if !ok {
		return false
	}
	for k, events := range EventsByKind {
		if string(k) != kind {
			continue
		}
		if event == "*" {
			return true
		}
		for _, known := range events {
			if known == event {
				return true
			}
		}
	}
	return false
}

func printable(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] < 0x21 || s[i] > 0x7e {
			return false
		}
	}
	return true
}

// WebhookRequest names a webhook.
type WebhookRequest struct {
	WebhookID id.Webhook `json:"webhook_id"`
}

// Validate checks the request's shape.
func (r *WebhookRequest) Validate() error { return id.Check("webhook_id", r.WebhookID) }

// Webhooks is a page of webhooks.
type Webhooks struct {
	Webhooks   []WebhookInfo `json:"webhooks"`
	NextCursor string        `json:"next_cursor"`
}

// Setting is a live setting with its declaration, its value, and who set it when; the latter are absent while nobody has.
type Setting struct {
	Key         string   `json:"key"`
	Value       Raw      `json:"value"`
	Default     Raw      `json:"default"`
	Type        string   `json:"type"` // duration, integer, string, boolean, choice, secret
	Unit        string   `json:"unit,omitzero"`
	Min         Raw      `json:"min,omitzero"` // inclusive bounds, in the form of the value
	Max         Raw      `json:"max,omitzero"`
	Choices     []string `json:"choices,omitzero"`
	Description string   `json:"description"`
	Affects     string   `json:"affects"`           // what changes when it does, and when
	SetBy       string   `json:"set_by,omitzero"`   // as they called themselves: nobody vouches for it
	SetAt       Time     `json:"set_at,omitzero"`   // absent too where a plain client of etcd wrote it
	Revision    int64    `json:"revision,omitzero"` // etcd's, of what stands there
	Problem     string   `json:"problem,omitzero"`  // why what stands in etcd is not the value
}

// Settings is every setting, by key. Degraded says why these are the last known ones and not etcd's, where they are.
type Settings struct {
	Settings []Setting `json:"settings"`
	Revision int64     `json:"revision"` // etcd's, of the last change: what config.watch asks on from
	Ignored  uint64    `json:"ignored"`  // how many settings have a bad value in etcd now, which is not taken
	Degraded string    `json:"degraded,omitzero"`
}

// KeyRequest names a setting.
type KeyRequest struct {
	Key string `json:"key"`
}

// Validate checks the request's shape.
func (r *KeyRequest) Validate() error { return text("key", r.Key, maxKey, false) }

// The most characters of a setting's key, and of the name of who sets it.
const (
	maxKey = 100
	maxBy  = 100
)

// SetRequest gives a setting a value.
type SetRequest struct {
	Key   string `json:"key"`
	Value Raw    `json:"value"`
	// By is who asks, for the history; "client" without it.
	By string `json:"by,omitzero"`
	// ExpectedRevision has the request refused unless the setting stands at it; without it the setting is set in any case.
	ExpectedRevision int64 `json:"expected_revision,omitzero"`
}

// Validate checks the request's shape.
func (r *SetRequest) Validate() error {
	if len(r.Value) == 0 {
		return fault.Invalid("value", "value is missing")
	}
	return first(text("key", r.Key, maxKey, false), text("by", r.By, maxBy, true), revision("expected_revision", r.ExpectedRevision))
}

// RollbackRequest gives a setting a value back that it had: that of a Revision, or the one before the present one.
type RollbackRequest struct {
	Key      string `json:"key"`
	Revision int64  `json:"revision,omitzero"`
	By       string `json:"by,omitzero"`
}

// Validate checks the request's shape.
func (r *RollbackRequest) Validate() error {
	return first(text("key", r.Key, maxKey, false), text("by", r.By, maxBy, true), revision("revision", r.Revision))
}

// WatchSettingsRequest asks for the settings that changed after a revision. The answer comes with the next change, or after
// 30 s, or shortly before the caller's time is out.
type WatchSettingsRequest struct {
	AfterRevision int64 `json:"after_revision,omitzero"`
}

// Validate checks the request's shape.
func (r *WatchSettingsRequest) Validate() error { return revision("after_revision", r.AfterRevision) }

func revision(field string, n int64) error {
	if n < 0 {
		return fault.Invalid(field, "%s is below 0", field)
	}
	return nil
}

// ChangedSettings are the settings that changed, by key, each as it is now; none where the time was out. Revision is what to
// ask on from.
type ChangedSettings struct {
	Settings []Setting `json:"settings"`
	Revision int64     `json:"revision"`
}

// Empty is a request without fields.
type Empty struct{}

// Revision is a value that a setting had; Value is absent where it was put back to its default.
type Revision struct {
	Value    Raw    `json:"value,omitzero"`
	Revision int64  `json:"revision"` // etcd's
	SetBy    string `json:"set_by,omitzero"`
	SetAt    Time   `json:"set_at,omitzero"`
}

// Revisions is what etcd still knows of a setting's past, newest first.
type Revisions struct {
	Revisions []Revision `json:"revisions"`
}

// Check is one thing that an instance looks at to know how it is.
type Check struct {
	Name    string `json:"name"`
	Status  string `json:"status"` // passing, warning, critical
	Message string `json:"message,omitzero"`
}

// Instance is a running service, as etcd holds it.
type Instance struct {
	Service  Service           `json:"service"`
	Instance string            `json:"instance"`
	Status   string            `json:"status"` // passing, warning, critical
	Version  string            `json:"version"`
	Since    Time              `json:"since"`
	Checks   []Check           `json:"checks"`
	Requests map[string]uint64 `json:"requests,omitzero"` // counters by name
}

// HealthInfo is the site's health, as etcd holds it. Degraded says why etcd's word can't be had, where it can't: the instances are
// then those of the answering process. Journal and Consumers are what the journal's server says; absent where it does not answer.
type HealthInfo struct {
	Instances []Instance        `json:"instances"`
	Leaders   map[string]string `json:"leaders"`
	Degraded  string            `json:"degraded,omitzero"`
	Journal   *JournalInfo      `json:"journal,omitzero"`
	Consumers []ConsumerInfo    `json:"consumers,omitempty"`
}

// JournalInfo is the state of the journal's stream.
type JournalInfo struct {
	Events   uint64 `json:"events"`
	Bytes    uint64 `json:"bytes"`
	Sequence uint64 `json:"sequence"` // of the last event
	Durable  uint64 `json:"durable"`  // up to which the answering process knows that all is durable
}

// ConsumerInfo is how far a durable consumer of the journal is.
type ConsumerInfo struct {
	Name        Durable `json:"name"`
	Pending     uint64  `json:"pending"`     // events that wait to be delivered
	InFlight    int     `json:"in_flight"`   // delivered, and not yet done
	Redelivered int     `json:"redelivered"` // of those, delivered more than once
}

// DeadInfo is a message that its consumer gave up. ID is its sequence in the stream DEAD.
type DeadInfo struct {
	ID       uint64  `json:"id"`
	Consumer Durable `json:"consumer"`
	Reason   string  `json:"reason"`
	Tries    int     `json:"tries"`
	Sequence uint64  `json:"sequence"` // of the original in the journal
	Type     string  `json:"type"`
	Subject  string  `json:"subject"`
	Time     Time    `json:"time"`
	Data     Raw     `json:"data,omitzero"`
}

// DeadLetters is a page of dead letters, oldest first.
type DeadLetters struct {
	Letters    []DeadInfo `json:"letters"`
	NextCursor string     `json:"next_cursor"`
}

// DeadRequest names a dead letter.
type DeadRequest struct {
	ID uint64 `json:"id"`
}

// Validate checks the request's shape.
func (r *DeadRequest) Validate() error {
	if r.ID == 0 {
		return fault.Invalid("id", "id is missing")
	}
	return nil
}

// Seal is the store's own record of a range of the journal: a hash over the range and the seal before it.
type Seal struct {
	From   uint64 `json:"from"`
	To     uint64 `json:"to"`
	LastID string `json:"last_id"`
	Hash   string `json:"hash"`
}

// Seals is a page of seals, oldest first.
type Seals struct {
	Seals      []Seal `json:"seals"`
	NextCursor string `json:"next_cursor"`
}

// SyncRequest asks the process that holds the store to make everything up to Sequence durable; all that is written, whatever
// it is, where Sequence is 0. Store is the id of the NATS server that acknowledged them, and is named with every Sequence: one that has
// started since may hold other events under the same sequences.
type SyncRequest struct {
	Sequence uint64 `json:"sequence"`
	Store    string `json:"store,omitzero"`
}

// Synced says up to where the store is durable, and whether it is so against power cuts.
type Synced struct {
	Durable uint64 `json:"durable"`
	Strict  bool   `json:"strict"`
}

// ViewState says how far a process's read models have come.
type ViewState struct {
	Sequence uint64 `json:"sequence"`
	Target   uint64 `json:"target"`
}

// The endpoints of the services that look after the site itself.
var (
	NotificationList      = Endpoint[ListNotificationsRequest, Notifications]{Service: Notification, Method: "list", Idempotent: true, Doc: "Lists notifications, newest first."}
	NotificationRedeliver = Endpoint[NotificationRequest, NotificationInfo]{Service: Notification, Method: "redeliver", Doc: "Sends a notification again."}

	WebhookPut    = Endpoint[PutWebhookRequest, WebhookInfo]{Service: Webhook, Method: "put", Idempotent: true, Doc: "Makes or replaces a webhook; its secret stands only in the reply that made it."}
	WebhookGet    = Endpoint[WebhookRequest, WebhookInfo]{Service: Webhook, Method: "get", Idempotent: true, Doc: "Returns a webhook."}
	WebhookList   = Endpoint[ListRequest, Webhooks]{Service: Webhook, Method: "list", Idempotent: true, Doc: "Lists webhooks by id."}
	WebhookDelete = Endpoint[WebhookRequest, WebhookInfo]{Service: Webhook, Method: "delete", Idempotent: true, Doc: "Removes a webhook."}

	ConfigGet      = Endpoint[KeyRequest, Setting]{Service: Config, Method: "get", Idempotent: true, Doc: "Returns a live setting."}
	ConfigList     = Endpoint[Empty, Settings]{Service: Config, Method: "list", Idempotent: true, Doc: "Lists the live settings."}
	ConfigSet      = Endpoint[SetRequest, Setting]{Service: Config, Method: "set", Idempotent: true, Doc: "Gives a live setting a value."}
	ConfigHistory  = Endpoint[KeyRequest, Revisions]{Service: Config, Method: "history", Idempotent: true, Doc: "Lists the values that a setting had, as far as etcd keeps them."}
	ConfigRollback = Endpoint[RollbackRequest, Setting]{Service: Config, Method: "rollback", Doc: "Gives a live setting a value back that it had."}
	ConfigWatch    = Endpoint[WatchSettingsRequest, ChangedSettings]{Service: Config, Method: "watch", Idempotent: true, Doc: "Answers when a live setting changes."}

	HealthList = Endpoint[Empty, HealthInfo]{Service: Health, Method: "list", Idempotent: true, Doc: "Lists what etcd holds of the site's health, and how far the journal and its consumers are."}

	DeadList    = Endpoint[ListRequest, DeadLetters]{Service: Dead, Method: "list", Idempotent: true, Doc: "Lists dead letters, oldest first."}
	DeadGet     = Endpoint[DeadRequest, DeadInfo]{Service: Dead, Method: "get", Idempotent: true, Doc: "Returns a dead letter."}
	DeadRedrive = Endpoint[DeadRequest, DeadInfo]{Service: Dead, Method: "redrive", Doc: "Has a dead letter handled again, and removes it when that went well."}
	DeadDiscard = Endpoint[DeadRequest, DeadInfo]{Service: Dead, Method: "discard", Doc: "Removes a dead letter."}

	JournalSeals = Endpoint[ListRequest, Seals]{Service: Journal, Method: "seals", Idempotent: true, Doc: "Lists the store's seals over the journal."}
	JournalSync  = Endpoint[SyncRequest, Synced]{Service: Journal, Method: "sync", Internal: true, Idempotent: true, Doc: "Makes the journal durable up to a sequence."}
)

// RedriveRequest hands an event of the journal to a consumer's handler once more.
type RedriveRequest struct {
	Consumer Durable `json:"consumer"`
	Sequence uint64  `json:"sequence"`
}

// Redrive is the internal endpoint of the service that owns a consumer.
func Redrive(owner Service) Endpoint[RedriveRequest, Empty] {
	return Endpoint[RedriveRequest, Empty]{Service: owner, Method: "redrive", Internal: true, Idempotent: true, Doc: "Handles an event of the journal once more."}
}

// OwnerOf is the service that runs a durable consumer.
func OwnerOf(d Durable) (Service, bool) {
	switch d {
	case DurablePlan:
		return Shipping, true
	case DurableProcess:
		return Order, true
	case DurableNotify, DurableNotifyShipments:
		return Notification, true
	}
	return "", false
}

// How far the read models of the answering process have come, and building them anew.
var (
	JournalView    = Endpoint[Empty, ViewState]{Service: Journal, Method: "view", Idempotent: true, Doc: "Says how far the read models have come."}
	JournalRebuild = Endpoint[Empty, ViewState]{Service: Journal, Method: "rebuild", Idempotent: true, Doc: "Throws the read models away and builds them anew from the journal."}
)
