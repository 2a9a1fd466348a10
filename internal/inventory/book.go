package inventory

import (
	"slices"

	"waybill/internal/fault"
	"waybill/internal/id"
	"waybill/internal/timestamp"
)

// MaxOnHand bounds the units of one SKU: the largest integer that every JSON reader holds exactly.
const MaxOnHand = 1<<53 - 1

// Book is all stock and the live reservations of a site, in the memory of its one writer. It is rebuilt by applying every
// inventory event of the journal in order. It is not safe for concurrent use: its owner serializes all calls, the reading
// ones too. What it returns may be kept and shared, but its slices must not be written to.
type Book struct {
	stock        map[id.SKU]*units
	numbered     []id.SKU // by the numbers of units
	reservations map[id.Reservation]packed
	expiries     expiries
	references   references
	cut          *Cut   // being saved; nil at any other time
	cuts         uint32 // how many were made

	// skus is sorted and never written to again, so that who listed it may keep it; fresh are those not yet in it.
	skus  []id.SKU
	fresh []id.SKU
}

type units struct {
	sku              id.SKU
	onHand, reserved int64
	number           uint32
	cut              uint32 // the last cut that has them, as they were then
}

// NewBook returns the book of a site that has no stock yet.
func NewBook() *Book {
	return &Book{
		stock: make(map[id.SKU]*units), reservations: make(map[id.Reservation]packed), references: make(references),
		expiries: expiries{places: make(map[id.Reservation]int)},
	}
}

// Stock is what there is of the SKU; false for one that never was received or adjusted.
func (b *Book) Stock(sku id.SKU) (Stock, bool) {
	u, ok := b.stock[sku]
	if !ok {
		return Stock{}, false
	}
	return u.stock(sku), true
}

// Reservation is a live reservation (held, committed, partially_consumed); false for any other.
func (b *Book) Reservation(r id.Reservation) (Reservation, bool) {
	p, ok := b.reservations[r]
	if !ok {
		return Reservation{}, false
	}
	return b.unpack(p), true
}

// SKUs lists every SKU that has stock or ever had, sorted.
func (b *Book) SKUs() []id.SKU {
	if len(b.fresh) > 0 {
		b.skus = slices.Concat(b.skus, b.fresh)
		slices.Sort(b.skus)
		b.fresh = nil
	}
	return b.skus
}

// NextExpiry is the held reservation whose time limit comes first; false where none has a limit.
func (b *Book) NextExpiry() (id.Reservation, timestamp.Time, bool) {
	if b.expiries.Len() == 0 {
		return "", timestamp.Time{}, false
	}
	first := b.expiries.limits[0]
	return first.reservation, timestamp.OfMillis(first.at), true
}

// Len is the number of SKUs and of live reservations.
func (b *Book) Len() (stocks, reservations int) { return len(b.stock), len(b.reservations) }

// After is the state that the event's body carries in the journal, a Stock or a Reservation: that of its aggregate as it
// will be when the event is applied. It changes nothing. Its errors are those of Apply.
func (b *Book) After(e Event) (any, error) {
	c, err := b.change(e)
	if err != nil {
		return nil, err
	}
	if c.sku != "" {
		return c.units[0].stock(c.sku), nil
	}
	return c.reservation, nil
}

// Apply brings the book up to the event, wholly or, on an error, not at all. An event that can't have happened, or that
// would break a rule on the sums, is an error of code internal.
func (b *Book) Apply(e Event) error {
	c, err := b.change(e)
	if err != nil {
		return err
	}
	if c.sku != "" {
		b.set(c.units[0])
		b.references[c.reference] = c.movement
		b.cut.later(c.reference)
		return nil
	}
	for _, u := range c.units {
		b.set(u)
	}
	b.keep(c.reservation)
	return nil
}

