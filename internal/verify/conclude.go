package verify

import (
	"cmp"
	"maps"
	"slices"

	"waybill/internal/id"
	"waybill/internal/inventory"
	"waybill/internal/order"
	"waybill/internal/payment"
	"waybill/internal/shipment"
)

// parts is what an order's shipments come to.
type parts struct {
	lines                             tally
	shipments, delivered, cancelled   int
	left, returned, inHouse, underway int
	lost                              bool
}

// conclude checks, after the last event, what only the whole journal tells: whether orders and their parts agree.
func (c *check) conclude() {
	for _, t := range c.shipments {
		c.gather(t)
	}
	for _, o := range slices.Sorted(maps.Keys(c.orders)) {
		if t := c.orders[o]; !t.lost {
			c.whole(o, t)
		}
	}
	for _, p := range slices.Sorted(maps.Keys(c.payments)) {
		if t := c.payments[p]; !t.lost {
			c.only(p, t)
			c.settled(p, t)
			c.booked(p, t)
		}
	}
	for _, r := range slices.Sorted(maps.Keys(c.reservations)) {
		t := c.reservations[r]
		if c.src.Settled && !t.lost && t.status.Live() && !t.expires.IsZero() && t.expires.Before(c.now) {
			c.violation(RuleStuck, c.reservationSubject(r), t.sequence, "the reservation is %s, and its time ended at %s", t.status, t.expires)
		}
	}
	for _, n := range slices.Sorted(maps.Keys(c.notices)) {
		c.told(n, c.notices[n])
	}
	for _, o := range slices.SortedFunc(maps.Keys(c.books.entries), compareOperations) {
		c.explain(o, c.books.entries[o])
	}
	c.sealsHold()
}

func compareOperations(a, b operation) int {
	return cmp.Or(cmp.Compare(a.payment, b.payment), cmp.Compare(a.op, b.op), cmp.Compare(a.id, b.id))
}

// gather adds a shipment to its order.
func (c *check) gather(t *shipmentTrace) {
	o, ok := c.orders[t.order]
	if !ok {
		return // reported when it was planned
	}
	p := &o.parts
	p.shipments++
	p.lines.merge(t.lines)
	p.lost = p.lost || t.lost
	switch {
	case t.status == shipment.StatusCancelled:
		p.cancelled++
	case t.status == shipment.StatusDelivered:
		p.delivered++
		p.left++
	case t.status == shipment.StatusReturned:
		p.returned++
		p.left++
	case gone(t.status):
		p.underway++
		p.left++
	default:
		p.inHouse++
	}
}

// whole checks that an order and its parts agree. What a status promises is written down before the status is, so it is there at
// every moment; what follows from a status comes after it, and is asked for only where everything has had its time.
func (c *check) whole(o id.Order, t *orderTrace) {
	blame := func(rule, format string, args ...any) {
		c.violation(rule, c.orderSubject(o), t.sequence, format, args...)
	}
	if p := t.parts; p.shipments > 0 && !p.lost && o != c.half && p.lines != t.lines {
		blame(RuleReference, "its shipments don't add up to its lines, in units or in money")
	}
	if pay, ok := c.payments[id.PaymentOf(o)]; ok && !pay.lost && t.confirmed && pay.amount != t.total {
		blame(RuleMoney, "it comes to %s, and its payment to %s", t.total, pay.amount)
	}
	switch t.status {
	case order.StatusConfirmed, order.StatusFulfilling, order.StatusCompleted:
		c.stands(o, t, blame)
	case order.StatusRejected, order.StatusExpired, order.StatusCancelled:
		c.cameToNothing(o, t, blame)
	case order.StatusPending, order.StatusNeedsAction, order.StatusCancelling:
		if c.src.Settled && !t.due.IsZero() && t.due.Before(c.now) {
			blame(RuleStuck, "the order is %s, and was to be looked at by %s", t.status, t.due)
		}
	}
	if c.src.Settled {
		c.arrived(t, blame)
	}
}

