package bench

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/go-json-experiment/json"

	"waybill/subjects"
)

// Schema names the form of a Report. A change that readers can't ignore gets a new number.
const Schema = "waybill.bench/1"

// Report is the result of one `waybill bench`: what was measured, on what, and how. It is what the command prints and what its
// file holds.
type Report struct {
	Schema     string        `json:"schema"`
	Time       subjects.Time `json:"time"` // of the start
	Machine    Machine       `json:"machine"`
	Versions   Versions      `json:"versions"`
	Parameters Parameters    `json:"parameters"`
	Warnings   []string      `json:"warnings"` // what makes the figures worth less
	CutShort   bool          `json:"cut_short"`
	Runs       []Run         `json:"runs"`
}

// Parameters are what the command was told. Every call of a load that has no other id gets a random one: there is no seed.
type Parameters struct {
	Workloads   []string  `json:"workloads"`
	Method      string    `json:"method"`
	Duration    float64   `json:"duration_seconds"`
	Warmup      float64   `json:"warmup_seconds"`
	Concurrency []int     `json:"concurrency"`
	Rates       []float64 `json:"rates"`
	InFlight    int       `json:"in_flight"`
	Timeout     float64   `json:"timeout_seconds"`
	Server      string    `json:"server"` // that was asked; empty for a node of its own
}

// The modes of a run.
const (
	ModeClosed = "closed"
	ModeOpen   = "open"
)

// Run is one load. Latencies are of the calls that succeeded; in an open loop they count from when a call was due.
type Run struct {
	Workload    string  `json:"workload"`
	Method      string  `json:"method"`
	Mode        string  `json:"mode"`
	Concurrency int     `json:"concurrency"`     // closed: callers; open: the most calls that may be under way
	RateWanted  float64 `json:"rate_wanted"`     // open: calls due per second
	Durability  string  `json:"durability"`      // strict or fast
	Sides       string  `json:"sides"`           // whose allocations and CPU: SidesBoth, or SidesCaller, where they are null
	GOMAXPROCS  int     `json:"gomaxprocs"`      // of this process meanwhile: a site of its own may have raised it
	Wanted      float64 `json:"wanted_seconds"`  // how long it was to be measured
	Took        float64 `json:"took_seconds"`    // from the start until the last call returned
	CutShort    bool    `json:"cut_short"`       // it was interrupted
	Count       int64   `json:"count"`           // calls that succeeded
	Rate        float64 `json:"rate_per_second"` // count by took

	ErrorCount     int64            `json:"error_count"`
	Errors         map[string]int64 `json:"errors"`          // by code; order_STATUS is an order that was not confirmed
	FirstError     string           `json:"first_error"`     // its message
	ErrorLatencies *Latencies       `json:"error_latencies"` // of the calls that failed; null without any

	Late      int64 `json:"late"`      // open: began more than 10 ms after they were due
	NotBegun  int64 `json:"not_begun"` // open: were due, and never begun
	Abandoned int64 `json:"abandoned"` // were under way when the run was interrupted

	Latencies  *Latencies `json:"latencies"`     // null where no call succeeded
	CPU        *float64   `json:"cpu_us"`        // a call, in microseconds, user and system
	Allocs     *float64   `json:"allocs"`        // a call
	AllocBytes *float64   `json:"alloc_bytes"`   // a call
	Histogram  string     `json:"hdr_v2_base64"` // of the latencies in nanoseconds, HdrHistogram's compressed form V2, in base64

	latencies *hdrhistogram.Histogram
}

// Whose cost a run's CPU and allocations are.
const (
	SidesBoth   = "both sides"  // callers and node share the process
	SidesCaller = "caller only" // the node is elsewhere: its cost is not known here
)

// Latencies are percentiles in microseconds.
type Latencies struct {
	Min  float64 `json:"min_us"`
	Mean float64 `json:"mean_us"`
	P50  float64 `json:"p50_us"`
	P90  float64 `json:"p90_us"`
	P99  float64 `json:"p99_us"`
	P999 float64 `json:"p999_us"`
	Max  float64 `json:"max_us"`
}

func latenciesOf(h *hdrhistogram.Histogram) *Latencies {
	if h.TotalCount() == 0 {
		return nil
	}
	at := func(percentile float64) float64 { return microseconds(float64(h.ValueAtPercentile(percentile))) }
	return &Latencies{Min: microseconds(float64(h.Min())), Mean: microseconds(h.Mean()),
		P50: at(50), P90: at(90), P99: at(99), P999: at(99.9), Max: at(100)}
}

