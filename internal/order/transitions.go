package order

import "slices"

// transitions is every change of status that there is.
var transitions = map[Status][]Status{
	"":                {StatusPending},
	StatusPending:     {StatusConfirmed, StatusNeedsAction, StatusRejected, StatusExpired, StatusCancelling},
	StatusNeedsAction: {StatusPending, StatusConfirmed, StatusFulfilling, StatusCompleted, StatusExpired, StatusCancelling},
	StatusConfirmed:   {StatusFulfilling, StatusNeedsAction, StatusCancelling},
	StatusFulfilling:  {StatusCompleted, StatusNeedsAction},
	StatusCancelling:  {StatusCancelled, StatusFulfilling},
}

// Allowed reports whether an order's event may take it from one status to the other.
func Allowed(from, to Status) bool { return slices.Contains(transitions[from], to) }

// resumable reports whether an order resumes from needs_action to the status; the others have commands of their own.
func resumable(to Status) bool {
	return to == StatusPending || to == StatusConfirmed || to == StatusFulfilling
}
