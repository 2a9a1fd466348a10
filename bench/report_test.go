package bench_test

import (
	"context"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/go-json-experiment/json"

	"waybill/bench"
)

// measured is a report of runs with so many callers, of calls that do nothing.
func measured(t *testing.T, callers ...int) bench.Report {
	t.Helper()
	r := bench.Report{Schema: bench.Schema, Machine: bench.ThisMachine(t.TempDir()), Versions: bench.TheseVersions("0.0.0"), Warnings: []string{}}
	w := bench.Workload{Name: bench.RPC, Method: "catalog.get", Durability: "strict", Call: func(_ context.Context, n int) error {
		time.Sleep(100 * time.Microsecond)
		if n == 3 {
			return errors.New(`<script>alert("x")</script>`)
		}
		return nil
	}}
	for _, n := range callers {
		l := bench.Load{Callers: n, Length: 20 * time.Millisecond}
		before := bench.CostNow()
		m := bench.Measure(t.Context(), l, nil, w.Call)
		run, err := bench.RunOf(w, l, m, bench.CostNow().Since(before), false)
		if err != nil {
			t.Fatal(err)
		}
		r.Runs = append(r.Runs, run)
	}
	return r
}

func save(t *testing.T, r bench.Report) string {
	t.Helper()
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "result.json")
	if err := os.WriteFile(name, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// The histogram in a result can be read again, by this library and any other of its kind, and says the same.
func TestReportIsReadAgain(t *testing.T) {
	was := measured(t, 2)
	r, err := bench.ReadReport(save(t, was))
	if err != nil {
		t.Fatal(err)
	}
	run := r.Runs[0]
	h, err := hdrhistogram.Decode([]byte(run.Histogram))
	if err != nil {
		t.Fatal(err)
	}
	if p50 := float64(h.ValueAtPercentile(50)) / 1e3; h.TotalCount() != run.Count || run.Count == 0 || p50 < run.Latencies.P50*0.999 || p50 > run.Latencies.P50*1.001 {
		t.Errorf("the histogram has %d calls and a p50 of %g µs; the run %d and %g", h.TotalCount(), p50, run.Count, run.Latencies.P50)
	}
	if m := r.Machine; m.Cores < 1 || m.FileSystem == "" || m.Kernel == "" || m.Memory == 0 {
		t.Errorf("the machine is %+v", m)
	}
}

func TestReportIsChecked(t *testing.T) {
	good := measured(t, 1)
	for what, change := range map[string]func(*bench.Report){
		"another schema": func(r *bench.Report) { r.Schema = "waybill.bench/2" },
		"a mode":         func(r *bench.Report) { r.Runs[0].Mode = "ajar" },
		"a count":        func(r *bench.Report) { r.Runs[0].Count = -1 },
		"no time":        func(r *bench.Report) { r.Runs[0].Took = 0 },
		"no latencies":   func(r *bench.Report) { r.Runs[0].Latencies = nil },
		"disorder":       func(r *bench.Report) { r.Runs[0].Latencies.P99 = r.Runs[0].Latencies.P50 / 2 },
		"no workload":    func(r *bench.Report) { r.Runs[0].Workload = "" },
	} {
		r := good
		r.Runs = []bench.Run{good.Runs[0]}
		l := *good.Runs[0].Latencies
		r.Runs[0].Latencies = &l
		change(&r)
		if _, err := bench.ReadReport(save(t, r)); err == nil {
			t.Errorf("%s was not noticed", what)
		}
	}
	if _, err := bench.ReadReport(t.TempDir()); err == nil {
		t.Error("a directory was read")
	}
}

func TestCompare(t *testing.T) {
	a, b := measured(t, 1, 4), measured(t, 1, 8)
	b.Runs[0] = a.Runs[0]
	slower := *a.Runs[0].Latencies
	slower.P50 *= 2
	b.Runs[0].Latencies, b.Runs[0].Rate, b.Runs[0].Durability = &slower, a.Runs[0].Rate/3, "fast"
	b.Machine.Cores++
	c := bench.Compare(a, b, 1.1)
	if len(c.Pairs) != 1 || *c.Pairs[0].P50 != 2 || *c.Pairs[0].P99 != 1 || *c.Pairs[0].Allocs != 1 || len(c.Worse) != 2 {
		t.Errorf("pairs %+v, worse %q", c.Pairs, c.Worse)
	}
	if len(c.OnlyA) != 1 || c.OnlyA[0] != "rpc catalog.get, 4 callers" || len(c.OnlyB) != 1 || c.OnlyB[0] != "rpc catalog.get, 8 callers" {
		t.Errorf("only in A %q, only in B %q", c.OnlyA, c.OnlyB)
	}
	if all := strings.Join(c.Warnings, "\n"); !strings.Contains(all, "cores differs") || !strings.Contains(all, "durability differs: strict and fast") {
		t.Errorf("warnings %q", c.Warnings)
	}
	if c := bench.Compare(a, b, 3.5); len(c.Worse) != 0 {
		t.Errorf("worse than 3.5 times: %q", c.Worse)
	}
	if c := bench.Compare(a, a, 1.0001); len(c.Worse) != 0 || len(c.Warnings) != 0 || len(c.Pairs) != 2 {
		t.Errorf("with itself: %+v", c)
	}
}

// The page is well-formed, draws what there is, runs nothing, and shows texts as texts.
func TestPage(t *testing.T) {
	r := measured(t, 1, 4, 16)
	r.Versions.Commit = `"><img src=x onerror=alert(1)>`
	var page strings.Builder
	if err := bench.WritePage(&page, r); err != nil {
		t.Fatal(err)
	}
	d := xml.NewDecoder(strings.NewReader(page.String()))
	d.Strict, d.Entity = true, xml.HTMLEntity
	elements := map[string]int{}
	for {
		token, err := d.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatalf("the page is not well-formed: %v", err)
		}
		if e, ok := token.(xml.StartElement); ok {
			elements[e.Name.Local]++
			for _, a := range e.Attr {
				if strings.Contains(a.Value, "NaN") || strings.Contains(a.Value, "Inf") || strings.HasPrefix(a.Name.Local, "on") {
					t.Errorf("<%s %s=%q>", e.Name.Local, a.Name.Local, a.Value)
				}
			}
		}
	}
	if elements["script"] != 0 || elements["img"] != 0 || elements["svg"] != 3 || elements["path"] != 3+1+2 || elements["circle"] != 9 {
		t.Errorf("its elements are %v", elements)
	}
	for _, text := range []string{"&lt;script&gt;", "99.9 %", "16 callers", "ext4", "0.0.0"} {
		if text == "ext4" {
			text = r.Machine.FileSystem
		}
		if !strings.Contains(page.String(), text) {
			t.Errorf("%q does not stand in it", text)
		}
	}
	empty := bench.Report{Schema: bench.Schema}
	if err := bench.WritePage(io.Discard, empty); err != nil {
		t.Error(err)
	}
}
