package handlers

import (
	"context"
	"slices"
	"time"

	"waybill/internal/fault"
	"waybill/internal/journal"
	"waybill/internal/scope"
	"waybill/internal/view"
	"waybill/subjects"
)

// Lists gives the services the read models, as fresh as what this process has answered: whoever was told of an order finds
// it in the next list.
type Lists struct {
	view    *view.View
	written func() uint64 // the highest sequence that this process knows to be durable
	hurry   func()        // has the projection apply at once what it would gather for a moment
}

// NewLists makes Lists. written tells the highest durable sequence that this process knows of; hurry has the projection apply
// at once what it would gather for a moment.
func NewLists(v *view.View, written func() uint64, hurry func()) *Lists {
	return &Lists{v, written, hurry}
}

// freshness bounds how long a list waits for the read models; a list that is late is better than none.
const freshness = 500 * time.Millisecond

// fresh returns the view once it has caught up with what this process knows to be durable.
func (l *Lists) fresh(ctx context.Context) (*view.View, error) {
	if l.view == nil {
		return nil, fault.New(fault.Unavailable, "this process has no read models")
	}
	l.hurry()
	waiting, cancel := context.WithTimeout(ctx, freshness)
	defer cancel()
	if err := l.view.WaitFor(waiting, l.written()); err != nil && ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if at, _, err := l.view.Position(ctx); err == nil {
		scope.Note(ctx, at)
	}
	return l.view, nil
}

// Project applies a batch of the journal to the read models. It is idempotent by sequence: the view keeps its position in the
// same transaction as its rows. Of each aggregate the last state in the batch counts, and no other is read. An event that can't
// be read changes no row; unreadable is told of it.
func Project(ctx context.Context, v *view.View, batch []journal.Message, unreadable func(error)) error {
	at, _, err := v.Position(ctx)
	if err != nil {
		return err
	}
	events := make([]view.Event, len(batch))
	known := make(map[string]bool, len(batch)) // the subjects whose last state is found
	for i, m := range slices.Backward(batch) {
		if m.Sequence <= at {
			events = events[i+1:]
			break
		}
		name, err := subjects.ParseEvent(m.Subject)
		if err != nil {
			return err
		}
		e := view.Event{Sequence: m.Sequence, Kind: name.Kind, ID: name.ID}
		if i == len(batch)-1 {
			e.EventID = m.ID() // the position's
		}
		if view.Shows(name.Kind) && !known[m.Subject] {
			if e.State, err = m.State(); err != nil {
				unreadable(err)
				e.Kind = "" // it moves the position alone
			} else {
				known[m.Subject] = true
			}
		}
		events[i] = e
	}
	return v.Apply(ctx, events)
}

// redrive handles one event of the journal again, for a dead letter that is sent once more.
func redrive(j *journal.Journal, service subjects.Service, handle func(context.Context, journal.Record) error) func(context.Context, *subjects.RedriveRequest) (*subjects.Empty, error) {
	return func(ctx context.Context, r *subjects.RedriveRequest) (*subjects.Empty, error) {
		if owner, _ := subjects.OwnerOf(r.Consumer); owner != service {
			return nil, fault.Invalid("consumer", "the service %s has no such consumer", service)
		}
		found, err := j.Range(ctx, r.Sequence, 1)
		if err != nil {
			return nil, err
		}
		if len(found) == 0 || found[0].Sequence != r.Sequence {
			return nil, fault.New(fault.NotFound, "there is no event %d in the journal", r.Sequence).WithField("sequence")
		}
		if err := handle(ctx, found[0]); err != nil {
			return nil, err
		}
		return &subjects.Empty{}, nil
	}
}
