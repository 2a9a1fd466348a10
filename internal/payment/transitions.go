package payment

import "slices"

// transitions is every change of status that there is. Intents and failed captures (capturing, capture_failed, voiding)
// leave the status as it is and stand in no cell.
var transitions = map[Status][]Status{
	"":                      {StatusCreated},
	StatusCreated:           {StatusProcessing, StatusAcceptedOffline},
	StatusProcessing:        {StatusAuthorized, StatusCaptured, StatusRequiresAction, StatusUnknown, StatusFailed},
	StatusRequiresAction:    {StatusProcessing, StatusVoided},
	StatusUnknown:           {StatusAuthorized, StatusCaptured, StatusFailed, StatusVoided}, // only after asking the gateway
	StatusAuthorized:        {StatusPartiallyCaptured, StatusCaptured, StatusVoided, StatusExpired},
	StatusPartiallyCaptured: {StatusPartiallyCaptured, StatusCaptured, StatusVoided}, // another part, all of it, the rest given up
	StatusAcceptedOffline:   {StatusCaptured, StatusDeclinedAfterAcceptance},
}

// Allowed reports whether a payment's event may take it from one status to the other.
func Allowed(from, to Status) bool { return slices.Contains(transitions[from], to) }
