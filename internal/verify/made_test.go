package verify_test

import (
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"waybill/internal/id"
	"waybill/internal/journal"
	"waybill/internal/money"
	"waybill/internal/payment"
	"waybill/internal/timestamp"
	"waybill/subjects"
)

// givenUp is the story of a payment that was voided before its outcome was known. Links and hashes are still to be made.
func givenUp(t testing.TB, p id.Payment) []journal.Record {
	t.Helper()
	at := timestamp.Of(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))
	var s payment.State
	var records []journal.Record
	for _, c := range []payment.Command{
		payment.Create{PaymentID: p, OrderID: "nobody", Method: payment.Card, Amount: money.Of(700, "EUR"), At: at},
		payment.Process{At: at}, payment.MarkUnknown{At: at}, payment.VoidIntent{At: at}, payment.Void{At: at},
	} {
		e, err := payment.Decide(s, c)
		if err != nil {
			t.Fatal(err)
		}
		if s, err = payment.Apply(s, e); err != nil {
			t.Fatal(err)
		}
		data, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		state, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		records = append(records, journal.Record{
			Subject: subjects.Event("local", ofPayment, p), CeSubject: string(p), ID: id.NewEvent(),
			Type: subjects.TypeOf(ofPayment, string(e.Type())), Time: at, Version: journal.Version, Data: data, State: state,
		})
	}
	return records
}
