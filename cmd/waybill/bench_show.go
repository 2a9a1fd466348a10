package main

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"waybill/bench"
)

// showBench shows a result to a person: where it was measured, then a table for each workload.
func showBench(s *sheet, r bench.Report) {
	m, v := r.Machine, r.Versions
	where := "a site of its own"
	if r.Parameters.Server != "" {
		where = r.Parameters.Server
	}
	s.facts("measured", where, "machine", fmt.Sprintf("%s, %d cores, %s", m.CPU, m.Cores, m.Kernel), "data on", m.FileSystem,
		"load before", fmt.Sprintf("%.2f", m.Load),
		"versions", fmt.Sprintf("waybill %s, %s, nats-server %s, nats.go %s, etcd %s", v.Waybill, v.Go, v.NATSServer, v.NATSClient, v.Etcd))
	for i := 0; i < len(r.Runs); {
		first := r.Runs[i]
		n := slices.IndexFunc(r.Runs[i:], func(o bench.Run) bool { return o.Workload != first.Workload })
		if n < 0 {
			n = len(r.Runs) - i
		}
		s.line("\n%s: %s, %s, %gs each, GOMAXPROCS %d", s.paint(bold, first.Workload), first.Method, first.Durability, first.Wanted, first.GOMAXPROCS)
		showRuns(s, r.Runs[i:i+n])
		i += n
	}
	if r.CutShort {
		s.line("%s", s.paint(yellow, "cut short: what was measured until then"))
	}
}

func showRuns(s *sheet, runs []bench.Run) {
	rows := make([][]string, len(runs))
	for i, r := range runs {
		rows[i] = []string{r.Label(), strconv.FormatFloat(r.Rate, 'f', 0, 64), strconv.FormatInt(r.Count, 10), strconv.FormatInt(r.ErrorCount, 10)}
		if l := r.Latencies; l != nil {
			rows[i] = append(rows[i], bench.LatencyText(l.P50), bench.LatencyText(l.P90), bench.LatencyText(l.P99), bench.LatencyText(l.P999), bench.LatencyText(l.Max))
		} else {
			rows[i] = append(rows[i], "", "", "", "", "")
		}
		rows[i] = append(rows[i], optionalFigure(r.CPU), optionalFigure(r.Allocs))
	}
	s.table([]string{"load", right + "calls/s", right + "calls", right + "errors", right + "p50", right + "p90", right + "p99", right + "p99.9", right + "max",
		right + "CPU µs", right + "allocs"}, rows)
	for _, r := range runs {
		for _, code := range slices.Sorted(maps.Keys(r.Errors)) {
			s.line("%s: %d × %s", r.Label(), r.Errors[code], clean(code))
		}
		if l := r.ErrorLatencies; l != nil {
			s.line("%s: the calls that failed took p50 %s, p99 %s; the first: %s", r.Label(), bench.LatencyText(l.P50), bench.LatencyText(l.P99), short(clean(r.FirstError), 200))
		}
		if r.Late+r.NotBegun > 0 {
			s.line("%s: %d calls began late, which is in their latency; %d were due and never begun, which is in none", r.Label(), r.Late, r.NotBegun)
		}
		if r.Abandoned > 0 {
			s.line("%s: %d calls were under way at the interruption, and are not counted", r.Label(), r.Abandoned)
		}
	}
	if runs[0].Allocs != nil {
		s.line("CPU and allocations are a call's, of %s", strings.ReplaceAll(runs[0].Sides, "both sides", "callers and site together"))
	}
}

func optionalFigure(v *float64) string {
	if v == nil {
		return "–"
	}
	return strconv.FormatFloat(*v, 'f', 0, 64)
}
