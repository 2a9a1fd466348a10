package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"waybill/bench"
)

// rpcReport is what a run of rpc found.
type rpcReport struct {
	Machine      machine           `json:"machine"`
	Versions     versions          `json:"versions"`
	Rounds       int               `json:"rounds"`
	RoundSeconds float64           `json:"round_seconds"`
	Peers        map[string]string `json:"peers"` // how each is set up
	Tables       []rpcTable        `json:"tables"`

	names []string // of the peers, in order
}

// rpcTable is one number of processes and of callers.
type rpcTable struct {
	Processes int      `json:"processes"`
	Callers   int      `json:"callers"`
	Rows      []rpcRow `json:"rows"`
}

// rpcRow is one peer. The ratios are round by round; they are left out where what they refer to was not measured.
type rpcRow struct {
	Peer string `json:"peer"`
	bench.Figures
	CPU        bench.Spread  `json:"cpu_us"`               // a call's, of all processes
	Allocs     *bench.Spread `json:"allocations,omitzero"` // a call's, of both sides; within one process only
	ToGRPC     *bench.Spread `json:"p50_to_grpc,omitzero"`
	ToNATS     *bench.Spread `json:"p50_to_nats,omitzero"` // to nats.go's Request over the same transport
	ToThrift   *bench.Spread `json:"p50_to_thrift,omitzero"`
	ToEcho     *bench.Spread `json:"p50_to_tcp_echo,omitzero"`
	RateToGRPC *bench.Spread `json:"rate_to_grpc,omitzero"`
	CPUToGRPC  *bench.Spread `json:"cpu_to_grpc,omitzero"`
}

// tableOf sums up the rounds of the peers of these names.
func tableOf(processes, callers int, names []string, rounds [][]callRound) rpcTable {
	t := rpcTable{Processes: processes, Callers: callers}
	at := make(map[string][]callRound, len(names))
	for i, name := range names {
		at[name] = rounds[i]
	}
	for i, name := range names {
		mine := rounds[i]
		nats := (&rawNATS{transport: tcp}).name()
		if strings.HasSuffix(name, inProcess) {
			nats = (&rawNATS{transport: inProcess}).name()
		}
		row := rpcRow{
			Peer: name, Figures: bench.FiguresOf(resultsOf(mine)),
			CPU:        spreadOf(mine, cpu),
			CPUToGRPC:  ratio(cpu, mine, at["grpc"]),
			ToGRPC:     ratio(p50, mine, at["grpc"]),
			ToNATS:     ratio(p50, mine, at[nats]),
			ToThrift:   ratio(p50, mine, at[thriftPeer{}.name()]),
			ToEcho:     ratio(p50, mine, at["tcp-echo"]),
			RateToGRPC: ratio(func(r callRound) float64 { return r.result.Rate() }, mine, at["grpc"]),
		}
		if processes == 1 {
			allocs := spreadOf(mine, func(r callRound) float64 { return r.allocs })
			row.Allocs = &allocs
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}

// cpu is a call's CPU time in microseconds.
func cpu(r callRound) float64 { return float64(r.cpu.Nanoseconds()) / 1e3 }

func p50(r callRound) float64 { return float64(r.result.Percentile(0.5)) }

func resultsOf(rounds []callRound) []bench.Result {
	var out []bench.Result
	for _, r := range rounds {
		out = append(out, r.result)
	}
	return out
}

func spreadOf(rounds []callRound, figure func(callRound) float64) bench.Spread {
	var all []float64
	for _, r := range rounds {
		all = append(all, figure(r))
	}
	return bench.SpreadOf(all)
}

// ratio is a's figure to b's, round by round; nil where b was not measured.
func ratio(figure func(callRound) float64, a, b []callRound) *bench.Spread {
	if len(b) == 0 {
		return nil
	}
	var all []float64
	for i := range a {
		all = append(all, figure(a[i])/figure(b[i]))
	}
	s := bench.SpreadOf(all)
	return &s
}

func (r *rpcReport) write(w io.Writer, output string) error {
	if output == "json" {
		return writeJSON(w, r)
	}
	m := r.Machine
	fmt.Fprintf(w, "%s, %d cores, %s, load at the start %s; %s, nats-server %s\n", m.CPU, m.Cores, m.Kernel, m.Load, r.Versions.Go, r.Versions.NATS)
	fmt.Fprintf(w, "%d rounds of %g s of each, in turn; medians, with the lowest and the highest round; ratios round by round. GOGC as it is by default.\n", r.Rounds, r.RoundSeconds)
	about := grid{{"peer", "what it is"}}
	for _, name := range r.names {
		about = append(about, []string{name, r.Peers[name]})
	}
	if err := about.write(w, output); err != nil {
		return err
	}
	for _, t := range r.Tables {
		fmt.Fprintf(w, "\n%s, callers: %d\n", [...]string{1: "One process", 2: "Two processes"}[t.Processes], t.Callers)
		if err := t.grid(output).write(w, output); err != nil {
			return err
		}
	}
	if aims := r.aims(); len(aims) > 1 {
		fmt.Fprintln(w, "\nAims")
		return aims.write(w, output)
	}
	return nil
}

// grid has the absolute figures for a terminal only: in a document they are read beside those of another machine.
func (t rpcTable) grid(output string) grid {
	absolute := output != "md"
	head := []string{"peer", "p50, to gRPC's", "p50, to nats.go's", "p50, to Thrift's", "p50, to TCP's", "calls/s, to gRPC's", "CPU, to gRPC's", "allocations"}
	if absolute {
		head = append(head, "p50 µs", "p99 µs", "calls/s", "CPU µs")
	}
	g := grid{head}
	for _, r := range t.Rows {
		allocs := ""
		if r.Allocs != nil {
			allocs = fmt.Sprintf("%.0f", r.Allocs.Median)
		}
		row := []string{r.Peer, times(r.ToGRPC), times(r.ToNATS), times(r.ToThrift), times(r.ToEcho), times(r.RateToGRPC), times(r.CPUToGRPC), allocs}
		if absolute {
			row = append(row, spread(r.P50, 1, 0), fmt.Sprintf("%.0f", r.P99.Median), spread(r.Rate, 1, 0), fmt.Sprintf("%.0f", r.CPU.Median))
		}
		g = append(g, row)
	}
	return g
}

func times(s *bench.Spread) string {
	if s == nil {
		return ""
	}
	return "× " + spread(*s, 1, 2)
}

// grid is a table of texts. Its first row is the head.
type grid [][]string

// write writes the table for a terminal, or as Markdown for the output "md".
func (g grid) write(w io.Writer, output string) error {
	if output != "md" {
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		for _, row := range g {
			fmt.Fprintln(t, strings.Join(row, "\t"))
		}
		return t.Flush()
	}
	fmt.Fprintln(w)
	for i, row := range g {
		fmt.Fprintf(w, "| %s |\n", strings.Join(row, " | "))
		if i == 0 {
			fmt.Fprintln(w, strings.Repeat("|---", len(row))+"|")
		}
	}
	return nil
}
