package node_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"waybill/internal/fault"
	"waybill/internal/id"
	"waybill/internal/rpc"
	"waybill/subjects"
)

// script is a day at a site, told as plots that go on side by side: every outcome of an order, and what people do with stock,
// payments and shipments. A plot remembers how far it came: when the site dies under it, it goes on with the request that was
// not answered, and asks just the same again.
type script struct {
	acts [][]*plot // one after the other; the plots of one at once

	mu   sync.Mutex
	told map[id.Order]subjects.OrderStatus // what order.place answered last
}

// plot is one customer's or clerk's day.
type plot struct {
	name  string
	steps []step
	done  int
}

// step is one request or wait. It may be done again from its beginning.
type step func(ctx context.Context, c *dialed) error

// run goes on with the script where it stopped. Its error is that of the first plot which could not go on.
func (s *script) run(ctx context.Context, c *dialed) error {
	for _, act := range s.acts {
		failed := make([]error, len(act))
		var all sync.WaitGroup
		for i, p := range act {
			all.Go(func() {
				for p.done < len(p.steps) {
					if err := p.steps[p.done](ctx, c); err != nil {
						failed[i] = fmt.Errorf("%s, step %d: %w", p.name, p.done+1, err)
						return
					}
					p.done++
				}
			})
		}
		all.Wait()
		if err := errors.Join(failed...); err != nil {
			return err
		}
	}
	return nil
}

// request is a step that asks for something and gets it. What the site refuses for good is in may, where it is no failure:
// after a crash the other outcome may be the right one.
func request[Req, Res any](e subjects.Endpoint[Req, Res], r Req, may ...fault.Code) step {
	return requestWith(e, r, nil, may...)
}

func requestWith[Req, Res any](e subjects.Endpoint[Req, Res], r Req, options []rpc.CallOption, may ...fault.Code) step {
	return func(ctx context.Context, c *dialed) error {
		return persist(ctx, func(ctx context.Context) error {
			q := r // the site's checks may write to it
			_, err := rpc.Call(ctx, c.caller, e, &q, options...)
			for _, code := range may {
				if isRefused(err, code) {
					return nil
				}
			}
			return err
		})
	}
}

// persist asks again, as any till does, while the site says that it can't at the moment, for 20 s at most.
func persist(ctx context.Context, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		err := f(ctx)
		if err == nil || !fault.CodeOf(err).Retryable() {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return err
		}
	}
}

