package bench

import (
	"context"
	"fmt"
	"slices"
	"time"

	"waybill/client"
	"waybill/configs"
	"waybill/embedded"
	"waybill/internal/fault"
	"waybill/internal/id"
	"waybill/subjects"
)

// The workloads.
const (
	RPC     = "rpc"     // one read by request and reply
	Journal = "journal" // one durable append
	Orders  = "orders"  // order.place, from the request to the confirmed order
)

// Workload is what is measured.
type Workload struct {
	Name       string
	Method     string // that is called, or journal.append
	Durability string // strict or fast: what was promised when a call returned
	Call       func(ctx context.Context, n int) error
}

// Methods are those that an RPC workload can call: reads of one thing each. The first is the default.
var Methods = []string{"catalog.get", "inventory.get", "order.get", "config.get"}

// notConfirmed is an order that was answered and not confirmed.
type notConfirmed struct {
	status subjects.OrderStatus
	reason *subjects.Reason
}

func (e *notConfirmed) Error() string {
	if e.reason == nil {
		return fmt.Sprintf("the order is %s, not confirmed", e.status)
	}
	return fmt.Sprintf("the order is %s, not confirmed: %s: %s", e.status, e.reason.Code, e.reason.Message)
}

// Durability asks a site what its replies promise: strict or fast.
func Durability(ctx context.Context, c *client.Client) (string, error) {
	reply, err := c.Raw(ctx, "config.get", []byte(`{"key":"`+configs.RPCMaxInFlight+`"}`))
	if err != nil {
		return "", err
	}
	return reply.Durability(), nil
}

// PlaceOrders is the workload of orders; the site must have been prepared. Calls of any number of loads may be made.
func PlaceOrders(ctx context.Context, c *client.Client) (Workload, error) {
	durability, err := Durability(ctx, c)
	return Workload{Name: Orders, Method: subjects.OrderPlace.Name(), Durability: durability,
		Call: func(ctx context.Context, n int) error {
			o, err := client.Call(ctx, c, subjects.OrderPlace, Order(n))
			if err == nil && o.Status != "confirmed" {
				err = &notConfirmed{o.Status, o.Reason}
			}
			return err
		}}, err
}

// Read is the workload of one of Methods. It asks for what the site has, and writes nothing; error not_found where it has nothing.
func Read(ctx context.Context, c *client.Client, method string) (Workload, error) {
	durability, err := Durability(ctx, c)
	w := Workload{Name: RPC, Method: method, Durability: durability}
	if err != nil {
		return w, err
	}
	switch method {
	case "config.get":
		w.Call = func(ctx context.Context, _ int) error {
			_, err := c.Config.Get(ctx, configs.RPCMaxInFlight)
			return err
		}
	case "order.get":
		page, err := c.Orders.List(ctx, subjects.ListOrdersRequest{Page: subjects.Page{Limit: subjects.MaxLimit}})
		if err != nil {
			return w, err
		}
		if len(page.Orders) == 0 {
			return w, fault.New(fault.NotFound, "the site has no order that could be asked for; measure another method")
		}
		w.Call = func(ctx context.Context, n int) error {
			_, err := c.Orders.Get(ctx, page.Orders[n%len(page.Orders)].OrderID)
			return err
		}
	case "catalog.get", "inventory.get":
		page, err := c.Catalog.List(ctx, subjects.Page{Limit: subjects.MaxLimit})
		if err != nil {
			return w, err
		}
		if len(page.Items) == 0 {
			return w, fault.New(fault.NotFound, "the site's catalog is empty, and has no item that could be asked for; measure config.get")
		}
		w.Call = func(ctx context.Context, n int) error {
			sku := page.Items[n%len(page.Items)].SKU
			if method == "catalog.get" {
				_, err := c.Catalog.Get(ctx, sku)
				return err
			}
			_, err := c.Inventory.Get(ctx, sku)
			return err
		}
	default:
		return w, fault.New(fault.InvalidArgument, "%q is none of the methods that are measured: %v", method, Methods)
	}
	return w, nil
}

// PutItems is the journal's workload over a request: catalog.put of an item that nobody can buy, which is one append.
func PutItems(ctx context.Context, c *client.Client) (Workload, error) {
	durability, err := Durability(ctx, c)
	inactive := false
	return Workload{Name: Journal, Method: subjects.CatalogPut.Name(), Durability: durability,
		Call: func(ctx context.Context, n int) error {
			_, err := c.Catalog.Put(ctx, subjects.PutItemRequest{
				SKU: id.SKU(fmt.Sprintf(own+"put-%d", n%putItems)), Name: fmt.Sprintf("Of a benchmark, %d", n),
				UnitPrice: subjects.Money{Amount: 100, Currency: "EUR"}, Active: &inactive,
			})
			return err
		}}, err
}

// putItems is how many items PutItems writes in turn: enough that two callers rarely write the same one at the same time.
const putItems = 4096

// OpenAppends starts a server with an empty journal in dir, in this process, and returns the workload of appends to it. Each is a
// new order's first event, and returns when the barrier has made it durable (strict) or JetStream has acknowledged it (fast). An
// append may take as long as timeout. close ends the server. Where it is strict the process has processors to spare meanwhile, as a
// strict site's has.
func OpenAppends(ctx context.Context, dir, durability string, timeout time.Duration) (w Workload, close func() error, err error) {
	kind, back := fastAppends, func() {}
	if durability == configs.Strict {
		kind, back = sharedBarrier, embedded.SpareProcessors()
	}
	a, err := openAppender(ctx, dir, kind)
	if err != nil {
		back()
		return w, nil, err
	}
	return Workload{Name: Journal, Method: "journal.append", Durability: durability,
		Call: func(ctx context.Context, n int) error {
			ctx, cancel := context.WithTimeout(ctx, timeout)
			defer cancel()
			return a.append(ctx, n)
		}}, func() error { defer back(); return a.close() }, nil
}

// KnownMethod reports whether an RPC workload can call the method.
func KnownMethod(method string) bool { return slices.Contains(Methods, method) }
