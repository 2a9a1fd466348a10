package bench_test

import (
	"strings"
	"testing"

	"waybill/bench"
	"waybill/internal/nodetest"
	"waybill/subjects"
)

// A site that sells keeps its items as they are: the benchmark's have names of their own.
func TestPrepareLeavesOthersAlone(t *testing.T) {
	c := nodetest.Start(t).Client(t)
	before, err := c.Catalog.Put(t.Context(), subjects.PutItemRequest{SKU: "item-00", Name: "Tea", UnitPrice: subjects.Money{Amount: 5, Currency: "EUR"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := bench.Prepare(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	w, err := bench.PutItems(t.Context(), c)
	if err == nil {
		err = w.Call(t.Context(), 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	page, err := c.Catalog.List(t.Context(), subjects.Page{Limit: subjects.MaxLimit})
	if err != nil || len(page.Items) != 1+bench.SKUs+1 {
		t.Fatalf("%d items, %v", len(page.Items), err)
	}
	for _, item := range page.Items {
		if item.SKU == before.SKU && item.Name == "Tea" {
			continue
		}
		if !strings.HasPrefix(string(item.SKU), "waybill-bench-") {
			t.Errorf("the benchmark made the item %s", item.SKU)
		}
	}
}
