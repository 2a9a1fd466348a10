package bench

import (
	_ "embed"
	"html/template"
	"io"
	"math"
	"slices"
	"strconv"
)

//go:embed page.html
var pageSource string

var pageTemplate = template.Must(template.New("page").Funcs(template.FuncMap{
	"latency": LatencyText, "number": numberText, "optional": optionalText, "colour": func(i int) int { return i % colours },
}).Parse(pageSource))

// colours is how many the page has for lines; more begin again.
const colours = 8

// WritePage writes one HTML page with the report's tables and plots. It needs nothing else, and runs no script.
func WritePage(w io.Writer, r Report) error {
	return pageTemplate.Execute(w, struct {
		Report
		Sections []section
	}{r, sections(r)})
}

// section is one workload on the page.
type section struct {
	Name  string
	Runs  []Run
	Plots []plot
}

func sections(r Report) []section {
	var out []section
	for _, run := range r.Runs {
		name := run.Workload
		if run.Method != "" {
			name += ": " + run.Method
		}
		if run.Durability != "" {
			name += ", " + run.Durability
		}
		if run.GOMAXPROCS > 0 {
			name += ", GOMAXPROCS " + strconv.Itoa(run.GOMAXPROCS)
		}
		i := slices.IndexFunc(out, func(s section) bool { return s.Name == name })
		if i < 0 {
			i = len(out)
			out = append(out, section{Name: name})
		}
		out[i].Runs = append(out[i].Runs, run)
	}
	for i := range out {
		out[i].Plots = plots(out[i].Runs)
	}
	return out
}

// plots are what can be drawn of a workload's runs: latency by percentile, and where several numbers of callers were tried,
// throughput and latency by them.
func plots(runs []Run) []plot {
	var out []plot
	percentiles := plot{Title: "Latency by percentile", X: percentileAxis, YTitle: "latency"}
	throughput := plot{Title: "Throughput by callers", XTitle: "callers", YTitle: "calls a second", linear: true}
	latency := plot{Title: "Latency by callers", XTitle: "callers", YTitle: "latency"}
	rate, p50, p99 := line{Name: "calls a second"}, line{Name: "p50"}, line{Name: "p99"}
	closed := slices.DeleteFunc(slices.Clone(runs), func(r Run) bool { return r.Mode != ModeClosed || r.Latencies == nil })
	slices.SortFunc(closed, func(a, b Run) int { return a.Concurrency - b.Concurrency })
	for _, r := range runs {
		if r.latencies != nil && r.Latencies != nil {
			percentiles.Lines = append(percentiles.Lines, line{Name: r.Label(), points: distribution(r)})
		}
	}
	if len(percentiles.Lines) > 0 {
		out = append(out, percentiles.drawn())
	}
	for _, r := range closed {
		x := math.Log2(float64(r.Concurrency))
		rate.points = append(rate.points, point{x, r.Rate})
		p50.points = append(p50.points, point{x, r.Latencies.P50})
		p99.points = append(p99.points, point{x, r.Latencies.P99})
		throughput.X.Ticks = append(throughput.X.Ticks, tick{at: x, Text: strconv.Itoa(r.Concurrency)})
	}
	if len(closed) > 1 && closed[0].Concurrency < closed[len(closed)-1].Concurrency {
		throughput.X.least, throughput.X.most = rate.points[0].x, rate.points[len(rate.points)-1].x
		latency.X = throughput.X
		throughput.Lines, latency.Lines = []line{rate}, []line{p50, p99}
		for _, p := range []*plot{&throughput, &latency} {
			p.marks = true
			out = append(out, p.drawn())
		}
	}
	return out
}

// The percentile axis, as HdrHistogram draws it: each nine as wide as the one before.
var percentileAxis = axis{Title: "percentile of the calls", least: 0, most: 5, Ticks: []tick{{at: 0, Text: "0 %"}, {at: 1, Text: "90 %"},
	{at: 2, Text: "99 %"}, {at: 3, Text: "99.9 %"}, {at: 4, Text: "99.99 %"}, {at: 5, Text: "99.999 %"}}}

// distribution is a run's latency in microseconds by nines: 1 is 90 %, 2 is 99 %. It ends where a single call stands for the rest.
func distribution(r Run) []point {
	const steps = 20 // a nine
	most := min(math.Log10(float64(r.latencies.TotalCount())), percentileAxis.most)
	var out []point
	for i := 0; float64(i)/steps <= most; i++ {
		nines := float64(i) / steps
		ns := r.latencies.ValueAtPercentile(100 * (1 - math.Pow(10, -nines)))
		out = append(out, point{nines, max(float64(ns)/1e3, 0.001)})
	}
	return out
}

// LatencyText writes microseconds to three digits, with their unit.
func LatencyText(us float64) string {
	switch {
	case us >= 1e6:
		return numberText(us/1e6) + " s"
	case us >= 1e3:
		return numberText(us/1e3) + " ms"
	}
	return numberText(us) + " µs"
}

// RatioText writes how many times one figure is another.
func RatioText(v float64) string {
	if v >= unwieldy {
		return strconv.FormatFloat(v, 'g', 4, 64)
	}
	return strconv.FormatFloat(v, 'f', 2, 64)
}

// CountText writes a number as a whole.
func CountText(v float64) string {
	if v >= unwieldy {
		return strconv.FormatFloat(v, 'g', 4, 64)
	}
	return strconv.FormatFloat(math.Round(v), 'f', 0, 64)
}

// unwieldy is from where on a number is written with an exponent: a file may hold any.
const unwieldy = 1e9

// numberText writes a number to three digits, or as a whole where it has more.
func numberText(v float64) string {
	if v >= 100 {
		return CountText(v)
	}
	return strconv.FormatFloat(v, 'g', 3, 64)
}

func optionalText(v *float64) string {
	if v == nil {
		return "–"
	}
	return numberText(*v)
}
