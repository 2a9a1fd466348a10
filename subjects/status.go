package subjects

import (
	"waybill/internal/inventory"
	"waybill/internal/order"
	"waybill/internal/payment"
	"waybill/internal/shipment"
)

// The statuses are those of the state machines: spelled there, and nowhere else.
type (
	OrderStatus       = order.Status
	PaymentStatus     = payment.Status
	ReservationStatus = inventory.Status
	ShipmentStatus    = shipment.Status
)

// OrderStatuses and ShipmentStatuses list what a filter may ask for.
var (
	OrderStatuses    = order.Statuses
	ShipmentStatuses = shipment.Statuses
)

// EventsByKind names the events of each kind.
var EventsByKind = map[Kind][]string{
	KindOrder:        names(order.EventTypes),
	KindPayment:      names(payment.EventTypes),
	KindRefund:       names(payment.RefundEventTypes),
	KindLedger:       {"entered"},
	KindStock:        {string(inventory.TypeReceived), string(inventory.TypeAdjusted)},
	KindReservation:  without(names(inventory.EventTypes), string(inventory.TypeReceived), string(inventory.TypeAdjusted)),
	KindShipment:     names(shipment.EventTypes),
	KindNotification: {"queued", "delivered", "failed", "dead"},
	KindCatalog:      {"put"},
	KindWebhook:      {"put", "deleted"},
	KindLeader:       {"claimed"},
}

func names[T ~string](types []T) []string {
	out := make([]string, len(types))
	for i, t := range types {
		out[i] = string(t)
	}
	return out
}

func without(list []string, drop ...string) []string {
	var out []string
	for _, s := range list {
		keep := true
		for _, d := range drop {
			keep = keep && s != d
		}
		if keep {
			out = append(out, s)
		}
	}
	return out
}
