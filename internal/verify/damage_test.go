package verify_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"

	"waybill/internal/id"
	"waybill/internal/journal"
	"waybill/internal/verify"
	"waybill/subjects"
)

// damage is something that is done to a sound site's records, and the rules that it breaks: those and no others must be found.
type damage struct {
	name  string
	do    func(t testing.TB, w *world)
	rules []string
}

func broken(rules ...string) []string { return rules }

// damages plants every damage, each in a fresh copy of the sound world.
func damages(t *testing.T, sound *world) {
	whole := sound.copy()
	whole.relink()
	for i, r := range whole.records {
		if r.Hash != sound.records[i].Hash {
			t.Fatalf("the forger's hash of event %d is not the journal's", r.Sequence)
		}
	}
	planted := make(map[string]bool)
	for _, d := range slices.Concat(journalDamages, eventDamages, moneyDamages, partDamages, ledgerDamages, lateDamages) {
		t.Run(d.name, func(t *testing.T) {
			w := sound.copy()
			d.do(t, w)
			report := w.verify(t)
			slices.Sort(d.rules)
			if got := rules(report); !slices.Equal(got, d.rules) {
				t.Errorf("broken are %q, want %q", got, d.rules)
				for _, v := range report.Violations {
					t.Log(v.Rule, v.Subject, v.Sequence, v.Message)
				}
			}
		})
		for _, r := range d.rules {
			planted[r] = true
		}
	}
	for _, r := range verify.Rules {
		if !planted[r] {
			t.Errorf("no damage breaks the rule %q", r)
		}
	}
}

const (
	ofOrder        = subjects.KindOrder
	ofPayment      = subjects.KindPayment
	ofRefund       = subjects.KindRefund
	ofShipment     = subjects.KindShipment
	ofReservation  = subjects.KindReservation
	ofStock        = subjects.KindStock
	ofCatalog      = subjects.KindCatalog
	ofWebhook      = subjects.KindWebhook
	ofNotification = subjects.KindNotification
)

// forged is a damage whose author mends all links, hashes and seals afterwards.
func forged(do func(t testing.TB, w *world)) func(t testing.TB, w *world) {
	return func(t testing.TB, w *world) {
		do(t, w)
		w.relink()
	}
}

// dropped forges a journal that never had the event.
func dropped(kind subjects.Kind, name, event string) func(testing.TB, *world) {
	return forged(func(t testing.TB, w *world) { w.drop(w.at(t, kind, name, event, 0)) })
}

// repeated forges a journal that has the event twice.
func repeated(kind subjects.Kind, name, event string) func(testing.TB, *world) {
	return forged(func(t testing.TB, w *world) {
		i := w.at(t, kind, name, event, 0)
		again := w.records[i]
		again.ID = id.NewEvent()
		w.records = slices.Insert(w.records, i+1, again)
	})
}

// stated forges the state of one event.
func stated(kind subjects.Kind, name, event, old, text string) func(testing.TB, *world) {
	return forged(func(t testing.TB, w *world) { w.edit(t, w.at(t, kind, name, event, 0), state, old, text) })
}

// everywhere replaces text in every event of an aggregate, which must be there.
func (w *world) everywhere(t testing.TB, kind subjects.Kind, name, old, text string) {
	t.Helper()
	found := false
	for i := range w.records {
		r := &w.records[i]
		if k, _ := r.Event(); k != kind || r.CeSubject != name {
			continue
		}
		for _, v := range []*jsontext.Value{&r.Data, &r.State} {
			found = found || bytes.Contains(*v, []byte(old))
			*v = bytes.ReplaceAll(*v, []byte(old), []byte(text))
		}
	}
	if !found {
		t.Fatalf("no event of the %s %s has %s", kind, name, old)
	}
}

// unreadable makes a record one that can't be read.
func unreadable(r *journal.Record) {
	r.Malformed, r.Data, r.State, r.Version = "body: damaged", nil, nil, 0
}

