package verify_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"waybill/internal/id"
	"waybill/internal/money"
	"waybill/internal/verify"
	"waybill/subjects"
)

// partDamages are such to how an order and its parts belong together.
var partDamages = []damage{
	{"an event is of another aggregate than its subject", forged(func(t testing.TB, w *world) {
		w.everywhere(t, ofCatalog, "rare", `"sku":"rare"`, `"sku":"rale"`)
		w.everywhere(t, ofOrder, "o-short", `"order_id":"o-short"`, `"order_id":"o-shirt"`)
		w.everywhere(t, ofPayment, "o-declined-pay", `"payment_id":"o-declined-pay"`, `"payment_id":"o-declined-pai"`)
		w.everywhere(t, ofRefund, "o-back-pay", `"payment_id":"o-back-pay"`, `"payment_id":"o-back-pai"`)
		w.everywhere(t, ofReservation, "r-1", `"reservation_id":"r-1"`, `"reservation_id":"r-2"`)
		w.everywhere(t, ofShipment, "o-open-s1", `"shipment_id":"o-open-s1"`, `"shipment_id":"o-open-s9"`)
		w.everywhere(t, ofStock, "rare", `"sku":"rare"`, `"sku":"rale"`)
		w.everywhere(t, ofNotification, "o-open-confirmed", `"notification_id":"o-open-confirmed"`, `"notification_id":"o-open-confirm"`)
	}), broken(verify.RuleReference)},
	{"a confirmed order has no reservation", forged(func(_ testing.TB, w *world) { w.without(ofReservation, "o-open-res", 0) }),
		broken(verify.RuleReference)},
	{"a confirmed order's reservation is released", forged(func(t testing.TB, w *world) {
		i, like := w.at(t, ofReservation, "o-void-res", "held", 0), w.at(t, ofReservation, "o-void-res", "released", 0)
		rename := func(v jsontext.Value) jsontext.Value { return bytes.ReplaceAll(v, []byte("o-void"), []byte("o-open")) }
		end := w.records[like]
		end.ID, end.CeSubject, end.Subject = id.NewEvent(), "o-open-res", subjects.Event("local", ofReservation, "o-open-res")
		end.Data, end.State = rename(end.Data), rename(end.State)
		held := w.records[i]
		held.ID, held.CeSubject, held.Subject = id.NewEvent(), end.CeSubject, end.Subject
		held.Data, held.State = rename(held.Data), rename(held.State)
		w.without(ofReservation, "o-open-res", 0)
		w.records = append(w.records, held, end)
	}), broken(verify.RuleReference)},
	{"a reservation is of other goods than its order", forged(func(t testing.TB, w *world) {
		w.both(t, w.at(t, ofReservation, "o-open-res", "held", 0), `"quantity":1`, `"quantity":2`)
	}), broken(verify.RuleReference)},
	{"a confirmed order has no payment", forged(func(t testing.TB, w *world) {
		w.without(ofPayment, "o-open-pay", 0)
		w.ledger = slices.Delete(w.ledger, w.entry(t, "authorize", "o-open-pay"), w.entry(t, "authorize", "o-open-pay")+1)
	}), broken(verify.RuleReference)},
	{"a confirmed order's payment is another's", forged(func(t testing.TB, w *world) {
		w.everywhere(t, ofPayment, "o-open-pay", `"order_id":"o-open"`, `"order_id":"o-shut"`)
	}), broken(verify.RuleReference)},
	{"a confirmed order's payment has failed", forged(func(t testing.TB, w *world) {
		r := &w.records[w.at(t, ofPayment, "o-open-pay", "authorized", 0)]
		failed := w.records[w.at(t, ofPayment, "o-declined-pay", "failed", 0)]
		r.Type, r.Data = failed.Type, failed.Data
		r.State = bytes.ReplaceAll(failed.State, []byte("o-declined"), []byte("o-open"))
		before := w.records[w.at(t, ofPayment, "o-open-pay", "processing", 0)]
		r.State = bytes.Replace(r.State, field(t, r.State, "created_at"), field(t, before.State, "created_at"), 1)
		r.State = bytes.Replace(r.State, field(t, r.State, "token_hint"), field(t, before.State, "token_hint"), 1)
		w.ledger = slices.Delete(w.ledger, w.entry(t, "authorize", "o-open-pay"), w.entry(t, "authorize", "o-open-pay")+1)
	}), broken(verify.RuleReference)},
	{"an order is paid twice", forged(func(t testing.TB, w *world) {
		w.everywhere(t, ofPayment, "p-1", `"order_id":"nobody"`, `"order_id":"o-open"`)
	}), broken(verify.RuleReference)},
	{"a rejected order holds stock", dropped(ofReservation, "o-declined-res", "released"), broken(verify.RuleReference)},
	{"a cancelled order holds money", forged(func(t testing.TB, w *world) {
		w.drop(w.at(t, ofPayment, "o-void-pay", "voiding", 0), w.at(t, ofPayment, "o-void-pay", "voided", 0))
		w.ledger = slices.Delete(w.ledger, w.entry(t, "void", "o-void-pay"), w.entry(t, "void", "o-void-pay")+1)
	}), broken(verify.RuleReference)},
	{"a cancelled order keeps the money", forged(func(_ testing.TB, w *world) { w.without(ofRefund, "o-back-pay", 0) }),
		broken(verify.RuleReference)},
	{"a completed order is not paid", forged(func(t testing.TB, w *world) {
		w.drop(w.at(t, ofPayment, "o-split-pay", "capturing", 1), w.at(t, ofPayment, "o-split-pay", "captured", 1))
		w.ledger = slices.Delete(w.ledger, w.entry(t, "capture", "o-split-s2"), w.entry(t, "capture", "o-split-s2")+1)
	}), broken(verify.RuleReference)},
	{"a completed order is not delivered", forged(func(t testing.TB, w *world) {
		w.drop(w.at(t, ofShipment, "o-gift-s1", "delivered", 0))
		w.without(ofNotification, "o-gift-s1-delivered", 0)
	}), broken(verify.RuleReference)},
	{"a shipment is not what was ordered", forged(func(t testing.TB, w *world) {
		w.both(t, w.at(t, ofShipment, "o-open-s1", "planned", 0), `"quantity":1`, `"quantity":2`)
	}), broken(verify.RuleReference)},
	{"a shipment costs what it does not", forged(func(t testing.TB, w *world) {
		i := w.at(t, ofShipment, "o-open-s1", "planned", 0)
		w.everywhere(t, ofShipment, "o-open-s1", `"amount":298`, `"amount":299`)
		if bytes.Contains(w.records[i].State, []byte(`"amount":298`)) {
			t.Fatal("the amount stands elsewhere too")
		}
	}), broken(verify.RuleReference)},
	{"a shipment is of an order that was rejected", forged(func(t testing.TB, w *world) {
		w.everywhere(t, ofShipment, "o-open-s1", `"order_id":"o-open"`, `"order_id":"o-short"`)
	}), broken(verify.RuleReference, verify.RuleStuck)},
	{"an order has another's payment and reservation", forged(func(t testing.TB, w *world) {
		w.everywhere(t, ofOrder, "o-short", `"payment_id":"o-short-pay"`, `"payment_id":"o-done-pay"`)
	}), broken(verify.RuleReference)},
}

