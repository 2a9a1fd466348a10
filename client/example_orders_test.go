package client_test

import (
	"fmt"

	"waybill/client"
	"waybill/subjects"
)

func ExampleOrders_Get() {
	ctx, c := till()
	placed(ctx, c, "get-1", nil)
	order, err := c.Orders.Get(ctx, "get-1")
	must(err)
	fmt.Println(order.OrderID, order.Lines[0].SKU, order.Total)
	// Output: get-1 espresso 5.95 EUR
}

func ExampleOrders_Cancel() {
	ctx, c := till()
	placed(ctx, c, "cancel-1", nil)
	order, err := c.Orders.Cancel(ctx, "cancel-1", "the customer left")
	must(err)
	fmt.Println(order.OrderID, order.Status)
	// Output: cancel-1 cancelled
}

func ExampleOrders_List() {
	ctx, c := till()
	placed(ctx, c, "list-1", nil)
	page, err := c.Orders.List(ctx, subjects.ListOrdersRequest{Text: "list-1"})
	must(err)
	for _, order := range page.Orders {
		fmt.Println(order.OrderID)
	}
	// Output: list-1
}

func ExampleOrders_All() {
	ctx, c := till()
	placed(ctx, c, "all-1", nil)
	placed(ctx, c, "all-2", nil)
	for order, err := range c.Orders.All(ctx, subjects.ListOrdersRequest{Text: "all-"}) {
		must(err)
		fmt.Println(order.OrderID)
	}
	// Output:
	// all-2
	// all-1
}

func ExampleOrders_History() {
	ctx, c := till()
	placed(ctx, c, "history-1", nil)
	history, err := c.Orders.History(ctx, "history-1")
	must(err)
	fmt.Println(history.Events[0].Type)
	// Output: waybill.order.placed.v1
}

// An id of the caller's own is best written down before the order is placed: whatever happens then, it can be asked for.
func ExampleNewOrderID() {
	ctx, c := till()
	order := placed(ctx, c, client.NewOrderID(), nil)
	fmt.Println(order.Status == "confirmed" || order.Status == "fulfilling")
	// Output: true
}

func ExampleFinal() {
	fmt.Println(client.Final("fulfilling"), client.Final("completed"))
	// Output: false true
}
