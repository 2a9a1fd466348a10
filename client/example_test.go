package client_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"os/signal"
	"time"

	"waybill/client"
	"waybill/subjects"
)

// The examples talk to a site that runs: `waybill serve`.

func Example() {
	ctx := context.Background()
	c, err := client.Connect(ctx, client.DefaultURL, client.WithSite("local"), client.WithName("till 3"))
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
	fmt.Println(order.OrderID, order.Status, order.Total)
}

// An order that is placed under an id of the caller's own can be asked for again whatever happened: it is placed once.
func ExampleOrders_Place() {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	c, err := client.Connect(ctx, client.DefaultURL)
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()

	order, err := c.Orders.Place(ctx, subjects.PlaceRequest{
		OrderID:    "till-3-0815",
		CustomerID: "c-1",
		Lines:      []subjects.StockLine{{SKU: "espresso", Quantity: 2}},
		Fulfilment: subjects.Pickup,
		Payment:    subjects.PlacePayment{Method: subjects.Cash},
	})
	var silence *client.NoAnswer
	var refusal *client.Error
	switch {
	case err == nil && order.Status == "rejected":
		fmt.Println("sorry:", order.Reason.Message)
	case err == nil:
		fmt.Println("thank you:", order.Total)
	case errors.As(err, &silence): // before the refusal: a NoAnswer unwraps to an Error, too
		fmt.Println("the outcome is not known; ask again under the same id")
	case errors.As(err, &refusal):
		fmt.Println("refused:", refusal.Code, refusal.Message, refusal.Field)
	}
}

// A kitchen's screen follows the confirmed orders, and goes on where it was when it starts again.
func ExampleClient_Events() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	c, err := client.Connect(ctx, client.DefaultURL)
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()

	seen := uint64(0) // the last sequence that was shown, kept by the screen
	for event, err := range c.Events(ctx, seen+1, "order.confirmed", "order.cancelled") {
		if err != nil {
			log.Print(err)
			return
		}
		fmt.Println(event.Time, event.Name, event.ID)
		seen = event.Sequence
	}
}

func ExampleClient_Watch() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c, err := client.Connect(ctx, client.DefaultURL)
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()

	for order, err := range c.Watch(ctx, "till-3-0815") {
		if err != nil {
			log.Print(err)
			return
		}
		fmt.Println(order.Status)
	}
}

func ExampleOrders_All() {
	ctx := context.Background()
	c, err := client.Connect(ctx, client.DefaultURL)
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()

	for order, err := range c.Orders.All(ctx, subjects.ListOrdersRequest{Status: "needs_action"}) {
		if err != nil {
			log.Print(err)
			return
		}
		fmt.Println(order.OrderID, order.Reason.Message)
	}
}
