//go:build linux

package faults

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"waybill/client"
	"waybill/internal/fault"
	"waybill/internal/id"
	"waybill/subjects"
)

// customers place orders, and remember what they asked for and what they were told.
type customers struct {
	mu    sync.Mutex
	asked map[id.Order]order
	wrong []string // what they were told that can't be true
	last  atomic.Int64
}

// order is one order as its customer knows it.
type order struct {
	request subjects.PlaceRequest
	begun   time.Time            // when it was asked for first
	status  subjects.OrderStatus // what was answered last; empty for nothing
	told    time.Time            // when the answer came
	whole   time.Time            // when the question was put that this answers
}

func newCustomers() *customers { return &customers{asked: make(map[id.Order]order)} }

// The stock of a site: of the one there is enough, of the other there is not.
const (
	plenty    id.SKU = "plenty"
	few       id.SKU = "few"
	fewOnHand        = 30
)

// open gives a new site its goods, and settings under which a gateway that keeps silent is soon given up.
func open(t testing.TB, c *client.Client) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	for sku, n := range map[id.SKU]int64{plenty: 1_000_000, few: fewOnHand} {
		if _, err := c.Catalog.Put(ctx, subjects.PutItemRequest{
			SKU: sku, Name: "Item " + string(sku), UnitPrice: subjects.Money{Amount: 250, Currency: "EUR"}, TaxRateBP: 1900,
		}); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Inventory.Receive(ctx, subjects.ReceiveRequest{SKU: sku, Quantity: n, Reference: "opening"}); err != nil {
			t.Fatal(err)
		}
	}
	for key, value := range map[string]string{"payment.gateway_timeout": "1s", "order.pending_grace": "200ms", "order.retry_interval": "200ms"} {
		if _, err := c.Config.Set(ctx, key, value); err != nil {
			t.Fatal(err)
		}
	}
}

// request is the i-th order that customers think of.
func request(i int64) subjects.PlaceRequest {
	r := subjects.PlaceRequest{
		OrderID: id.Order(fmt.Sprintf("order-%d", i)), CustomerID: "c-1", Lines: []subjects.StockLine{{SKU: plenty, Quantity: 1 + i%3}},
		Fulfilment: subjects.Pickup, Payment: subjects.PlacePayment{Method: subjects.Card, Token: "tok_ok"},
	}
	switch i % 16 {
	case 3:
		r.Payment.Token = "tok_declined"
	case 7:
		r.Payment.Token = "tok_timeout"
	case 11:
		r.Payment.Token = "tok_slow"
	case 13:
		r.Payment = subjects.PlacePayment{Method: subjects.Cash}
	}
	if i%8 == 5 {
		r.Lines = append(r.Lines, subjects.StockLine{SKU: few, Quantity: 1})
	}
	return r
}

// place asks for an order and takes note of the answer.
func (cs *customers) place(ctx context.Context, c *client.Client, r subjects.PlaceRequest) error {
	now := time.Now()
	cs.mu.Lock()
	if _, known := cs.asked[r.OrderID]; !known {
		cs.asked[r.OrderID] = order{request: r, begun: now}
	}
	cs.mu.Unlock()
	q := r // the client may write to it
	q.Lines = append([]subjects.StockLine(nil), r.Lines...)
	info, err := c.Orders.Place(ctx, q)
	if err != nil {
		return err
	}
	cs.mu.Lock()
	defer cs.mu.Unlock()
	o := cs.asked[r.OrderID]
	if done(o.status) && info.Status != o.status {
		cs.wrong = append(cs.wrong, fmt.Sprintf("%s was told to be %s, and later to be %s", r.OrderID, o.status, info.Status))
	}
	if !done(o.status) {
		o.status, o.told, o.whole = info.Status, time.Now(), now
		cs.asked[r.OrderID] = o
	}
	return nil
}

// done reports whether an order's status is the last one that these customers let it have: they neither cancel nor fetch it.
func done(s subjects.OrderStatus) bool { return s == "confirmed" || s == "rejected" }

