package shipment

import "slices"

// transitions is every change of status that there is. A split leaves its parent pending and stands in no cell.
var transitions = map[Status][]Status{
	"":                   {StatusPending},
	StatusPending:        {StatusBooked, StatusPreparing, StatusCancelled},
	StatusBooked:         {StatusDispatched, StatusCancelled},
	StatusPreparing:      {StatusReady, StatusCancelled},
	StatusReady:          {StatusDelivered, StatusCancelled},
	StatusDispatched:     {StatusDelivered, StatusDeliveryFailed},
	StatusDeliveryFailed: {StatusDispatched, StatusReturned},
}

// Allowed reports whether a shipment's event may take it from one status to the other.
func Allowed(from, to Status) bool { return slices.Contains(transitions[from], to) }
