package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"waybill/client"
	"waybill/subjects"
)

func (p *program) health() *cobra.Command {
	var watch bool
	c := stream{
		use: "health", short: "Show how the site is, at a glance",
		long: "Shows every service's instances with their health, who leads, the journal, how far its consumers are, and whether etcd answers.\n" +
			"Rates and p99 are of the last ten seconds.",
		example: "  waybill health\n  waybill health -w",
		run: func(ctx context.Context, c *client.Client, x *connection, _ []string) error {
			tick := time.NewTicker(2 * time.Second)
			defer tick.Stop()
			for {
				h, err := c.Health.List(ctx)
				switch {
				case err != nil && !watch:
					return err
				case err != nil: // who watches wants to see it come back
					s := p.sheet()
					s.line("%s %s", s.paint(red, "no answer:"), clean(err.Error()))
					err = s.err
				default:
					if watch && p.outTerminal && x.output != asJSON {
						_, _ = p.out.Write([]byte("\x1b[H\x1b[2J"))
					}
					err = x.print(h, func(s *sheet) { showHealth(s, h) })
				}
				if err != nil || !watch {
					return err
				}
				select {
				case <-tick.C:
				case <-ctx.Done():
					return nil
				}
			}
		},
	}.command(p)
	c.Flags().BoolVarP(&watch, "watch", "w", false, "show it anew every two seconds")
	return c
}

func showHealth(s *sheet, h *subjects.HealthInfo) {
	etcd := s.status("passing")
	if h.Degraded != "" {
		etcd = s.paint(yellow, "degraded") + ": " + h.Degraded
	}
	journal := s.paint(red, "no answer")
	if j := h.Journal; j != nil {
		journal = fmt.Sprintf("%d events, %.1f MB, durable to %d of %d", j.Events, float64(j.Bytes)/1e6, j.Durable, j.Sequence)
	}
	facts := []string{"etcd", etcd, "JetStream", journal}
	for _, c := range h.Consumers {
		facts = append(facts, string(c.Name), fmt.Sprintf("%d behind, %d at work", c.Pending, c.InFlight))
	}
	for _, role := range slices.Sorted(maps.Keys(h.Leaders)) {
		facts = append(facts, "leader of "+clean(role), h.Leaders[role])
	}
	s.facts(facts...)
	rows := make([][]string, len(h.Instances))
	for i, in := range h.Instances {
		rows[i] = []string{string(in.Service), in.Instance, s.status(in.Status), in.Version, s.when(in.Since),
			strconv.FormatUint(in.Requests["per_second"], 10), micros(in.Requests["p99_us"]), complaints(in.Checks)}
	}
	s.table([]string{"service", "instance", "status", "version", "since", right + "per second", right + "p99", "what is wrong"}, rows)
}

// complaints are the checks that don't pass.
func complaints(checks []subjects.Check) string {
	var parts []string
	for _, c := range checks {
		if c.Status != "passing" {
			parts = append(parts, c.Name+": "+c.Message)
		}
	}
	return short(strings.Join(parts, "; "), 60)
}
