package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/rs/zerolog"

	"waybill/bench"
	"waybill/client"
	"waybill/configs"
	"waybill/internal/node"
	"waybill/internal/timestamp"
	"waybill/subjects"
)

// prepareWithin bounds what a benchmark does before it measures: starting its site, its catalog, its stock.
const prepareWithin = 2 * time.Minute

// readOrders is how many orders an own site has for order.get.
const readOrders = 20

// run measures every workload with every load, and shows the result; after an interruption or an error what was measured until then.
func (b *benchmark) run(ctx context.Context) error {
	b.report = bench.Report{Schema: bench.Schema, Time: timestamp.Of(time.Now()), Versions: bench.TheseVersions(version),
		Parameters: b.parameters(), Warnings: []string{}, Runs: []bench.Run{}}
	dir := ""
	if !b.outside {
		var err error
		if dir, err = os.MkdirTemp(b.home(), "waybill-bench-"); err != nil {
			return fmt.Errorf("no directory can be made: %w", err)
		}
		defer os.RemoveAll(dir)
	}
	b.report.Machine = bench.ThisMachine(dir)
	for _, w := range b.report.Machine.Warnings() {
		b.warn(w)
	}
	var failed error
	for _, name := range b.workloads {
		failed = b.measure(ctx, name, filepath.Join(dir, name))
		if failed != nil || ctx.Err() != nil {
			break
		}
	}
	switch interrupted := ctx.Err() != nil; {
	case interrupted:
		b.report.CutShort, failed = true, nil // whatever the error is, it comes of that
	case failed != nil && len(b.report.Runs) == 0:
		return failed
	case failed != nil:
		b.report.CutShort = len(b.report.Runs) < len(b.workloads)*len(b.loads)
		b.report.Warnings = append(b.report.Warnings, "it ended with an error: "+failed.Error())
	}
	err := b.show()
	if err != nil && failed != nil {
		fmt.Fprintln(b.p.err, sentence(err))
	}
	if err = cmp.Or(failed, err); err != nil {
		return err
	}
	if b.report.CutShort {
		return errors.New("it was interrupted; what was measured until then is marked as cut short")
	}
	for _, r := range b.report.Runs {
		if r.Count == 0 {
			return fmt.Errorf("%s: not one of %d calls succeeded; the first: %s", r.Name(), r.ErrorCount, r.FirstError)
		}
	}
	return nil
}

func (b *benchmark) parameters() bench.Parameters {
	out := bench.Parameters{Workloads: b.workloads, Method: b.method, Duration: b.duration.Seconds(), Warmup: b.warmup.Seconds(),
		Concurrency: []int{}, Rates: []float64{}, InFlight: b.inFlight, Timeout: b.x.timeout.Seconds()}
	for _, l := range b.loads {
		if l.Rate > 0 {
			out.Rates = append(out.Rates, l.Rate)
		} else {
			out.Concurrency = append(out.Concurrency, l.Callers)
		}
	}
	return out
}

// home is where the own site's directory is made: where it was said, else with the temporary files unless these are in memory
// and the user's cache is not.
func (b *benchmark) home() string {
	if b.data != "" {
		return b.data
	}
	home := os.TempDir()
	if slices.Contains(bench.InMemory, bench.FileSystem(home)) {
		if cache, err := os.UserCacheDir(); err == nil && !slices.Contains(append(bench.InMemory, ""), bench.FileSystem(cache)) {
			return cache
		}
	}
	return home
}

func (b *benchmark) warn(text string) {
	b.report.Warnings = append(b.report.Warnings, text)
	fmt.Fprintf(b.p.err, "warning: %s\n", clean(text))
}

// measure opens one workload and puts every load on it.
func (b *benchmark) measure(ctx context.Context, name, dir string) error {
	preparing, cancel := context.WithTimeout(ctx, prepareWithin)
	defer cancel()
	w, end, err := b.open(preparing, name, dir)
	if err != nil {
		return err
	}
	for _, l := range b.loads {
		var r bench.Run
		if r, err = b.load(ctx, w, l); err != nil || r.Took == 0 {
			break
		}
		b.report.Runs = append(b.report.Runs, r)
	}
	return errors.Join(err, end())
}

// load warms up, and measures. The run has taken no time where it was interrupted before it began.
func (b *benchmark) load(ctx context.Context, w bench.Workload, l bench.Load) (bench.Run, error) {
	name := bench.Run{Workload: w.Name, Method: w.Method, Mode: bench.ModeClosed, Concurrency: l.Callers}
	if l.Rate > 0 {
		name.Mode, name.RateWanted = bench.ModeOpen, l.Rate
	}
	if b.warmup > 0 {
		warming := l
		warming.Length = b.warmup
		b.watched(name.Name()+", warming up", b.warmup, func(progress *bench.Progress) { bench.Measure(ctx, warming, progress, w.Call) })
	}
	if ctx.Err() != nil {
		return bench.Run{}, nil
	}
	var m bench.Measured
	before := bench.CostNow()
	b.watched(name.Name(), l.Length, func(progress *bench.Progress) { m = bench.Measure(ctx, l, progress, w.Call) })
	cost := bench.CostNow().Since(before)
	if b.outside {
		cost = nil
	}
	return bench.RunOf(w, l, m, cost, ctx.Err() != nil)
}

