package client

import (
	"github.com/go-json-experiment/json"
	"github.com/nats-io/nats.go/jetstream"

	"waybill/internal/fault"
	"waybill/internal/timestamp"
	"waybill/subjects"
)

// Event is an event of the site's journal: a fact that stays one.
type Event struct {
	Sequence    uint64        `json:"sequence"`             // its place in the site's one total order
	EventID     string        `json:"event_id"`             // globally unique
	Type        string        `json:"type"`                 // the CloudEvents type, such as waybill.order.placed.v1
	Kind        subjects.Kind `json:"kind"`                 // what it happened to: order, payment, …
	Name        string        `json:"name"`                 // what happened: placed, captured, …
	ID          string        `json:"id"`                   // of what it happened to
	Time        subjects.Time `json:"time"`                 // when it happened
	Causation   string        `json:"causation,omitzero"`   // the id of the event or request that caused it
	Traceparent string        `json:"traceparent,omitzero"` // the W3C trace that it belongs to
	Data        subjects.Raw  `json:"data,omitzero"`        // what happened
	State       subjects.Raw  `json:"state,omitzero"`       // the order, payment, … as it is after it
}

// decodeEvent reads an event that the filter lets through; of any other it tells the sequence alone, readable or not.
func decodeEvent(m jetstream.Msg, f filter) (e Event, wanted bool, err error) {
	meta, err := m.Metadata()
	if err != nil {
		return e, false, fault.Wrap(err, fault.Internal, "a message of the journal carries no sequence")
	}
	h := m.Headers()
	name, err := subjects.ParseEvent(m.Subject())
	ceType := h.Get(subjects.HeaderType)
	_, event, _ := subjects.ParseType(ceType)
	if !f.lets(name.Kind, event) { // whether or not it can be read
		return Event{Sequence: meta.Sequence.Stream}, false, nil
	}
	if err != nil {
		return e, false, err
	}
	e = Event{
		Sequence: meta.Sequence.Stream, EventID: h.Get(subjects.HeaderID), Type: ceType,
		Kind: name.Kind, Name: event, ID: name.ID,
		Causation: h.Get(subjects.HeaderCausation), Traceparent: h.Get(subjects.HeaderTraceparent),
	}
	if e.Time, err = timestamp.Parse(h.Get(subjects.HeaderTime)); err != nil {
		return Event{}, false, fault.Wrap(err, fault.Internal, "event %d carries no readable time", e.Sequence)
	}
	var body struct {
		Data  subjects.Raw `json:"data"`
		State subjects.Raw `json:"state"`
	}
	if err := json.Unmarshal(m.Data(), &body); err != nil {
		return Event{}, false, fault.Wrap(err, fault.Internal, "event %d is not readable", e.Sequence)
	}
	e.Data, e.State = body.Data, body.State
	return e, true, nil
}
