package inventory

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"waybill/internal/id"
	"waybill/internal/timestamp"
)

// ReadBook reads what Save wrote, up to its end. It checks all that can be checked of a book by itself: each field's bounds, and
// that what is reserved of each SKU is what the reservations have left. The error says what is wrong; nothing of the book is to
// be used then.
func ReadBook(from io.Reader) (*Book, error) {
	r := reader{in: bufio.NewReaderSize(from, 64<<10)}
	b := NewBook()
	reserved := make(map[id.SKU]int64)
	for records := uint64(0); ; records++ {
		switch what := r.byte(); {
		case r.err != nil:
		case what == recordUnits:
			r.units(b)
		case what == recordReservation:
			r.reservation(b, reserved)
		case what == recordReference:
			r.reference(b)
		case what == recordEnd:
			if n := r.number(1 << 62); r.err == nil && n != records {
				r.fail("there are %d records in place of %d", records, n)
			}
			if r.err == nil {
				r.err = b.checkReserved(reserved)
			}
			if r.err == nil {
				return b, nil
			}
		default:
			r.fail("there is no record %q", what)
		}
		if r.err != nil {
			return nil, fmt.Errorf("record %d: %w", records+1, r.err)
		}
	}
}

func (b *Book) checkReserved(reserved map[id.SKU]int64) error {
	for sku, u := range b.stock {
		if reserved[sku] != u.reserved {
			return fmt.Errorf("of %s %d are reserved, by reservations of %d", sku, u.reserved, reserved[sku])
		}
	}
	return nil
}

// reader reads fields until something is wrong: then err is set, and all that it returns is nothing.
type reader struct {
	in  *bufio.Reader
	err error
}

func (r *reader) units(b *Book) {
	sku := id.SKU(r.text())
	u := units{sku: sku, onHand: int64(r.number(MaxOnHand)), reserved: int64(r.number(MaxOnHand))}
	if _, twice := b.stock[sku]; twice || !u.sound() || id.Check("sku", sku) != nil {
		r.fail("the units of the SKU %.80q can't be", sku)
		return
	}
	b.set(u)
}

// reservation adds what the reservation has left to reserved.
func (r *reader) reservation(b *Book, reserved map[id.SKU]int64) {
	n := Reservation{ReservationID: id.Reservation(r.text())}
	if s := int(r.byte()); s < len(savedStatuses) {
		n.Status = savedStatuses[s]
	}
	n.Lines = r.lines(b)
	for range r.number(maxConsumptions) {
		c := Consumption{ShipmentID: id.Shipment(r.text()), Lines: r.lines(b)}
		if r.err != nil {
			return
		}
		n.Consumptions = append(n.Consumptions, c)
	}
	n.ExpiresAt, n.UpdatedAt = r.instant(), r.instant()
	_, twice := b.reservations[n.ReservationID]
	if twice || !n.Status.Live() || !summed(n.Lines) || id.CheckDerived("reservation_id", n.ReservationID) != nil {
		r.fail("the reservation %.80q can't be", n.ReservationID)
	}
	if r.err != nil {
		return
	}
	for _, l := range n.Left() {
		reserved[l.SKU] += l.Quantity
	}
	b.keep(n)
}

func (r *reader) reference(b *Book) {
	var key [16]byte
	if r.err == nil {
		_, r.err = io.ReadFull(r.in, key[:])
	}
	m := r.signed(MaxQuantity<<1 | 1)
	if _, twice := b.references[key]; twice {
		r.fail("a reference comes twice")
	}
	b.references[key] = movement(m)
}

// lines are given the book's own copies of their SKUs, which come before them.
func (r *reader) lines(b *Book) []Line {
	n := r.number(MaxLines)
	if r.err != nil {
		return nil
	}
	out := make([]Line, n)
	for i := range out {
		sku := r.textBytes()
		u, ok := b.stock[id.SKU(sku)]
		if !ok {
			r.fail("a line has the SKU %.80q, which there is no stock of", sku)
			return nil
		}
		out[i] = Line{SKU: u.sku, Quantity: int64(r.number(MaxQuantity))}
	}
	return out
}

// maxConsumptions bounds the shipments of one reservation: each took a unit of one of its lines at least.
const maxConsumptions = MaxLines * MaxQuantity

func (r *reader) instant() timestamp.Time {
	const most = 10_000 * 366 * 86_400_000 // the end of the last year that is written
	return timestamp.OfMillis(r.number(most))
}

func (r *reader) text() string { return string(r.textBytes()) }

// textBytes are good until the next read.
func (r *reader) textBytes() []byte {
	n := int(r.number(id.MaxDerived))
	if r.err != nil {
		return nil
	}
	b, err := r.in.Peek(n)
	if err != nil {
		r.err = cutShort(err)
		return nil
	}
	_, r.err = r.in.Discard(n)
	return b
}

func (r *reader) byte() byte {
	if r.err != nil {
		return 0
	}
	b, err := r.in.ReadByte()
	r.err = cutShort(err)
	return b
}

func (r *reader) number(most uint64) uint64 {
	if r.err != nil {
		return 0
	}
	n, err := binary.ReadUvarint(r.in)
	if r.err = cutShort(err); r.err == nil && n > most {
		r.fail("a number is %d, which is more than %d", n, most)
	}
	if r.err != nil {
		return 0
	}
	return n
}

func (r *reader) signed(most int64) int64 {
	if r.err != nil {
		return 0
	}
	n, err := binary.ReadVarint(r.in)
	if r.err = cutShort(err); r.err == nil && (n > most || n < -most) {
		r.fail("a number is %d, which is more than %d either way", n, most)
	}
	return n
}

func (r *reader) fail(format string, a ...any) {
	if r.err == nil {
		r.err = fmt.Errorf(format, a...)
	}
}

// cutShort says that an end that comes too early is one.
func cutShort(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
