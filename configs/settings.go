package configs

import (
	"slices"
	"strings"
	"time"

	"waybill/subjects"
)

// The types of a Setting's value, and how the value is written in JSON.
const (
	TypeDuration = "duration" // a string: "250ms", "15m", "30d"
	TypeInteger  = "integer"  // a number without fraction or exponent
	TypeString   = "string"   // a string
	TypeBoolean  = "boolean"  // true or false
	TypeChoice   = "choice"   // a string out of Choices
	TypeSecret   = "secret"   // a string that names where a secret stands: "file:/run/secrets/key", "env:WAYBILL_SECRET_KEY", "" for none
)

// The keys of the live settings. Each service also has a log level and a bound on its requests of its own, and each durable
// consumer its retries: see LogLevelOf, MaxInFlightOf and RetryOf.
const (
	PaymentCapture          = "payment.capture"
	PaymentGateway          = "payment.gateway"
	PaymentGatewayKey       = "payment.gateway_key"
	PaymentGatewayTimeout   = "payment.gateway_timeout"
	OrderPendingGrace       = "order.pending_grace"
	OrderPendingTimeout     = "order.pending_timeout"
	OrderRetryInterval      = "order.retry_interval"
	InventoryReservationTTL = "inventory.reservation_ttl_max"
	RPCMaxInFlight          = "rpc.max_in_flight"
	StorageLowSpace         = "storage.low_space"
	ShippingAuto            = "shipping.auto"
	LogLevel                = "log.level"
)

// The choices of settings.
const (
	CaptureOnDispatch = "on_dispatch" // PaymentCapture: the customer pays for what leaves the house
	CaptureOnConfirm  = "on_confirm"  // PaymentCapture: the customer pays when the order is confirmed

	GatewaySandbox = "sandbox" // PaymentGateway: the one that moves no money
	GatewayNone    = "none"    // PaymentGateway: no new orders by card

	AutoOff     = "off"     // ShippingAuto: people move shipments
	AutoBook    = "book"    // ShippingAuto: shipments are booked by themselves
	AutoDeliver = "deliver" // ShippingAuto: shipments go all the way by themselves, for shows and tests

	LevelInherit = "inherit" // LogLevel: that of the configuration; a service's log level: that of log.level
)

// LogLevelOf is the key of a service's own log level.
func LogLevelOf(service subjects.Service) string { return LogLevel + "." + string(service) }

// MaxInFlightOf is the key of a service's own bound on its requests in flight.
func MaxInFlightOf(service subjects.Service) string { return RPCMaxInFlight + "." + string(service) }

// RetryKeys are the keys of the settings that say how a durable consumer tries again what failed.
type RetryKeys struct {
	Interval string // the time before the second try; it doubles with each further one
	Longest  string // and grows no longer than this
	MaxTries string // tries before it is given up
}

// RetryOf are the keys for one of subjects.Durables.
func RetryOf(durable subjects.Durable) RetryKeys {
	prefix := "consumer." + string(durable)
	if tellsCustomers(durable) { // its tries are those of the notifications, which show them
		prefix = string(subjects.Notification)
	}
	return RetryKeys{prefix + ".retry_interval", prefix + ".retry_longest", prefix + ".max_tries"}
}

func tellsCustomers(durable subjects.Durable) bool {
	owner, _ := subjects.OwnerOf(durable)
	return owner == subjects.Notification
}

// Setting declares one live setting. Its value is JSON everywhere: in etcd, in requests, on disk.
type Setting struct {
	Key         string
	Type        string   // TypeDuration, …
	Default     string   // as JSON
	Min, Max    any      // inclusive: time.Duration for a duration, int64 for an integer, int64 characters for a string; nil for none
	Choices     []string // of a choice
	Unit        string   // of an integer
	Description string
	Affects     string // what changes when it does, and when
}

// Settings lists every setting, sorted by key.
func Settings() []Setting { return slices.Clone(settings) }

// Lookup finds a setting by its key.
func Lookup(key string) (Setting, bool) {
	i, ok := slices.BinarySearchFunc(settings, key, func(s Setting, key string) int {
		switch {
		case s.Key < key:
			return -1
		case s.Key > key:
			return 1
		}
		return 0
	})
	if !ok {
		return Setting{}, false
	}
	return settings[i], true
}

const day = 24 * time.Hour

var settings = declare()

