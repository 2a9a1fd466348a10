package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"waybill/client"
	"waybill/internal/fault"
	"waybill/subjects"
)

// rebuildPoll is how often the progress of a rebuild is asked for.
const rebuildPoll = 200 * time.Millisecond

func (p *program) rebuild() *cobra.Command {
	return stream{
		use: "rebuild", short: "Build the read models anew from the journal",
		long: "Has the node throw its read models away and build them anew, and waits until they have caught up with the journal. Orders are taken\n" +
			"meanwhile; lists and searches are incomplete until it is done.",
		example: "  waybill rebuild",
		run: func(ctx context.Context, c *client.Client, x *connection, _ []string) error {
			state, err := c.Journal.Rebuild(ctx)
			if err != nil {
				return err
			}
			target := state.Target // what comes in while it builds belongs to the next moment
			bar := p.progress(int64(target), "events")
			defer bar.finish()
			tick := time.NewTicker(rebuildPoll)
			defer tick.Stop()
			for state.Sequence < target {
				bar.set(int64(state.Sequence))
				select {
				case <-tick.C:
				case <-ctx.Done():
					return fault.From(ctx.Err())
				}
				if state, err = c.Journal.View(ctx); err != nil {
					return err
				}
			}
			return x.print(&subjects.ViewState{Sequence: state.Sequence, Target: target}, func(s *sheet) {
				s.line("the read models are built anew, up to event %d", state.Sequence)
			})
		},
	}.command(p)
}
