package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"waybill/bench"
	"waybill/internal/nodetest"
	"waybill/subjects"
)

func TestBenchWrongUsage(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ args, says string }{
		{"bench walk", `waybill bench has no command "walk"`},
		{"bench rpc extra", "one argument too many"},
		{"bench rpc --duration soon", "--duration"},
		{"bench rpc --duration 1ms", "--duration 1ms is not 10ms to 1h0m0s"},
		{"bench rpc --duration 2h", "--duration 2h0m0s is not"},
		{"bench rpc --duration -1s", "--duration -1s is not"},
		{"bench rpc --warmup 1h", "--warmup 1h0m0s is not"},
		{"bench rpc --warmup -1s", "--warmup -1s is not"},
		{"bench rpc --timeout 1h", "--timeout 1h0m0s is not"},
		{"bench rpc --concurrency 0", `--concurrency "0" is not a list of whole numbers of 1 to 1024`},
		{"bench rpc --concurrency 1,2000", `--concurrency "1,2000"`},
		{"bench rpc --concurrency 1,,2", `--concurrency "1,,2"`},
		{"bench rpc --concurrency 4,4", "--concurrency has 4 twice"},
		{"bench rpc --concurrency 1,01", "--concurrency has 1 twice"},
		{"bench rpc --rate 100,400,1e2", "--rate has 100 twice"},
		{"bench rpc --concurrency 1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17", "--concurrency has more than 16 values"},
		{"bench rpc --concurrency 99999999999999999999", "--concurrency"},
		{"bench rpc --rate 0", `--rate "0" is not a list of numbers of 0.1 to 1000000, such as 100,400`},
		{"bench rpc --rate 1e9", `--rate "1e9"`},
		{"bench rpc --rate NaN", `--rate "NaN"`},
		{"bench rpc --rate -Inf", `--rate "-Inf"`},
		{"bench rpc --rate=", "--rate"},
		{"bench rpc --in-flight 0", "--in-flight 0 is not 1 to 20000"},
		{"bench rpc --in-flight 20001", "--in-flight 20001"},
		{"bench rpc --method order.place", `--method "order.place" is none of catalog.get`},
		{"bench rpc --method=", `--method "" is none of`},
		{"bench orders --method catalog.get", "unknown flag: --method"},
		{"bench rpc --durability perhaps", `--durability "perhaps" is neither strict nor fast`},
		{"bench rpc --data /nowhere/at.all", `--data "/nowhere/at.all" is no directory`},
		{"bench rpc --data " + file, "is no directory"},
		{"bench rpc --data=", "--data"},
		{"bench rpc --out /nowhere/at.all", `--out "/nowhere/at.all": the directory /nowhere does not exist`},
		{"bench rpc --html " + dir, "is no file that can be written"},
		{"bench rpc --out=", "--out"},
		{"bench rpc --out /proc/x.json", `--out "/proc/x.json"`},
		{"bench rpc --out " + file + " --html " + file, "--out and --html name the same file"},
		{"bench rpc --out " + dir + "/new --html " + dir + "/../" + filepath.Base(dir) + "/new", "--out and --html name the same file"},
		{"bench rpc -o xml", "neither table nor json"},
		{"bench rpc --site No!", "is no site"},
		{"bench rpc --allow-writes", "unknown flag: --allow-writes"},
		{"bench orders --allow-writes", "--allow-writes is for a site that runs"},
		{"bench orders --server nats://127.0.0.1:1", "--allow-writes"},
		{"bench journal --server nats://127.0.0.1:1", "--allow-writes"},
		{"bench all --server nats://127.0.0.1:1", "--allow-writes"},
		{"bench rpc --server nats://127.0.0.1:1 --durability fast", "--durability is for a site of the benchmark's own"},
		{"bench rpc --server nats://127.0.0.1:1 --data " + dir, "--data is for a site of the benchmark's own"},
		{"bench compare", "A.json is missing"},
		{"bench compare a", "B.json is missing"},
		{"bench compare /nowhere/at.all b", "no such file"},
		{"bench compare " + file + " " + file, `has the schema "" and not waybill.bench/1`},
		{"bench compare " + dir + " " + file, "is no file of results"},
		{"bench compare a b --fail-above 1", "--fail-above 1 is not more than 1"},
		{"bench compare a b --fail-above NaN", "--fail-above NaN"},
		{"bench compare a b --fail-above 1e300", "--fail-above 1e+300"},
		{"bench compare a b -o xml", "neither table nor json"},
	} {
		r := run(t, "", []string{"HOME=" + dir}, strings.Fields(tc.args)...)
		if r.code != exitUsage || r.out != "" || !strings.Contains(r.err, tc.says) || !strings.Contains(r.err, "--help`.") || strings.Count(r.err, "\n") != 2 {
			t.Errorf("%s: exit %d, %q%q; want exit 2 and %q", tc.args, r.code, r.out, r.err, tc.says)
		}
	}
	r := run(t, "", nowhere(t), "bench", "orders")
	if r.code != exitUsage || !strings.Contains(r.err, "WAYBILL_SERVER") {
		t.Errorf("with WAYBILL_SERVER: exit %d, %q", r.code, r.err)
	}
	if r := run(t, "", nowhere(t), "bench", "rpc"); r.code != exitFailed || !strings.Contains(r.err, "unavailable: no waybill answers") {
		t.Errorf("nobody there: exit %d, %q", r.code, r.err)
	}
}

