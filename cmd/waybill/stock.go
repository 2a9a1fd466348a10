package main

import (
	"context"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"waybill/client"
	"waybill/internal/id"
	"waybill/subjects"
)

func (p *program) stock() *cobra.Command {
	return group("stock", "Say what is there, and hold it", "", "  waybill stock list",
		p.stockReceive(), p.stockAdjust(), p.stockGet(), p.stockList(), p.stockReserve(), p.stockExtend(), p.stockCommit(), p.stockRelease())
}

// referenceFlag adds --reference. Without it the command makes one, so that a repetition within the command counts once.
func referenceFlag(c *cobra.Command, reference *string) {
	c.Flags().StringVar(reference, "reference", "", "what this stands for, such as a delivery note: the same `id` counts once (default: a new one)")
}

func referenceOf(given string) id.Reference {
	if given == "" {
		return id.Reference("cli-" + id.New())
	}
	return id.Reference(given)
}

func (p *program) stockReceive() *cobra.Command {
	var reference string
	var quantity int64
	c := question[*subjects.Stock]{
		use: "receive SKU QUANTITY", short: "Add stock that has come in", args: exactly("SKU", "QUANTITY"),
		example: "  waybill stock receive espresso 100 --reference delivery-2026-01-31",
		prepare: func(args []string) error {
			n, err := strconv.ParseInt(args[1], 10, 64)
			if err != nil || n < 1 || n > subjects.MaxQuantity {
				return usage("the quantity %q is not 1 to %d", args[1], subjects.MaxQuantity)
			}
			quantity = n
			return nil
		},
		ask: func(ctx context.Context, c *client.Client, args []string) (*subjects.Stock, error) {
			return c.Inventory.Receive(ctx, subjects.ReceiveRequest{SKU: id.SKU(args[0]), Quantity: quantity, Reference: referenceOf(reference)})
		},
		show: showStock,
	}.command(p)
	referenceFlag(c, &reference)
	return c
}

func (p *program) stockAdjust() *cobra.Command {
	var reference string
	var by int64
	c := question[*subjects.Stock]{
		use: "adjust SKU", short: "Correct stock, up or down", args: exactly("SKU"),
		example: "  waybill stock adjust espresso --by -3 --reference broken-cups",
		prepare: func([]string) error {
			if by == 0 {
				return usage("by how much? Give --by, such as --by -3")
			}
			return nil
		},
		ask: func(ctx context.Context, c *client.Client, args []string) (*subjects.Stock, error) {
			return c.Inventory.Adjust(ctx, subjects.AdjustRequest{SKU: id.SKU(args[0]), Quantity: by, Reference: referenceOf(reference)})
		},
		show: showStock,
	}.command(p)
	c.Flags().Int64Var(&by, "by", 0, "how many more, or fewer where it is negative")
	referenceFlag(c, &reference)
	return c
}

func (p *program) stockGet() *cobra.Command {
	return question[*subjects.Stock]{
		use: "get SKU", short: "Show the stock of an SKU", example: "  waybill stock get espresso", args: exactly("SKU"),
		ask: func(ctx context.Context, c *client.Client, args []string) (*subjects.Stock, error) {
			return c.Inventory.Get(ctx, id.SKU(args[0]))
		},
		show: showStock,
	}.command(p)
}

func (p *program) stockList() *cobra.Command {
	var page *subjects.Page
	c := question[*subjects.Stocks]{
		use: "list", short: "List the stock by SKU", example: "  waybill stock list",
		ask: func(ctx context.Context, c *client.Client, _ []string) (*subjects.Stocks, error) {
			return c.Inventory.List(ctx, *page)
		},
		show: func(s *sheet, stocks *subjects.Stocks) {
			rows := make([][]string, len(stocks.Items))
			for i, st := range stocks.Items {
				rows[i] = []string{string(st.SKU), number(st.OnHand), number(st.Reserved), number(st.Available)}
			}
			s.table([]string{"SKU", right + "on hand", right + "reserved", right + "available"}, rows)
			s.more(stocks.NextCursor)
		},
	}.command(p)
	page = pageFlags(c.Flags())
	return c
}

