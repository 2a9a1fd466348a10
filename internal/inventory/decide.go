package inventory

import (
	"fmt"
	"slices"
	"strings"

	"waybill/internal/fault"
	"waybill/internal/id"
	"waybill/internal/timestamp"
)

// Decide says which event follows from a command, and changes nothing. stored is the command's reservation as the journal
// has it, for one that has ended and that the book no longer holds; nil where the journal has none. (nil, nil) means that
// the command has already happened and the stored state is the answer: the reference was used for the same, the
// reservation was held with the same lines whatever became of it since, or it has the status that the command leads to.
//
// Errors: not_found for a reservation that does not exist; failed_precondition for a transition that the table forbids or
// stock that is short, naming every short SKU; already_exists for other content under the same reference, reservation or
// shipment; invalid_argument for a command that makes no sense in any state.
func (b *Book) Decide(c Command, stored *Reservation) (Event, error) {
	switch c := c.(type) {
	case Receive:
		return b.receive(c)
	case Adjust:
		return b.adjust(c)
	case Hold:
		r, err := b.find(c.ReservationID, stored)
		if err != nil {
			return nil, err
		}
		return b.hold(r, c)
	case Extend:
		return b.on(c.ReservationID, stored, func(r Reservation) (Event, error) { return extend(r, c) })
	case Commit:
		return b.on(c.ReservationID, stored, func(r Reservation) (Event, error) {
			return r.to(StatusCommitted, Committed{ReservationID: r.ReservationID, At: c.At})
		})
	case Release:
		return b.on(c.ReservationID, stored, func(r Reservation) (Event, error) { return release(r, c.At) })
	case End:
		return b.end(c, stored)
	case Expire:
		return b.on(c.ReservationID, stored, func(r Reservation) (Event, error) { return expire(r, c) })
	case Consume:
		return b.on(c.ReservationID, stored, func(r Reservation) (Event, error) { return consume(r, c) })
	}
	return nil, fault.New(fault.Internal, "the inventory knows no command %T", c)
}

// find is the reservation as the book holds it, else as the journal has it, else one that does not exist yet.
func (b *Book) find(r id.Reservation, stored *Reservation) (Reservation, error) {
	if err := id.CheckDerived("reservation_id", r); err != nil {
		return Reservation{}, err
	}
	if live, ok := b.Reservation(r); ok {
		return live, nil
	}
	switch {
	case stored == nil:
		return Reservation{}, nil
	case stored.Status.Live() || stored.ReservationID != r:
		// The owner's memory and the journal disagree: deciding on either would be a guess.
		return Reservation{}, fault.New(fault.Internal, "the book does not hold the reservation %s, which the journal has as %s", r, stored.Status)
	}
	return *stored, nil
}

// on decides about a reservation that must exist.
func (b *Book) on(id id.Reservation, stored *Reservation, decide func(Reservation) (Event, error)) (Event, error) {
	r, err := b.find(id, stored)
	if err != nil {
		return nil, err
	}
	if r.Status == "" {
		return nil, fault.New(fault.NotFound, "there is no such reservation")
	}
	return decide(r)
}

// to is the event e, which leads to the given status, where the table allows it.
func (r Reservation) to(to Status, e Event) (Event, error) {
	if r.Status == to {
		return nil, nil
	}
	if !Allowed(r.Status, to) {
		return nil, refuse(r.Status, to)
	}
	return e, nil
}

func (b *Book) receive(c Receive) (Event, error) {
	if c.Quantity < 1 || c.Quantity > MaxQuantity {
		return nil, fault.Invalid("quantity", "a quantity is 1 to %d, not %d", MaxQuantity, c.Quantity)
	}
	if done, err := b.referenced(c.SKU, c.Reference, received(c.Quantity)); done || err != nil {
		return nil, err
	}
	if b.units(c.SKU).onHand > MaxOnHand-c.Quantity {
		return nil, fault.New(fault.FailedPrecondition, "there would be more than %d of %s on hand", MaxOnHand, c.SKU)
	}
	return Received{SKU: c.SKU, Quantity: c.Quantity, Reference: c.Reference, At: c.At}, nil
}

func (b *Book) adjust(c Adjust) (Event, error) {
	if c.Quantity == 0 || c.Quantity < -MaxQuantity || c.Quantity > MaxQuantity {
		return nil, fault.Invalid("quantity", "an adjustment is at most %d either way, and not 0; it is %d", MaxQuantity, c.Quantity)
	}
	if done, err := b.referenced(c.SKU, c.Reference, adjusted(c.Quantity)); done || err != nil {
		return nil, err
	}
	switch u := b.units(c.SKU); {
	case u.available()+c.Quantity < 0:
		return nil, fault.New(fault.FailedPrecondition, "%d of %s are available; an adjustment by %d would take them below 0",
			u.available(), c.SKU, c.Quantity).WithField("quantity")
	case u.onHand > MaxOnHand-c.Quantity:
		return nil, fault.New(fault.FailedPrecondition, "there would be more than %d of %s on hand", MaxOnHand, c.SKU)
	}
	return Adjusted{SKU: c.SKU, Quantity: c.Quantity, Reference: c.Reference, At: c.At}, nil
}

// referenced reports whether the same happened under the reference before.
func (b *Book) referenced(sku id.SKU, reference id.Reference, m movement) (bool, error) {
	if err := id.Check("sku", sku); err != nil {
		return false, err
	}
	if err := id.CheckDerived("reference", reference); err != nil {
		return false, err
	}
	known, used := b.references[referenceKey(sku, reference)]
	if used && known != m {
		return false, fault.New(fault.AlreadyExists, "the reference %s was used for another movement of %s; choose another", reference, sku).
			WithField("reference")
	}
	return used, nil
}

