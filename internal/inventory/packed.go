package inventory

import (
	"encoding/binary"
	"slices"

	"waybill/internal/id"
	"waybill/internal/timestamp"
)

// packed is a live reservation as the book keeps it. There are as many as there are open orders, so each is one short text: its id,
// status, lines, consumptions and times as a saved book has them, with the numbers of the SKUs in place of their names.
type packed struct {
	text string
	cut  uint32 // the last cut that has it, as it was then
}

// id is a part of the text, so that a map's key takes no memory of its own.
func (p packed) id() id.Reservation { return id.Reservation((&unpacker{rest: p.text}).text()) }

// pack takes a live reservation whose SKUs the book knows.
func (b *Book) pack(r Reservation) string {
	t := text(make([]byte, 0, 128), r.ReservationID)
	t = append(t, byte(slices.Index(savedStatuses, r.Status)))
	t = b.packLines(t, r.Lines)
	t = binary.AppendUvarint(t, uint64(len(r.Consumptions)))
	for _, c := range r.Consumptions {
		t = b.packLines(text(t, c.ShipmentID), c.Lines)
	}
	return string(instant(instant(t, r.ExpiresAt), r.UpdatedAt))
}

func (b *Book) packLines(t []byte, lines []Line) []byte {
	t = binary.AppendUvarint(t, uint64(len(lines)))
	for _, l := range lines {
		t = binary.AppendUvarint(binary.AppendUvarint(t, uint64(b.stock[l.SKU].number)), uint64(l.Quantity))
	}
	return t
}

// unpack is the reservation that was packed.
func (b *Book) unpack(p packed) Reservation {
	u := unpacker{book: b, rest: p.text}
	r := Reservation{ReservationID: id.Reservation(u.text()), Status: savedStatuses[u.number()], Lines: u.lines()}
	if n := u.number(); n > 0 {
		r.Consumptions = make([]Consumption, n)
		for i := range r.Consumptions {
			r.Consumptions[i] = Consumption{ShipmentID: id.Shipment(u.text()), Lines: u.lines()}
		}
	}
	r.ExpiresAt, r.UpdatedAt = timestamp.OfMillis(u.number()), timestamp.OfMillis(u.number())
	return r
}

// unpacker reads what pack wrote.
type unpacker struct {
	book *Book
	rest string
}

func (u *unpacker) number() (n uint64) {
	for shift := 0; ; shift += 7 {
		b := u.rest[0]
		u.rest = u.rest[1:]
		n |= uint64(b&0x7f) << shift
		if b < 0x80 {
			return n
		}
	}
}

func (u *unpacker) text() string {
	n := u.number()
	t := u.rest[:n]
	u.rest = u.rest[n:]
	return t
}

func (u *unpacker) lines() []Line {
	lines := make([]Line, u.number())
	for i := range lines {
		lines[i] = Line{SKU: u.book.numbered[u.number()], Quantity: int64(u.number())}
	}
	return lines
}