// sane checks that a report's figures agree with each other.
func sane(t *testing.T, text string, wanted int) bench.Report {
	t.Helper()
	var r bench.Report
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	if len(r.Runs) != wanted || r.Schema != bench.Schema || r.Versions.Go == "" || r.Machine.Cores == 0 || r.CutShort {
		t.Errorf("%d runs, not %d; %+v %+v", len(r.Runs), wanted, r.Machine, r.Versions)
	}
	for _, run := range r.Runs {
		l := run.Latencies
		if run.Count == 0 || l == nil || run.ErrorCount != 0 {
			t.Errorf("%s: %d calls, %d errors: %s", run.Name(), run.Count, run.ErrorCount, run.FirstError)
			continue
		}
		if total := run.Rate * run.Took; total < float64(run.Count)*0.999 || total > float64(run.Count)*1.001 || run.Took < run.Wanted*0.9 {
			t.Errorf("%s: %g/s in %gs are not %d calls", run.Name(), run.Rate, run.Took, run.Count)
		}
		if !(0 < l.Min && l.Min <= l.P50 && l.P50 <= l.P90 && l.P90 <= l.P99 && l.P99 <= l.P999 && l.P999 <= l.Max && l.Min <= l.Mean && l.Mean <= l.Max) {
			t.Errorf("%s: the latencies are not in order: %+v", run.Name(), l)
		}
		if own := r.Parameters.Server == ""; own != (run.Allocs != nil) || own && (*run.Allocs < 1 || *run.AllocBytes < 1 || *run.CPU <= 0 || run.Sides != bench.SidesBoth) {
			cost, _ := json.Marshal(run)
			t.Errorf("%s: not what it can have cost: %s", run.Name(), cost)
		}
	}
	return r
}

