package client_test

import (
	"context"
	"fmt"
	"log"

	"waybill/client"
	"waybill/subjects"
)

func Example() {
	ctx := context.Background()
	c, err := client.Connect(ctx, site(), client.WithSite("local"), client.WithName("till 3")) // such as nats://127.0.0.1:4222
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()

	order, err := c.Orders.Place(ctx, subjects.PlaceRequest{
		CustomerID: "c-1",
		Lines:      []subjects.StockLine{{SKU: "espresso", Quantity: 2}},
		Fulfilment: subjects.Pickup,
		Payment:    subjects.PlacePayment{Method: subjects.Card, Token: "tok_ok"},
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(order.Lines[0].Name, order.Total)
	// Output: Espresso 5.95 EUR
}
