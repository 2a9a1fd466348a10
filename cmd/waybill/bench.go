package main

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"waybill/bench"
	"waybill/configs"
)

func (p *program) bench() *cobra.Command {
	return group("bench", "Measure how fast it is here",
		"Measures a site: reads, durable appends, orders. By default it starts a site of its own in a temporary directory and takes it away\n"+
			"afterwards; --server measures one that runs. Callers that call without pause (--concurrency) show what the site can do; calls at a\n"+
			"given rate (--rate) show what customers would feel at it, as each call's latency counts from when it was due.\n"+
			"A caller that is refused pauses as a client does before its next call.\n"+
			"With --rate and without --concurrency, only the rates are tried.",
		"  waybill bench all\n  waybill bench orders --rate 100,200 --html orders.html\n  waybill bench compare before.json after.json",
		p.benchOf("rpc", "Measure requests and replies",
			"Calls a method that reads one thing, by request and reply: "+strings.Join(bench.Methods, ", ")+". It writes nothing into a --server;\n"+
				"what it asks for is what the site has.",
			"  waybill bench rpc --method order.get\n  waybill bench rpc --server nats://127.0.0.1:4222 --rate 1000", bench.RPC),
		p.benchOf("journal", "Measure durable appends",
			"Appends the first events of orders to a journal of its own, and waits for each until it is durable: no requests, no services. Against a\n"+
				"--server, where nobody but the services may append, each call is a catalog.put of an item that nobody can buy: one append, and the\n"+
				"request around it. That grows the site's journal for good, so it has to be said with --allow-writes.",
			"  waybill bench journal --concurrency 1,16,64,256", bench.Journal),
		p.benchOf("orders", "Measure orders, from the request to the confirmation",
			"Places orders of two lines, paid by card, and counts those that are confirmed. Against a --server these are real orders, with items and\n"+
				"stock of the benchmark's own, and they stay in its journal: that has to be said with --allow-writes.",
			"  waybill bench orders\n  waybill bench orders --rate 200 --duration 1m -o json", bench.Orders),
		p.benchOf("all", "Measure each in turn",
			"Measures rpc, journal and orders, one after the other, into one result.",
			"  waybill bench all --out here.json --html here.html", bench.RPC, bench.Journal, bench.Orders),
		p.benchCompare())
}

// Bounds of what a benchmark can be told.
const (
	leastDuration  = 10 * time.Millisecond
	mostDuration   = time.Hour
	mostWarmup     = 10 * time.Minute
	mostTimeout    = 10 * time.Minute
	mostCallers    = 1024
	mostRate       = 1_000_000
	mostInFlight   = 20_000
	mostLoads      = 16 // in a list
	defaultCallers = "1,16,64"
)

// benchmark is one run of a benchmark command: what it was told, and what comes of it.
type benchmark struct {
	p         *program
	x         *connection
	workloads []string
	loads     []bench.Load
	outside   bool // it measures a site that runs already

	duration, warmup                     time.Duration
	concurrency, rate                    string
	inFlight                             int
	method, durability, data, file, html string
	allowWrites                          bool

	report bench.Report
}

func (p *program) benchOf(use, short, long, example string, workloads ...string) *cobra.Command {
	c := &cobra.Command{Use: use, Short: short, Long: long, Example: example, Args: exactly()}
	b := &benchmark{p: p, x: p.connectionFlags(c), workloads: workloads}
	f := c.Flags()
	f.Lookup("server").Usage = "`URL` of the NATS server of a site that runs (default: a site of its own)"
	f.Lookup("timeout").Usage = "how long one call may take"
	f.DurationVar(&b.duration, "duration", 10*time.Second, "how long each load is measured")
	f.DurationVar(&b.warmup, "warmup", 2*time.Second, "how long each load is made before it is measured")
	f.StringVar(&b.concurrency, "concurrency", defaultCallers, "numbers of `callers` that call without pause, each measured")
	f.StringVar(&b.rate, "rate", "", "`calls` due per second whatever becomes of those before, each rate measured")
	f.IntVar(&b.inFlight, "in-flight", 1000, "with --rate: how many `calls` may be under way; those that are due wait for a place")
	if slices.Contains(workloads, bench.RPC) {
		f.StringVar(&b.method, "method", bench.Methods[0], "what rpc calls: "+strings.Join(bench.Methods, ", "))
	}
	f.StringVar(&b.durability, "durability", configs.Strict, "of its own site: strict or fast")
	f.StringVar(&b.data, "data", "", "`directory` on the disk to measure; its own site is made in a new one below it, and removed (default: that for temporary files)")
	f.StringVar(&b.file, "out", "", "`file` to write the result to, as JSON")
	f.StringVar(&b.html, "html", "", "`file` to write tables and plots to, as one page")
	if !slices.Equal(workloads, []string{bench.RPC}) {
		f.BoolVar(&b.allowWrites, "allow-writes", false, "with --server: write into that site's journal, for good")
	}
	c.RunE = func(c *cobra.Command, _ []string) error {
		if err := b.settle(c); err != nil {
			return err
		}
		return b.run(c.Context())
	}
	return c
}

