package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"waybill/client"
	"waybill/internal/journal"
	"waybill/internal/verify"
	"waybill/subjects"
)

func (p *program) verify() *cobra.Command {
	var settled bool
	c := stream{
		use: "verify", short: "Check the whole journal against what must always hold",
		long: "Reads every event of the journal and the payment gateway's own books, and checks what must always hold: that every event is a step\n" +
			"that may be taken, that stock and money add up, that nothing happened twice, and that nothing is lost or altered. It exits with 1 and a\n" +
			"line for each thing that is broken.",
		example: "  waybill verify\n  waybill verify -o json",
		run: func(ctx context.Context, c *client.Client, x *connection, _ []string) error {
			var bar progress
			report, err := verifySite(ctx, c, settled, func(done, total uint64) {
				if bar.bar == nil {
					bar = p.progress(int64(total), "events")
				}
				bar.set(int64(done))
			})
			bar.finish()
			if err != nil {
				return err
			}
			err = x.print(report, func(s *sheet) {
				for _, v := range report.Violations {
					s.line("%s", clean(violationLine(v)))
				}
				if report.Omitted > 0 {
					s.line("… and %d more", report.Omitted)
				}
				s.line("%d events, %d orders: %d violations", report.Events, report.Orders, uint64(len(report.Violations))+report.Omitted)
			})
			if err == nil && len(report.Violations) > 0 {
				return errSilent
			}
			return err
		},
	}.command(p)
	c.Flags().BoolVar(&settled, "settled", false, "everything has had time to come to an end: what still waits is broken, too")
	return c
}

// verifySite reads all that can be read of a site, and checks it. The headers of the events are read a second time, as they are
// stored.
func verifySite(ctx context.Context, c *client.Client, settled bool, progress func(done, total uint64)) (verify.Report, error) {
	nc, err := c.Conn(ctx)
	if err != nil {
		return verify.Report{}, err
	}
	j, err := journal.Open(nc, journal.Options{Site: c.Site(), Domain: string(c.Site())})
	if err != nil {
		return verify.Report{}, err
	}
	source := verify.FromJournal(j)
	source.Settled = settled
	source.Messages = journal.OpenStream(nc, subjects.StreamJournal, string(c.Site())).Range
	source.Ledger = func(ctx context.Context, cursor string) ([]subjects.LedgerEntry, string, error) {
		page, err := c.Payments.Ledger(ctx, subjects.Page{Limit: subjects.MaxLimit, Cursor: cursor})
		if err != nil {
			return nil, "", err
		}
		return page.Entries, page.NextCursor, nil
	}
	source.Seals = func(ctx context.Context, cursor string) ([]subjects.Seal, string, error) {
		page, err := c.Journal.Seals(ctx, subjects.Page{Limit: subjects.MaxLimit, Cursor: cursor})
		if err != nil {
			return nil, "", err
		}
		return page.Seals, page.NextCursor, nil
	}
	return verify.Run(ctx, source, progress)
}

// violationLine is one broken thing, as a line.
func violationLine(v verify.Violation) string {
	return fmt.Sprintf("%s: %s (event %d): %s", v.Rule, v.Subject, v.Sequence, v.Message)
}
