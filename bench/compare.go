package bench

import (
	"fmt"
	"math"
	"reflect"
)

// Comparison is what changed from one report to another.
type Comparison struct {
	Pairs    []Pair   `json:"pairs"`
	OnlyA    []string `json:"only_a"` // runs without a partner
	OnlyB    []string `json:"only_b"`
	Warnings []string `json:"warnings"` // why the figures may not be alike
	Worse    []string `json:"worse"`    // pairs that are worse than was allowed; none where nothing was said of that
}

// Pair is the same load in both reports. A ratio is B's figure by A's; null where either has none.
type Pair struct {
	Run    string   `json:"run"`
	Rate   *float64 `json:"rate"` // more is better; of the others less is
	P50    *float64 `json:"p50"`
	P99    *float64 `json:"p99"`
	CPU    *float64 `json:"cpu"`
	Allocs *float64 `json:"allocs"`
	A      Figure   `json:"a"`
	B      Figure   `json:"b"`
}

// Figure is what of a run is shown beside a ratio.
type Figure struct {
	Rate   float64 `json:"rate_per_second"`
	P50    float64 `json:"p50_us"`
	P99    float64 `json:"p99_us"`
	Errors int64   `json:"errors"`
}

// Name says which load a run was; the same load has the same name in every report.
func (r Run) Name() string {
	name := r.Workload
	if r.Method != "" && r.Workload == RPC {
		name += " " + r.Method
	}
	return name + ", " + r.Label()
}

// Compare puts runs of the same workload, method and load beside each other. With failAbove above 1, a pair is worse whose p50
// is more than so many times A's, or whose rate is less than A's by more than so many times.
func Compare(a, b Report, failAbove float64) Comparison {
	c := Comparison{Pairs: []Pair{}, OnlyA: []string{}, OnlyB: []string{}, Warnings: differences(a, b), Worse: []string{}}
	inA, inB := byLoad(a.Runs), byLoad(b.Runs)
	for _, r := range a.Runs {
		partner, ok := inB[r.load()]
		if !ok {
			c.OnlyA = append(c.OnlyA, r.Name())
			continue
		}
		p := pair(r, partner)
		c.Pairs = append(c.Pairs, p)
		c.Warnings = append(c.Warnings, unlike(r, partner)...)
		if failAbove > 1 {
			c.Worse = append(c.Worse, p.worse(failAbove)...)
		}
	}
	for _, r := range b.Runs {
		if _, ok := inA[r.load()]; !ok {
			c.OnlyB = append(c.OnlyB, r.Name())
		}
	}
	return c
}

// load is what the runs that are compared with each other have in common.
type load struct {
	workload, method, mode string
	rate                   float64
	callers                int // of a closed loop
}

func (r Run) load() load {
	l := load{r.Workload, r.Method, r.Mode, r.RateWanted, r.Concurrency}
	if r.Mode == ModeOpen {
		l.callers = 0
	}
	return l
}

// byLoad has the first run of each load.
func byLoad(runs []Run) map[load]Run {
	out := make(map[load]Run, len(runs))
	for _, r := range runs {
		if _, ok := out[r.load()]; !ok {
			out[r.load()] = r
		}
	}
	return out
}

func pair(a, b Run) Pair {
	p := Pair{Run: a.Name(), Rate: ratio(a.Rate, b.Rate), A: figure(a), B: figure(b)}
	p.P50, p.P99 = ratio(p.A.P50, p.B.P50), ratio(p.A.P99, p.B.P99)
	if a.Sides == b.Sides {
		p.CPU, p.Allocs = ratioOf(a.CPU, b.CPU), ratioOf(a.Allocs, b.Allocs)
	}
	return p
}

func figure(r Run) Figure {
	f := Figure{Rate: r.Rate, Errors: r.ErrorCount}
	if r.Latencies != nil {
		f.P50, f.P99 = r.Latencies.P50, r.Latencies.P99
	}
	return f
}

func ratio(a, b float64) *float64 {
	if !(a > 0) || !(b > 0) {
		return nil
	}
	r := min(b/a, math.MaxFloat64)
	return &r
}

func ratioOf(a, b *float64) *float64 {
	if a == nil || b == nil {
		return nil
	}
	return ratio(*a, *b)
}

// worse says in which way B is worse than A by more than limit times. A B without a single success is worse than any A with one.
func (p Pair) worse(limit float64) (out []string) {
	switch {
	case p.A.Rate > 0 && p.B.Rate == 0:
		return []string{fmt.Sprintf("%s: no call succeeded any more", p.Run)}
	case p.P50 != nil && *p.P50 > limit:
		out = append(out, fmt.Sprintf("%s: p50 is %s times what it was", p.Run, RatioText(*p.P50)))
	}
	if p.Rate != nil && 1 / *p.Rate > limit {
		out = append(out, fmt.Sprintf("%s: the rate is %s times what it was", p.Run, RatioText(*p.Rate)))
	}
	return out
}

// differences says what of two reports' circumstances is not alike.
func differences(a, b Report) []string {
	out := []string{}
	say := func(what string, x, y any) {
		if x != y {
			out = append(out, fmt.Sprintf("%s differs: %v and %v", what, x, y))
		}
	}
	ma, mb := a.Machine, b.Machine
	ma.Load, mb.Load = 0, 0
	if !reflect.DeepEqual(ma, mb) {
		say("the CPU", ma.CPU, mb.CPU)
		say("the number of cores", ma.Cores, mb.Cores)
		say("the system", ma.OS+" "+ma.Kernel, mb.OS+" "+mb.Kernel)
		say("the memory", ma.Memory, mb.Memory)
		say("the file system", ma.FileSystem, mb.FileSystem)
	}
	for _, r := range []struct {
		name string
		Report
	}{{"A", a}, {"B", b}} {
		for _, w := range r.Warnings {
			out = append(out, r.name+": "+w)
		}
	}
	return out
}

// unlike says what of two runs of the same load is not alike.
func unlike(a, b Run) (out []string) {
	name := a.Name()
	if a.Durability != b.Durability {
		out = append(out, fmt.Sprintf("%s: the durability differs: %s and %s", name, a.Durability, b.Durability))
	}
	if a.GOMAXPROCS != b.GOMAXPROCS {
		out = append(out, fmt.Sprintf("%s: GOMAXPROCS differs: %d and %d", name, a.GOMAXPROCS, b.GOMAXPROCS))
	}
	if a.Wanted != b.Wanted {
		out = append(out, fmt.Sprintf("%s: the duration differs: %gs and %gs", name, a.Wanted, b.Wanted))
	}
	if a.Sides != b.Sides {
		out = append(out, fmt.Sprintf("%s: the process holds %s in A and %s in B", name, a.Sides, b.Sides))
	}
	if a.CutShort || b.CutShort {
		out = append(out, name+": it was cut short")
	}
	return out
}