// settle checks everything before anything is started.
func (b *benchmark) settle(c *cobra.Command) error {
	f := c.Flags()
	if err := b.x.settle(c); err != nil {
		return err
	}
	b.outside = f.Changed("server") // settle has looked into the environment, too
	for _, d := range []struct {
		flag        string
		value       time.Duration
		least, most time.Duration
	}{{"duration", b.duration, leastDuration, mostDuration}, {"warmup", b.warmup, 0, mostWarmup}, {"timeout", b.x.timeout, time.Millisecond, mostTimeout}} {
		if d.value < d.least || d.value > d.most {
			return usage("--%s %s is not %s to %s", d.flag, d.value, d.least, d.most)
		}
	}
	if b.inFlight < 1 || b.inFlight > mostInFlight {
		return usage("--in-flight %d is not 1 to %d", b.inFlight, mostInFlight)
	}
	if b.method != "" && !bench.KnownMethod(b.method) || f.Changed("method") && b.method == "" {
		return usage("--method %q is none of %s", short(b.method, 40), strings.Join(bench.Methods, ", "))
	}
	if b.durability != configs.Strict && b.durability != configs.Fast {
		return usage("--durability %q is neither strict nor fast", short(b.durability, 40))
	}
	if err := b.settleLoads(f.Changed("concurrency"), f.Changed("rate")); err != nil {
		return err
	}
	for flag, name := range map[string]string{"out": b.file, "html": b.html} {
		if err := writable(flag, name); f.Changed(flag) && err != nil {
			return err
		}
	}
	if b.file != "" && b.html != "" && sameFile(b.file, b.html) {
		return usage("--out and --html name the same file %q: the page would take the place of the result", b.html)
	}
	return b.settlePlace(f.Changed)
}

// settlePlace checks what may be said of a site that runs, and of an own one.
func (b *benchmark) settlePlace(changed func(flag string) bool) error {
	if !b.outside {
		if b.allowWrites {
			return usage("--allow-writes is for a site that runs: name it with --server")
		}
		if info, err := os.Stat(b.data); b.data != "" && (err != nil || !info.IsDir()) || b.data == "" && changed("data") {
			return usage("--data %q is no directory that exists", b.data)
		}
		return nil
	}
	for _, flag := range []string{"durability", "data"} {
		if changed(flag) {
			return usage("--%s is for a site of the benchmark's own: leave out --server, or --%s", flag, flag)
		}
	}
	if !b.allowWrites && !slices.Equal(b.workloads, []string{bench.RPC}) {
		return usage("bench %s writes into the journal of %s, and nothing takes that out again: say that it may with --allow-writes, "+
			"or leave out --server (and WAYBILL_SERVER)", strings.Join(b.workloads, ", "), b.x.server)
	}
	return nil
}

// settleLoads makes the loads: the numbers of callers, then the rates. Rates alone are tried where no callers were asked for.
func (b *benchmark) settleLoads(callers, rates bool) error {
	if callers || !rates {
		numbers, err := eachOf("concurrency", b.concurrency, func(text string) (float64, bool) {
			n, err := strconv.Atoi(text)
			return float64(n), err == nil && n >= 1 && n <= mostCallers
		}, "whole numbers of 1 to "+strconv.Itoa(mostCallers)+", such as 1,16")
		if err != nil {
			return err
		}
		for _, n := range numbers {
			b.loads = append(b.loads, bench.Load{Callers: int(n), Length: b.duration})
		}
	}
	if !rates {
		return nil
	}
	numbers, err := eachOf("rate", b.rate, func(text string) (float64, bool) {
		rate, err := strconv.ParseFloat(text, 64)
		return rate, err == nil && rate >= 0.1 && rate <= mostRate
	}, "numbers of 0.1 to "+strconv.Itoa(mostRate)+", such as 100,400")
	for _, rate := range numbers {
		b.loads = append(b.loads, bench.Load{Rate: rate, InFlight: b.inFlight, Length: b.duration})
	}
	return err
}

// eachOf takes a list of numbers apart. parse reads one, and says whether it may stand there.
func eachOf(flag, list string, parse func(string) (float64, bool), form string) (numbers []float64, err error) {
	for i, text := range strings.Split(list, ",") {
		text = strings.TrimSpace(text)
		n, ok := parse(text)
		switch {
		case i >= mostLoads:
			return nil, usage("--%s has more than %d values", flag, mostLoads)
		case !ok:
			return nil, usage("--%s %q is not a list of %s", flag, short(list, 60), form)
		case slices.Contains(numbers, n):
			return nil, usage("--%s has %g twice", flag, n)
		}
		numbers = append(numbers, n)
	}
	return numbers, nil
}

// writable refuses a file that can't be written to, before a long run would find out. It leaves no file that was not there.
func writable(flag, name string) error {
	info, err := os.Stat(name)
	if name == "" || err == nil && !info.Mode().IsRegular() {
		return usage("--%s %q is no file that can be written", flag, name)
	}
	if dir, err := os.Stat(filepath.Dir(name)); err != nil || !dir.IsDir() {
		return usage("--%s %q: the directory %s does not exist", flag, name, filepath.Dir(name))
	}
	how := os.O_WRONLY
	if info == nil {
		how |= os.O_CREATE | os.O_EXCL
	}
	f, err := os.OpenFile(name, how, 0o644)
	if err == nil {
		err = f.Close()
		if info == nil {
			err = errors.Join(err, os.Remove(name))
		}
	}
	if err != nil {
		return usage("--%s %q can't be written: %v", flag, name, err)
	}
	return nil
}

// sameFile reports whether two names are of one file, which need not be there.
func sameFile(a, b string) bool {
	x, errA := os.Stat(a)
	y, errB := os.Stat(b)
	if errA == nil && errB == nil {
		return os.SameFile(x, y)
	}
	x, errA = os.Stat(filepath.Dir(a))
	y, errB = os.Stat(filepath.Dir(b))
	return errA == nil && errB == nil && os.SameFile(x, y) && filepath.Base(a) == filepath.Base(b)
}