// field is the text of a member of a JSON object, up to the comma or the end.
func field(t testing.TB, v jsontext.Value, name string) []byte {
	t.Helper()
	i := bytes.Index(v, []byte(`"`+name+`":"`))
	if i < 0 {
		t.Fatalf("no %s in %s", name, v)
	}
	n := bytes.IndexAny(v[i+len(name)+4:], `"`)
	return v[i : i+len(name)+4+n+1]
}

// misbooked adds a line to the gateway's books.
func misbooked(operation string, p id.Payment, name string, amount int64) func(testing.TB, *world) {
	return func(_ testing.TB, w *world) {
		w.ledger = append(w.ledger, subjects.LedgerEntry{
			Operation: operation, PaymentID: p, ID: name, Amount: money.Of(amount, "EUR"), Result: "approved",
		})
	}
}

// unbooked takes a line out of the gateway's books.
func unbooked(operation, name string) func(testing.TB, *world) {
	return func(t testing.TB, w *world) {
		i := w.entry(t, operation, name)
		w.ledger = slices.Delete(w.ledger, i, i+1)
	}
}

// rebooked makes a line in the gateway's books a cent more.
func rebooked(operation, name string) func(testing.TB, *world) {
	return func(t testing.TB, w *world) { w.ledger[w.entry(t, operation, name)].Amount.Amount++ }
}

