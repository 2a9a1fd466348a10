package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"waybill/client"
	"waybill/configs"
	"waybill/internal/fault"
	"waybill/internal/id"
	"waybill/internal/money"
	"waybill/subjects"
)

// scene is one order of the demonstration: how it is placed, what the site must answer, what happens then, and how it must
// end. The table of scenes is what the demonstration promises.
type scene struct {
	title  string
	order  subjects.PlaceRequest
	askers int                  // how many ask for this order at the same moment; 0 for one
	slow   bool                 // it waits for the gateway: the others do not wait for it
	answer subjects.OrderStatus // what placing answers
	reason string               // with which reason
	then   func(ctx context.Context, d *demo, placed *subjects.OrderInfo) error
	ends   subjects.OrderStatus
	check  func(o *subjects.OrderInfo) error // what else must hold in the end
}

// silence is how long a payment gateway may take in the demonstration. tok_slow answers sooner, tok_timeout never.
const silence = 800 * time.Millisecond

func demoScenes() []scene {
	return []scene{
		{title: "card, shipped in two parcels", order: shipped("two-parcels", "ada", "tok_ok", line("beans", 2), line("mug", 1)),
			answer: "confirmed", then: twoParcels, ends: "completed", check: capturedInFull},
		{title: "cash, picked up", order: pickedUp("pick-up", "bert", "", line("flat-white", 1), line("croissant", 2)),
			answer: "confirmed", then: pickUp, ends: "completed", check: capturedInFull},
		{title: "card declined", order: pickedUp("declined", "cleo", "tok_declined", line("espresso", 1)),
			answer: "rejected", reason: "payment_declined", ends: "rejected", check: nothingCaptured},
		{title: "card without funds", order: pickedUp("no-funds", "dora", "tok_insufficient_funds", line("sandwich", 3)),
			answer: "rejected", reason: "payment_declined", ends: "rejected", check: declinedFor("insufficient_funds")},
		{title: "more than there is", order: shipped("out-of-stock", "emil", "tok_ok", line("mug", 500)),
			answer: "rejected", reason: "out_of_stock", ends: "rejected", check: nothingCaptured},
		{title: "the bank wants the customer", order: pickedUp("needs-action", "fay", "tok_action_required", line("beans", 1)),
			answer: "needs_action", reason: "payment_action_required", then: resume, ends: "confirmed"},
		{title: "gateway silent, the truth found by asking", order: pickedUp("gateway-silent", "gil", "tok_timeout", line("espresso", 2)),
			slow: true, answer: "pending", then: becomes("confirmed"), ends: "confirmed"},
		{title: "gateway slow", order: pickedUp("gateway-slow", "hana", "tok_slow", line("sandwich", 1)),
			slow: true, answer: "confirmed", ends: "confirmed"},
		{title: "gateway away, the customer gives up", order: pickedUp("gateway-away", "ivo", "tok_unavailable", line("croissant", 1)),
			answer: "pending", then: cancel, ends: "cancelled", check: nothingCaptured},
		{title: "card, cancelled: the money is let go", order: shipped("cancelled-card", "jo", "tok_ok", line("mug", 1)),
			answer: "confirmed", then: cancel, ends: "cancelled", check: nothingCaptured},
		{title: "cash, cancelled: the money goes back", order: pickedUp("cancelled-cash", "kai", "", line("flat-white", 2)),
			answer: "confirmed", then: cancel, ends: "cancelled", check: refundedInFull},
		{title: "cancelled too late: it had left the house", order: shipped("too-late", "lu", "tok_ok", line("beans", 1)),
			answer: "confirmed", then: tooLate, ends: "completed", check: capturedInFull},
		{title: "the same order once more", order: pickedUp("repeat", "mia", "tok_ok", line("espresso", 1)),
			answer: "confirmed", then: repeat, ends: "confirmed"},
		{title: "asked for five times at once", order: pickedUp("storm", "nils", "tok_ok", line("croissant", 1)),
			askers: 5, answer: "confirmed", ends: "confirmed"},
	}
}

