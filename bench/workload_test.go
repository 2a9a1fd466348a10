package bench_test

import (
	"testing"
	"time"

	"waybill/bench"
	"waybill/configs"
	"waybill/internal/id"
	"waybill/internal/nodetest"
)

// An order that is answered and not confirmed is an error, and so is a refusal: neither is in the rate.
func TestOrdersThatAreNotConfirmed(t *testing.T) {
	n := nodetest.Start(t, nodetest.WithConfig(func(c *configs.Config) { c.Durability = configs.Fast }))
	c := n.Client(t)
	w, err := bench.PlaceOrders(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	l := bench.Load{Callers: 2, Length: 100 * time.Millisecond}
	if m := bench.Measure(t.Context(), l, nil, w.Call); m.Count != 0 || m.Errors["failed_precondition"] == 0 || len(m.Errors) != 1 {
		t.Errorf("without a catalog: %d succeeded, %v: %v", m.Count, m.Errors, m.First)
	}
	skus := make([]id.SKU, bench.SKUs)
	for i := range skus {
		skus[i] = bench.SKU(i)
	}
	nodetest.Stock(t, c, 1, skus...) // an order wants two of one item
	m := bench.Measure(t.Context(), l, nil, w.Call)
	if m.Count != 0 || m.Errors["order_rejected"] == 0 || len(m.Errors) != 1 {
		t.Errorf("without stock: %d succeeded, %v: %v", m.Count, m.Errors, m.First)
	}
	run, err := bench.RunOf(w, l, m, nil, false)
	if err != nil || run.Durability != configs.Fast || run.Rate != 0 || run.Latencies != nil || run.ErrorLatencies == nil || run.ErrorCount != m.Errors["order_rejected"] {
		t.Errorf("%+v, %v", run, err)
	}
}