// open makes a workload ready. end closes what it needed.
func (b *benchmark) open(ctx context.Context, name, dir string) (w bench.Workload, end func() error, err error) {
	if name == bench.Journal && !b.outside {
		return bench.OpenAppends(ctx, dir, b.durability, b.x.timeout)
	}
	c, end, err := b.site(ctx, dir)
	if err != nil {
		return w, nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, end())
		}
	}()
	if name == bench.Orders || name == bench.RPC && !b.outside {
		if err := bench.Prepare(ctx, c); err != nil {
			return w, nil, err
		}
	}
	switch name {
	case bench.Orders:
		w, err = bench.PlaceOrders(ctx, c)
	case bench.Journal:
		w, err = bench.PutItems(ctx, c)
	default:
		if b.method == "order.get" && !b.outside {
			for n := range readOrders {
				if _, err := c.Orders.Place(ctx, *bench.Order(n)); err != nil {
					return w, nil, err
				}
			}
		}
		w, err = bench.Read(ctx, c, b.method)
	}
	return w, end, err
}

// site connects to the site that runs, or starts one in dir first. What it asks is asked once: a refusal is a result.
func (b *benchmark) site(ctx context.Context, dir string) (*client.Client, func() error, error) {
	once := []client.Option{client.WithName("waybill bench"), client.WithRetry(client.NoRetry)}
	if b.outside {
		c, err := b.x.open(ctx, once...)
		if err != nil {
			return nil, nil, err
		}
		b.report.Parameters.Server = c.URL()
		return c, func() error { c.Close(); return nil }, nil
	}
	config := configs.Default()
	config.Data, config.Durability, config.Site, config.LogLevel = dir, b.durability, subjects.Site(b.x.site), "error"
	config.NATSAddr, config.HTTPAddr, config.EtcdAddr = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"
	n, err := node.Start(ctx, node.Options{Config: config, Version: version, Log: zerolog.New(b.p.err), TuneRuntime: true})
	if err != nil {
		return nil, nil, err
	}
	stop := func() error {
		ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopWithin)
		defer cancel()
		return n.Stop(ending)
	}
	c, err := client.Connect(ctx, n.Endpoints().NATS, append(once, client.WithSite(config.Site), client.WithTimeout(b.x.timeout))...)
	if err != nil {
		return nil, nil, errors.Join(err, stop())
	}
	return c, func() error { c.Close(); return stop() }, nil
}

// watched shows on a terminal how far a measurement of this length is, while do runs.
func (b *benchmark) watched(what string, length time.Duration, do func(*bench.Progress)) {
	var progress bench.Progress
	if !b.p.errTerminal {
		do(&progress)
		return
	}
	done, shown := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(shown)
		began := time.Now()
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				fmt.Fprintf(b.p.err, "\r\x1b[K%s", progressLine(what, time.Since(began), length, &progress))
			case <-done:
				fmt.Fprint(b.p.err, "\r\x1b[K")
				return
			}
		}
	}()
	do(&progress)
	close(done)
	<-shown
}

// progressLine says how far a measurement is, in one line.
func progressLine(what string, passed, length time.Duration, progress *bench.Progress) string {
	done, failed := progress.Done.Load(), progress.Failed.Load()
	line := fmt.Sprintf("%s: %.1f of %gs, %d calls, %.0f/s", what, passed.Seconds(), length.Seconds(), done, float64(done)/passed.Seconds())
	if failed > 0 {
		line += fmt.Sprintf(", %d failed", failed)
	}
	return line
}

// show writes the result where it was asked for. A file that can't be written keeps it from no other place.
func (b *benchmark) show() error {
	var failed []error
	if b.file != "" {
		text, err := json.Marshal(b.report, jsontext.WithIndent("  "))
		if err == nil {
			err = os.WriteFile(b.file, append(text, '\n'), 0o644)
		}
		if err != nil {
			failed = append(failed, fmt.Errorf("the result can't be written: %w", err))
		}
	}
	if b.html != "" {
		var page strings.Builder
		err := bench.WritePage(&page, b.report)
		if err == nil {
			err = os.WriteFile(b.html, []byte(page.String()), 0o644)
		}
		if err != nil {
			failed = append(failed, fmt.Errorf("the page can't be written: %w", err))
		}
	}
	failed = append(failed, b.x.print(b.report, func(s *sheet) { showBench(s, b.report) }))
	return errors.Join(failed...)
}