// journalDamages are such to the journal as a list of linked events.
var journalDamages = []damage{
	{"an event is gone", func(t testing.TB, w *world) { w.drop(w.at(t, ofCatalog, "gift", "put", 0)) },
		broken(verify.RuleSequence, verify.RuleSeal)},
	{"the end is cut off", func(_ testing.TB, w *world) { w.last = uint64(len(w.records) + 1) }, broken(verify.RuleSequence)},
	{"two events are swapped", func(t testing.TB, w *world) {
		a, b := w.at(t, ofCatalog, "rare", "put", 0), w.at(t, ofCatalog, "gift", "put", 0)
		w.records[a], w.records[b] = w.records[b], w.records[a]
	}, broken(verify.RuleSequence, verify.RuleSeal)},
	{"a sealed event was changed", func(t testing.TB, w *world) {
		i := w.at(t, ofCatalog, "rare", "put", 0)
		w.both(t, i, "Rare", "Rate")
		rehash(&w.records[i])
	}, broken(verify.RuleSeal)},
	{"a seal was changed", func(_ testing.TB, w *world) { w.seals[1].Hash = strings.Repeat("0", 64) }, broken(verify.RuleSeal)},
	{"more was sealed than there is", func(_ testing.TB, w *world) {
		w.seals = append(w.seals, subjects.Seal{From: uint64(len(w.records) + 1), To: uint64(len(w.records) + 9)})
	}, broken(verify.RuleSeal)},
	{"a byte of an event that has a successor is flipped", func(t testing.TB, w *world) {
		i := w.at(t, ofWebhook, "w-1", "put", 0)
		w.both(t, i, "127.0.0.1:9", "127.0.0.1:8")
		rehash(&w.records[i])
		w.seal()
	}, broken(verify.RuleChain)},
	{"the event before is gone", func(t testing.TB, w *world) {
		w.drop(w.at(t, ofWebhook, "w-1", "put", 0))
		for i := range w.records {
			w.records[i].Sequence = uint64(i + 1)
		}
		w.seal()
	}, broken(verify.RulePrevious)},
	{"an event names no previous one", func(t testing.TB, w *world) {
		r := &w.records[w.at(t, ofWebhook, "w-1", "deleted", 0)]
		r.PreviousID, r.PreviousHash = "", ""
		rehash(r)
		w.seal()
	}, broken(verify.RulePrevious)},
	{"an event names another as the previous one", func(t testing.TB, w *world) {
		r := &w.records[w.at(t, ofWebhook, "w-1", "deleted", 0)]
		r.PreviousID = w.records[0].ID
		rehash(r)
		w.seal()
	}, broken(verify.RulePrevious)},
	{"two events have one id", forged(func(t testing.TB, w *world) {
		w.records[w.at(t, ofCatalog, "rare", "put", 0)].ID = "chosen"
		w.records[w.at(t, ofCatalog, "gift", "put", 0)].ID = "chosen"
	}), broken(verify.RuleEnvelope)},
	{"ce-subject is another's", func(t testing.TB, w *world) { w.records[w.at(t, ofCatalog, "rare", "put", 0)].CeSubject = "gift" },
		broken(verify.RuleEnvelope)},
	{"the type is unknown", forged(func(t testing.TB, w *world) {
		w.records[w.at(t, ofCatalog, "rare", "put", 0)].Type = subjects.TypeOf(ofCatalog, "melted")
	}), broken(verify.RuleEnvelope)},
	{"the type is another kind's", forged(func(t testing.TB, w *world) {
		w.records[w.at(t, ofCatalog, "rare", "put", 0)].Type = subjects.TypeOf(ofWebhook, "put")
	}), broken(verify.RuleEnvelope)},
	{"the event is of another site", forged(func(t testing.TB, w *world) {
		w.records[w.at(t, ofCatalog, "rare", "put", 0)].Subject = subjects.Event("elsewhere", ofCatalog, "rare")
	}), broken(verify.RuleEnvelope)},
	{"the subject is none of an event", forged(func(t testing.TB, w *world) {
		w.records[w.at(t, ofCatalog, "rare", "put", 0)].Subject = "wb.local.evt.nothing.rare"
	}), broken(verify.RuleEnvelope)},
	{"a newer program wrote the event", func(t testing.TB, w *world) {
		w.records[w.at(t, ofCatalog, "rare", "put", 0)].Version = journal.Version + 1
	}, broken(verify.RuleEnvelope)},
	{"ce-specversion is another", func(_ testing.TB, w *world) { w.withHeader(3, subjects.HeaderSpecVersion, "0.3") },
		broken(verify.RuleEnvelope)},
	{"ce-source is another", func(_ testing.TB, w *world) { w.withHeader(3, subjects.HeaderSource, "/waybill/elsewhere") },
		broken(verify.RuleEnvelope)},
	{"Nats-Msg-Id is another", func(_ testing.TB, w *world) { w.withHeader(3, subjects.HeaderMsgID, "x") }, broken(verify.RuleEnvelope)},
}

