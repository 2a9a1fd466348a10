package handlers

import (
	"context"
	"encoding/base64"
	"slices"
	"time"

	"waybill/configs"
	"waybill/internal/fault"
	"waybill/internal/id"
	"waybill/internal/inventory"
	"waybill/subjects"
)

func (t *stockroom) receive(ctx context.Context, r *subjects.ReceiveRequest) (*subjects.Stock, error) {
	return t.stocked(ctx, r.SKU, inventory.Receive{SKU: r.SKU, Quantity: r.Quantity, Reference: r.Reference, At: t.clock.now()})
}

func (t *stockroom) adjust(ctx context.Context, r *subjects.AdjustRequest) (*subjects.Stock, error) {
	return t.stocked(ctx, r.SKU, inventory.Adjust{SKU: r.SKU, Quantity: r.Quantity, Reference: r.Reference, At: t.clock.now()})
}

// stocked carries out a command and answers the stock as its event left it, or as it is where the command was carried out before.
func (t *stockroom) stocked(ctx context.Context, sku id.SKU, c inventory.Command) (*subjects.Stock, error) {
	now, err := t.do(ctx, c, "")
	if err != nil {
		return nil, err
	}
	if s, ok := now.(inventory.Stock); ok {
		out := subjects.Stock(s)
		return &out, nil
	}
	return t.get(ctx, &subjects.SKURequest{SKU: sku})
}

func (t *stockroom) get(ctx context.Context, r *subjects.SKURequest) (*subjects.Stock, error) {
	t.mu.Lock()
	s, ok := t.book.Stock(r.SKU)
	sent := t.sent
	t.mu.Unlock()
	if err := t.settled(ctx, sent); err != nil {
		return nil, err
	}
	if !ok {
		return nil, fault.New(fault.NotFound, "there never was any stock of %s", r.SKU).WithField("sku")
	}
	out := subjects.Stock(s)
	return &out, nil
}

func (t *stockroom) list(ctx context.Context, r *subjects.ListRequest) (*subjects.Stocks, error) {
	after, err := base64.RawURLEncoding.DecodeString(r.Cursor)
	if err != nil || r.Cursor != "" && (!id.Valid(string(after), id.MaxChosen) || base64.RawURLEncoding.EncodeToString(after) != r.Cursor) {
		return nil, fault.Invalid("cursor", "cursor is not one that a list returned")
	}
	out := &subjects.Stocks{Items: []subjects.Stock{}}
	t.mu.Lock()
	skus := t.book.SKUs()
	first, found := slices.BinarySearch(skus, id.SKU(after))
	if found {
		first++
	}
	for _, sku := range skus[first:] {
		if len(out.Items) == r.Size() {
			out.NextCursor = base64.RawURLEncoding.EncodeToString([]byte(out.Items[len(out.Items)-1].SKU))
			break
		}
		s, _ := t.book.Stock(sku)
		out.Items = append(out.Items, subjects.Stock(s))
	}
	sent := t.sent
	t.mu.Unlock()
	return out, t.settled(ctx, sent)
}

func (t *stockroom) reserve(ctx context.Context, r *subjects.ReserveRequest) (*subjects.Reservation, error) {
	until, err := t.until(r.TTL)
	if err != nil {
		return nil, err
	}
	return t.reservation(ctx, inventory.Hold{ReservationID: r.ReservationID, Lines: bookLines(r.Lines), ExpiresAt: until, At: t.clock.now()}, r.ReservationID)
}

func (t *stockroom) extend(ctx context.Context, r *subjects.ReservationRequest) (*subjects.Reservation, error) {
	if r.TTL == 0 {
		return nil, fault.Invalid("ttl", "ttl is missing: say how much longer the reservation is to hold")
	}
	if err := t.free(ctx, r.ReservationID); err != nil {
		return nil, err
	}
	until, err := t.until(r.TTL)
	if err != nil {
		return nil, err
	}
	return t.reservation(ctx, inventory.Extend{ReservationID: r.ReservationID, ExpiresAt: until, At: t.clock.now()}, r.ReservationID)
}

// until turns a time to live into a time; none where there is no limit.
func (t *stockroom) until(ttl subjects.Duration) (subjects.Time, error) {
	if ttl == 0 {
		return subjects.Time{}, nil
	}
	if longest := t.live.Duration(configs.InventoryReservationTTL); time.Duration(ttl) > longest {
		return subjects.Time{}, fault.Invalid("ttl", "ttl may be %s at most on this site", longest)
	}
	return t.clock.now().Add(time.Duration(ttl)), nil
}