// ledgerDamages are such to the agreement of the gateway's books with the journal.
var ledgerDamages = []damage{
	{"an entry of the books can't be read", forged(func(t testing.TB, w *world) {
		w.records[w.at(t, subjects.KindLedger, "o-open-pay", "entered", 0)].Data = jsontext.Value(`[]`)
	}), broken(verify.RuleBody)},
	{"an entry of the books is of another payment", forged(func(t testing.TB, w *world) {
		w.edit(t, w.at(t, subjects.KindLedger, "o-open-pay", "entered", 0), data, `"payment_id":"o-open-pay"`, `"payment_id":"o-open-pai"`)
	}), broken(verify.RuleReference)},
	{"the books lack an authorization", unbooked("authorize", "o-open-pay"), broken(verify.RuleLedger)},
	{"the books lack a capture", unbooked("capture", "o-split-s2"), broken(verify.RuleLedger)},
	{"the books lack a void", unbooked("void", "o-void-pay"), broken(verify.RuleLedger)},
	{"the books lack a refund", unbooked("refund", "some"), broken(verify.RuleLedger)},
	{"an authorization is a cent more", rebooked("authorize", "o-open-pay"), broken(verify.RuleLedger)},
	{"a capture is a cent more", rebooked("capture", "o-split-s2"), broken(verify.RuleLedger)},
	{"a void is a cent more", rebooked("void", "p-1"), broken(verify.RuleLedger)},
	{"a refund is a cent more", rebooked("refund", "some"), broken(verify.RuleLedger)},
	{"a payment is authorized twice", misbooked("authorize", "o-open-pay", "o-open-pay", 298), broken(verify.RuleLedger)},
	{"a capture happened twice", misbooked("capture", "o-done-pay", "o-done-s1", 893), broken(verify.RuleLedger)},
	{"a capture has no event", misbooked("capture", "o-open-pay", "ghost", 298), broken(verify.RuleLedger)},
	{"a refund has no event", misbooked("refund", "o-done-pay", "ghost", 893), broken(verify.RuleLedger)},
	{"another refund has no event", misbooked("refund", "p-1", "ghost", 1), broken(verify.RuleLedger)},
	{"a void has no event", misbooked("void", "o-open-pay", "o-open-pay", 298), broken(verify.RuleLedger)},
	{"a payment has no event", misbooked("authorize", "ghost-pay", "ghost-pay", 1), broken(verify.RuleLedger)},
	{"a declined payment is authorized", misbooked("authorize", "o-declined-pay", "o-declined-pay", 298), broken(verify.RuleLedger)},
	{"cash is in the books", misbooked("capture", "o-till-pay", "cash", 298), broken(verify.RuleLedger)},
	{"nothing is authorized", misbooked("authorize", "o-gift-pay", "o-gift-pay", 0), broken(verify.RuleLedger)},
	{"the books know an operation of their own", misbooked("melt", "o-open-pay", "o-open-pay", 298), broken(verify.RuleLedger)},
}

// later makes the verification one of an hour after.
func later(do func(t testing.TB, w *world)) func(t testing.TB, w *world) {
	return forged(func(t testing.TB, w *world) {
		do(t, w)
		w.now = w.now.Add(time.Hour)
	})
}

