package inventory

import "container/heap"

// entry is a live reservation and its place in the heap of time limits; -1 where it has none.
type entry struct {
	Reservation
	place int
	cut   uint32 // the last cut that has it, as it was then
}

// expiries is the heap of the reservations with a time limit, the earliest first, by id among equals.
type expiries []*entry

// set puts the entry where its ExpiresAt belongs, in, within or out of the heap.
func (h *expiries) set(e *entry) {
	switch limited := !e.ExpiresAt.IsZero(); {
	case limited && e.place < 0:
		heap.Push(h, e)
	case limited:
		heap.Fix(h, e.place)
	case e.place >= 0:
		heap.Remove(h, e.place)
	}
}

// remove takes the entry out of the heap, if it is there.
func (h *expiries) remove(e *entry) {
	if e.place >= 0 {
		heap.Remove(h, e.place)
	}
}

// Len, Less, Swap, Push and Pop are for container/heap.

func (h expiries) Len() int { return len(h) }

func (h expiries) Less(i, j int) bool {
	if a, b := h[i].ExpiresAt, h[j].ExpiresAt; a != b {
		return a.Before(b)
	}
	return h[i].ReservationID < h[j].ReservationID
}

func (h expiries) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].place, h[j].place = i, j
}

func (h *expiries) Push(x any) {
	e := x.(*entry)
	e.place = len(*h)
	*h = append(*h, e)
}

func (h *expiries) Pop() any {
	last := len(*h) - 1
	e := (*h)[last]
	(*h)[last], *h = nil, (*h)[:last]
	e.place = -1
	return e
}
