package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strings"
	"text/tabwriter"

	"waybill/bench"
)

// report is what a run of durable found, with what it rests on.
type report struct {
	Machine      machine           `json:"machine"`
	Versions     versions          `json:"versions"`
	Durability   map[string]string `json:"durability,omitzero"` // what each side's reply rests on
	Rounds       int               `json:"rounds"`
	RoundSeconds float64           `json:"round_seconds"`
	LeftOut      string            `json:"left_out,omitzero"` // why the peer is not in it

	Orders  []ordersRow          `json:"orders,omitzero"`
	Appends *bench.AppendsReport `json:"appends,omitzero"`
}

// promises are what Waybill's replies rest on, by its durability.
var promises = map[string]string{
	"strict": "one syncfs of the store's file system, shared by all who wait, before the reply",
	"fast":   "written before the reply, and not synced: it would survive the end of the process, and not a power cut",
}

type machine struct {
	CPU        string `json:"cpu"`
	Cores      int    `json:"cores"`
	Kernel     string `json:"kernel"`
	FileSystem string `json:"file_system"`
	Load       string `json:"load_at_start"` // averages of 1, 5 and 15 minutes: what else the machine did
}

type versions struct {
	Go         string `json:"go"`
	Waybill    string `json:"waybill,omitzero"` // commit
	NATS       string `json:"nats_server"`
	PostgreSQL string `json:"postgresql,omitzero"`
}

// ordersRow is one number of callers.
type ordersRow struct {
	Callers int          `json:"callers"`
	Sides   []ordersSide `json:"sides"`
}

// ordersSide is what one side came to, beside the first one, which is Waybill strict.
type ordersSide struct {
	Side string `json:"side"`
	ordersFigures
	Ratio bench.Spread `json:"ratio"` // of the rates, the first side's to this one's
}

// ordersFigures are one side's. CPU is the user and system time of all its processes, Client that of the load generator, both
// for an order.
type ordersFigures struct {
	bench.Figures
	CPU     bench.Spread `json:"cpu_us"`
	Client  bench.Spread `json:"client_cpu_us"`
	Backlog bench.Spread `json:"backlog_seconds"` // from the last reply until it was at rest
}

// thisMachine describes the machine and the file system that dir is on, as far as Linux tells.
func thisMachine(dir string) machine {
	m := machine{Cores: runtime.NumCPU()}
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(text)) {
			if name, ok := strings.CutPrefix(line, "model name"); ok {
				m.CPU = strings.Trim(name, ": \t\n")
				break
			}
		}
	}
	if text, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		m.Kernel = "Linux " + strings.TrimSpace(string(text))
	}
	if text, err := os.ReadFile("/proc/loadavg"); err == nil {
		if fields := strings.Fields(string(text)); len(fields) >= 3 {
			m.Load = strings.Join(fields[:3], " ")
		}
	}
	if out, err := exec.Command("findmnt", "-n", "-o", "FSTYPE", "-T", dir).Output(); err == nil {
		m.FileSystem = strings.TrimSpace(string(out))
	}
	return m
}

// theseVersions are what this program was built with and of.
func theseVersions() versions {
	v := versions{Go: runtime.Version()}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, m := range info.Deps {
			if m.Path == "github.com/nats-io/nats-server/v2" {
				v.NATS = m.Version
			}
		}
	}
	return v
}

func writeJSON(w io.Writer, report any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(report)
}

func (r *report) table(w io.Writer) error {
	m := r.Machine
	fmt.Fprintf(w, "%s, %d cores, %s, %s, load at the start %s\n%s, nats-server %s\n",
		m.CPU, m.Cores, m.Kernel, m.FileSystem, m.Load, r.Versions.Go, r.Versions.NATS)
	fmt.Fprintf(w, "%d rounds of %g s on each side, in turn; medians, with the lowest and the highest round\n", r.Rounds, r.RoundSeconds)
	if r.LeftOut != "" {
		fmt.Fprintf(w, "\n*** THE PEER IS LEFT OUT: %s ***\n", r.LeftOut)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	if len(r.Orders) > 0 {
		fmt.Fprintf(w, "\nOrders (Waybill %s, PostgreSQL %s)\n", r.Versions.Waybill, r.Versions.PostgreSQL)
		for _, s := range r.Orders[0].Sides {
			fmt.Fprintf(w, "  %s: %s\n", s.Side, r.Durability[s.Side])
		}
		fmt.Fprintln(t, "callers\tside\torders/s\tp50 ms\tp99 ms\tCPU µs/order\tclient CPU µs/order\tbacklog s\tWaybill strict's rate to it")
		for _, row := range r.Orders {
			for _, s := range row.Sides {
				s.line(t, row.Callers)
			}
		}
		if err := t.Flush(); err != nil {
			return err
		}
	}
	if a := r.Appends; a != nil {
		fmt.Fprintf(w, "\nAppends\n  shared barrier: %s\n  sync always: %s\n", r.Durability["shared barrier"], r.Durability["sync always"])
		fmt.Fprintf(w, "  alone, one fsync takes %s µs and one syncfs %s µs\n", spread(a.Fsync, 1, 0), spread(a.Syncfs, 1, 0))
		fmt.Fprintln(t, "waiting\tside\tappends/s\tp50 ms\tp99 ms")
		for _, row := range a.Rows {
			appendsLine(t, row.Waiting, "shared barrier", row.Shared)
			appendsLine(t, row.Waiting, "sync always", row.Always)
			fmt.Fprintf(t, "\tratio\t× %s\n", spread(row.Ratio, 1, 2))
		}
	}
	return t.Flush()
}

func (s *ordersSide) line(w io.Writer, callers int) {
	fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t× %s\n", callers, s.Side, spread(s.Rate, 1, 0), spread(s.P50, 1e3, 2), spread(s.P99, 1e3, 2),
		spread(s.CPU, 1, 0), spread(s.Client, 1, 0), spread(s.Backlog, 1, 1), spread(s.Ratio, 1, 2))
}

func appendsLine(w io.Writer, waiting int, side string, f bench.Figures) {
	fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\n", waiting, side, spread(f.Rate, 1, 0), spread(f.P50, 1e3, 2), spread(f.P99, 1e3, 2))
}

// spread is the figure in units of unit, as "median (low–high)".
func spread(s bench.Spread, unit float64, decimals int) string {
	return fmt.Sprintf("%.*f (%.*f–%.*f)", decimals, s.Median/unit, decimals, s.Low/unit, decimals, s.High/unit)
}
