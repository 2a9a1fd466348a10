// Package bench holds the workloads that measure a site, and what is needed to run them: orders as a till places them, a
// closed loop of callers, and percentiles.
package bench

import (
	"context"
	"fmt"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"waybill/client"
	"waybill/internal/id"
	"waybill/subjects"
)

// SKUs is how many items the workload's catalog has.
const SKUs = 20

// own begins the ids of what a workload writes: a shop that is measured has none like it.
const own = "waybill-bench-"

// SKU names the n-th item.
func SKU(n int) id.SKU { return id.SKU(fmt.Sprintf(own+"%02d", n%SKUs)) }

// Prepare puts the workload's catalog and receives stock enough for any run. It may be called again on the same site.
func Prepare(ctx context.Context, c *client.Client) error {
	for i := range SKUs {
		put := subjects.PutItemRequest{SKU: SKU(i), Name: fmt.Sprintf("Of a benchmark, %d", i), UnitPrice: subjects.Money{Amount: int64(100 + 10*i), Currency: "EUR"}, TaxRateBP: 1900}
		if _, err := client.Call(ctx, c, subjects.CatalogPut, &put); err != nil {
			return err
		}
		for n := range 10 {
			receive := subjects.ReceiveRequest{SKU: SKU(i), Quantity: subjects.MaxQuantity, Reference: id.Reference(fmt.Sprintf("bench-%d", n))}
			if _, err := client.Call(ctx, c, subjects.InventoryReceive, &receive); err != nil {
				return err
			}
		}
	}
	return nil
}

// Order is a shipped order of two lines, paid by card, of one of a thousand customers.
func Order(n int) *subjects.PlaceRequest {
	return &subjects.PlaceRequest{
		OrderID: id.Order(id.New()), CustomerID: id.Customer(fmt.Sprintf(own+"%d", n%1000)), Email: "customer@example.com",
		Lines:      []subjects.StockLine{{SKU: SKU(n), Quantity: 1}, {SKU: SKU(n + 7), Quantity: 2}},
		Fulfilment: subjects.Ship,
		ShipTo:     &subjects.Address{Name: "Ada Lovelace", Line1: "12 Main Street", City: "Berlin", PostalCode: "10115", Country: "DE"},
		Payment:    subjects.PlacePayment{Method: subjects.Card, Token: "tok_ok"},
	}
}

// Result is what a closed loop measured. Latencies holds every successful call's, sorted.
type Result struct {
	Count, Errors int
	Took          time.Duration
	Latencies     []time.Duration
	FirstError    error
}

// Rate is successful calls per second.
func (r Result) Rate() float64 { return float64(r.Count) / r.Took.Seconds() }

// Percentile is the latency that the share p (0 to 1) of the calls did not exceed; 0 without calls.
func (r Result) Percentile(p float64) time.Duration {
	if len(r.Latencies) == 0 {
		return 0
	}
	return r.Latencies[min(int(p*float64(len(r.Latencies))), len(r.Latencies)-1)]
}

// LoopFor is Loop for a length of time: no call begins after it, and those under way are finished. ctx is each call's own.
func LoopFor(ctx context.Context, callers int, length time.Duration, call func(ctx context.Context, n int) error) Result {
	begin, cancel := context.WithTimeout(ctx, length)
	defer cancel()
	return Loop(begin, callers, math.MaxInt, func(_ context.Context, n int) error { return call(ctx, n) })
}

// Loop has callers call without pause, each when its last call has returned, until calls of them are done or ctx ends. call is
// told which call of the loop it is, from 0.
func Loop(ctx context.Context, callers, calls int, call func(ctx context.Context, n int) error) Result {
	var next atomic.Int64
	var mu sync.Mutex
	var out Result
	var running sync.WaitGroup
	start := time.Now()
	for range callers {
		running.Go(func() {
			var mine Result
			for ctx.Err() == nil {
				n := int(next.Add(1)) - 1
				if n >= calls {
					break
				}
				began := time.Now()
				if err := call(ctx, n); err != nil {
					mine.Errors++
					if mine.FirstError == nil {
						mine.FirstError = err
					}
					continue
				}
				mine.Latencies = append(mine.Latencies, time.Since(began))
			}
			mu.Lock()
			defer mu.Unlock()
			out.Errors += mine.Errors
			out.Latencies = append(out.Latencies, mine.Latencies...)
			if out.FirstError == nil {
				out.FirstError = mine.FirstError
			}
		})
	}
	running.Wait()
	out.Took = time.Since(start)
	out.Count = len(out.Latencies)
	slices.Sort(out.Latencies)
	return out
}
