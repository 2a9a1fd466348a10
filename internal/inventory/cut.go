package inventory

import (
	"encoding/binary"
	"io"
	"slices"
	"sync"

	"waybill/internal/timestamp"
)

// Cut is the book as it was at one moment, to be saved while the book goes on: what changes before it is saved is kept aside as
// it was. It costs memory only for that.
type Cut struct {
	book   *Book
	number uint32
	piece  int // bytes that are put together under the owner's lock

	units        []units               // that have changed since
	reservations []packed              // that have changed or ended since
	references   map[[16]byte]struct{} // that were used since
}

// Cut begins a cut of the book as it is now. Save or End ends it; there is one at a time.
func (b *Book) Cut() *Cut {
	b.cuts++
	b.cut = &Cut{book: b, number: b.cuts, piece: pieceSize, references: make(map[[16]byte]struct{})}
	return b.cut
}

// End ends a cut that is not to be saved. The book's owner calls it as it calls the book.
func (c *Cut) End() {
	if c.book.cut == c {
		c.book.cut = nil
	}
}

// The methods that the book calls before it changes something. Without a cut they do nothing.

// mark is the cut that needs nothing of what is new.
func (c *Cut) mark() uint32 {
	if c == nil {
		return 0
	}
	return c.number
}

func (c *Cut) keepUnits(u *units) {
	if c != nil && u.cut != c.number {
		u.cut = c.number
		c.units = append(c.units, *u)
	}
}

func (c *Cut) keepReservation(r *packed) {
	if c != nil && r.cut != c.number {
		r.cut = c.number
		c.reservations = append(c.reservations, *r)
	}
}

func (c *Cut) later(reference [16]byte) {
	if c != nil {
		c.references[reference] = struct{}{}
	}
}

// The content of a saved book: a record for each SKU, then for each live reservation, then for each reference, then the end.
// A record is a byte that says what it is and its fields: numbers as varints, texts with their length before them.
const (
	recordUnits       = 'u' // sku, on hand, reserved
	recordReservation = 'r' // id, status, lines, consumptions (shipment, lines), expires at, updated at
	recordReference   = 'm' // 16 bytes, movement
	recordEnd         = 'e' // the number of records before it
)

// Format is that of the content. A program reads no other.
const Format = 1

// pieceSize is some 200 reservations.
const pieceSize = 16 << 10

// Save writes the cut's content and ends the cut. mu is the lock of the book's owner: it is held while a piece is put together
// and not while it is written. The error is w's.
func (c *Cut) Save(w io.Writer, mu sync.Locker) error {
	mu.Lock()
	defer mu.Unlock()
	defer c.End()
	p := pieces{w: w, mu: mu, size: c.piece}
	// A map may change while it is ranged over: what is taken out does not come, what is put in may, and bears the mark.
	for _, u := range c.book.stock {
		if u.cut == c.number {
			continue
		}
		u.cut = c.number
		if err := p.units(*u); err != nil {
			return err
		}
	}
	for _, u := range c.units {
		if err := p.units(u); err != nil {
			return err
		}
	}
	for key, r := range c.book.reservations {
		if r.cut == c.number {
			continue
		}
		r.cut = c.number
		c.book.reservations[key] = r
		if err := p.reservation(c.book.unpack(r)); err != nil {
			return err
		}
	}
	for _, r := range c.reservations {
		if err := p.reservation(c.book.unpack(r)); err != nil {
			return err
		}
	}
	for reference, m := range c.book.references {
		if _, later := c.references[reference]; later {
			continue
		}
		if err := p.reference(reference, m); err != nil {
			return err
		}
	}
	return p.end()
}

// pieces gathers records and writes them with the lock let go.
type pieces struct {
	w       io.Writer
	mu      sync.Locker
	size    int
	buffer  []byte
	records uint64
}

func (p *pieces) units(u units) error {
	b := text(append(p.buffer, recordUnits), u.sku)
	p.buffer = binary.AppendUvarint(binary.AppendUvarint(b, uint64(u.onHand)), uint64(u.reserved))
	return p.next()
}

func (p *pieces) reservation(r Reservation) error {
	b := text(append(p.buffer, recordReservation), r.ReservationID)
	b = append(b, byte(slices.Index(savedStatuses, r.Status)))
	b = lines(b, r.Lines)
	b = binary.AppendUvarint(b, uint64(len(r.Consumptions)))
	for _, c := range r.Consumptions {
		b = lines(text(b, c.ShipmentID), c.Lines)
	}
	p.buffer = instant(instant(b, r.ExpiresAt), r.UpdatedAt)
	return p.next()
}

func (p *pieces) reference(reference [16]byte, m movement) error {
	b := append(append(p.buffer, recordReference), reference[:]...)
	p.buffer = binary.AppendVarint(b, int64(m))
	return p.next()
}

func (p *pieces) end() error {
	p.buffer = binary.AppendUvarint(append(p.buffer, recordEnd), p.records)
	return p.write()
}

func (p *pieces) next() error {
	p.records++
	if len(p.buffer) < p.size {
		return nil
	}
	return p.write()
}

func (p *pieces) write() error {
	p.mu.Unlock()
	defer p.mu.Lock()
	_, err := p.w.Write(p.buffer)
	p.buffer = p.buffer[:0]
	return err
}

// savedStatuses numbers the statuses of live reservations; the order is the format's.
var savedStatuses = []Status{StatusHeld, StatusCommitted, StatusPartiallyConsumed}

func text[S ~string](b []byte, s S) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func lines(b []byte, lines []Line) []byte {
	b = binary.AppendUvarint(b, uint64(len(lines)))
	for _, l := range lines {
		b = binary.AppendUvarint(text(b, l.SKU), uint64(l.Quantity))
	}
	return b
}

func instant(b []byte, t timestamp.Time) []byte { return binary.AppendUvarint(b, t.Millis()) }
