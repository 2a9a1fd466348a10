package node_test

import (
	"fmt"
	"testing"
	"time"

	"waybill/internal/fault"
	"waybill/internal/id"
	"waybill/internal/nodetest"
	"waybill/subjects"
)

// TestPricesFollowTheCatalog changes a price again and again: an order that comes after the change has the new one, at once in the
// process that made the change, and also where another process of the site takes the order.
func TestPricesFollowTheCatalog(t *testing.T) {
	t.Parallel()
	a := nodetest.Start(t)
	b := beside(t, a)
	c := mustDial(t, a.URL())
	nodetest.Stock(t, c.Client, 1_000, "melon")
	put := func(amount int64) {
		t.Helper()
		if _, err := ask(c, 5*time.Second, subjects.CatalogPut, subjects.PutItemRequest{
			SKU: "melon", Name: "Melon", UnitPrice: subjects.Money{Amount: amount, Currency: "EUR"}}); err != nil {
			t.Fatal(err)
		}
	}
	priced := func(name string, amount int64) error {
		r := card(id.Order(name), "tok_ok", line("melon", 1))
		r.ExpectedTotal = &subjects.Money{Amount: amount, Currency: "EUR"}
		_, err := ask(c, 5*time.Second, subjects.OrderPlace, r)
		return err
	}
	for i := range int64(60) {
		put(100 + i)
		// Which process takes the order is the server's choice; the other one hears of the change a moment later.
		if err := until(2*time.Second, func() error { return priced(fmt.Sprintf("two-%d", i), 100+i) }); err != nil {
			t.Fatalf("price %d: %v", 100+i, err)
		}
	}
	b.Stop()
	for i := range int64(60) {
		put(200 + i)
		if err := priced(fmt.Sprintf("one-%d", i), 200+i); err != nil {
			t.Fatalf("price %d: %v", 200+i, err)
		}
	}
	if err := priced("old", 200); fault.CodeOf(err) != fault.FailedPrecondition {
		t.Errorf("an old price: %v", err)
	}
}