// set gives the SKU of u its units.
func (b *Book) set(u units) {
	known, ok := b.stock[u.sku]
	if !ok {
		known = &units{sku: u.sku, number: uint32(len(b.numbered)), cut: b.cut.mark()}
		b.stock[u.sku] = known
		b.numbered = append(b.numbered, u.sku)
		b.fresh = append(b.fresh, u.sku)
	}
	b.cut.keepUnits(known)
	known.onHand, known.reserved = u.onHand, u.reserved
}

// keep makes the book hold the reservation if it is live, and forget it if it is not.
func (b *Book) keep(r Reservation) {
	known, ok := b.reservations[r.ReservationID]
	switch {
	case ok:
		b.cut.keepReservation(&known)
	case r.Status.Live():
		known.cut = b.cut.mark()
	default:
		return
	}
	if !r.Status.Live() {
		b.expiries.set(r.ReservationID, timestamp.Time{})
		delete(b.reservations, r.ReservationID)
		return
	}
	known.text = b.pack(r)
	b.reservations[known.id()] = known
	b.expiries.set(known.id(), r.ExpiresAt)
}

// change is what an event will do to the book: to the units of one SKU, with the reference, or to a reservation and the
// units of the SKUs of lines.
type change struct {
	sku         id.SKU
	reference   [16]byte
	movement    movement
	reservation Reservation
	lines       []Line
	units       []units
}

// change works out and checks everything that an event does, and does nothing of it.
func (b *Book) change(e Event) (change, error) {
	switch e := e.(type) {
	case nil:
		return change{}, fault.New(fault.Internal, "no event was given")
	case Received:
		if e.Quantity < 1 || e.Quantity > MaxQuantity {
			return change{}, impossible(e)
		}
		return b.move(e, e.Quantity, e.Reference, received(e.Quantity))
	case Adjusted:
		if e.Quantity == 0 || e.Quantity < -MaxQuantity || e.Quantity > MaxQuantity {
			return change{}, impossible(e)
		}
		return b.move(e, e.Quantity, e.Reference, adjusted(e.Quantity))
	}
	before, _ := b.Reservation(e.Aggregate().ReservationID)
	after, err := Apply(before, e)
	if err != nil {
		return change{}, err
	}
	c := change{reservation: after}
	var onHand, reserved int64 // per unit of the event's lines
	switch e := e.(type) {
	case Held:
		c.lines, reserved = e.Lines, +1
	case Released:
		if !e.BeforeHold {
			c.lines, reserved = e.Lines, -1
		}
	case Expired:
		c.lines, reserved = e.Lines, -1
	case Consumed:
		c.lines, reserved, onHand = e.Lines, -1, -1
	}
	c.units = make([]units, len(c.lines))
	for i, l := range c.lines {
		u := b.units(l.SKU)
		u.onHand += onHand * l.Quantity
		u.reserved += reserved * l.Quantity
		if !u.sound() {
			return change{}, impossible(e)
		}
		c.units[i] = u
	}
	return c, nil
}

func (b *Book) move(e Event, quantity int64, reference id.Reference, m movement) (change, error) {
	sku := e.Aggregate().SKU
	key := referenceKey(sku, reference)
	u := b.units(sku)
	u.onHand += quantity
	if _, used := b.references[key]; used || sku == "" || !u.sound() {
		return change{}, impossible(e)
	}
	return change{sku: sku, reference: key, movement: m, units: []units{u}}, nil
}

// units of a SKU; none of one that the book doesn't know.
func (b *Book) units(sku id.SKU) units {
	if u, ok := b.stock[sku]; ok {
		return *u
	}
	return units{sku: sku}
}

func (u units) sound() bool {
	return 0 <= u.reserved && u.reserved <= u.onHand && u.onHand <= MaxOnHand
}

func (u units) available() int64 { return u.onHand - u.reserved }

func (u units) stock(sku id.SKU) Stock {
	return Stock{SKU: sku, OnHand: u.onHand, Reserved: u.reserved, Available: u.available()}
}

func impossible(e Event) error {
	return fault.New(fault.Internal, "the event %T is impossible for the stock as it is", e)
}
