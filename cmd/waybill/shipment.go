package main

import (
	"context"

	"github.com/spf13/cobra"

	"waybill/client"
	"waybill/internal/id"
	"waybill/subjects"
)

func (p *program) shipment() *cobra.Command {
	return group("shipment", "Bring orders to their customers", "An order's shipments have the order's id with -s1, -s2, … behind it.",
		"  waybill shipment list --status pending\n  waybill shipment dispatch o-1-s1",
		p.shipmentList(), p.shipmentGet(),
		p.move(move{verb: "book", short: "Book a carrier", carrier: true, call: client.Shipping.Book}),
		p.move(move{verb: "prepare", short: "Begin to prepare an order that is picked up", call: client.Shipping.Prepare}),
		p.move(move{verb: "ready", short: "Say that an order can be picked up", call: client.Shipping.Ready}),
		p.move(move{verb: "dispatch", short: "Hand a shipment to its carrier: stock leaves, and the payment is captured", carrier: true, call: client.Shipping.Dispatch}),
		p.move(move{verb: "deliver", short: "Say that a shipment has arrived, or was picked up", call: client.Shipping.Deliver}),
		p.move(move{verb: "fail", short: "Say that a shipment could not be delivered", reason: true, call: client.Shipping.Fail}),
		p.move(move{verb: "return", short: "Say that a shipment has come back", reason: true, call: client.Shipping.Return}),
		p.move(move{verb: "split", short: "Send a part of a planned shipment by itself", lines: true, call: client.Shipping.Split}))
}

// move is one of the verbs of the shipping service, and what it takes beside the shipment.
type move struct {
	verb, short            string
	carrier, reason, lines bool
	call                   func(client.Shipping, context.Context, subjects.ShipmentRequest) (*subjects.ShipmentInfo, error)
}

func (p *program) move(m move) *cobra.Command {
	var r subjects.ShipmentRequest
	var lines []string
	example := "  waybill shipment " + m.verb + " o-1-s1"
	switch {
	case m.carrier:
		example += " --carrier dhl --tracking 00340434"
	case m.reason:
		example += ` --reason "nobody was at home"`
	case m.lines:
		example += " --line espresso=1"
	}
	c := question[*subjects.ShipmentInfo]{
		use: m.verb + " SHIPMENT", short: m.short, example: example, args: exactly("SHIPMENT"),
		prepare: func(args []string) (err error) {
			if m.lines && len(lines) == 0 {
				return usage("what goes by itself? Give --line SKU=QUANTITY, once or more")
			}
			r.ShipmentID = id.Shipment(args[0])
			r.Lines, err = parseLines(lines)
			return err
		},
		ask: func(ctx context.Context, c *client.Client, _ []string) (*subjects.ShipmentInfo, error) {
			return m.call(c.Shipping, ctx, r)
		},
		show: showShipment,
	}.command(p)
	f := c.Flags()
	if m.carrier {
		f.StringVar(&r.Carrier, "carrier", "", "who carries it")
		f.StringVar(&r.Tracking, "tracking", "", "the carrier's number for it")
	}
	if m.reason {
		f.StringVar(&r.Reason, "reason", "", "why, for people")
	}
	if m.lines {
		f.StringArrayVar(&lines, "line", nil, "what goes by itself, as `SKU=QUANTITY`; may be repeated")
	}
	return c
}

func (p *program) shipmentGet() *cobra.Command {
	return question[*subjects.ShipmentInfo]{
		use: "get SHIPMENT", short: "Show a shipment", example: "  waybill shipment get o-1-s1", args: exactly("SHIPMENT"),
		ask: func(ctx context.Context, c *client.Client, args []string) (*subjects.ShipmentInfo, error) {
			return c.Shipping.Get(ctx, id.Shipment(args[0]))
		},
		show: showShipment,
	}.command(p)
}

func (p *program) shipmentList() *cobra.Command {
	var status, order string
	var page *subjects.Page
	c := question[*subjects.Shipments]{
		use: "list", short: "List shipments, newest first", example: "  waybill shipment list --status pending\n  waybill shipment list --order o-1",
		ask: func(ctx context.Context, c *client.Client, _ []string) (*subjects.Shipments, error) {
			return c.Shipping.List(ctx, subjects.ListShipmentsRequest{Page: *page, Status: subjects.ShipmentStatus(status), OrderID: id.Order(order)})
		},
		show: func(s *sheet, l *subjects.Shipments) {
			s.table(shipmentHeadings, shipmentRows(s, l.Shipments))
			s.more(l.NextCursor)
		},
	}.command(p)
	c.Flags().StringVar(&status, "status", "", "only shipments of this status")
	c.Flags().StringVar(&order, "order", "", "only shipments of this order")
	page = pageFlags(c.Flags())
	return c
}

var shipmentHeadings = []string{"shipment", "status", "lines", "carrier", "tracking", "changed", "reason"}

func shipmentRows(s *sheet, shipments []subjects.ShipmentInfo) [][]string {
	rows := make([][]string, len(shipments))
	for i, sh := range shipments {
		rows[i] = []string{string(sh.ShipmentID), s.status(string(sh.Status)), short(stockSummary(sh.Lines), 40), sh.Carrier, sh.Tracking,
			s.when(sh.UpdatedAt), short(sh.Reason, 30)}
	}
	return rows
}

func showShipment(s *sheet, sh *subjects.ShipmentInfo) {
	s.facts("shipment", s.paint(bold, string(sh.ShipmentID)), "order", string(sh.OrderID), "status", s.status(string(sh.Status)),
		"lines", stockSummary(sh.Lines), "carrier", sh.Carrier, "tracking", sh.Tracking, "reason", sh.Reason,
		"planned", s.when(sh.CreatedAt), "changed", s.when(sh.UpdatedAt))
}
