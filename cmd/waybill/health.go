package main

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"waybill/client"
	"waybill/subjects"
)

func (p *program) health() *cobra.Command {
	return question[*subjects.HealthInfo]{
		use: "health", short: "Show how the site's services are", example: "  waybill health",
		ask: func(ctx context.Context, c *client.Client, _ []string) (*subjects.HealthInfo, error) {
			return c.Health.List(ctx)
		},
		show: func(s *sheet, h *subjects.HealthInfo) {
			if h.Degraded != "" {
				s.line("%s %s", s.paint(yellow, "degraded:"), clean(h.Degraded))
			}
			rows := make([][]string, len(h.Instances))
			for i, in := range h.Instances {
				rows[i] = []string{string(in.Service), in.Instance, s.status(in.Status), in.Version, s.when(in.Since), complaints(in.Checks)}
			}
			s.table([]string{"service", "instance", "status", "version", "since", "what is wrong"}, rows)
			for _, role := range slices.Sorted(maps.Keys(h.Leaders)) {
				s.line("leader of %s: %s", clean(role), clean(h.Leaders[role]))
			}
		},
	}.command(p)
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
