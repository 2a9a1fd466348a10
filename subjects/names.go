// Package subjects is the contract in code: the names of subjects, streams, consumers and etcd keys, the typed endpoints
// with their requests and replies, the events, and the error codes. It spells what the outside relies on, and does nothing:
// every function is pure and safe for concurrent use. A subject, stream or consumer name is spelled here and nowhere else.
package subjects

import (
	"strings"

	"waybill/internal/fault"
	"waybill/internal/id"
)

// Site names one place that takes orders on its own. It is the second token of every subject and the JetStream domain.
type Site string

// DefaultSite is the site of a program that was told nothing else.
const DefaultSite Site = "local"

// Check returns an invalid_argument unless the site is [a-z0-9][a-z0-9-]{0,31}.
func (s Site) Check() error {
	ok := len(s) >= 1 && len(s) <= 32 && s[0] != '-'
	for i := 0; i < len(s); i++ {
		c := s[i]
		ok = ok && (c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-')
	}
	if !ok {
		return fault.Invalid("site", "the site %.40q is not 1 to 32 characters of a-z, 0-9 and -, the first no hyphen", string(s))
	}
	return nil
}

// Service names a service: a queue group, a NATS micro service, a user of the embedded server, a folder of etcd's health.
type Service string

// The services of a site.
const (
	Catalog      Service = "catalog"
	Inventory    Service = "inventory"
	Payment      Service = "payment"
	Order        Service = "order"
	Shipping     Service = "shipping"
	Notification Service = "notification"
	Webhook      Service = "webhook"
	Customer     Service = "customer"
	Config       Service = "config"
	Health       Service = "health"
	Dead         Service = "dead"
	Journal      Service = "journal"
)

// Services lists every service in the order in which a node starts them: who is called starts before its callers.
var Services = []Service{Journal, Config, Health, Dead, Catalog, Inventory, Payment, Order, Shipping, Notification, Webhook, Customer}

// Known reports whether s is a service of this program.
func (s Service) Known() bool {
	for _, k := range Services {
		if s == k {
			return true
		}
	}
	return false
}

// Kind is the third part of an event's subject: what sort of thing the event happened to.
type Kind string

// The kinds of event.
const (
	KindOrder        Kind = "order"
	KindStock        Kind = "stock"
	KindReservation  Kind = "reservation"
	KindPayment      Kind = "payment"
	KindRefund       Kind = "refund"
	KindLedger       Kind = "ledger" // the sandbox gateway's own books
	KindShipment     Kind = "shipment"
	KindNotification Kind = "notification"
	KindCatalog      Kind = "catalog"
	KindWebhook      Kind = "webhook"
	KindLeader       Kind = "leader"
)

// Kinds lists every kind.
var Kinds = []Kind{KindOrder, KindStock, KindReservation, KindPayment, KindRefund, KindLedger, KindShipment, KindNotification, KindCatalog, KindWebhook, KindLeader}

// The streams.
const (
	StreamJournal = "JOURNAL" // the record of truth: every event of the site, in one total order
	StreamDead    = "DEAD"    // what a consumer could not handle
	StreamKeys    = "KEYS"    // the customers' data keys, wrapped; readable by the services alone
)

// Durable is the name of a durable consumer of the journal.
type Durable string

// The durable consumers. Clients may make consumers of their own, but not touch these. Each reads one kind of events: for a consumer with
// several filters the server goes through every subject of the site, with the store locked, each time that it begins another file.
const (
	DurablePlan            Durable = "shipping-plan"    // order events → shipments
	DurableProcess         Durable = "order-process"    // shipment events → the order's next step
	DurableNotify          Durable = "notify"           // order events → notifications
	DurableNotifyShipments Durable = "notify-shipments" // shipment events → notifications
)

// ReaderPrefix begins the names of the program's own short-lived readers of the journal. Clients may not touch those either.
const ReaderPrefix = "waybill-read-"

// Durables lists every durable consumer.
var Durables = []Durable{DurablePlan, DurableProcess, DurableNotify, DurableNotifyShipments}

// RoleInventory is the elected role that may write stock. RoleProcess is the one that keeps the order process's timers.
const (
	RoleInventory = "inventory"
	RoleProcess   = "process"
)

const root = "wb."

// RPC is the subject of a method: wb.<site>.rpc.<service>.<method>.
func RPC(site Site, service Service, method string) string {
	return root + string(site) + ".rpc." + string(service) + "." + method
}

// Internal is the subject of a method that only the services themselves may call: wb.<site>.int.<service>.<method>.
func Internal(site Site, service Service, method string) string {
	return root + string(site) + ".int." + string(service) + "." + method
}

// Probe is the subject on which one instance of a service proves that its endpoints answer: wb.<site>.int.<service>.probe.<instance>.
func Probe(site Site, service Service, instance string) string {
	return Internal(site, service, "probe") + "." + instance
}

// Presence is the subject on which whoever leads in a role says so: wb.<site>.int.health.leader.<role>.
func Presence(site Site, role string) string { return Internal(site, Health, "leader") + "." + role }

// Event is the subject of an aggregate's events: wb.<site>.evt.<kind>.<id>.
func Event[T ~string](site Site, kind Kind, id T) string {
	return root + string(site) + ".evt." + string(kind) + "." + string(id)
}

// EventsOf is the wildcard over every aggregate of a kind: for consumers, readers and permissions, never on the way of a request.
func EventsOf(site Site, kind Kind) string {
	return root + string(site) + ".evt." + string(kind) + ".*"
}

// AllEvents is the wildcard over the whole journal.
func AllEvents(site Site) string { return root + string(site) + ".evt.>" }

// DeadLetter is the subject of a consumer's dead letters: wb.<site>.dead.<consumer>.
func DeadLetter(site Site, consumer Durable) string {
	return root + string(site) + ".dead." + string(consumer)
}

// AllDead is the wildcard over every consumer's dead letters.
func AllDead(site Site) string { return root + string(site) + ".dead.>" }

// Key is the subject of a customer's wrapped data key, and AllKeys the wildcard over them.
func Key(site Site, customer id.Customer) string {
	return root + string(site) + ".key." + string(customer)
}

// AllKeys is the wildcard over every customer's key.
func AllKeys(site Site) string { return root + string(site) + ".key.*" }

// EventName is a parsed event subject.
type EventName struct {
	Site Site
	Kind Kind
	ID   string
}

// ParseEvent takes an event's subject apart. Error: invalid_argument for anything that Event could not have built.
func ParseEvent(subject string) (EventName, error) {
	t := strings.Split(subject, ".")
	if len(t) == 5 && t[0] == "wb" && t[2] == "evt" && Site(t[1]).Check() == nil && id.Valid(t[4], id.MaxDerived) {
		for _, k := range Kinds {
			if t[3] == string(k) {
				return EventName{Site(t[1]), k, t[4]}, nil
			}
		}
	}
	return EventName{}, fault.New(fault.InvalidArgument, "%.120q is not the subject of an event", subject)
}

// MethodName is a parsed request subject.
type MethodName struct {
	Site    Site
	Service Service
	Method  string
}

// ParseRPC takes a request's subject apart. Error: invalid_argument for anything that RPC could not have built.
func ParseRPC(subject string) (MethodName, error) {
	t := strings.Split(subject, ".")
	if len(t) == 5 && t[0] == "wb" && t[2] == "rpc" && Site(t[1]).Check() == nil && Service(t[3]).Known() && id.Valid(t[4], id.MaxChosen) {
		return MethodName{Site(t[1]), Service(t[3]), t[4]}, nil
	}
	return MethodName{}, fault.New(fault.InvalidArgument, "%.120q is not the subject of a request", subject)
}

// TypeOf is the CloudEvents type of version 1 of an event: waybill.<kind>.<event>.v1.
func TypeOf(kind Kind, event string) string { return "waybill." + string(kind) + "." + event + ".v1" }

// ParseType takes waybill.<kind>.<event>.v1 apart; ok is false for any other text.
func ParseType(ceType string) (kind Kind, event string, ok bool) {
	t := strings.Split(ceType, ".")
	if len(t) != 4 || t[0] != "waybill" || t[3] != "v1" || t[2] == "" {
		return "", "", false
	}
	return Kind(t[1]), t[2], true
}

// Source is the CloudEvents source of the site's events: /waybill/<site>.
func Source(site Site) string { return "/waybill/" + string(site) }

// Header names of requests, replies and events.
const (
	HeaderTimeout        = "Waybill-Timeout"    // request: milliseconds that the caller will still wait
	HeaderIdempotencyKey = "Idempotency-Key"    // request: names an order that carries no id
	HeaderTraceparent    = "traceparent"        // request and event: W3C trace context
	HeaderBarrier        = "Waybill-Barrier"    // request: "defer" where the caller waits for durability itself
	HeaderRequestID      = "Waybill-Request-Id" // request: names the request in logs and as its events' cause
	HeaderDurability     = "Waybill-Durability" // reply: strict or fast
	HeaderSequence       = "Waybill-Sequence"   // reply: the journal sequence that it rests on
	HeaderOutside        = "Waybill-Outside"    // reply: milliseconds that the site has waited for others, such as a payment gateway
	HeaderErrorCode      = "Nats-Service-Error-Code"
	HeaderError          = "Nats-Service-Error"

	HeaderSpecVersion = "ce-specversion"
	HeaderID          = "ce-id"
	HeaderSource      = "ce-source"
	HeaderType        = "ce-type"
	HeaderTime        = "ce-time"
	HeaderSubject     = "ce-subject"
	HeaderMsgID       = "Nats-Msg-Id"
	HeaderCausation   = "Waybill-Causation" // the id of the event or request that caused this event
	HeaderPrevious    = "Waybill-Previous"  // "<ce-id> <hash>" of the aggregate's event before this one

	// BarrierDefer is the value of HeaderBarrier that leaves the wait for durability to the caller.
	BarrierDefer = "defer"
)

// Keys in etcd.

// ConfigPrefix is where the site's live settings stand: /waybill/<site>/config/.
func ConfigPrefix(site Site) string { return "/waybill/" + string(site) + "/config/" }

// HealthPrefix is where the site's instances report: /waybill/<site>/health/.
func HealthPrefix(site Site) string { return "/waybill/" + string(site) + "/health/" }

// HealthKey is the key of one instance of a service: /waybill/<site>/health/<service>/<instance>.
func HealthKey(site Site, service Service, instance string) string {
	return HealthPrefix(site) + string(service) + "/" + instance
}

// LeaderPrefix is where the site's elections are held, and LeaderKey the election of one role: /waybill/<site>/leader/<role>.
func LeaderPrefix(site Site) string { return "/waybill/" + string(site) + "/leader/" }

// LeaderKey is the prefix of a role's candidates.
func LeaderKey(site Site, role string) string { return LeaderPrefix(site) + role }
