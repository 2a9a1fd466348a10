package configs

import (
	"slices"
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
)

// The keys of the live settings. Each service also has a log level of its own: see LogLevelOf.
const (
	PaymentCapture            = "payment.capture"
	PaymentGatewayTimeout     = "payment.gateway_timeout"
	OrderPendingGrace         = "order.pending_grace"
	OrderPendingTimeout       = "order.pending_timeout"
	OrderRetryInterval        = "order.retry_interval"
	InventoryReservationTTL   = "inventory.reservation_ttl_max"
	RPCMaxInFlight            = "rpc.max_in_flight"
	StorageLowSpace           = "storage.low_space"
	NotificationRetryInterval = "notification.retry_interval"
	ShippingAuto              = "shipping.auto"
	LogLevel                  = "log.level"
)

// The choices of settings.
const (
	CaptureOnDispatch = "on_dispatch" // PaymentCapture: the customer pays for what leaves the house
	CaptureOnConfirm  = "on_confirm"  // PaymentCapture: the customer pays when the order is confirmed

	AutoOff     = "off"     // ShippingAuto: people move shipments
	AutoBook    = "book"    // ShippingAuto: shipments are booked by themselves
	AutoDeliver = "deliver" // ShippingAuto: shipments go all the way by themselves, for shows and tests

	LevelInherit = "inherit" // a service's log level: that of log.level
)

// LogLevelOf is the key of a service's own log level.
func LogLevelOf(service subjects.Service) string { return LogLevel + "." + string(service) }

// Setting declares one live setting. Its value is JSON everywhere: in etcd, in requests, on disk.
type Setting struct {
	Key         string
	Type        string   // TypeDuration, …
	Default     string   // as JSON
	Min, Max    any      // inclusive: time.Duration for a duration, int64 for an integer, int64 bytes of text for a string; nil for none
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
		{Key: PaymentGatewayTimeout, Type: TypeDuration, Default: `"5s"`, Min: 100 * time.Millisecond, Max: 60 * time.Second,
			Description: "how long one call to the payment gateway may take before its outcome counts as unknown",
			Affects:     "the next call"},
		{Key: OrderPendingGrace, Type: TypeDuration, Default: `"2s"`, Min: 100 * time.Millisecond, Max: 10 * time.Second,
			Description: "how long an order may stand half-way before the background process takes it over",
			Affects:     "orders that are half-way from now on"},
		{Key: OrderPendingTimeout, Type: TypeDuration, Default: `"15m"`, Min: time.Second, Max: 30 * day,
			Description: "how long an order may stay pending or needs_action before it expires",
			Affects:     "orders that become pending or needs_action from now on"},
		// The most that grace and interval add up to is 30 s: a pending order is finished within that once the gateway answers again.
		{Key: OrderRetryInterval, Type: TypeDuration, Default: `"5s"`, Min: 100 * time.Millisecond, Max: 20 * time.Second,
			Description: "the time between two questions to a payment gateway that does not answer",
			Affects:     "the next question"},
		{Key: InventoryReservationTTL, Type: TypeDuration, Default: `"24h"`, Min: time.Second, Max: 30 * day,
			Description: "the longest time that a reservation may be asked to hold",
			Affects:     "reservations that are made or extended from now on"},
		{Key: RPCMaxInFlight, Type: TypeInteger, Default: `1024`, Min: int64(1), Max: int64(65536), Unit: "requests",
			Description: "how many requests one service works on or queues at a time; what is over it gets resource_exhausted at once",
			Affects:     "the next request to each service"},
		{Key: StorageLowSpace, Type: TypeInteger, Default: `64000000`, Min: int64(1_000_000), Max: int64(10 << 30), Unit: "bytes",
			Description: "the free space on the store's file system below which new orders get resource_exhausted",
			Affects:     "the next look at the free space"},
		{Key: NotificationRetryInterval, Type: TypeDuration, Default: `"10s"`, Min: 100 * time.Millisecond, Max: time.Hour,
			Description: "the time before a notification that could not be delivered is tried again",
			Affects:     "the next notification that fails"},
		{Key: ShippingAuto, Type: TypeChoice, Default: `"off"`, Choices: []string{AutoOff, AutoBook, AutoDeliver},
			Description: "the simulation of shipping: off, book shipments, or take them all the way to delivered",
			Affects:     "the next step of every shipment"},
		{Key: LogLevel, Type: TypeChoice, Default: `"info"`, Choices: levels,
			Description: "the least level that is logged",
			Affects:     "the log, at once"},
	}
	for _, service := range subjects.Services {
		list = append(list, Setting{Key: LogLevelOf(service), Type: TypeChoice, Default: `"inherit"`, Choices: append([]string{LevelInherit}, levels...),
			Description: "the least level that the service " + string(service) + " logs; inherit: that of log.level",
			Affects:     "the log, at once"})
	}
	slices.SortFunc(list, func(a, b Setting) int {
		if a.Key < b.Key {
			return -1
		}
		return 1
	})
	return list
}
