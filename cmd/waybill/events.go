package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"waybill/client"
)

func (p *program) events() *cobra.Command {
	return group("events", "Read the site's journal", "", "  waybill events tail --filter 'order.*'",
		p.eventsTail(), p.eventsReplay())
}

const filterHelp = "only such `events`: order.confirmed, order.* or *; may be repeated"

func (p *program) eventsTail() *cobra.Command {
	var filters []string
	var since, last uint64
	c := stream{
		use: "tail", short: "Show events as they come",
		long:    "Shows every event from now on, or from an earlier one on, until it is interrupted.",
		example: "  waybill events tail --filter 'order.*' --filter payment.failed\n  waybill events tail --last 20 -o json",
		run: func(ctx context.Context, c *client.Client, x *connection, _ []string) error {
			from := client.Latest
			switch {
			case since > 0 && last > 0:
				return usage("--since and --last exclude each other")
			case since > 0:
				from = since
			case last > 0:
				end, err := c.Last(ctx)
				if err != nil {
					return err
				}
				from = end - min(end, last) + 1
			}
			for e, err := range c.Events(ctx, from, filters...) {
				if err == nil {
					err = p.printEvent(x, e)
				}
				if err != nil {
					return err
				}
			}
			return nil
		},
	}.command(p)
	c.Flags().StringSliceVar(&filters, "filter", nil, filterHelp)
	c.Flags().Uint64Var(&since, "since", 0, "begin with the event of this `sequence`")
	c.Flags().Uint64Var(&last, "last", 0, "begin `so many` events ago")
	return c
}

func (p *program) eventsReplay() *cobra.Command {
	var filters []string
	var from uint64
	c := stream{
		use: "replay", short: "Show the events that the journal holds",
		long:    "Shows the journal's events from a sequence on, and ends with the last one that it holds now.",
		example: "  waybill events replay --from 1 -o json > events.jsonl",
		run: func(ctx context.Context, c *client.Client, x *connection, _ []string) error {
			last, err := c.Last(ctx)
			if err != nil {
				return err
			}
			var bar progress
			if !p.outTerminal { // on one terminal the events and the bar would write over each other
				bar = p.progress(int64(last), "events")
			}
			defer bar.finish()
			for e, err := range c.Replay(ctx, from, filters...) {
				if err == nil {
					err = p.printEvent(x, e)
				}
				if err != nil {
					return err
				}
				bar.set(int64(e.Sequence))
			}
			return nil
		},
	}.command(p)
	c.Flags().Uint64Var(&from, "from", 1, "begin with the event of this `sequence`")
	c.Flags().StringSliceVar(&filters, "filter", nil, filterHelp)
	return c
}

// printEvent writes one event as a line.
func (p *program) printEvent(x *connection, e client.Event) error {
	if x.output == asJSON {
		return p.printJSON(e)
	}
	s := p.sheet()
	s.line("%8d  %s  %-26s  %-30s  %s", e.Sequence, s.paint(dim, e.Time.Std().Local().Format(time.DateTime)), eventName(e.Type), e.ID,
		short(string(e.Data), 80))
	return s.err
}