// eventDamages are such to one event's body, and to its place among the steps of its state machine.
var eventDamages = []damage{
	{"a body can't be read", func(t testing.TB, w *world) { unreadable(&w.records[w.at(t, ofOrder, "o-open", "confirmed", 0)]) },
		broken(verify.RuleBody)},
	{"bodies of every kind can't be read", func(t testing.TB, w *world) {
		for _, d := range []struct {
			kind        subjects.Kind
			name, event string
		}{
			{ofPayment, "p-1", "capturing"}, {ofRefund, "p-1", "pending"}, {ofShipment, "o-done-s1", "booked"}, {ofStock, "beans", "received"},
			{ofReservation, "o-done-res", "held"}, {ofNotification, "o-done-confirmed", "queued"}, {ofWebhook, "w-1", "deleted"},
		} {
			unreadable(&w.records[w.at(t, d.kind, d.name, d.event, 0)])
		}
	}, broken(verify.RuleBody)},
	{"data of every kind can't be read", forged(func(t testing.TB, w *world) {
		for _, d := range []struct {
			kind        subjects.Kind
			name, event string
		}{
			{ofOrder, "o-open", "confirmed"}, {ofPayment, "p-1", "voided"}, {ofRefund, "p-1", "settled"}, {ofShipment, "o-done-s1", "booked"},
			{ofStock, "beans", "received"}, {ofReservation, "r-1", "extended"}, {ofNotification, "o-done-confirmed", "queued"},
			{ofWebhook, "w-1", "deleted"}, {ofCatalog, "rare", "put"},
		} {
			w.records[w.at(t, d.kind, d.name, d.event, 0)].Data = jsontext.Value(`[]`)
		}
	}), broken(verify.RuleBody)},
	{"a state can't be read", forged(func(t testing.TB, w *world) {
		w.records[w.at(t, ofShipment, "o-done-s1", "booked", 0)].State = jsontext.Value(`7`)
	}), broken(verify.RuleBody)},

	{"an order's state is another", stated(ofOrder, "o-open", "confirmed", "Item espresso", "Item expresso"), broken(verify.RuleState)},
	{"an order's data is another", forged(func(t testing.TB, w *world) {
		w.edit(t, w.at(t, ofOrder, "o-open", "placed", 0), data, "c-1", "c-2")
	}), broken(verify.RuleState)},
	{"a payment's state is another", stated(ofPayment, "o-done-pay", "capturing", "pending", "captured"),
		broken(verify.RuleState, verify.RuleMoney)},
	{"a refund's state is another", stated(ofRefund, "p-1", "settled", `"refunded":{"amount":500`, `"refunded":{"amount":501`),
		broken(verify.RuleState)},
	{"a shipment's state is another", stated(ofShipment, "o-done-s1", "booked", "post", "pest"), broken(verify.RuleState)},
	{"a reservation's state is another", stated(ofReservation, "r-1", "committed", `"quantity":2`, `"quantity":3`), broken(verify.RuleState)},
	{"a stock's state is another", stated(ofStock, "rare", "received", `"on_hand":1`, `"on_hand":2`), broken(verify.RuleState)},
	{"a received quantity is another", forged(func(t testing.TB, w *world) {
		w.edit(t, w.at(t, ofStock, "beans", "adjusted", 0), data, "-3", "-4")
	}), broken(verify.RuleState)},
	{"a notification's state is another", stated(ofNotification, "o-open-confirmed", "delivered", `"tries":1`, `"tries":2`),
		broken(verify.RuleState)},
	{"an item's state is another", stated(ofCatalog, "rare", "put", "999", "99"), broken(verify.RuleState)},
	{"a webhook's state is another", stated(ofWebhook, "w-1", "put", "127.0.0.1", "127.0.0.2"), broken(verify.RuleState)},
	{"a webhook is deleted by name only", forged(func(t testing.TB, w *world) {
		w.both(t, w.at(t, ofWebhook, "w-1", "deleted", 0), `,"deleted":true`, ``)
	}), broken(verify.RuleState)},
	{"a claim's state is another", forged(func(t testing.TB, w *world) { w.edit(t, 0, state, `"role":"inventory"`, `"role":"process"`) }),
		broken(verify.RuleState)},
	{"a split makes units", stated(ofShipment, "o-split-s2", "planned", `"quantity":2`, `"quantity":3`), broken(verify.RuleState)},

	{"an order is completed without leaving", dropped(ofOrder, "o-gift", "fulfilling"), broken(verify.RuleTransition)},
	{"an order is completed twice", repeated(ofOrder, "o-gift", "completed"), broken(verify.RuleTransition)},
	{"a payment is authorized out of nothing", dropped(ofPayment, "o-done-pay", "processing"), broken(verify.RuleTransition)},
	{"a payment is voided without being asked to", repeated(ofPayment, "p-1", "voiding"), broken(verify.RuleTransition)},
	{"a refund is settled twice", repeated(ofRefund, "p-1", "settled"), broken(verify.RuleTransition)},
	{"a shipment leaves that was not booked", dropped(ofShipment, "o-gift-s1", "booked"), broken(verify.RuleTransition)},
	{"a reservation is released twice", repeated(ofReservation, "r-1", "released"), broken(verify.RuleTransition)},
	{"a reservation is held twice", repeated(ofReservation, "o-open-res", "held"), broken(verify.RuleTransition)},
	{"a notification is delivered that was not queued", dropped(ofNotification, "o-open-confirmed", "queued"), broken(verify.RuleTransition)},
}

