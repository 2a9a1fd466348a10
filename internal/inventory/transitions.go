package inventory

import "slices"

// transitions is every change of a reservation's status that there is. Extending leaves it held and stands in no cell.
var transitions = map[Status][]Status{
	// ∅→released is a tombstone: cancelling must be able to outrun a hold that is still on its way, or that hold would keep
	// units for an order that nobody will ever release again.
	"":                      {StatusHeld, StatusReleased},
	StatusHeld:              {StatusCommitted, StatusPartiallyConsumed, StatusConsumed, StatusReleased, StatusExpired},
	StatusCommitted:         {StatusPartiallyConsumed, StatusConsumed, StatusReleased},
	StatusPartiallyConsumed: {StatusPartiallyConsumed, StatusConsumed, StatusReleased}, // another part, all of it, the rest
}

// Allowed reports whether a reservation's event may take it from one status to the other.
func Allowed(from, to Status) bool { return slices.Contains(transitions[from], to) }
