package main

import (
	"context"
	"strconv"

	"github.com/spf13/cobra"

	"waybill/client"
	"waybill/internal/id"
	"waybill/subjects"
)

func (p *program) catalog() *cobra.Command {
	return group("catalog", "Say what is sold, and for how much", "", "  waybill catalog list",
		p.catalogPut(), p.catalogGet(), p.catalogList(), p.catalogImport())
}

func (p *program) catalogPut() *cobra.Command {
	var name, price, tax string
	var inactive bool
	var r subjects.PutItemRequest
	c := question[*subjects.Item]{
		use: "put SKU", short: "Make or replace an item", args: exactly("SKU"),
		example: `  waybill catalog put espresso --name Espresso --price "2.50 EUR" --tax 19%`,
		prepare: func(args []string) (err error) {
			if name == "" || price == "" {
				return usage("give the item's --name and --price")
			}
			active := !inactive
			r = subjects.PutItemRequest{SKU: id.SKU(args[0]), Name: name, Active: &active}
			if r.UnitPrice, err = parsePrice(price); err != nil {
				return err
			}
			r.TaxRateBP, err = parseTax(tax)
			return err
		},
		ask: func(ctx context.Context, c *client.Client, _ []string) (*subjects.Item, error) {
			return c.Catalog.Put(ctx, r)
		},
		show: showItem,
	}.command(p)
	f := c.Flags()
	f.StringVar(&name, "name", "", "what customers read")
	f.StringVar(&price, "price", "", `the price of one, without tax: "2.50 EUR"`)
	f.StringVar(&tax, "tax", "0%", "the tax that is added to the price")
	f.BoolVar(&inactive, "inactive", false, "keep it in the catalog, but don't sell it")
	return c
}

func (p *program) catalogGet() *cobra.Command {
	return question[*subjects.Item]{
		use: "get SKU", short: "Show an item", example: "  waybill catalog get espresso", args: exactly("SKU"),
		ask: func(ctx context.Context, c *client.Client, args []string) (*subjects.Item, error) {
			return c.Catalog.Get(ctx, id.SKU(args[0]))
		},
		show: showItem,
	}.command(p)
}

func (p *program) catalogList() *cobra.Command {
	var page *subjects.Page
	c := question[*subjects.Items]{
		use: "list", short: "List the items by SKU", example: "  waybill catalog list --limit 500",
		ask: func(ctx context.Context, c *client.Client, _ []string) (*subjects.Items, error) {
			return c.Catalog.List(ctx, *page)
		},
		show: func(s *sheet, items *subjects.Items) {
			rows := make([][]string, len(items.Items))
			for i, item := range items.Items {
				rows[i] = []string{string(item.SKU), item.Name, item.UnitPrice.String(), formatTax(item.TaxRateBP), yes(item.Active)}
			}
			s.table([]string{"SKU", "name", right + "price", right + "tax", "sold"}, rows)
			s.more(items.NextCursor)
		},
	}.command(p)
	page = pageFlags(c.Flags())
	return c
}

func showItem(s *sheet, item *subjects.Item) {
	s.facts("SKU", s.paint(bold, string(item.SKU)), "name", item.Name, "price", item.UnitPrice.String(), "tax", formatTax(item.TaxRateBP),
		"sold", yes(item.Active))
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func number(n int64) string { return strconv.FormatInt(n, 10) }