// order places an order and takes note of the answer.
func (s *script) order(r subjects.PlaceRequest) step {
	return func(ctx context.Context, c *dialed) error {
		return persist(ctx, func(ctx context.Context) error {
			q := r
			q.Lines = append([]subjects.StockLine(nil), r.Lines...)
			o, err := rpc.Call(ctx, c.caller, subjects.OrderPlace, &q)
			if err != nil {
				return err
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			s.told[r.OrderID] = o.Status
			return nil
		})
	}
}

// reach waits until the order has one of the statuses.
func reach(o id.Order, statuses ...subjects.OrderStatus) step {
	return func(ctx context.Context, c *dialed) error {
		return persist(ctx, func(ctx context.Context) error {
			info, err := rpc.Call(ctx, c.caller, subjects.OrderGet, &subjects.GetOrderRequest{OrderID: o})
			if err != nil {
				return err
			}
			for _, s := range statuses {
				if info.Status == s {
					return nil
				}
			}
			return fault.New(fault.Unavailable, "%s is %s, want one of %v", o, info.Status, statuses)
		})
	}
}

// parcel waits until the order's first shipment is planned.
func parcel(o id.Order) step {
	return func(ctx context.Context, c *dialed) error {
		return persist(ctx, func(ctx context.Context) error {
			_, err := rpc.Call(ctx, c.caller, subjects.ShippingGet, &subjects.ShipmentRequest{ShipmentID: id.ShipmentOf(o, 1)})
			if isRefused(err, fault.NotFound) {
				return fault.New(fault.Unavailable, "%s has no shipment yet", o)
			}
			return err
		})
	}
}

func verb(e subjects.Endpoint[subjects.ShipmentRequest, subjects.ShipmentInfo], o id.Order, n int, may ...fault.Code) step {
	return request(e, subjects.ShipmentRequest{ShipmentID: id.ShipmentOf(o, n), Carrier: "van", Reason: "nobody at home"}, may...)
}

func change(key, value string) step {
	return request(subjects.ConfigSet, subjects.SetRequest{Key: key, Value: subjects.Raw(value)})
}

// scripted is the script. Each plot has an SKU of its own, of which there are ten.
func scripted() *script {
	s := &script{told: make(map[id.Order]subjects.OrderStatus)}
	by := func(o id.Order, token string, n int64) subjects.PlaceRequest {
		return card(o, token, line(id.SKU(o), n))
	}
	inCash := func(r subjects.PlaceRequest) subjects.PlaceRequest {
		r.Payment = subjects.PlacePayment{Method: subjects.Cash}
		return r
	}
	fetched := func(r subjects.PlaceRequest) subjects.PlaceRequest {
		r.Fulfilment, r.ShipTo = subjects.Pickup, nil
		return r
	}
	euros := func(cents int64) subjects.Money { return subjects.Money{Amount: cents, Currency: "EUR"} }
	stockUp := func(names ...id.SKU) []*plot {
		var out []*plot
		for _, sku := range names {
			out = append(out, &plot{name: "stock of " + string(sku), steps: []step{
				request(subjects.CatalogPut, subjects.PutItemRequest{SKU: sku, Name: "Item " + string(sku), UnitPrice: euros(250), TaxRateBP: 1900}),
				request(subjects.InventoryReceive, subjects.ReceiveRequest{SKU: sku, Quantity: 10, Reference: "opening"}),
			}})
		}
		return out
	}
	cancelled := func(o id.Order) step {
		return request(subjects.OrderCancel, subjects.CancelRequest{OrderID: o, Reason: "changed my mind"})
	}
	own := []subjects.StockLine{line("own-held", 2)}
	resume := request(subjects.PaymentResume, subjects.ResumeRequest{PaymentID: id.PaymentOf("act"), Token: "tok_ok"}, fault.FailedPrecondition)

	settings := &plot{name: "settings", steps: []step{
		change("payment.gateway_timeout", `"300ms"`), change("order.pending_grace", `"100ms"`), change("order.retry_interval", `"100ms"`),
	}}
	day := []*plot{
		{name: "shipped in two parts", steps: []step{
			s.order(by("parts", "tok_ok", 5)), parcel("parts"),
			requestWith(subjects.ShippingSplit,
				subjects.ShipmentRequest{ShipmentID: id.ShipmentOf("parts", 1), Lines: []subjects.StockLine{line("parts", 2)}},
				[]rpc.CallOption{rpc.WithIdempotencyKey("split-1")}),
			verb(subjects.ShippingBook, "parts", 1), verb(subjects.ShippingBook, "parts", 2),
			verb(subjects.ShippingDispatch, "parts", 1), verb(subjects.ShippingDeliver, "parts", 1),
			verb(subjects.ShippingDispatch, "parts", 2), verb(subjects.ShippingFail, "parts", 2),
			verb(subjects.ShippingDispatch, "parts", 2), verb(subjects.ShippingDeliver, "parts", 2),
			reach("parts", "completed"),
			request(subjects.PaymentRefund, subjects.RefundRequest{PaymentID: id.PaymentOf("parts"), RefundID: "goodwill", Amount: euros(100)}),
		}},
		{name: "sent back", steps: []step{
			s.order(by("back", "tok_ok", 2)), parcel("back"), verb(subjects.ShippingBook, "back", 1), verb(subjects.ShippingDispatch, "back", 1),
			verb(subjects.ShippingFail, "back", 1), verb(subjects.ShippingReturn, "back", 1), reach("back", "needs_action"),
		}},
		{name: "picked up", steps: []step{
			s.order(fetched(by("fetch", "tok_ok", 3))), parcel("fetch"),
			verb(subjects.ShippingPrepare, "fetch", 1), verb(subjects.ShippingReady, "fetch", 1),
			verb(subjects.ShippingDeliver, "fetch", 1), reach("fetch", "completed"),
		}},
		{name: "picked up for cash", steps: []step{
			s.order(inCash(fetched(by("cash", "", 3)))), parcel("cash"),
			verb(subjects.ShippingPrepare, "cash", 1), verb(subjects.ShippingReady, "cash", 1),
			verb(subjects.ShippingDeliver, "cash", 1), reach("cash", "completed"),
		}},
		{name: "cancelled", steps: []step{s.order(by("undo", "tok_ok", 4)), parcel("undo"), cancelled("undo"), reach("undo", "cancelled")}},
		{name: "cancelled for cash", steps: []step{s.order(inCash(by("unpaid", "", 4))), cancelled("unpaid"), reach("unpaid", "cancelled")}},
		{name: "declined", steps: []step{s.order(by("broke", "tok_declined", 1)), reach("broke", "rejected")}},
		{name: "out of stock", steps: []step{s.order(by("empty", "tok_ok", 11)), reach("empty", "rejected")}},
		{name: "no answer from the gateway", steps: []step{s.order(by("mute", "tok_timeout", 2)), reach("mute", "confirmed")}},
		{name: "the customer must act", steps: []step{
			s.order(by("act", "tok_action_required", 2)), reach("act", "needs_action", "rejected"), resume, reach("act", "confirmed", "rejected"),
		}},
		{name: "a clerk", steps: []step{
			request(subjects.InventoryReserve, subjects.ReserveRequest{ReservationID: "own-1", Lines: own, TTL: subjects.Duration(time.Hour)}),
			request(subjects.InventoryExtend, subjects.ReservationRequest{ReservationID: "own-1", TTL: subjects.Duration(2 * time.Hour)}),
			request(subjects.InventoryCommit, subjects.ReservationRequest{ReservationID: "own-1"}),
			request(subjects.InventoryConsume, subjects.ConsumeRequest{ReservationID: "own-1", ShipmentID: "by-hand", Lines: own}),
			request(subjects.InventoryReserve, subjects.ReserveRequest{ReservationID: "own-2", Lines: own, TTL: subjects.Duration(time.Hour)}),
			request(subjects.InventoryRelease, subjects.ReservationRequest{ReservationID: "own-2"}),
			request(subjects.InventoryReserve, subjects.ReserveRequest{ReservationID: "own-3", Lines: own, TTL: subjects.Duration(200 * time.Millisecond)}),
			request(subjects.InventoryAdjust, subjects.AdjustRequest{SKU: "own-held", Quantity: -1, Reference: "broken"}),
			request(subjects.InventoryReceive, subjects.ReceiveRequest{SKU: "own-held", Quantity: 4, Reference: "delivery"}),
		}},
	}
	// Each setting has an act of its own before it, so that nothing is done under half of them: an order that is paid while orders
	// expire after a second would expire itself where the machine is slow.
	evening := &plot{name: "the evening's settings", steps: []step{change("payment.capture", `"on_confirm"`)}}
	paid := &plot{name: "cancelled after it was paid", steps: []step{
		s.order(by("paid", "tok_ok", 2)), reach("paid", "confirmed"), cancelled("paid"), reach("paid", "cancelled"),
	}}
	hurry := &plot{name: "the night's settings", steps: []step{change("order.pending_timeout", `"1s"`)}}
	night := []*plot{
		{name: "expired", steps: []step{s.order(by("never", "tok_unavailable", 2)), reach("never", "expired")}},
		{name: "expired while the customer was to act", steps: []step{s.order(by("idle", "tok_action_required", 2)), reach("idle", "expired", "rejected")}},
	}
	s.acts = [][]*plot{
		append(stockUp("parts", "back", "fetch", "cash", "undo", "unpaid", "broke", "empty", "mute", "act", "own-held", "never", "idle", "paid"),
			settings),
		day, {evening}, {paid}, {hurry}, night,
	}
	return s
}

// check compares what was answered with what has become of it.
func (s *script) check(t testing.TB, c *dialed) {
	t.Helper()
	ends := map[id.Order]subjects.OrderStatus{
		"parts": "completed", "fetch": "completed", "cash": "completed", "undo": "cancelled", "unpaid": "cancelled", "paid": "cancelled",
		"back":  "needs_action",
		"broke": "rejected", "empty": "rejected", "mute": "confirmed", "never": "expired",
	}
	for o, told := range s.told {
		now, err := ask(c, 5*time.Second, subjects.OrderGet, subjects.GetOrderRequest{OrderID: o})
		if err != nil {
			t.Errorf("%s was answered %s: %v", o, told, err)
			continue
		}
		if want, ok := ends[o]; ok && now.Status != want {
			t.Errorf("%s is %s, want %s", o, now.Status, want)
		}
		if told == "confirmed" && (now.Status == "rejected" || now.Status == "expired" || now.Status == "pending") {
			t.Errorf("%s was confirmed and is %s", o, now.Status)
		}
	}
	for sku, want := range map[id.SKU]subjects.Stock{
		"parts": {OnHand: 5}, "back": {OnHand: 8}, "fetch": {OnHand: 7}, "cash": {OnHand: 7}, "undo": {OnHand: 10}, "unpaid": {OnHand: 10},
		"broke": {OnHand: 10},
		"empty": {OnHand: 10}, "mute": {OnHand: 10, Reserved: 2}, "never": {OnHand: 10}, "paid": {OnHand: 10}, "own-held": {OnHand: 11},
	} {
		want.SKU, want.Available = sku, want.OnHand-want.Reserved
		if got := stockOf(t, c, sku); got != want {
			t.Errorf("the stock is %+v, want %+v", got, want)
		}
	}
}
