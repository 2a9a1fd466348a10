package client_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"waybill/client"
	"waybill/subjects"
)

// What a till passes on the way to its site: a list of addresses, who it is, whom it trusts, and how long it waits.
func ExampleConnect() {
	ctx := context.Background()
	c, err := client.Connect(ctx, site()+", unix:///run/waybill/nats.sock",
		client.WithSite("local"),
		client.WithName("till 3"),
		client.WithTimeout(3*time.Second),
		client.WithRetry(client.Retry{Attempts: 5, Base: 20 * time.Millisecond, Max: time.Second}),
		client.WithHedging(50*time.Millisecond),
		client.WithTransport(client.Lean),
	)
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	fmt.Println(c.Site())
	// Output: local
}

// A till that stops lets the calls under way have their answers.
func ExampleClient_Drain() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	c, err := client.Connect(ctx, site())
	must(err)
	fmt.Println(c.Drain(ctx))
	// Output: <nil>
}

func ExampleClient_Close() {
	c, err := client.Connect(context.Background(), site())
	must(err)
	c.Close()
	_, err = c.Orders.Get(context.Background(), "o-1")
	fmt.Println(client.IsNoAnswer(err))
	// Output: true
}

func ExampleClient_Site() {
	ctx, c := till()
	_ = ctx
	fmt.Println(c.Site())
	// Output: local
}

func ExampleClient_URL() {
	ctx, c := till()
	_ = ctx
	fmt.Println(strings.HasPrefix(c.URL(), "nats://127.0.0.1:"))
	// Output: true
}

// Whatever JetStream can do with the journal is done over a connection of nats.go.
func ExampleClient_Conn() {
	ctx, c := till()
	nc, err := c.Conn(ctx)
	must(err)
	js, err := jetstream.New(nc)
	must(err)
	stream, err := js.Stream(ctx, subjects.StreamJournal)
	must(err)
	fmt.Println(stream.CachedInfo().Config.Name)
	// Output: JOURNAL
}

func ExampleClient_Raw() {
	ctx, c := till()
	reply, err := c.Raw(ctx, "catalog.get", []byte(`{"sku":"beans"}`))
	must(err)
	fmt.Println(string(reply.Data))
	// Output: {"sku":"beans","name":"Beans, 1 kg","unit_price":{"amount":250,"currency":"EUR"},"tax_rate_bp":1900,"active":true}
}

// Call asks any endpoint, also one that has no method here.
func ExampleCall() {
	ctx, c := till()
	item, err := client.Call(ctx, c, subjects.CatalogGet, &subjects.SKURequest{SKU: "beans"})
	must(err)
	fmt.Println(item.Name)
	// Output: Beans, 1 kg
}

func ExampleCodeOf() {
	ctx, c := till()
	_, err := c.Orders.Get(ctx, "never-placed")
	fmt.Println(client.CodeOf(err), client.IsNoAnswer(err))
	// Output: not_found false
}

// Nobody answered: that is not a refusal.
func ExampleIsNoAnswer() {
	ctx, c := till()
	_, err := c.Raw(ctx, "weather.get", []byte(`{}`)) // no such service
	fmt.Println(client.IsNoAnswer(err), client.CodeOf(err))
	// Output: true unavailable
}

func ExampleClient_Last() {
	ctx, c := till()
	before, err := c.Last(ctx)
	must(err)
	placed(ctx, c, "last-1", nil)
	after, err := c.Last(ctx)
	must(err)
	fmt.Println(after > before)
	// Output: true
}

// What has happened so far, from the beginning.
func ExampleClient_Replay() {
	ctx, c := till()
	placed(ctx, c, "replay-1", nil)
	for event, err := range c.Replay(ctx, 1, "order.placed") {
		must(err)
		if event.ID == "replay-1" {
			fmt.Println(event.Kind, event.Name, event.ID)
		}
	}
	// Output: order placed replay-1
}

// A kitchen's screen follows the confirmed orders, and goes on where it was when it starts again.
func ExampleClient_Events() {
	ctx, c := till()
	seen, err := c.Last(ctx) // kept by the screen, which shows what comes after it
	must(err)
	placed(ctx, c, "events-1", nil)
	for event, err := range c.Events(ctx, seen+1, "order.confirmed", "order.cancelled") {
		if err != nil {
			log.Print(err)
			return
		}
		fmt.Println(event.Name, event.ID)
		if seen = event.Sequence; event.ID == "events-1" {
			break
		}
	}
	// Output: confirmed events-1
}

func ExampleClient_Watch() {
	ctx, c := till()
	placed(ctx, c, "watch-1", nil)
	go func() {
		_, err := c.Orders.Cancel(ctx, "watch-1", "changed their mind")
		must(err)
	}()
	var last subjects.OrderStatus
	for order, err := range c.Watch(ctx, "watch-1") {
		if err != nil {
			log.Print(err)
			return
		}
		last = order.Status
	}
	fmt.Println(last)
	// Output: cancelled
}

// An order that is placed under an id of the caller's own can be asked for again whatever happened: it is placed once.
func ExampleOrders_Place() {
	ctx, c := till()
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
	// Output: thank you: 5.95 EUR
}
