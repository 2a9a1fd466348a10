package handlers

import (
	"reflect"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"waybill/internal/fault"
	"waybill/internal/id"
	"waybill/internal/journal"
	"waybill/internal/journal/journaltest"
	"waybill/internal/order"
	"waybill/internal/timestamp"
	"waybill/subjects"
)

// TestPlanSeesWhatBecameOfTheOrder asks for an order that stands as the event left it, and for one that was cancelled meanwhile.
func TestPlanSeesWhatBecameOfTheOrder(t *testing.T) {
	bed := journaltest.Start(t)
	bed.Streams(journaltest.Journal())
	j, err := journal.Open(bed.Connect(), journal.Options{Site: journaltest.Site, Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	s := &Shipping{journal: j}
	write := func(name string, st order.State, previous journal.Record) journal.Record {
		t.Helper()
		r, err := j.Append(t.Context(), journal.Entry{
			Subject: subjects.Event(journaltest.Site, subjects.KindOrder, id.Order(name)), Kind: subjects.KindOrder, Event: string(order.TypeConfirmed),
			Time: timestamp.Of(time.Now()), Data: st, State: st, Previous: previous,
		})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	confirmed, cancelling := order.State{OrderID: "o-1", Status: order.StatusConfirmed}, order.State{OrderID: "o-1", Status: order.StatusCancelling}
	r := write("o-1", confirmed, journal.Record{})
	is := func(want order.State) {
		t.Helper()
		if now, err := s.order(t.Context(), r, confirmed); err != nil || !reflect.DeepEqual(now, want) {
			t.Errorf("the order is %+v, %v, want %+v", now, err, want)
		}
	}
	is(confirmed)
	write("o-1", cancelling, r)
	is(cancelling)
	r.Subject = subjects.Event(journaltest.Site, subjects.KindOrder, id.Order("o-2"))
	if now, err := s.order(t.Context(), r, confirmed); fault.CodeOf(err) != fault.Unavailable {
		t.Errorf("an order that the store does not find is %+v, %v", now, err)
	}
}
