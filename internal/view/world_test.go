package view_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"waybill/internal/timestamp"
	"waybill/internal/view"
	"waybill/subjects"
)

// world makes the events of a busy site, the same ones at every run.
type world struct {
	sequence uint64
	clock    time.Time
	orders   int
	events   []view.Event
}

func newWorld() *world {
	return &world{clock: time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)}
}

// orderID is the id of the n-th order, as random as a real one: the indexes over ids are the dearest part of a write.
func orderID(n int) string {
	return fmt.Sprintf("o%016x-%06d", rand.New(rand.NewPCG(1, uint64(n))).Uint64(), n)
}

var goods = []string{"espresso|Espresso", "flat-white|Flat White", "croissant|Croissant au Beurre", "beans-1kg|House Beans 1 kg",
	"mug-blue|Mug, Blue Glaze", "filter-100|Paper Filters (100)", "tea-earl|Earl Grey Tea", "cake-carrot|Carrot Cake Slice"}

func (w *world) add(kind subjects.Kind, id, event, format string, args ...any) {
	w.sequence++
	w.events = append(w.events, view.Event{Sequence: w.sequence, Kind: kind, ID: id,
		EventID: fmt.Sprintf("%032x", w.sequence*2654435761), State: fmt.Appendf(nil, format, args...)})
}

// How much of an order's life to make.
const (
	lastStates = iota // one event for each aggregate, parts for one order in ten
	confirmed         // until it is planned
	completed         // until it is delivered
)

// order adds the life of one order. One in 50 is rejected, one in 100 waits for the customer.
func (w *world) order(life int) {
	n := w.orders
	w.orders++
	w.clock = w.clock.Add(700 * time.Millisecond)
	id, customer := orderID(n), fmt.Sprintf("cust-%05d", (n*7919)%5000)
	if n%3 == 0 {
		customer = "walk-in"
	}
	created := timestamp.Of(w.clock)
	var lines []string
	for i := range 1 + n%3 {
		sku, name, _ := strings.Cut(goods[(n+3*i)%len(goods)], "|")
		lines = append(lines, fmt.Sprintf(`{"sku":%q,"name":%q,"quantity":2,"unit_price":{"amount":450,"currency":"EUR"}`+
			`,"tax_rate_bp":1900,"total":{"amount":900,"currency":"EUR"}}`, sku, name))
	}
	sealed := strings.Repeat("QUJD", 40)
	order := func(event, status, due string) {
		w.add(subjects.KindOrder, id, event, `{"order_id":%q,"status":%q,"customer_id":%q,"lines":[%s]`+
			`,"subtotal":{"amount":900,"currency":"EUR"},"tax":{"amount":171,"currency":"EUR"},"total":{"amount":1071,"currency":"EUR"}`+
			`,"fulfilment":"ship","payment_method":"card"`+
			`,"sealed":%q,"request_hash":"%064x","payment_id":"%s-pay","reservation_id":"%s-res"`+
			`,"created_at":%q,"updated_at":%q%s}`,
			id, status, customer, strings.Join(lines, ","), sealed, n, id, id, created.String(), timestamp.Of(w.clock).String(), due)
	}
	payment := func(event, status, due string) {
		w.add(subjects.KindPayment, id+"-pay", event, `{"payment_id":"%s-pay","order_id":%q,"method":"card","status":%q`+
			`,"amount":{"amount":1071,"currency":"EUR"},"authorized":{"amount":1071,"currency":"EUR"}`+
			`,"captured":{"amount":0,"currency":"EUR"},"token_hint":"k_ok","captures":[]`+
			`,"created_at":%q,"updated_at":%q%s}`,
			id, id, status, created.String(), timestamp.Of(w.clock).String(), due)
	}
	shipment := func(event, status string) {
		w.add(subjects.KindShipment, id+"-s1", event, `{"shipment_id":"%s-s1","order_id":%q,"status":%q,"lines":[{"sku":"espresso","quantity":2}]`+
			`,"carrier":"post","tracking":"","updated_at":%q}`,
			id, id, status, timestamp.Of(w.clock).String())
	}
	notification := func(name, event, status, due string) {
		w.add(subjects.KindNotification, id+"-"+name, event, `{"notification_id":"%s-%s","order_id":%q,"event":%q,"status":%q`+
			`,"tries":1,"body":%q%s}`, id, name, id, name, status, strings.Repeat("text ", 30), due)
	}
	due := fmt.Sprintf(`,"due_at":%q`, timestamp.Of(w.clock.Add(30*time.Second)).String())
	if life == lastStates {
		switch {
		case n%100 == 99:
			order("needs_action", "needs_action", due)
		case n%50 == 49:
			order("rejected", "rejected", "")
		default:
			order("completed", "completed", "")
		}
		if n%10 == 0 {
			payment("captured", "captured", "")
			shipment("delivered", "delivered")
		}
		return
	}
	order("placed", "pending", due)
	w.add(subjects.KindReservation, id+"-res", "held", `{"reservation_id":"%s-res","status":"held"}`, id)
	payment("created", "created", "")
	payment("processing", "processing", due)
	payment("authorized", "authorized", "")
	switch {
	case n%100 == 99:
		order("needs_action", "needs_action", due)
		return
	case n%50 == 49:
		order("rejected", "rejected", "")
		return
	}
	order("confirmed", "confirmed", "")
	notification("confirmed", "queued", "queued", due)
	shipment("planned", "pending")
	notification("confirmed", "delivered", "delivered", "")
	if life == confirmed {
		return
	}
	shipment("booked", "booked")
	w.add(subjects.KindReservation, id+"-res", "consumed", `{"reservation_id":"%s-res","status":"consumed"}`, id)
	payment("captured", "captured", "")
	shipment("dispatched", "dispatched")
	order("fulfilling", "fulfilling", "")
	shipment("delivered", "delivered")
	order("completed", "completed", "")
}

// interleave merges the events of orders that are under way at the same time, as many as given, and numbers them anew.
func interleave(events []view.Event, atOnce int) []view.Event {
	var merged []view.Event
	lives := map[string][]view.Event{}
	var underWay []string
	order := func(e *view.Event) string { return e.ID[:len(orderID(0))] }
	turn := func() {
		still := underWay[:0]
		for _, id := range underWay {
			merged = append(merged, lives[id][0])
			if lives[id] = lives[id][1:]; len(lives[id]) > 0 {
				still = append(still, id)
			} else {
				delete(lives, id)
			}
		}
		underWay = still
	}
	for i := range events {
		id := order(&events[i])
		if _, ok := lives[id]; !ok {
			for len(underWay) >= atOnce {
				turn()
			}
			underWay = append(underWay, id)
		}
		lives[id] = append(lives[id], events[i])
	}
	for len(underWay) > 0 {
		turn()
	}
	for i := range merged {
		merged[i].Sequence = uint64(i + 1)
	}
	return merged
}

// take returns the events made since the last take.
func (w *world) take() []view.Event {
	e := w.events
	w.events = nil
	return e
}

func open(t testing.TB, path string) *view.View {
	t.Helper()
	v, err := view.Open(t.Context(), path, zerolog.New(zerolog.NewTestWriter(t)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := v.Close(); err != nil {
			t.Error(err)
		}
	})
	return v
}

// apply applies events in batches of size.
func apply(t testing.TB, v *view.View, events []view.Event, size int) {
	t.Helper()
	for len(events) > 0 {
		n := min(size, len(events))
		if err := v.Apply(t.Context(), events[:n]); err != nil {
			t.Fatal(err)
		}
		events = events[n:]
	}
}
