package handlers_test

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"

	"waybill/handlers"
	"waybill/internal/journal"
	"waybill/internal/view"
	"waybill/subjects"
)

// stored is an event of a shipment as it lies in the journal.
func stored(sequence uint64, shipment, body string) journal.Message {
	return journal.Message{
		Subject: subjects.Event("local", subjects.KindShipment, shipment), Sequence: sequence, Data: []byte(body),
		Header: nats.Header{
			subjects.HeaderID: {fmt.Sprint("event-", sequence)}, subjects.HeaderTime: {"2026-01-02T03:04:05.678Z"},
			subjects.HeaderType: {subjects.TypeOf(subjects.KindShipment, "planned")},
		},
	}
}

// Of each aggregate the last state that can be read counts, however the journal is cut into batches; a damaged event is told
// of and stops nothing.
func TestProject(t *testing.T) {
	sound := func(status string) string { return `{"v":1,"data":{},"state":{"status":"` + status + `"}}` }
	events := []journal.Message{
		stored(1, "a", sound("pending")), stored(2, "b", sound("pending")), stored(3, "a", sound("booked")),
		stored(4, "b", sound("dispatched")), stored(5, "a", "{"), stored(6, "c", `{"v":1`),
	}
	for _, size := range []int{1, 2, 6} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			v, err := view.Open(t.Context(), filepath.Join(t.TempDir(), "view.db"), zerolog.Nop())
			if err != nil {
				t.Fatal(err)
			}
			defer v.Close() // nothing is left to lose
			unreadable := 0
			project := func(batch []journal.Message) {
				t.Helper()
				if err := handlers.Project(t.Context(), v, batch, func(error) { unreadable++ }); err != nil {
					t.Fatal(err)
				}
			}
			for from := 0; from < len(events); from += size {
				project(events[from : from+size])
			}
			project(events) // it has them already
			if unreadable != 2 {
				t.Errorf("told of %d damaged events, want 2", unreadable)
			}
			if at, id, err := v.Position(t.Context()); at != 6 || id != "event-6" || err != nil {
				t.Errorf("at %d, %q (%v)", at, id, err)
			}
			rows, _, err := v.Shipments(t.Context(), view.ShipmentFilter{})
			if err != nil {
				t.Fatal(err)
			}
			got := map[string]string{}
			for _, r := range rows {
				got[r.ID] = string(r.State)
			}
			if len(got) != 2 || got["a"] != `{"status":"booked"}` || got["b"] != `{"status":"dispatched"}` {
				t.Errorf("%v", got)
			}
		})
	}
}
