package main

import (
	"context"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"waybill/client"
)

func (p *program) services() *cobra.Command {
	return question[*client.Discovery]{
		use: "services", short: "Show who serves what, and how busy",
		long: "Joins what the services say over NATS ($SRV.STATS) with the health that etcd holds. A service that is known in one of them and\n" +
			"not in the other is shown as such; only the leader of the inventory answers, the others stand by.",
		example: "  waybill services\n  waybill services -o json",
		ask: func(ctx context.Context, c *client.Client, _ []string) (*client.Discovery, error) {
			return c.Services(ctx)
		},
		show: func(s *sheet, d *client.Discovery) {
			if d.Degraded != "" {
				s.line("%s %s", s.paint(yellow, "degraded:"), clean(d.Degraded))
			}
			rows := make([][]string, len(d.Services))
			for i, in := range d.Services {
				seen := in.Seen
				if seen == client.SeenNATS || seen == client.SeenEtcd {
					seen = s.paint(yellow, seen)
				}
				rows[i] = []string{string(in.Service), in.Instance, in.Version, seen, s.status(in.Status), strconv.Itoa(in.Endpoints),
					strconv.FormatInt(in.InFlight, 10), strconv.FormatUint(in.Requests, 10), strconv.FormatUint(in.Failed, 10),
					strconv.FormatUint(in.PerSecond, 10), micros(in.P99), s.when(in.Started)}
			}
			s.table([]string{"service", "instance", "version", "known to", "status", right + "endpoints", right + "in flight",
				right + "requests", right + "failed", right + "per second", right + "p99", "since"}, rows)
		},
	}.command(p)
}

// micros writes a duration in microseconds as a person reads it; nothing for none.
func micros(us uint64) string {
	switch {
	case us == 0:
		return ""
	case us < 10_000:
		return strconv.FormatUint(us, 10) + "µs"
	}
	return elapsed(time.Duration(us) * time.Microsecond)
}
