package inventory

import (
	"container/heap"

	"waybill/internal/id"
	"waybill/internal/timestamp"
)

// expiries is the heap of the reservations with a time limit, the earliest first, by id among equals.
type expiries struct {
	limits []limit
	places map[id.Reservation]int // in limits
}

type limit struct {
	at          uint64 // milliseconds, as timestamp.Time counts them
	reservation id.Reservation
}

// set puts the reservation where its time limit belongs, in, within or out of the heap.
func (h *expiries) set(r id.Reservation, at timestamp.Time) {
	place, known := h.places[r]
	switch {
	case at.IsZero() && known:
		heap.Remove(h, place)
	case at.IsZero():
	case known:
		h.limits[place], h.places[r] = limit{at.Millis(), r}, place // r lies in the memory of what the reservation is now
		heap.Fix(h, place)
	default:
		heap.Push(h, limit{at.Millis(), r})
	}
}

// Len, Less, Swap, Push and Pop are for container/heap.

func (h *expiries) Len() int { return len(h.limits) }

func (h *expiries) Less(i, j int) bool {
	if a, b := h.limits[i], h.limits[j]; a.at != b.at {
		return a.at < b.at
	}
	return h.limits[i].reservation < h.limits[j].reservation
}

func (h *expiries) Swap(i, j int) {
	h.limits[i], h.limits[j] = h.limits[j], h.limits[i]
	h.places[h.limits[i].reservation], h.places[h.limits[j].reservation] = i, j
}

func (h *expiries) Push(x any) {
	l := x.(limit)
	h.places[l.reservation] = len(h.limits)
	h.limits = append(h.limits, l)
}

func (h *expiries) Pop() any {
	last := len(h.limits) - 1
	l := h.limits[last]
	h.limits[last], h.limits = limit{}, h.limits[:last]
	delete(h.places, l.reservation)
	return l
}