func (t *stockroom) commit(ctx context.Context, r *subjects.ReservationRequest) (*subjects.Reservation, error) {
	if err := t.free(ctx, r.ReservationID); err != nil {
		return nil, err
	}
	return t.reservation(ctx, inventory.Commit{ReservationID: r.ReservationID, At: t.clock.now()}, r.ReservationID)
}

func (t *stockroom) release(ctx context.Context, r *subjects.ReservationRequest) (*subjects.Reservation, error) {
	if err := t.free(ctx, r.ReservationID); err != nil {
		return nil, err
	}
	return t.reservation(ctx, inventory.Release{ReservationID: r.ReservationID, At: t.clock.now()}, r.ReservationID)
}

func (t *stockroom) consume(ctx context.Context, r *subjects.ConsumeRequest) (*subjects.Reservation, error) {
	if err := t.free(ctx, r.ReservationID); err != nil {
		return nil, err
	}
	return t.reservation(ctx, inventory.Consume{ReservationID: r.ReservationID, ShipmentID: r.ShipmentID, Lines: bookLines(r.Lines), At: t.clock.now()}, r.ReservationID)
}

// free refuses what a caller from outside asks of an order's own reservation: its goods leave with the order's shipments, and what is
// left comes back when the order ends. A reservation that bears such a name without an order is its caller's.
func (t *stockroom) free(ctx context.Context, r id.Reservation) error {
	o, ok := id.OrderOf(r)
	if !ok || inner(ctx) {
		return nil
	}
	_, exists, err := t.journal.Load(ctx, subjects.Event(t.site, subjects.KindOrder, o))
	if err != nil || !exists {
		return err
	}
	return fault.New(fault.FailedPrecondition, "the reservation %s is the order %s's own: dispatch the order's shipments, or cancel the order", r, o).
		WithField("reservation_id")
}

func (t *stockroom) endReservation(ctx context.Context, r *subjects.EndRequest) (*subjects.Reservation, error) {
	return t.reservation(ctx, inventory.End{ReservationID: r.ReservationID, Lines: bookLines(r.Lines), At: t.clock.now()}, r.ReservationID)
}

// reservation carries out a command and answers the reservation as its event left it, or as it is where none was written.
func (t *stockroom) reservation(ctx context.Context, c inventory.Command, reservation id.Reservation) (*subjects.Reservation, error) {
	now, err := t.do(ctx, c, reservation)
	if fault.CodeOf(err) == fault.NotFound {
		return nil, fault.New(fault.NotFound, "there is no reservation %s", reservation).WithField("reservation_id")
	}
	if err != nil {
		return nil, err
	}
	if r, ok := now.(inventory.Reservation); ok {
		return reservationInfo(r), nil
	}
	t.mu.Lock()
	r, live := t.book.Reservation(reservation)
	if late, ok := t.lately.get(reservation); ok && !live && late.ended != nil {
		r, live = *late.ended, true
	}
	sent := t.sent
	t.mu.Unlock()
	if err := t.settled(ctx, sent); err != nil { // it may have changed again meanwhile
		return nil, err
	}
	if !live {
		stored, err := t.stored(ctx, reservation)
		if err != nil {
			return nil, err
		}
		if stored.ended == nil {
			return nil, fault.New(fault.Aborted, "the reservation changed at this moment; ask again")
		}
		r = *stored.ended
	}
	return reservationInfo(r), nil
}

func reservationInfo(r inventory.Reservation) *subjects.Reservation {
	out := &subjects.Reservation{ReservationID: r.ReservationID, Status: r.Status, ExpiresAt: r.ExpiresAt, Lines: make([]subjects.StockLine, len(r.Lines))}
	for i, l := range r.Lines {
		out.Lines[i] = subjects.StockLine{SKU: l.SKU, Quantity: l.Quantity}
	}
	return out
}

func bookLines(lines []subjects.StockLine) []inventory.Line {
	out := make([]inventory.Line, len(lines))
	for i, l := range lines {
		out[i] = inventory.Line{SKU: l.SKU, Quantity: l.Quantity}
	}
	return out
}
