package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"waybill/bench"
)

// mostFailAbove bounds --fail-above.
const mostFailAbove = 1000

func (p *program) benchCompare() *cobra.Command {
	var failAbove float64
	var output string
	c := &cobra.Command{
		Use: "compare A.json B.json", Short: "Compare two results", Args: exactly("A.json", "B.json"),
		Long: "Puts the runs of two results beside each other, as `bench --out` wrote them, and shows B's figures as multiples of A's. What was not\n" +
			"measured alike (machine, durability, duration) is said. With --fail-above it exits with 1 where a p50 or a rate is worse by more than that, or\n" +
			"where B lacks a run that A has.",
		Example: "  waybill bench compare before.json after.json\n  waybill bench compare before.json after.json --fail-above 1.10",
	}
	c.Flags().Float64Var(&failAbove, "fail-above", 0, "fail where p50 or rate is more than so many `times` worse, such as 1.10")
	c.Flags().StringVarP(&output, "output", "o", p.env["WAYBILL_OUTPUT"], "table or json (default: table on a terminal, else json)")
	c.RunE = func(c *cobra.Command, args []string) error {
		x := &connection{p: p, output: output}
		if err := x.settleOutput(); err != nil {
			return err
		}
		if c.Flags().Changed("fail-above") && !(failAbove > 1 && failAbove <= mostFailAbove) {
			return usage("--fail-above %g is not more than 1, and at most %d", failAbove, mostFailAbove)
		}
		var reports [2]bench.Report
		for i, name := range args {
			var err error
			if reports[i], err = bench.ReadReport(name); err != nil {
				return usage("%s", clean(err.Error()))
			}
		}
		result := bench.Compare(reports[0], reports[1], failAbove)
		if err := x.print(result, func(s *sheet) { showComparison(s, result) }); err != nil {
			return err
		}
		if failAbove == 0 {
			return nil
		}
		if len(result.Pairs) == 0 {
			return fmt.Errorf("the results have no run in common: nothing was compared")
		}
		for _, w := range result.Worse {
			fmt.Fprintf(p.err, "worse: %s\n", clean(w))
		}
		if n := len(result.OnlyA); n > 0 {
			fmt.Fprintf(p.err, "not compared: B lacks %d of A's %d runs, the first: %s\n", n, len(reports[0].Runs), clean(result.OnlyA[0]))
		}
		if len(result.Worse)+len(result.OnlyA) > 0 {
			return errSilent
		}
		return nil
	}
	return c
}

func showComparison(s *sheet, c bench.Comparison) {
	rows := make([][]string, len(c.Pairs))
	for i, p := range c.Pairs {
		rows[i] = []string{p.Run, times(p.Rate), times(p.P50), times(p.P99), times(p.CPU), times(p.Allocs),
			bench.CountText(p.A.Rate) + " → " + bench.CountText(p.B.Rate), bench.LatencyText(p.A.P50) + " → " + bench.LatencyText(p.B.P50)}
	}
	s.table([]string{"run", right + "rate", right + "p50", right + "p99", right + "CPU", right + "allocs", right + "calls/s", right + "p50"}, rows)
	for _, r := range c.OnlyA {
		s.line("only in A: %s", clean(r))
	}
	for _, r := range c.OnlyB {
		s.line("only in B: %s", clean(r))
	}
	for _, w := range c.Warnings {
		s.line("%s", s.paint(yellow, clean(w)))
	}
}

// times writes a ratio, such as × 1.05.
func times(r *float64) string {
	if r == nil {
		return "–"
	}
	return "× " + bench.RatioText(*r)
}