// crowd has n customers order one thing after the other until ctx ends or stop is called, which returns when all have left.
// An order that is not answered is left to again.
func (cs *customers) crowd(ctx context.Context, c *client.Client, n int) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var all sync.WaitGroup
	for range n {
		all.Go(func() {
			for ctx.Err() == nil {
				if err := cs.place(ctx, c, request(cs.last.Add(1))); err != nil {
					select { // a shop that answers nothing is not asked at once again
					case <-time.After(20 * time.Millisecond):
					case <-ctx.Done():
					}
				}
			}
		})
	}
	return func() { cancel(); all.Wait() }
}

// again asks for orders that were asked for before, those that which picks, until each is answered, for 60 s at most.
func (cs *customers) again(t testing.TB, c *client.Client, which func(order) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	var all sync.WaitGroup
	places := make(chan struct{}, 16)
	for _, o := range cs.orders() {
		if !which(o) {
			continue
		}
		places <- struct{}{}
		all.Go(func() {
			defer func() { <-places }()
			var err error
			for ctx.Err() == nil {
				if err = cs.place(ctx, c, o.request); err == nil {
					return
				}
			}
			t.Errorf("%s is not answered: %v", o.request.OrderID, err)
		})
	}
	all.Wait()
}

// unanswered picks what was not answered.
func unanswered(o order) bool { return o.status == "" }

// orders is a copy of what was asked for.
func (cs *customers) orders() map[id.Order]order {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	return maps.Clone(cs.asked)
}

// asOf is what the customers would know if the world had ended: the answers that came before one moment, of the orders that
// were asked for before another.
func (cs *customers) asOf(answered, begun time.Time) *customers {
	out := newCustomers()
	for name, o := range cs.orders() {
		if o.begun.After(begun) {
			continue
		}
		if o.status != "" && !o.told.Before(answered) {
			o.status, o.told, o.whole = "", time.Time{}, time.Time{}
		}
		out.asked[name] = o
	}
	out.last.Store(cs.last.Load())
	return out
}

// told is how many orders the customers know the end of.
func (cs *customers) told() int {
	count := cs.count()
	return count["confirmed"] + count["rejected"]
}

// count says how many orders were answered how.
func (cs *customers) count() map[subjects.OrderStatus]int {
	out := make(map[subjects.OrderStatus]int)
	for _, o := range cs.orders() {
		out[o.status]++
	}
	return out
}

// confirmedSince counts the orders that were confirmed to a question that was put after the moment.
func (cs *customers) confirmedSince(moment time.Time) (n int) {
	for _, o := range cs.orders() {
		if o.status == "confirmed" && o.whole.After(moment) {
			n++
		}
	}
	return n
}

// served waits until n more orders are answered.
func (cs *customers) served(t testing.TB, n int) {
	t.Helper()
	want := -1
	if err := until(60*time.Second, func() error {
		now := cs.told()
		if want < 0 {
			want = now + n
		}
		if now < want {
			return fmt.Errorf("%d orders are answered, want %d", now, want)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

// flows waits until a new order is confirmed, for d at most, and returns how long that took. Each try is a new order, so that
// it says what the site does now.
func (cs *customers) flows(t testing.TB, c *client.Client, d time.Duration) (took time.Duration, err error) {
	t.Helper()
	begun := time.Now()
	err = until(d, func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		r := request(16 * (cs.last.Add(16) / 16)) // paid with tok_ok, and no line of what there is few of
		err := cs.place(ctx, c, r)
		if err == nil && cs.orders()[r.OrderID].status != "confirmed" {
			err = fmt.Errorf("%s is %s", r.OrderID, cs.orders()[r.OrderID].status)
		}
		return err
	})
	return time.Since(begun), err
}

// refused reports whether the error is the site's own refusal with that code.
func refused(err error, code fault.Code) bool {
	return err != nil && !client.IsNoAnswer(err) && client.CodeOf(err) == code
}