func (b *Book) hold(r Reservation, c Hold) (Event, error) {
	lines, err := Sum(c.Lines)
	switch {
	case err != nil:
		return nil, err
	case r.Status != "" && slices.Equal(r.Lines, lines):
		return nil, nil
	case r.Status != "":
		return nil, fault.New(fault.AlreadyExists, "the reservation %s exists with other lines; choose another reservation_id", c.ReservationID).
			WithField("reservation_id")
	case !c.ExpiresAt.IsZero() && !c.At.Before(c.ExpiresAt):
		return nil, fault.Invalid("ttl", "the reservation would end before it began; give a positive ttl or none")
	}
	if err := b.short(c.Lines, lines); err != nil {
		return nil, err
	}
	return Held{ReservationID: c.ReservationID, Lines: lines, ExpiresAt: c.ExpiresAt, At: c.At}, nil
}

// short is the error that names every SKU of which there is not enough, and as field the first such line that was asked for.
func (b *Book) short(asked, lines []Line) error {
	var names []string
	first := len(asked)
	for _, l := range lines {
		if available := b.units(l.SKU).available(); available < l.Quantity {
			names = append(names, fmt.Sprintf("%s (requested %d, available %d)", l.SKU, l.Quantity, available))
			first = min(first, slices.IndexFunc(asked, func(a Line) bool { return a.SKU == l.SKU }))
		}
	}
	if len(names) == 0 {
		return nil
	}
	return fault.New(fault.FailedPrecondition, "not enough stock: %s", strings.Join(names, ", ")).WithField(field(first, "sku"))
}

func extend(r Reservation, c Extend) (Event, error) {
	switch {
	case r.Status != StatusHeld:
		return nil, fault.New(fault.FailedPrecondition, "the reservation is %s and cannot be extended, as a %s one can", r.Status, StatusHeld)
	case c.ExpiresAt == r.ExpiresAt:
		return nil, nil
	case r.ExpiresAt.IsZero():
		return nil, fault.New(fault.FailedPrecondition, "the reservation has no time limit that could be extended")
	case !c.ExpiresAt.IsZero() && c.ExpiresAt.Before(r.ExpiresAt):
		return nil, fault.New(fault.FailedPrecondition, "the reservation holds until %s already; extending cannot shorten it", r.ExpiresAt).WithField("ttl")
	}
	return Extended{ReservationID: r.ReservationID, ExpiresAt: c.ExpiresAt, At: c.At}, nil
}

// release gives back what is left. One that expired keeps nothing, which is all that was asked for.
func release(r Reservation, at timestamp.Time) (Event, error) {
	if r.Status == StatusExpired {
		return nil, nil
	}
	return r.to(StatusReleased, Released{ReservationID: r.ReservationID, Lines: r.Left(), At: at})
}

func (b *Book) end(c End, stored *Reservation) (Event, error) {
	r, err := b.find(c.ReservationID, stored)
	if err != nil {
		return nil, err
	}
	switch {
	case len(r.Consumptions) > 0:
		return nil, fault.New(fault.FailedPrecondition, "the reservation is %s and cannot become %s: units of it were consumed and have left", r.Status, StatusReleased)
	case r.Status != "":
		return release(r, c.At)
	}
	var lines []Line
	if len(c.Lines) > 0 {
		if lines, err = Sum(c.Lines); err != nil {
			return nil, err
		}
	}
	return Released{ReservationID: c.ReservationID, Lines: lines, BeforeHold: true, At: c.At}, nil
}

func expire(r Reservation, c Expire) (Event, error) {
	if r.Status == StatusHeld && (r.ExpiresAt.IsZero() || c.At.Before(r.ExpiresAt)) {
		return nil, fault.New(fault.FailedPrecondition, "the reservation is %s and cannot become %s before its time", r.Status, StatusExpired)
	}
	return r.to(StatusExpired, Expired{ReservationID: r.ReservationID, Lines: r.Lines, At: c.At})
}

func consume(r Reservation, c Consume) (Event, error) {
	if err := id.CheckDerived("shipment_id", c.ShipmentID); err != nil {
		return nil, err
	}
	lines, err := Sum(c.Lines)
	if err != nil {
		return nil, err
	}
	if known, ok := r.consumption(c.ShipmentID); ok {
		if slices.Equal(known.Lines, lines) {
			return nil, nil
		}
		return nil, fault.New(fault.AlreadyExists, "the shipment %s consumed other lines of the reservation", c.ShipmentID).WithField("shipment_id")
	}
	if !r.Status.Live() {
		return nil, refuse(r.Status, StatusConsumed)
	}
	left := r.Left()
	for i, l := range c.Lines {
		// Compared is the sum over all lines of the SKU, so that its first line is the one named.
		if asked, has := quantity(lines, l.SKU), quantity(left, l.SKU); asked > has {
			return nil, fault.New(fault.FailedPrecondition, "of %s %d are left in the reservation, not %d", l.SKU, has, asked).WithField(field(i, "sku"))
		}
	}
	return Consumed{ReservationID: r.ReservationID, ShipmentID: c.ShipmentID, Lines: lines, At: c.At}, nil
}

func refuse(from, to Status) error {
	return fault.New(fault.FailedPrecondition, "the reservation is %s and cannot become %s", from, to)
}