func line(sku id.SKU, quantity int64) subjects.StockLine {
	return subjects.StockLine{SKU: sku, Quantity: quantity}
}

// placed is an order, by card where there is a token and in cash else.
func placed(order, customer, token string, lines []subjects.StockLine) subjects.PlaceRequest {
	r := subjects.PlaceRequest{OrderID: id.Order(order), CustomerID: id.Customer(customer), Email: customer + "@example.com", Lines: lines,
		Fulfilment: subjects.Pickup, Payment: subjects.PlacePayment{Method: subjects.Card, Token: token}}
	if token == "" {
		r.Payment.Method = subjects.Cash
	}
	return r
}

func pickedUp(order, customer, token string, lines ...subjects.StockLine) subjects.PlaceRequest {
	return placed(order, customer, token, lines)
}

func shipped(order, customer, token string, lines ...subjects.StockLine) subjects.PlaceRequest {
	r := placed(order, customer, token, lines)
	r.Fulfilment = subjects.Ship
	r.ShipTo = &subjects.Address{Name: customer, Line1: "12 Main Street", City: "Berlin", PostalCode: "10115", Country: "DE"}
	return r
}

// stockShop fills the catalog and the shelves, and makes the gateway's patience short.
func (d *demo) stockShop(ctx context.Context) error {
	for key, value := range map[string]time.Duration{configs.PaymentGatewayTimeout: silence, configs.OrderPendingGrace: 300 * time.Millisecond,
		configs.OrderRetryInterval: 300 * time.Millisecond} {
		if _, err := d.c.Config.Set(ctx, key, value.String()); err != nil {
			return err
		}
	}
	for _, item := range []struct {
		sku      id.SKU
		name     string
		cents    int64
		taxBP    int64
		received int64
	}{
		{"espresso", "Espresso", 250, 1900, 500},
		{"flat-white", "Flat white", 380, 1900, 200},
		{"croissant", "Butter croissant", 220, 700, 200},
		{"sandwich", "Cheese sandwich", 540, 700, 100},
		{"beans", "House beans, 250 g", 890, 700, 80},
		{"mug", "Enamel mug", 1200, 1900, 40},
	} {
		put := subjects.PutItemRequest{SKU: item.sku, Name: item.name, UnitPrice: money.Of(item.cents, "EUR"), TaxRateBP: item.taxBP}
		if _, err := d.c.Catalog.Put(ctx, put); err != nil {
			return err
		}
		receive := subjects.ReceiveRequest{SKU: item.sku, Quantity: item.received, Reference: "opening-stock"}
		if _, err := d.c.Inventory.Receive(ctx, receive); err != nil {
			return err
		}
	}
	return nil
}

// play plays the scenes one after the other, and beside them those that wait for the gateway: they hold up nobody.
func (d *demo) play(ctx context.Context, scenes []scene, each func()) []demoOrder {
	orders := make([]demoOrder, len(scenes))
	var waiting sync.WaitGroup
	for i, s := range scenes {
		if s.slow {
			waiting.Go(func() { orders[i] = d.playOne(ctx, s) })
		}
	}
	for i, s := range scenes {
		if !s.slow {
			orders[i] = d.playOne(ctx, s)
		}
		each()
	}
	waiting.Wait()
	return orders
}

func (d *demo) playOne(ctx context.Context, s scene) demoOrder {
	o := demoOrder{Title: s.title, OrderID: s.order.OrderID, Expected: s.ends}
	problem := func() error {
		begun := time.Now()
		placed, err := d.place(ctx, s.order, max(1, s.askers))
		o.AnswerMS = milliseconds(time.Since(begun))
		if err != nil {
			return err
		}
		o.Answer = placed.Status
		if placed.Status != s.answer || reasonOf(placed.Reason) != s.reason {
			return fmt.Errorf("placing answered %s %s, not %s %s", placed.Status, reasonOf(placed.Reason), s.answer, s.reason)
		}
		if s.then != nil {
			return s.then(ctx, d, placed)
		}
		return nil
	}()
	if problem == nil {
		problem = d.ending(ctx, s, &o)
	}
	if problem != nil {
		o.Problem = problem.Error()
	}
	return o
}