func showStock(s *sheet, st *subjects.Stock) {
	s.facts("SKU", s.paint(bold, string(st.SKU)), "on hand", number(st.OnHand), "reserved", number(st.Reserved), "available", number(st.Available))
}

func (p *program) stockReserve() *cobra.Command {
	var texts []string
	var ttl time.Duration
	var lines []subjects.StockLine
	c := question[*subjects.Reservation]{
		use: "reserve RESERVATION", short: "Hold stock: all lines or none", args: exactly("RESERVATION"),
		long:    "Holds stock under an id of your choice. Without --ttl it is held until it is released or consumed.",
		example: "  waybill stock reserve table-4 --line espresso=2 --ttl 15m",
		prepare: func([]string) (err error) {
			if len(texts) == 0 {
				return usage("what is held? Give --line SKU=QUANTITY, once or more")
			}
			lines, err = parseLines(texts)
			return err
		},
		ask: func(ctx context.Context, c *client.Client, args []string) (*subjects.Reservation, error) {
			return c.Inventory.Reserve(ctx, subjects.ReserveRequest{ReservationID: id.Reservation(args[0]), Lines: lines, TTL: subjects.Duration(ttl)})
		},
		show: showReservation,
	}.command(p)
	c.Flags().StringArrayVar(&texts, "line", nil, "what is held, as `SKU=QUANTITY`; may be repeated")
	c.Flags().DurationVar(&ttl, "ttl", 0, "for how long")
	return c
}

func (p *program) stockExtend() *cobra.Command {
	var ttl time.Duration
	c := question[*subjects.Reservation]{
		use: "extend RESERVATION", short: "Hold stock for longer", example: "  waybill stock extend table-4 --ttl 15m", args: exactly("RESERVATION"),
		prepare: func([]string) error {
			if ttl <= 0 {
				return usage("for how long from now? Give --ttl, such as --ttl 15m")
			}
			return nil
		},
		ask: func(ctx context.Context, c *client.Client, args []string) (*subjects.Reservation, error) {
			return c.Inventory.Extend(ctx, subjects.ReservationRequest{ReservationID: id.Reservation(args[0]), TTL: subjects.Duration(ttl)})
		},
		show: showReservation,
	}.command(p)
	c.Flags().DurationVar(&ttl, "ttl", 0, "for how long from now")
	return c
}

func (p *program) stockCommit() *cobra.Command {
	return question[*subjects.Reservation]{
		use: "commit RESERVATION", short: "Make held stock firm: it no longer expires",
		example: "  waybill stock commit table-4", args: exactly("RESERVATION"),
		ask: func(ctx context.Context, c *client.Client, args []string) (*subjects.Reservation, error) {
			return c.Inventory.Commit(ctx, id.Reservation(args[0]))
		},
		show: showReservation,
	}.command(p)
}

func (p *program) stockRelease() *cobra.Command {
	return question[*subjects.Reservation]{
		use: "release RESERVATION", short: "Give held stock back", example: "  waybill stock release table-4", args: exactly("RESERVATION"),
		ask: func(ctx context.Context, c *client.Client, args []string) (*subjects.Reservation, error) {
			return c.Inventory.Release(ctx, id.Reservation(args[0]))
		},
		show: showReservation,
	}.command(p)
}

func showReservation(s *sheet, r *subjects.Reservation) {
	s.facts("reservation", s.paint(bold, string(r.ReservationID)), "status", s.status(string(r.Status)), "lines", stockSummary(r.Lines),
		"until", s.when(r.ExpiresAt))
}

// stockSummary is a list of lines in a few words: "2 × espresso, bun".
func stockSummary(lines []subjects.StockLine) string {
	named := make([]subjects.Line, len(lines))
	for i, l := range lines {
		named[i] = subjects.Line{SKU: l.SKU, Quantity: l.Quantity}
	}
	return lineSummary(named)
}