func declare() []Setting {
	list := []Setting{
		{Key: PaymentCapture, Type: TypeChoice, Default: `"on_dispatch"`, Choices: []string{CaptureOnDispatch, CaptureOnConfirm},
			Description: "when an authorized payment is captured",
			Affects:     "orders that are confirmed or dispatched from now on"},
		{Key: PaymentGateway, Type: TypeChoice, Default: `"sandbox"`, Choices: []string{GatewaySandbox, GatewayNone},
			Description: "the gateway that takes card payments; none: orders by card are refused, and cash alone is taken",
			Affects:     "orders that are placed from now on; a payment that exists stays with its gateway"},
		{Key: PaymentGatewayKey, Type: TypeSecret, Default: `""`,
			Description: "the key that the payment gateway is entered with, by the name of where it stands; the sandbox takes keys that begin with test_, and needs none",
			Affects:     "the next call to the payment gateway, as what the name leads to is read for each; it must be there for every process of the site"},
		{Key: PaymentGatewayTimeout, Type: TypeDuration, Default: `"5s"`, Min: 100 * time.Millisecond, Max: 60 * time.Second,
			Description: "how long one call to the payment gateway may take before its outcome counts as unknown",
			Affects:     "the next call"},
		{Key: OrderPendingGrace, Type: TypeDuration, Default: `"2s"`, Min: 100 * time.Millisecond, Max: 10 * time.Second,
			Description: "how long an order may stand half-way before the background process takes it over",
			Affects:     "orders that are half-way from now on"},
		{Key: OrderPendingTimeout, Type: TypeDuration, Default: `"15m"`, Min: time.Second, Max: 30 * day,
			Description: "how long an order may stay pending or needs_action before it expires",
			Affects:     "orders that are placed from now on"},
		// The most that grace and interval add up to is 30 s: a pending order is finished within that once the gateway answers again.
		{Key: OrderRetryInterval, Type: TypeDuration, Default: `"5s"`, Min: 100 * time.Millisecond, Max: 20 * time.Second,
			Description: "the time before a payment gateway that does not answer is asked again, which doubles with each try, up to 20s",
			Affects:     "the next question"},
		{Key: InventoryReservationTTL, Type: TypeDuration, Default: `"24h"`, Min: time.Second, Max: 30 * day,
			Description: "the longest time that a reservation may be asked to hold",
			Affects:     "reservations that are made or extended from now on"},
		{Key: RPCMaxInFlight, Type: TypeInteger, Default: `1024`, Min: int64(1), Max: int64(65536), Unit: "requests",
			Description: "how many requests each service works on at a time; one method has three quarters of that at most; what is over it gets resource_exhausted at once",
			Affects:     "the next request to each service that has no bound of its own"},
		{Key: StorageLowSpace, Type: TypeInteger, Default: `64000000`, Min: int64(1_000_000), Max: int64(10 << 30), Unit: "bytes",
			Description: "the free space on the store's file system below which new orders get resource_exhausted",
			Affects:     "orders, at once: the free space is looked at when the mark changes"},
		{Key: ShippingAuto, Type: TypeChoice, Default: `"off"`, Choices: []string{AutoOff, AutoBook, AutoDeliver},
			Description: "the simulation of shipping: off, book shipments, or take them all the way to delivered",
			Affects:     "shipments that are planned from now on"},
		{Key: LogLevel, Type: TypeChoice, Default: `"inherit"`, Choices: append([]string{LevelInherit}, levels...),
			Description: "the least level that is logged; inherit: that of each process's configuration (--log-level)",
			Affects:     "the log, at once"},
	}
	for _, durable := range subjects.Durables {
		if durable != subjects.DurableNotifyShipments { // what holds for DurableNotify holds for it
			list = append(list, retries(durable)...)
		}
	}
	for _, service := range subjects.Services {
		list = append(list, Setting{Key: LogLevelOf(service), Type: TypeChoice, Default: `"inherit"`, Choices: append([]string{LevelInherit}, levels...),
			Description: "the least level that the service " + string(service) + " logs; inherit: that of log.level",
			Affects:     "the log, at once"},
			Setting{Key: MaxInFlightOf(service), Type: TypeInteger, Default: `0`, Min: int64(0), Max: int64(65536), Unit: "requests",
				Description: "how many requests the service " + string(service) + " works on at a time; 0: as many as rpc.max_in_flight says",
				Affects:     "the next request to the service"})
	}
	slices.SortFunc(list, func(a, b Setting) int { return strings.Compare(a.Key, b.Key) })
	return list
}

// retries declares how one durable consumer tries again.
func retries(durable subjects.Durable) []Setting {
	keys, interval, longest, tries := RetryOf(durable), `"250ms"`, `"15s"`, `12`
	thing, failed := "an event that the consumer "+string(durable)+" could not handle", "the next event that fails"
	end := " is tried before it becomes a dead letter; while something that it needs is away it is tried for as long as it takes"
	if tellsCustomers(durable) {
		interval, longest, tries = `"10s"`, `"0s"`, `10`
		thing, failed = "a notification that could not be delivered", "the next notification that fails"
		end = " is tried before it is dead, and its event a dead letter"
	}
	return []Setting{
		{Key: keys.Interval, Type: TypeDuration, Default: interval, Min: 100 * time.Millisecond, Max: time.Hour,
			Description: "the time before " + thing + " is tried again", Affects: failed},
		{Key: keys.Longest, Type: TypeDuration, Default: longest, Min: time.Duration(0), Max: 24 * time.Hour,
			Description: "how long that time, which doubles with each try, may become; it stays the same where this is shorter", Affects: failed},
		{Key: keys.MaxTries, Type: TypeInteger, Default: tries, Min: int64(1), Max: int64(1000), Unit: "tries",
			Description: "how often " + thing + end, Affects: failed},
	}
}