// place has some customers ask for one order at the same moment. All must get the same answer.
func (d *demo) place(ctx context.Context, r subjects.PlaceRequest, askers int) (*subjects.OrderInfo, error) {
	answers, errs := make([]*subjects.OrderInfo, askers), make([]error, askers)
	var all sync.WaitGroup
	for i := range askers {
		all.Go(func() { answers[i], errs[i] = d.c.Orders.Place(ctx, r) })
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	for _, a := range answers {
		if a.Revision != answers[0].Revision {
			return nil, fmt.Errorf("one order came back with the revisions %d and %d", answers[0].Revision, a.Revision)
		}
	}
	return answers[0], nil
}

// ending looks at what became of the order, and compares.
func (d *demo) ending(ctx context.Context, s scene, o *demoOrder) error {
	last, err := d.c.Orders.Get(ctx, s.order.OrderID)
	if err != nil {
		return err
	}
	o.Status, o.Reason, o.Total, o.info = last.Status, reasonOf(last.Reason), last.Total, last
	if last.Status != s.ends {
		return fmt.Errorf("it ended as %s, not %s", last.Status, s.ends)
	}
	if s.check != nil {
		return s.check(last)
	}
	return nil
}

// until waits for an order to be as it should.
func (d *demo) until(ctx context.Context, order id.Order, what string, ok func(*subjects.OrderInfo) bool) (*subjects.OrderInfo, error) {
	ctx, stop := context.WithTimeout(ctx, 20*time.Second)
	defer stop()
	var last *subjects.OrderInfo
	for o, err := range d.c.Watch(ctx, order) {
		if err != nil {
			if last != nil {
				return nil, fmt.Errorf("waiting for %s, it stayed %s: %w", what, last.Status, err)
			}
			return nil, err
		}
		if last = o; ok(o) {
			return o, nil
		}
	}
	return nil, fmt.Errorf("waiting for %s, it ended as %s", what, last.Status)
}

func becomes(status subjects.OrderStatus) func(context.Context, *demo, *subjects.OrderInfo) error {
	return func(ctx context.Context, d *demo, placed *subjects.OrderInfo) error {
		_, err := d.until(ctx, placed.OrderID, string(status), func(o *subjects.OrderInfo) bool { return o.Status == status })
		return err
	}
}

// planned waits for the order's first shipment.
func (d *demo) planned(ctx context.Context, order id.Order) (subjects.ShipmentInfo, error) {
	o, err := d.until(ctx, order, "a shipment", func(o *subjects.OrderInfo) bool { return len(o.Shipments) > 0 })
	if err != nil {
		return subjects.ShipmentInfo{}, err
	}
	return o.Shipments[0], nil
}

// verb is a step of a shipment.
type verb func(client.Shipping, context.Context, subjects.ShipmentRequest) (*subjects.ShipmentInfo, error)

// move takes a shipment through the given steps.
func (d *demo) move(ctx context.Context, shipment id.Shipment, verbs ...verb) error {
	for _, v := range verbs {
		if _, err := v(d.c.Shipping, ctx, subjects.ShipmentRequest{ShipmentID: shipment}); err != nil {
			return err
		}
	}
	return nil
}

func twoParcels(ctx context.Context, d *demo, placed *subjects.OrderInfo) error {
	first, err := d.planned(ctx, placed.OrderID)
	if err != nil {
		return err
	}
	if _, err := d.c.Shipping.Split(ctx, subjects.ShipmentRequest{ShipmentID: first.ShipmentID, Lines: []subjects.StockLine{line("mug", 1)}}); err != nil {
		return err
	}
	o, err := d.c.Orders.Get(ctx, placed.OrderID)
	if err != nil {
		return err
	}
	if len(o.Shipments) != 2 {
		return fmt.Errorf("after the split there are %d shipments, not 2", len(o.Shipments))
	}
	for i, shipment := range o.Shipments {
		book := subjects.ShipmentRequest{ShipmentID: shipment.ShipmentID, Carrier: "dhl", Tracking: fmt.Sprintf("0034-%d", i+1)}
		if _, err := d.c.Shipping.Book(ctx, book); err != nil {
			return err
		}
		if err := d.move(ctx, shipment.ShipmentID, client.Shipping.Dispatch, client.Shipping.Deliver); err != nil {
			return err
		}
	}
	return becomes("completed")(ctx, d, placed)
}

func pickUp(ctx context.Context, d *demo, placed *subjects.OrderInfo) error {
	shipment, err := d.planned(ctx, placed.OrderID)
	if err != nil {
		return err
	}
	if err := d.move(ctx, shipment.ShipmentID, client.Shipping.Prepare, client.Shipping.Ready, client.Shipping.Deliver); err != nil {
		return err
	}
	return becomes("completed")(ctx, d, placed)
}

func resume(ctx context.Context, d *demo, placed *subjects.OrderInfo) error {
	if _, err := d.c.Payments.Resume(ctx, id.PaymentOf(placed.OrderID), "tok_ok"); err != nil {
		return err
	}
	return becomes("confirmed")(ctx, d, placed)
}

func cancel(ctx context.Context, d *demo, placed *subjects.OrderInfo) error {
	if _, err := d.c.Orders.Cancel(ctx, placed.OrderID, "changed their mind"); err != nil {
		return err
	}
	return becomes("cancelled")(ctx, d, placed)
}

func tooLate(ctx context.Context, d *demo, placed *subjects.OrderInfo) error {
	shipment, err := d.planned(ctx, placed.OrderID)
	if err != nil {
		return err
	}
	if err := d.move(ctx, shipment.ShipmentID, client.Shipping.Book, client.Shipping.Dispatch); err != nil {
		return err
	}
	_, err = d.c.Orders.Cancel(ctx, placed.OrderID, "too late")
	if fault.CodeOf(err) != fault.FailedPrecondition {
		return fmt.Errorf("cancelling after the dispatch answered %v, not failed_precondition", err)
	}
	if err := d.move(ctx, shipment.ShipmentID, client.Shipping.Deliver); err != nil {
		return err
	}
	return becomes("completed")(ctx, d, placed)
}

func repeat(ctx context.Context, d *demo, first *subjects.OrderInfo) error {
	again := pickedUp(string(first.OrderID), string(first.CustomerID), "tok_ok", line("espresso", 1))
	o, err := d.c.Orders.Place(ctx, again)
	if err != nil {
		return err
	}
	if o.Revision != first.Revision || o.Status != first.Status {
		return fmt.Errorf("the repeat answered revision %d, %s, not revision %d, %s", o.Revision, o.Status, first.Revision, first.Status)
	}
	return nil
}

func capturedInFull(o *subjects.OrderInfo) error {
	if o.Payment == nil || o.Payment.Captured != o.Total {
		return fmt.Errorf("the payment is %s, and not captured in full", paymentOf(o))
	}
	return nil
}

func nothingCaptured(o *subjects.OrderInfo) error {
	if o.Payment != nil && o.Payment.Captured.Amount != 0 {
		return fmt.Errorf("the payment is %s, and nothing should have been captured", paymentOf(o))
	}
	return nil
}

func refundedInFull(o *subjects.OrderInfo) error {
	if o.Payment == nil || o.Payment.Refunded != o.Total {
		return fmt.Errorf("the payment is %s, and not refunded in full", paymentOf(o))
	}
	return nil
}

func declinedFor(code string) func(*subjects.OrderInfo) error {
	return func(o *subjects.OrderInfo) error {
		if o.Payment == nil || o.Payment.DeclineCode != code {
			return fmt.Errorf("the payment is %s, and not declined for %s", paymentOf(o), code)
		}
		return nothingCaptured(o)
	}
}

func paymentOf(o *subjects.OrderInfo) string {
	if o.Payment == nil {
		return "missing"
	}
	return fmt.Sprintf("%s, authorized %s, captured %s, refunded %s", o.Payment.Status, o.Payment.Authorized, o.Payment.Captured, o.Payment.Refunded)
}