// stands checks that an order which was promised to the customer has its stock and its money.
func (c *check) stands(o id.Order, t *orderTrace, blame func(rule, format string, args ...any)) {
	if res, ok := c.reservations[id.ReservationOf(o)]; !ok {
		blame(RuleReference, "the order is %s and has no reservation", t.status)
	} else if !res.lost && !c.stock.lost {
		switch {
		case res.status != inventory.StatusConsumed && (!res.status.Live() || t.status == order.StatusCompleted):
			blame(RuleReference, "the order is %s and its reservation %s", t.status, res.status)
		case res.lines.units != t.lines.units:
			blame(RuleReference, "its reservation is of other goods")
		}
	}
	pay, ok := c.payments[id.PaymentOf(o)]
	switch {
	case !ok:
		blame(RuleReference, "the order is %s and has no payment", t.status)
	case pay.lost:
	case pay.order != o || string(pay.method) != string(t.method):
		blame(RuleReference, "its payment is by %s, of the order %.80s", pay.method, pay.order)
	case !paid(pay.status) && (pay.status != payment.StatusVoided || c.src.Settled):
		blame(RuleReference, "the order is %s and its payment %s", t.status, pay.status)
	case t.status == order.StatusCompleted && pay.captured.Amount != t.total.Amount:
		blame(RuleReference, "the order is completed, and %s of %s are captured", pay.captured, t.total)
	}
	switch p := t.parts; {
	case p.lost:
	case t.status == order.StatusCompleted && (p.delivered == 0 || p.delivered+p.cancelled != p.shipments):
		blame(RuleReference, "the order is completed, and %d of its %d shipments are delivered", p.delivered, p.shipments)
	case t.status == order.StatusFulfilling && p.shipments == 0:
		blame(RuleReference, "the order is fulfilling and has no shipment")
	}
}

// paid reports whether a payment's status is one of a customer who has paid, or will when the goods leave.
func paid(s payment.Status) bool {
	switch s {
	case payment.StatusAuthorized, payment.StatusPartiallyCaptured, payment.StatusCaptured, payment.StatusAcceptedOffline:
		return true
	}
	return false
}

// cameToNothing checks that an order which came to nothing holds nothing.
func (c *check) cameToNothing(o id.Order, t *orderTrace, blame func(rule, format string, args ...any)) {
	// A reservation of other goods was a caller's own, made under the order's name before it: the order never had it.
	res, ok := c.reservations[id.ReservationOf(o)]
	if ok && !res.lost && (res.status.Live() || res.consumed) && res.lines.units == t.lines.units {
		blame(RuleReference, "the order is %s and its reservation %s", t.status, res.status)
	}
	if pay, ok := c.payments[id.PaymentOf(o)]; ok && !pay.lost && pay.order == o {
		refunded, _, lost := c.refunded(id.PaymentOf(o))
		switch {
		case !pay.status.Final():
			blame(RuleReference, "the order is %s and its payment %s", t.status, pay.status)
		case !lost && pay.captured.Amount != refunded:
			blame(RuleReference, "the order is %s, %s are captured, and not all of it is refunded", t.status, pay.captured)
		}
	}
	p := t.parts
	switch {
	case p.lost:
	case p.left > 0:
		blame(RuleReference, "the order is %s, and goods of it have left", t.status)
	case t.status != order.StatusCancelled && p.shipments > 0:
		blame(RuleReference, "the order is %s and has a shipment", t.status)
	}
}

// arrived checks that nothing was left undone for an order.
func (c *check) arrived(t *orderTrace, blame func(rule, format string, args ...any)) {
	p := t.parts
	switch {
	case p.lost:
	case t.confirmed && p.shipments == 0:
		blame(RuleStuck, "the order was confirmed, and no shipment was ever planned")
	case t.status == order.StatusCancelled && p.inHouse > 0:
		blame(RuleStuck, "the order is cancelled, and %d of its shipments are not", p.inHouse)
	case t.status == order.StatusConfirmed && p.left > 0:
		blame(RuleStuck, "the order is confirmed, and goods of it have left")
	case t.status == order.StatusFulfilling && (p.returned > 0 || p.inHouse+p.underway == 0):
		blame(RuleStuck, "the order is fulfilling, and nothing of it is under way")
	}
}

// only checks that no order is paid twice. A payment that is no order's is its caller's own affair, also where an order takes the
// name later.
func (c *check) only(p id.Payment, t *paymentTrace) {
	if o, ok := c.orders[t.order]; ok && t.since > o.since && p != id.PaymentOf(t.order) && t.authorized.Amount > 0 {
		c.violation(RuleReference, c.paymentSubject(p), t.sequence, "it is a second payment of the order %.80s", t.order)
	}
}

// settled checks that nothing is being asked of the gateway any more.
func (c *check) settled(p id.Payment, t *paymentTrace) {
	if !c.src.Settled {
		return
	}
	if t.open() {
		c.violation(RuleStuck, c.paymentSubject(p), t.sequence, "the payment is %s, and something is still asked of the gateway", t.status)
	}
	if _, pending, _ := c.refunded(p); pending {
		c.violation(RuleStuck, c.paymentSubject(p), t.sequence, "a refund of the payment is still pending")
	}
}
