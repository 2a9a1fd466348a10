package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"waybill/client"
	"waybill/internal/id"
	"waybill/subjects"
)

func (p *program) order() *cobra.Command {
	return group("order", "Place orders and follow them", "", "  waybill order list --status pending",
		p.orderPlace(), p.orderGet(), p.orderList(), p.orderCancel(), p.orderHistory(), p.orderWatch())
}

func (p *program) orderGet() *cobra.Command {
	return question[*subjects.OrderInfo]{
		use: "get ORDER", short: "Show an order", example: "  waybill order get o-1", args: exactly("ORDER"),
		ask: func(ctx context.Context, c *client.Client, args []string) (*subjects.OrderInfo, error) {
			return c.Orders.Get(ctx, id.Order(args[0]))
		},
		show: showOrder,
	}.command(p)
}

func (p *program) orderCancel() *cobra.Command {
	var reason string
	c := question[*subjects.OrderInfo]{
		use: "cancel ORDER", short: "Cancel an order that has not left the house",
		long:    "Cancels an order: what is reserved is released, and the money goes back. An order of which something was dispatched can't be cancelled.",
		example: `  waybill order cancel o-1 --reason "changed their mind"`, args: exactly("ORDER"),
		ask: func(ctx context.Context, c *client.Client, args []string) (*subjects.OrderInfo, error) {
			return c.Orders.Cancel(ctx, id.Order(args[0]), reason)
		},
		show: showOrder,
	}.command(p)
	c.Flags().StringVar(&reason, "reason", "", "why, for people")
	return c
}

func (p *program) orderList() *cobra.Command {
	var r subjects.ListOrdersRequest
	var status, customer, since, until string
	var page *subjects.Page
	c := question[*subjects.Orders]{
		use: "list", short: "List orders, newest first",
		example: "  waybill order list --status confirmed --since 24h\n  waybill order list --text espresso -o json",
		prepare: func([]string) (err error) {
			r.Page, r.Status, r.CustomerID = *page, subjects.OrderStatus(status), id.Customer(customer)
			if r.Since, err = parseTime(since, time.Now()); err != nil {
				return err
			}
			r.Until, err = parseTime(until, time.Now())
			return err
		},
		ask: func(ctx context.Context, c *client.Client, _ []string) (*subjects.Orders, error) {
			return c.Orders.List(ctx, r)
		},
		show: func(s *sheet, orders *subjects.Orders) {
			rows := make([][]string, len(orders.Orders))
			for i, o := range orders.Orders {
				rows[i] = []string{string(o.OrderID), s.when(o.CreatedAt), s.status(string(o.Status)), string(o.CustomerID),
					short(lineSummary(o.Lines), 40), o.Total.String(), reasonOf(o.Reason)}
			}
			s.table([]string{"order", "placed", "status", "customer", "lines", right + "total", "reason"}, rows)
			s.more(orders.NextCursor)
		},
	}.command(p)
	f := c.Flags()
	f.StringVar(&status, "status", "", "only orders of this status")
	f.StringVar(&customer, "customer", "", "only orders of this customer")
	f.StringVar(&since, "since", "", "only orders placed since a `time`, or so long ago: 24h")
	f.StringVar(&until, "until", "", "only orders placed before a `time`, or so long ago")
	f.StringVar(&r.Text, "text", "", "only orders with this text in their ids, SKUs or names of items")
	page = pageFlags(f)
	return c
}

// lineSummary is an order's lines in a few words: "2 × espresso, bun".
func lineSummary(lines []subjects.Line) string {
	parts := make([]string, len(lines))
	for i, l := range lines {
		parts[i] = string(l.SKU)
		if l.Quantity != 1 {
			parts[i] = strconv.FormatInt(l.Quantity, 10) + " × " + parts[i]
		}
	}
	return strings.Join(parts, ", ")
}

func reasonOf(r *subjects.Reason) string {
	if r == nil {
		return ""
	}
	return r.Code
}

// short cuts a text to n characters.
func short(t string, n int) string {
	if r := []rune(t); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return t
}

func showOrder(s *sheet, o *subjects.OrderInfo) {
	reason := ""
	if o.Reason != nil {
		reason = o.Reason.Code + ": " + o.Reason.Message
	}
	s.facts("order", s.paint(bold, string(o.OrderID)), "status", s.status(string(o.Status)), "reason", reason,
		"customer", string(o.CustomerID), "email", o.Email, "fulfilment", string(o.Fulfilment), "ship to", addressLine(o.ShipTo),
		"placed", s.when(o.CreatedAt), "changed", s.when(o.UpdatedAt), "payment", paymentLine(s, o.Payment))
	rows := make([][]string, 0, len(o.Lines)+3)
	for _, l := range o.Lines {
		rows = append(rows, []string{string(l.SKU), l.Name, strconv.FormatInt(l.Quantity, 10), l.UnitPrice.String(),
			formatTax(l.TaxRateBP), l.Total.String()})
	}
	rows = append(rows, []string{"", "subtotal", "", "", "", o.Subtotal.String()}, []string{"", "tax", "", "", "", o.Tax.String()},
		[]string{"", s.paint(bold, "total"), "", "", "", s.paint(bold, o.Total.String())})
	s.table([]string{"SKU", "name", right + "quantity", right + "price", right + "tax", right + "total"}, rows)
	if len(o.Shipments) > 0 {
		s.table(shipmentHeadings, shipmentRows(s, o.Shipments))
	}
}