// TestBench measures all workloads, in both modes, on a site of its own, and leaves nothing behind.
func TestBench(t *testing.T) {
	dir, out := t.TempDir(), filepath.Join(t.TempDir(), "out")
	environ := []string{"HOME=" + dir}
	short := []string{"--duration", "200ms", "--warmup", "50ms", "--data", dir}
	r := run(t, "", environ, append([]string{"bench", "all", "--concurrency", "1,4", "--rate", "50", "--out", out, "--html", out + ".html", "-o", "json"}, short...)...)
	if r.code != exitDone {
		t.Fatalf("exit %d: %s", r.code, r.err)
	}
	report := sane(t, r.out, 9)
	for i, want := range []string{"rpc catalog.get, 1 caller", "rpc catalog.get, 4 callers", "rpc catalog.get, 50/s", "journal, 1 caller", "journal, 4 callers",
		"journal, 50/s", "orders, 1 caller", "orders, 4 callers", "orders, 50/s"} {
		procs := runtime.GOMAXPROCS(0)
		if os.Getenv("GOMAXPROCS") == "" {
			procs += 2 // what is strict has some to spare for what waits for the disk
		}
		if got := report.Runs[i].GOMAXPROCS; got != procs {
			t.Errorf("%s was measured with GOMAXPROCS %d, and the result says %d", want, procs, got)
		}
		if run := report.Runs[i]; run.Name() != want || run.Durability != "strict" || run.Mode == bench.ModeOpen && run.Count+run.NotBegun != 10 {
			t.Errorf("run %d is %s, %s, %d calls, %d not begun; want %s", i, run.Name(), run.Durability, run.Count, run.NotBegun, want)
		}
	}
	if saved, err := bench.ReadReport(out); err != nil || len(saved.Runs) != 9 {
		t.Errorf("the file holds %d runs, %v", len(saved.Runs), err)
	}
	if page, err := os.ReadFile(out + ".html"); err != nil || strings.Count(string(page), "<svg") != 9 {
		t.Errorf("the page has %d plots, not 9, %v", strings.Count(string(page), "<svg"), err)
	}
	table := run(t, "", environ, append([]string{"bench", "rpc", "--method", "order.get", "--durability", "fast", "--concurrency", "2", "-o", "table"}, short...)...)
	if table.code != exitDone || !matches(`rpc: order.get, fast, 0.2s each`, table.out) || !matches(`2 callers +│ +\d+`, table.out) {
		t.Errorf("exit %d: %s%s", table.code, table.out, table.err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}

	same := run(t, "", environ, "bench", "compare", out, out, "--fail-above", "1.01", "-o", "json")
	if same.code != exitDone || strings.Count(same.out, `"p50":1,`) != 9 {
		t.Errorf("compared with itself: exit %d: %s%s", same.code, same.out, same.err)
	}
	report.Runs = report.Runs[:1]
	report.Runs[0].Rate /= 2
	text, err := json.Marshal(report)
	if err == nil {
		err = os.WriteFile(out+".slow", text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	slow := run(t, "", environ, "bench", "compare", out, out+".slow", "--fail-above", "1.10", "-o", "table")
	if slow.code != exitFailed || slow.err != "worse: rpc catalog.get, 1 caller: the rate is 0.50 times what it was\nnot compared: B lacks 8 of A's 9 runs, the first: rpc catalog.get, 4 callers\n" || strings.Count(slow.out, "only in A: ") != 8 {
		t.Errorf("compared with a slower one: exit %d: %s%s", slow.code, slow.out, slow.err)
	}
}

// TestBenchCompareReadsAnyFile: numbers of any size make cells of a bearable width, and a B that lacks runs is no B that is as good.
func TestBenchCompareReadsAnyFile(t *testing.T) {
	of := func(name string, runs ...string) string {
		file := filepath.Join(t.TempDir(), name)
		text := `{"schema":"waybill.bench/1","runs":[` + strings.Join(runs, ",") + `]}`
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	one := func(callers int, rate, p50 string) string {
		return fmt.Sprintf(`{"workload":"rpc","mode":"closed","concurrency":%d,"took_seconds":1,"count":1,"rate_per_second":%s,"latencies":{"p50_us":%s,"p99_us":1e308}}`,
			callers, rate, p50)
	}
	a, b := of("a", one(1, "1e308", "1e-300"), one(2, "1", "1")), of("b", one(1, "1e-300", "1e308"), one(2, "1", "1"))
	for _, output := range []string{"table", "json"} {
		r := run(t, "", nil, "bench", "compare", a, b, "-o", output)
		if r.code != exitDone || output == "table" && len(slices.MaxFunc(strings.Split(r.out, "\n"), func(x, y string) int { return len(x) - len(y) })) > 400 {
			t.Errorf("as %s: exit %d\n%s%s", output, r.code, r.out, r.err)
		}
	}
	if r := run(t, "", nil, "bench", "compare", a, b, "--fail-above", "1.1"); r.code != exitFailed || strings.Count(r.err, "worse: rpc") != 2 || len(r.err) > 200 {
		t.Errorf("the other way about: exit %d: %s", r.code, r.err)
	}
	less := of("less", one(2, "1", "1"))
	if r := run(t, "", nil, "bench", "compare", a, less, "--fail-above", "1.1"); r.code != exitFailed || r.err != "not compared: B lacks 1 of A's 2 runs, the first: rpc, 1 caller\n" {
		t.Errorf("without a run: exit %d: %s", r.code, r.err)
	}
	if r := run(t, "", nil, "bench", "compare", a, less); r.code != exitDone {
		t.Errorf("without a run, and nothing was demanded: exit %d: %s", r.code, r.err)
	}
	many := of("many", slices.Repeat([]string{one(1, "1", "1")}, 10_001)...)
	if r := run(t, "", nil, "bench", "compare", many, many); r.code != exitUsage || !strings.Contains(r.err, "has 10001 runs, and more than 10000 are not read") {
		t.Errorf("many runs: exit %d: %s", r.code, r.err)
	}
}

// TestBenchAgainstASite: reads write nothing, orders are there afterwards, and the site's cost is not made up.
func TestBenchAgainstASite(t *testing.T) {
	n := nodetest.Start(t)
	environ := []string{"HOME=" + t.TempDir(), "WAYBILL_OUTPUT=json"}
	measure := func(args ...string) result {
		return run(t, "", environ, append(append([]string{"bench"}, args...), "--server", n.URL(), "--duration", "200ms", "--warmup", "0s", "--concurrency", "2")...)
	}
	if r := measure("rpc"); r.code != exitFailed || !strings.Contains(r.err, "not_found: the site's catalog is empty") {
		t.Errorf("an empty site: exit %d, %s%s", r.code, r.out, r.err)
	}
	sane(t, measure("rpc", "--method", "config.get").out, 1)
	placed := sane(t, measure("orders", "--allow-writes").out, 1).Runs[0].Count
	page, err := n.Client(t).Orders.List(t.Context(), subjects.ListOrdersRequest{Page: subjects.Page{Limit: subjects.MaxLimit}})
	if err != nil || len(page.Orders) == 0 || int64(len(page.Orders)) != min(placed, 500) {
		t.Errorf("%d orders are there, and %d were confirmed: %v", len(page.Orders), placed, err)
	}
	report := sane(t, measure("all", "--allow-writes", "--method", "inventory.get").out, 3)
	if report.Runs[1].Method != "catalog.put" || report.Runs[0].Method != "inventory.get" || report.Machine.FileSystem != "" || report.Parameters.Server == "" {
		t.Errorf("%+v", report.Parameters)
	}
}

// TestBenchShowsWhatItHas: a site that goes away in the midst, and a file that can't be written any more, take nothing away of what
// was measured before.
func TestBenchShowsWhatItHas(t *testing.T) {
	n := nodetest.Start(t)
	dir := filepath.Join(t.TempDir(), "gone")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	var said, err buffer
	p := newProgram(strings.NewReader(""), &said, &err, []string{"HOME=" + t.TempDir()})
	p.errTerminal = true
	watching := make(chan struct{})
	go func() {
		defer close(watching)
		for deadline := time.Now().Add(30 * time.Second); !strings.Contains(err.String(), "journal, 2 callers: ") && time.Now().Before(deadline); {
			time.Sleep(10 * time.Millisecond)
		}
		if failed := os.Remove(dir); failed != nil {
			t.Error(failed)
		}
		n.Stop()
	}()
	code := p.run(t.Context(), []string{"bench", "all", "--server", n.URL(), "--allow-writes", "--method", "config.get", "--duration", "1s", "--warmup", "0s",
		"--concurrency", "2", "--timeout", "500ms", "--out", filepath.Join(dir, "out"), "-o", "json"})
	<-watching
	var r bench.Report
	if failed := json.Unmarshal([]byte(said.String()), &r); failed != nil {
		t.Fatalf("exit %d: %v: %s%s", code, failed, said.String(), err.String())
	}
	if code != exitFailed || !r.CutShort || len(r.Runs) != 2 || r.Runs[0].Count == 0 || !strings.Contains(strings.Join(r.Warnings, "\n"), "it ended with an error: ") {
		t.Errorf("exit %d: %+v %q", code, r.Runs, r.Warnings)
	}
	if all := err.String(); !strings.Contains(all, "unavailable: no waybill answers") || !strings.Contains(all, "the result can't be written: ") {
		t.Errorf("said %q", all)
	}
}

// TestBenchIsInterrupted: a terminal sees how far it is; what was measured until the interruption is shown and marked, and nothing is
// left behind.
func TestBenchIsInterrupted(t *testing.T) {
	dir := t.TempDir()
	out := filepath.Join(t.TempDir(), "out")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var said, err buffer
	p := newProgram(strings.NewReader(""), &said, &err, []string{"HOME=" + dir})
	p.errTerminal = true
	watching := make(chan struct{})
	go func() {
		defer close(watching)
		for deadline := time.Now().Add(30 * time.Second); !strings.Contains(err.String(), "journal, 2 callers: 0.4 of 60s, ") && time.Now().Before(deadline); {
			time.Sleep(10 * time.Millisecond)
		}
		cancel()
	}()
	code := p.run(ctx,
		[]string{"bench", "journal", "--duration", "1m", "--warmup", "0s", "--concurrency", "2,4", "--data", dir, "--out", out, "-o", "json"})
	<-watching
	if code != exitFailed || !strings.Contains(err.String(), "it was interrupted") {
		t.Errorf("exit %d, %q", code, err.String())
	}
	r, failed := bench.ReadReport(out)
	if failed != nil || !r.CutShort || len(r.Runs) != 1 || !r.Runs[0].CutShort || r.Runs[0].Count == 0 || r.Runs[0].ErrorCount != 0 || r.Runs[0].Took > 30 {
		t.Errorf("%v: %+v", failed, r.Runs)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
