package main

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"waybill/client"
	"waybill/internal/id"
	"waybill/subjects"
)

func (p *program) webhook() *cobra.Command {
	return group("webhook", "Keep whom to tell of events (they are not sent yet)", "", "  waybill webhook list",
		p.webhookPut(), p.webhookGet(), p.webhookList(), p.webhookDelete())
}

func (p *program) webhookPut() *cobra.Command {
	var url, secretFile string
	var events []string
	var r subjects.PutWebhookRequest
	c := question[*subjects.WebhookInfo]{
		use: "put WEBHOOK", short: "Make or replace a webhook", args: exactly("WEBHOOK"),
		long: "Keeps an address for events; nothing is sent yet. Without --secret-file the site makes a secret to sign with; it is shown only now.",
		example: "  waybill webhook put shop --url https://shop.example.com/hooks --event order.confirmed --event order.cancelled\n" +
			"  waybill webhook put all --url https://shop.example.com/hooks --event '*' --secret-file -",
		prepare: func(args []string) error {
			if url == "" || len(events) == 0 {
				return usage("give the address with --url and what it is told with --event, once or more")
			}
			r = subjects.PutWebhookRequest{WebhookID: id.Webhook(args[0]), URL: url, Events: events}
			if secretFile != "" {
				secret, err := p.read(secretFile)
				if err != nil {
					return err
				}
				r.Secret = strings.TrimSpace(string(secret))
			}
			return nil
		},
		ask: func(ctx context.Context, c *client.Client, _ []string) (*subjects.WebhookInfo, error) {
			return c.Webhooks.Put(ctx, r)
		},
		show: showWebhook,
	}.command(p)
	f := c.Flags()
	f.StringVar(&url, "url", "", "where events are posted to")
	f.StringSliceVar(&events, "event", nil, "what is told: order.confirmed, order.* or *; may be repeated")
	f.StringVar(&secretFile, "secret-file", "", "sign with the secret in a `file`, or on the standard input for -")
	return c
}

func (p *program) webhookGet() *cobra.Command {
	return question[*subjects.WebhookInfo]{
		use: "get WEBHOOK", short: "Show a webhook", example: "  waybill webhook get shop", args: exactly("WEBHOOK"),
		ask: func(ctx context.Context, c *client.Client, args []string) (*subjects.WebhookInfo, error) {
			return c.Webhooks.Get(ctx, id.Webhook(args[0]))
		},
		show: showWebhook,
	}.command(p)
}

func (p *program) webhookDelete() *cobra.Command {
	return question[*subjects.WebhookInfo]{
		use: "delete WEBHOOK", short: "Remove a webhook", example: "  waybill webhook delete shop", args: exactly("WEBHOOK"),
		ask: func(ctx context.Context, c *client.Client, args []string) (*subjects.WebhookInfo, error) {
			return c.Webhooks.Delete(ctx, id.Webhook(args[0]))
		},
		show: func(s *sheet, w *subjects.WebhookInfo) { s.line("%s is removed", w.WebhookID) },
	}.command(p)
}

func (p *program) webhookList() *cobra.Command {
	var page *subjects.Page
	c := question[*subjects.Webhooks]{
		use: "list", short: "List webhooks by id", example: "  waybill webhook list",
		ask: func(ctx context.Context, c *client.Client, _ []string) (*subjects.Webhooks, error) {
			return c.Webhooks.List(ctx, *page)
		},
		show: func(s *sheet, l *subjects.Webhooks) {
			rows := make([][]string, len(l.Webhooks))
			for i, w := range l.Webhooks {
				rows[i] = []string{string(w.WebhookID), w.URL, strings.Join(w.Events, ", "), s.when(w.UpdatedAt)}
			}
			s.table([]string{"webhook", "url", "events", "changed"}, rows)
			s.more(l.NextCursor)
		},
	}.command(p)
	page = pageFlags(c.Flags())
	return c
}

func showWebhook(s *sheet, w *subjects.WebhookInfo) {
	s.facts("webhook", s.paint(bold, string(w.WebhookID)), "url", w.URL, "events", strings.Join(w.Events, ", "), "changed", s.when(w.UpdatedAt),
		"secret", w.Secret)
	if w.Secret != "" {
		s.line("Keep the secret now: it is never shown again.")
	}
}