func addressLine(a *subjects.Address) string {
	if a == nil {
		return ""
	}
	var parts []string
	for _, part := range []string{a.Name, a.Line1, a.Line2, a.PostalCode + " " + a.City, a.Region, a.Country} {
		if strings.TrimSpace(part) != "" {
			parts = append(parts, part)
		}
	}
	return strings.Join(parts, ", ")
}

func paymentLine(s *sheet, p *subjects.PaymentInfo) string {
	if p == nil {
		return ""
	}
	line := string(p.Method) + ", " + s.status(string(p.Status))
	if p.DeclineCode != "" {
		line += " (" + p.DeclineCode + ")"
	}
	if p.Captured.Amount > 0 {
		line += ", captured " + p.Captured.String()
	}
	if p.Refunded.Amount > 0 {
		line += ", refunded " + p.Refunded.String()
	}
	if p.Action != "" {
		line += ", the customer must: " + p.Action
	}
	return line
}

func (p *program) orderHistory() *cobra.Command {
	return question[*subjects.History]{
		use: "history ORDER", short: "Tell an order's story from the journal",
		long:    "Shows every event of an order, of its payment, its reservation and its shipments, in the order in which they happened.",
		example: "  waybill order history o-1", args: exactly("ORDER"),
		ask: func(ctx context.Context, c *client.Client, args []string) (*subjects.History, error) {
			return c.Orders.History(ctx, id.Order(args[0]))
		},
		show: showHistory,
	}.command(p)
}

func showHistory(s *sheet, h *subjects.History) {
	rows := make([][]string, len(h.Events))
	for i, e := range h.Events {
		after, took := "", ""
		if i > 0 {
			after, took = "+"+elapsed(e.Time.Sub(h.Events[0].Time)), elapsed(e.Time.Sub(h.Events[i-1].Time))
		}
		rows[i] = []string{strconv.FormatUint(e.Sequence, 10), s.when(e.Time), after, took, eventName(e.Type), short(string(e.Data), 60)}
	}
	s.table([]string{right + "sequence", "time", right + "after", right + "took", "event", "data"}, rows)
}

// eventName is "order placed" for waybill.order.placed.v1, and what it does not know as it is.
func eventName(ceType string) string {
	kind, event, ok := subjects.ParseType(ceType)
	if !ok {
		return ceType
	}
	return string(kind) + " " + strings.ReplaceAll(event, "_", " ")
}

// elapsed writes a duration in at most five characters or so: 0, 3ms, 1.2s, 4m10s.
func elapsed(d time.Duration) string {
	switch {
	case d < time.Second:
		return strconv.FormatInt(d.Milliseconds(), 10) + "ms"
	case d < time.Minute:
		return fmt.Sprintf("%.1fs", d.Seconds())
	}
	return d.Round(time.Second).String()
}

func (p *program) orderWatch() *cobra.Command {
	return stream{
		use: "watch ORDER", short: "Follow an order until it is final",
		long:    "Shows an order as it is now, and again after each change, until it is completed, cancelled, rejected or expired.",
		example: "  waybill order watch o-1", args: exactly("ORDER"),
		run: func(ctx context.Context, c *client.Client, x *connection, args []string) error {
			s := p.sheet()
			for o, err := range c.Watch(ctx, id.Order(args[0])) {
				if err != nil {
					return err
				}
				if x.output == asJSON {
					err = p.printJSON(o)
				} else {
					s.line("%-8s  %-12s  %s", s.when(o.UpdatedAt), s.status(string(o.Status)), watchLine(s, o))
					err = s.err
				}
				if err != nil {
					return err
				}
			}
			return nil
		},
	}.command(p)
}

// watchLine says in one line how the parts of an order are.
func watchLine(s *sheet, o *subjects.OrderInfo) string {
	parts := []string{}
	if o.Reason != nil {
		parts = append(parts, o.Reason.Code)
	}
	if o.Payment != nil {
		parts = append(parts, "payment "+paymentLine(s, o.Payment))
	}
	for _, sh := range o.Shipments {
		parts = append(parts, string(sh.ShipmentID)+" "+s.status(string(sh.Status)))
	}
	return strings.Join(parts, " · ")
}
