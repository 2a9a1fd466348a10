package handlers

import (
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"waybill/internal/timestamp"
	"waybill/subjects"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestGoldenEvents keeps the form of version 1 of the events that have no state machine of their own: an event, once written,
// keeps its meaning for good. Those of the state machines stand beside them.
func TestGoldenEvents(t *testing.T) {
	at := timestamp.Of(time.Date(2026, 1, 2, 3, 4, 5, 678_000_000, time.UTC))
	for name, event := range map[string]any{
		"catalog.put":         &subjects.Item{SKU: "espresso", Name: "Espresso", UnitPrice: subjects.Money{Amount: 250, Currency: "EUR"}, TaxRateBP: 1900, Active: true},
		"leader.claimed":      &claim{Role: "inventory", Instance: "vm-1", At: at},
		"notification.queued": &noticeEvent{Status: "queued", NotificationID: "o-1-confirmed", OrderID: "o-1", Event: "order.confirmed", Channel: "log", At: at},
		"notification.failed": &noticeEvent{Status: "failed", NotificationID: "o-1-confirmed", OrderID: "o-1", Event: "order.confirmed", Channel: "log", Error: "no", At: at},
		"webhook.put":         &webhook{WebhookID: "w-1", URL: "https://example.com/", Events: []string{"order.*"}, Secret: []byte("sealed"), CreatedAt: at, UpdatedAt: at},
		"webhook.deleted":     &webhook{WebhookID: "w-1", URL: "https://example.com/", Events: []string{"order.*"}, CreatedAt: at, UpdatedAt: at, Deleted: true},
	} {
		got, err := json.Marshal(event, json.Deterministic(true))
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join("testdata", name+".v1.json")
		if *update {
			if err := os.WriteFile(file, append(got, '\n'), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if string(got)+"\n" != string(want) {
			t.Errorf("%s is written as\n%s\nand was\n%s", name, got, want)
		}
	}
}

// TestNotificationTransitions tests the table cell by cell.
func TestNotificationTransitions(t *testing.T) {
	allowed := map[string]string{ // to each status, from which
		"queued": " failed delivered dead", "delivered": "queued failed", "failed": "queued failed", "dead": "queued failed",
	}
	for _, from := range []string{"", "queued", "delivered", "failed", "dead"} {
		for to, sources := range allowed {
			may := from == "" && to == "queued" || from != "" && slices.Contains(strings.Fields(sources), from)
			e, err := decideNotice(notice{Status: from}, noticeCommand{Status: to})
			switch {
			case may && (err != nil || e == nil || e.Status != to):
				t.Errorf("%q to %s: %+v, %v", from, to, e, err)
			case !may && from == to && (e != nil || err != nil):
				t.Errorf("%q to %s is a repeat: %+v, %v", from, to, e, err)
			case !may && from != to && err == nil:
				t.Errorf("%q to %s was allowed", from, to)
			}
		}
	}
}