// moneyDamages are such to the sums of money and stock.
var moneyDamages = []damage{
	{"an order's total is wrong", forged(func(t testing.TB, w *world) {
		w.everywhere(t, ofOrder, "o-open", `"total":{"amount":298,"currency":"EUR"},"fulfilment"`,
			`"total":{"amount":299,"currency":"EUR"},"fulfilment"`)
	}), broken(verify.RuleMoney)},
	{"an order's tax is wrong", forged(func(t testing.TB, w *world) {
		w.everywhere(t, ofOrder, "o-open", `"tax":{"amount":48`, `"tax":{"amount":47`)
	}), broken(verify.RuleMoney)},
	{"an order can't be priced", forged(func(t testing.TB, w *world) {
		w.everywhere(t, ofOrder, "o-short", `"quantity":2`, `"quantity":0`)
	}), broken(verify.RuleMoney)},
	{"a payment is not the order's total", forged(func(t testing.TB, w *world) {
		w.everywhere(t, ofPayment, "o-open-pay", `"amount":298`, `"amount":297`)
		w.ledger[w.entry(t, "authorize", "o-open-pay")].Amount.Amount = 297
	}), broken(verify.RuleMoney)},
	{"more is captured than was meant to be", forged(func(t testing.TB, w *world) {
		w.edit(t, w.at(t, ofPayment, "p-1", "captured", 1), data, "300", "900")
	}), broken(verify.RuleMoney)},
	{"more is to be captured than is authorized", forged(func(t testing.TB, w *world) {
		w.edit(t, w.at(t, ofPayment, "p-1", "capturing", 1), data, "300", "900")
	}), broken(verify.RuleMoney)},
	{"more is captured than authorized, behind an event that can't be read", func(t testing.TB, w *world) {
		w.everywhere(t, ofPayment, "p-1", `"captured":{"amount":600`, `"captured":{"amount":800`)
		w.relink()
		unreadable(&w.records[w.at(t, ofPayment, "p-1", "capturing", 1)])
	}, broken(verify.RuleBody, verify.RuleMoney)},
	{"more is refunded than captured", forged(func(t testing.TB, w *world) {
		w.everywhere(t, ofRefund, "p-1", `"amount":500`, `"amount":601`)
		w.ledger[w.entry(t, "refund", "some")].Amount.Amount = 601
	}), broken(verify.RuleMoney)},
	{"another amount is settled than was to be refunded", forged(func(t testing.TB, w *world) {
		w.edit(t, w.at(t, ofRefund, "p-1", "settled", 0), data, "500", "400")
	}), broken(verify.RuleMoney)},
	{"a refund is of nothing", forged(func(t testing.TB, w *world) {
		w.edit(t, w.at(t, ofRefund, "p-1", "pending", 0), data, "500", "0")
	}), broken(verify.RuleMoney)},

	{"what is reserved was never received", dropped(ofStock, "gift", "received"), broken(verify.RuleStock)},
	{"a reference is used twice", repeated(ofStock, "rare", "received"), broken(verify.RuleStock)},
	{"stock is adjusted below nothing", forged(func(t testing.TB, w *world) {
		w.drop(w.at(t, ofStock, "beans", "received", 0))
	}), broken(verify.RuleStock)},
	{"goods leave that stay in the stock", dropped(ofReservation, "o-gift-res", "consumed"), broken(verify.RuleStock, verify.RuleReference)},
	{"other goods leave than are consumed", forged(func(t testing.TB, w *world) {
		i := w.at(t, ofReservation, "o-done-res", "consumed", 0)
		w.edit(t, i, data, `{"sku":"beans","quantity":1},`, ``)
		w.edit(t, i, state, `"shipment_id":"o-done-s1","lines":[{"sku":"beans","quantity":1},`, `"shipment_id":"o-done-s1","lines":[`)
		w.edit(t, i, state, `"status":"consumed"`, `"status":"partially_consumed"`)
	}), broken(verify.RuleStock, verify.RuleReference)},
}