// lateDamages are what is left undone, and who was not told.
var lateDamages = []damage{
	{"an order is pending for ever", later(func(t testing.TB, w *world) {
		w.drop(w.at(t, ofOrder, "o-short", "rejected", 0))
		w.without(ofNotification, "o-short-rejected", 0)
	}), broken(verify.RuleStuck)},
	{"an order is being cancelled for ever", later(func(t testing.TB, w *world) {
		w.drop(w.at(t, ofOrder, "o-back", "cancelled", 0))
		w.without(ofNotification, "o-back-cancelled", 0)
	}), broken(verify.RuleStuck)},
	{"a customer is waited for beyond the time", later(func(t testing.TB, w *world) {
		w.without(ofPayment, "o-act-pay", 3)
		w.without(ofOrder, "o-act", 2)
		w.without(ofShipment, "o-act-s1", 0)
		w.without(ofNotification, "o-act-confirmed", 0)
		for _, op := range []string{"authorize o-act-pay", "capture o-act-c0"} {
			operation, name, _ := strings.Cut(op, " ")
			unbooked(operation, name)(t, w)
		}
	}), broken(verify.RuleStuck)},
	{"a void is asked for and not answered", forged(func(t testing.TB, w *world) {
		w.drop(w.at(t, ofPayment, "p-1", "voided", 0))
		unbooked("void", "p-1")(t, w)
	}), broken(verify.RuleStuck)},
	{"a void is done and not recorded", dropped(ofPayment, "p-1", "voided"), broken(verify.RuleStuck, verify.RuleLedger)},
	{"a capture is asked for and not answered", forged(func(t testing.TB, w *world) {
		w.without(ofPayment, "p-1", 6)
		w.without(ofRefund, "p-1", 0)
		for _, op := range []string{"void p-1", "refund some", "capture two"} {
			operation, name, _ := strings.Cut(op, " ")
			unbooked(operation, name)(t, w)
		}
	}), broken(verify.RuleStuck)},
	{"an authorization is asked for and not answered", forged(func(_ testing.TB, w *world) {
		w.without(ofPayment, "p-1", 2)
		w.without(ofRefund, "p-1", 0)
		w.ledger = slices.DeleteFunc(w.ledger, func(e subjects.LedgerEntry) bool { return e.PaymentID == "p-1" })
	}), broken(verify.RuleStuck)},
	{"a refund is asked for and not answered", forged(func(t testing.TB, w *world) {
		w.drop(w.at(t, ofRefund, "p-1", "settled", 0))
		unbooked("refund", "some")(t, w)
	}), broken(verify.RuleStuck)},
	{"a reservation outlives its time", later(func(t testing.TB, w *world) {
		w.drop(w.at(t, ofReservation, "r-1", "committed", 0), w.at(t, ofReservation, "r-1", "released", 0))
	}), broken(verify.RuleStuck)},
	{"a confirmed order gets no shipment", forged(func(_ testing.TB, w *world) { w.without(ofShipment, "o-open-s1", 0) }),
		broken(verify.RuleStuck)},
	{"a cancelled order is still to be shipped", dropped(ofShipment, "o-back-s1", "cancelled"), broken(verify.RuleStuck)},
	{"a confirmed order's goods have left", forged(func(t testing.TB, w *world) {
		w.without(ofOrder, "o-return", 2)
		w.without(ofNotification, "o-return-needs_action", 0)
	}), broken(verify.RuleStuck)},
	{"nobody looks after what came back", forged(func(t testing.TB, w *world) {
		w.drop(w.at(t, ofOrder, "o-return", "needs_action", 0))
		w.without(ofNotification, "o-return-needs_action", 0)
	}), broken(verify.RuleStuck)},
	{"all is delivered and the order not completed", dropped(ofOrder, "o-done", "completed"), broken(verify.RuleStuck)},
	{"a notification is queued for ever", dropped(ofNotification, "o-open-confirmed", "delivered"), broken(verify.RuleStuck)},

	{"nobody is told", forged(func(_ testing.TB, w *world) { w.without(ofNotification, "o-open-confirmed", 0) }),
		broken(verify.RuleNotification)},
	{"somebody is told what did not happen", forged(func(t testing.TB, w *world) {
		w.everywhere(t, ofNotification, "o-open-confirmed", "order.confirmed", "order.rejected")
	}), broken(verify.RuleNotification)},
	{"a notification is given up without a dead letter", forged(giveUp), broken(verify.RuleNotification)},
	{"a dead letter has no reason", forged(func(t testing.TB, w *world) {
		giveUp(t, w)
		w.letters = []subjects.DeadInfo{deadLetter("o-open", "")}
	}), broken(verify.RuleNotification)},
}

// giveUp makes a notification that was delivered one that was given up.
func giveUp(t testing.TB, w *world) {
	i := w.at(t, ofNotification, "o-open-confirmed", "delivered", 0)
	w.records[i].Type = subjects.TypeOf(ofNotification, "dead")
	w.both(t, i, `"status":"delivered"`, `"status":"dead"`)
}

func deadLetter(o id.Order, reason string) subjects.DeadInfo {
	return subjects.DeadInfo{
		ID: 1, Consumer: subjects.DurableNotify, Reason: reason,
		Type: subjects.TypeOf(ofOrder, "confirmed"), Subject: subjects.Event("local", ofOrder, o),
	}
}
