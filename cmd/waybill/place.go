package main

import (
	"context"

	"github.com/go-json-experiment/json"
	"github.com/spf13/cobra"

	"waybill/client"
	"waybill/internal/fault"
	"waybill/internal/id"
	"waybill/subjects"
)

// placeFlags are an order as the command line describes it.
type placeFlags struct {
	file, orderID, customer, email, shipTo, card, expect string
	lines                                                []string
	pickup, cash                                         bool
}

func (p *program) orderPlace() *cobra.Command {
	var o placeFlags
	var r subjects.PlaceRequest
	c := question[*subjects.OrderInfo]{
		use: "place", short: "Place an order",
		long: "Places an order and answers with its outcome: confirmed, or rejected with the reason, or pending while the payment takes longer.\n" +
			"The same --id again returns the same order, however often it is asked; without one the order gets a new id.\n" +
			"With --file the order is read as JSON, as the method order.place takes it; flags replace what stands there.",
		example: `  waybill order place --customer c-1 --line espresso=2 --line bun --pickup --cash
  waybill order place --customer c-1 --line espresso=2 --card tok_ok --ship-to "Ada Lovelace, 12 Main Street, Berlin, 10115, DE"
  waybill order place --id o-1 --file order.json --expect "5.95 EUR"`,
		prepare: func([]string) (err error) {
			r, err = o.request(p)
			return err
		},
		ask: func(ctx context.Context, c *client.Client, _ []string) (*subjects.OrderInfo, error) {
			placed, err := c.Orders.Place(ctx, r)
			if client.IsNoAnswer(err) && fault.CodeOf(err) == fault.DeadlineExceeded {
				return nil, fault.Wrap(err, fault.DeadlineExceeded,
					"no answer came in time; see what became of it with `waybill order get %s`, or place it again with --id %s", r.OrderID, r.OrderID)
			}
			return placed, err
		},
		show: showOrder,
	}.command(p)
	f := c.Flags()
	f.StringVarP(&o.file, "file", "f", "", "read the order from a JSON `file`, or from the standard input for -")
	f.StringVar(&o.orderID, "id", "", "the order's `id`, under which it is placed once however often it is asked")
	f.StringVar(&o.customer, "customer", "", "the customer's `id`")
	f.StringVar(&o.email, "email", "", "the customer's mail `address`")
	f.StringArrayVar(&o.lines, "line", nil, "what is ordered, as `SKU=QUANTITY`; may be repeated")
	f.BoolVar(&o.pickup, "pickup", false, "the customer picks the order up")
	f.StringVar(&o.shipTo, "ship-to", "", `the order is sent to an address: "name, street, city, postal code, country"`)
	f.StringVar(&o.card, "card", "", "pay by card, with the gateway's `token` for it")
	f.BoolVar(&o.cash, "cash", false, "pay in cash")
	f.StringVar(&o.expect, "expect", "", `refuse to place the order at another total than this, tax included: "4.50 EUR"`)
	return c
}

// request makes the order of the file, if there is one, and of the flags.
func (o *placeFlags) request(p *program) (subjects.PlaceRequest, error) {
	r := subjects.PlaceRequest{}
	switch {
	case o.pickup && o.shipTo != "":
		return r, usage("--pickup and --ship-to exclude each other")
	case o.cash && o.card != "":
		return r, usage("--cash and --card exclude each other")
	}
	if o.file != "" {
		content, err := p.read(o.file)
		if err != nil {
			return r, err
		}
		if err := json.Unmarshal(content, &r, json.RejectUnknownMembers(true)); err != nil {
			return r, usage("%s is not an order as order.place takes it: %v", o.file, err)
		}
	}
	if err := o.over(&r); err != nil {
		return r, err
	}
	switch {
	case r.CustomerID == "":
		return r, usage("who orders? Give --customer")
	case len(r.Lines) == 0:
		return r, usage("what is ordered? Give --line SKU=QUANTITY, once or more")
	case r.Fulfilment == "":
		return r, usage("how does the order reach the customer? Give --pickup or --ship-to")
	case r.Payment.Method == "":
		return r, usage("how is it paid? Give --card TOKEN or --cash")
	}
	if r.OrderID == "" {
		r.OrderID = client.NewOrderID()
	}
	return r, nil
}

// over puts what the flags say over the request.
func (o *placeFlags) over(r *subjects.PlaceRequest) (err error) {
	if o.orderID != "" {
		r.OrderID = id.Order(o.orderID)
	}
	if o.customer != "" {
		r.CustomerID = id.Customer(o.customer)
	}
	if o.email != "" {
		r.Email = o.email
	}
	if len(o.lines) > 0 {
		if r.Lines, err = parseLines(o.lines); err != nil {
			return err
		}
	}
	switch {
	case o.pickup:
		r.Fulfilment, r.ShipTo = subjects.Pickup, nil
	case o.shipTo != "":
		r.Fulfilment = subjects.Ship
		if r.ShipTo, err = parseAddress(o.shipTo); err != nil {
			return err
		}
	}
	switch {
	case o.cash:
		r.Payment = subjects.PlacePayment{Method: subjects.Cash}
	case o.card != "":
		r.Payment = subjects.PlacePayment{Method: subjects.Card, Token: o.card}
	}
	if o.expect != "" {
		expected, err := parsePrice(o.expect)
		if err != nil {
			return err
		}
		r.ExpectedTotal = &expected
	}
	return nil
}
