package main

import (
	"context"

	"github.com/spf13/cobra"

	"waybill/client"
	"waybill/internal/id"
	"waybill/subjects"
)

func (p *program) payment() *cobra.Command {
	return group("payment", "See to payments", "An order's payment has the order's id with -pay behind it.", "  waybill payment get o-1-pay",
		p.paymentGet(), p.paymentCapture(), p.paymentRefund(), p.paymentVoid(), p.paymentResume(), p.paymentLedger())
}

func (p *program) paymentGet() *cobra.Command {
	return question[*subjects.PaymentInfo]{
		use: "get PAYMENT", short: "Show a payment", example: "  waybill payment get o-1-pay", args: exactly("PAYMENT"),
		ask: func(ctx context.Context, c *client.Client, args []string) (*subjects.PaymentInfo, error) {
			return c.Payments.Get(ctx, id.Payment(args[0]))
		},
		show: showPayment,
	}.command(p)
}

// askMoney moves an amount of a payment, once per id.
type askMoney func(ctx context.Context, c *client.Client, payment id.Payment, once string, amount subjects.Money) (*subjects.PaymentInfo, error)

// moveMoney is the form of capture and refund.
func (p *program) moveMoney(verb, short, idHelp string, ask askMoney) *cobra.Command {
	var amountText, once string
	var amount subjects.Money
	c := question[*subjects.PaymentInfo]{
		use: verb + " PAYMENT", short: short,
		example: `  waybill payment ` + verb + ` o-1-pay --amount "2.50 EUR" --id ` + verb + `-1`, args: exactly("PAYMENT"),
		prepare: func([]string) (err error) {
			if amountText == "" {
				return usage(`how much? Give --amount, such as --amount "2.50 EUR"`)
			}
			if once == "" {
				once = "cli-" + id.New()
			}
			amount, err = parsePrice(amountText)
			return err
		},
		ask: func(ctx context.Context, c *client.Client, args []string) (*subjects.PaymentInfo, error) {
			return ask(ctx, c, id.Payment(args[0]), once, amount)
		},
		show: showPayment,
	}.command(p)
	c.Flags().StringVar(&amountText, "amount", "", `how much: "2.50 EUR"`)
	c.Flags().StringVar(&once, "id", "", idHelp+" (default: a new one)")
	return c
}

func (p *program) paymentCapture() *cobra.Command {
	return p.moveMoney("capture", "Take what is authorized, or a part of it", "the capture's `id`, under which it happens once",
		func(ctx context.Context, c *client.Client, payment id.Payment, once string, amount subjects.Money) (*subjects.PaymentInfo, error) {
			return c.Payments.Capture(ctx, subjects.CaptureRequest{PaymentID: payment, CaptureID: id.Capture(once), Amount: amount})
		})
}

func (p *program) paymentRefund() *cobra.Command {
	return p.moveMoney("refund", "Give back what was captured, or a part of it", "the refund's `id`, under which it happens once",
		func(ctx context.Context, c *client.Client, payment id.Payment, once string, amount subjects.Money) (*subjects.PaymentInfo, error) {
			return c.Payments.Refund(ctx, subjects.RefundRequest{PaymentID: payment, RefundID: id.Refund(once), Amount: amount})
		})
}

func (p *program) paymentVoid() *cobra.Command {
	return question[*subjects.PaymentInfo]{
		use: "void PAYMENT", short: "Give up what is authorized and not captured", example: "  waybill payment void o-1-pay", args: exactly("PAYMENT"),
		ask: func(ctx context.Context, c *client.Client, args []string) (*subjects.PaymentInfo, error) {
			return c.Payments.Void(ctx, id.Payment(args[0]))
		},
		show: showPayment,
	}.command(p)
}

func (p *program) paymentResume() *cobra.Command {
	var token string
	c := question[*subjects.PaymentInfo]{
		use: "resume PAYMENT", short: "Go on after the customer did what the payment required",
		example: "  waybill payment resume o-1-pay --card tok_ok", args: exactly("PAYMENT"),
		ask: func(ctx context.Context, c *client.Client, args []string) (*subjects.PaymentInfo, error) {
			return c.Payments.Resume(ctx, id.Payment(args[0]), token)
		},
		show: showPayment,
	}.command(p)
	c.Flags().StringVar(&token, "card", "", "the gateway's new `token` for the card, if there is one")
	return c
}

func (p *program) paymentLedger() *cobra.Command {
	var page *subjects.Page
	c := question[*subjects.Ledger]{
		use: "ledger", short: "Read the sandbox gateway's own books", example: "  waybill payment ledger --limit 500",
		ask: func(ctx context.Context, c *client.Client, _ []string) (*subjects.Ledger, error) {
			return c.Payments.Ledger(ctx, *page)
		},
		show: func(s *sheet, l *subjects.Ledger) {
			rows := make([][]string, len(l.Entries))
			for i, e := range l.Entries {
				rows[i] = []string{s.when(e.Time), e.Operation, string(e.PaymentID), e.ID, e.Amount.String(), s.status(e.Result)}
			}
			s.table([]string{"time", "operation", "payment", "id", right + "amount", "result"}, rows)
			s.more(l.NextCursor)
		},
	}.command(p)
	page = pageFlags(c.Flags())
	return c
}

func showPayment(s *sheet, pay *subjects.PaymentInfo) {
	s.facts("payment", s.paint(bold, string(pay.PaymentID)), "order", string(pay.OrderID), "method", string(pay.Method),
		"status", s.status(string(pay.Status)), "declined", pay.DeclineCode, "action", pay.Action, "amount", pay.Amount.String(),
		"authorized", pay.Authorized.String(), "captured", pay.Captured.String(), "refunded", pay.Refunded.String())
}