// microseconds are nanoseconds in microseconds, to the tenth: more is not in the histogram.
func microseconds(ns float64) float64 { return math.Round(ns/100) / 10 }

// Cost is what a process has used up to a moment.
type Cost struct {
	CPU           time.Duration
	Allocs, Bytes uint64
}

// RunOf puts together what a load measured. cost is what this process used for it; nil where that is not what the calls cost.
func RunOf(w Workload, l Load, m Measured, cost *Cost, cutShort bool) (Run, error) {
	r := Run{
		Workload: w.Name, Method: w.Method, Mode: ModeClosed, Concurrency: l.Callers, Durability: w.Durability, Sides: SidesCaller, GOMAXPROCS: m.Procs,
		Wanted: l.Length.Seconds(), Took: m.Took.Seconds(), CutShort: cutShort, Count: m.Count, Rate: float64(m.Count) / m.Took.Seconds(),
		ErrorCount: m.failures(), Errors: m.Errors, ErrorLatencies: latenciesOf(m.Refusals),
		Late: m.Late, NotBegun: m.NotBegun, Abandoned: m.Abandoned, Latencies: latenciesOf(m.Latencies), latencies: m.Latencies,
	}
	if l.Rate > 0 {
		r.Mode, r.Concurrency, r.RateWanted = ModeOpen, l.InFlight, l.Rate
	}
	if m.First != nil {
		r.FirstError = m.First.Error()
	}
	if calls := float64(r.Count + r.ErrorCount); cost != nil && calls > 0 {
		allocs, size := float64(cost.Allocs)/calls, float64(cost.Bytes)/calls
		r.Sides, r.Allocs, r.AllocBytes = SidesBoth, &allocs, &size
		if cpu := float64(cost.CPU.Nanoseconds()) / 1e3 / calls; cpu > 0 { // not every system says
			r.CPU = &cpu
		}
	}
	encoded, err := m.Latencies.Encode(hdrhistogram.V2CompressedEncodingCookieBase)
	r.Histogram = string(encoded)
	return r, err
}

// Label is what a run is called beside others of its workload: "16 callers", or "500/s".
func (r Run) Label() string {
	switch {
	case r.Mode == ModeOpen:
		return fmt.Sprintf("%g/s", r.RateWanted)
	case r.Concurrency == 1:
		return "1 caller"
	}
	return fmt.Sprintf("%d callers", r.Concurrency)
}

// Bounds of a file of results.
const (
	maxReport = 64 << 20 // bytes
	maxRuns   = 10_000
)

// ReadReport reads a file that holds a Report. Errors are for people: no such file, or what is wrong in it.
func ReadReport(name string) (Report, error) {
	var r Report
	info, err := os.Stat(name)
	if err != nil {
		return r, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxReport {
		return r, fmt.Errorf("%s is no file of results: it is no regular file, or larger than %d bytes", name, maxReport)
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return r, err
	}
	if err := json.Unmarshal(bytes.TrimSpace(text), &r); err != nil {
		return r, fmt.Errorf("%s is no file of results: %w", name, err)
	}
	if r.Schema != Schema {
		return r, fmt.Errorf("%s has the schema %.40q and not %s", name, r.Schema, Schema)
	}
	if len(r.Runs) > maxRuns {
		return r, fmt.Errorf("%s has %d runs, and more than %d are not read", name, len(r.Runs), maxRuns)
	}
	for i, run := range r.Runs {
		if problem := run.check(); problem != "" {
			return r, fmt.Errorf("%s: runs[%d]: %s", name, i, problem)
		}
	}
	return r, nil
}

// check says what of a run can't be.
func (r Run) check() string {
	switch {
	case r.Workload == "" || len(r.Workload) > 40 || len(r.Method) > 80:
		return "it has no workload, or a name that is too long"
	case r.Mode != ModeClosed && r.Mode != ModeOpen:
		return fmt.Sprintf("the mode %.40q is neither closed nor open", r.Mode)
	case r.Count < 0 || r.ErrorCount < 0 || !(r.Rate >= 0) || !(r.Took > 0) || !(r.RateWanted >= 0):
		return "it has a negative figure, or took no time"
	case r.Count > 0 && (r.Latencies == nil || !(r.Latencies.P50 > 0) || r.Latencies.P99 < r.Latencies.P50):
		return "its latencies are missing, or not in order"
	}
	return ""
}
