package client_test

import (
	"context"
	"os"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"waybill/client"
	"waybill/internal/id"
	"waybill/internal/node"
	"waybill/internal/nodetest"
	"waybill/subjects"
)

// The examples talk to one site, a whole node as `waybill serve` starts it, on which there are espresso, beans and cups.
var (
	startSite sync.Once
	siteURL   string
	siteTill  *client.Client
)

// site is the address of the site.
func site() string {
	startSite.Do(func() {
		dir, err := os.MkdirTemp("", "waybill-examples")
		must(err)
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		n, err := node.Start(ctx, node.Options{Config: nodetest.Config(dir), Version: "1.0.0", Log: zerolog.Nop()})
		must(err)
		siteURL = n.Endpoints().NATS
		siteTill, err = client.Connect(ctx, siteURL)
		must(err)
		client.AtEnd(func() {
			siteTill.Close()
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			defer cancel()
			must(n.Stop(ctx))
			must(os.RemoveAll(dir))
		})
		for sku, name := range map[id.SKU]string{"espresso": "Espresso", "beans": "Beans, 1 kg", "cup": "Cup"} {
			_, err := siteTill.Catalog.Put(ctx, subjects.PutItemRequest{SKU: sku, Name: name, UnitPrice: euro(250), TaxRateBP: 1900})
			must(err)
			_, err = siteTill.Inventory.Receive(ctx, subjects.ReceiveRequest{SKU: sku, Quantity: 100, Reference: "opening"})
			must(err)
		}
	})
	return siteURL
}

// till is a client that is connected to the site, and a context within which its calls have to be over.
func till() (context.Context, *client.Client) {
	site()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	client.AtEnd(cancel)
	return ctx, siteTill
}

// must ends the program with an error; a till would show it.
func must(err error) {
	if err != nil {
		panic(err)
	}
}

func euro(cents int64) subjects.Money { return subjects.Money{Amount: cents, Currency: "EUR"} }

// placed is an order of two espressos under an id, to be picked up or, with an address, sent.
func placed(ctx context.Context, c *client.Client, order id.Order, to *subjects.Address) *subjects.OrderInfo {
	r := subjects.PlaceRequest{
		OrderID: order, CustomerID: "c-1", Lines: []subjects.StockLine{{SKU: "espresso", Quantity: 2}}, Fulfilment: subjects.Pickup,
		Payment: subjects.PlacePayment{Method: subjects.Card, Token: "tok_ok"},
	}
	if to != nil {
		r.Fulfilment, r.ShipTo = subjects.Ship, to
	}
	info, err := c.Orders.Place(ctx, r)
	must(err)
	return info
}

// home is where orders are sent.
var home = &subjects.Address{Name: "Ann", Line1: "1 High Street", City: "Berlin", PostalCode: "10115", Country: "DE"}

// planned places an order and waits until its first shipment is planned.
func planned(ctx context.Context, c *client.Client, order id.Order, to *subjects.Address) id.Shipment {
	placed(ctx, c, order, to)
	for info, err := range c.Watch(ctx, order) {
		must(err)
		if len(info.Shipments) > 0 {
			return info.Shipments[0].ShipmentID
		}
	}
	panic("the order ended without a shipment")
}
