package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"waybill/bench"
	"waybill/internal/sleep"
)

// side is one of those that are compared: a service in processes of its own that takes orders.
type side interface {
	name() string
	processes() []*process
	// place places the n-th order of the workload; no error means that it is confirmed, and durable.
	place(ctx context.Context, n int) error
	// check fails where what is stored is not what was confirmed.
	check(ctx context.Context, placed int64) error
	close() error
}

// durableOptions are the flags of durable.
type durableOptions struct {
	rounds      int
	length      time.Duration
	callers     []int
	waiting     []int
	connections int
	dir         string
	only        string
	output      string
}

func (o *durableOptions) parse(args []string) error {
	f := flag.NewFlagSet("durable", flag.ContinueOnError)
	f.IntVar(&o.rounds, "rounds", 5, "rounds of each side, for each number of callers")
	f.DurationVar(&o.length, "length", 3*time.Second, "length of a round")
	callers := f.String("callers", "1,16,64", "how many place orders at the same time")
	waiting := f.String("waiting", "1,16,64,256", "how many append at the same time")
	f.IntVar(&o.connections, "conns", 64, "size of the peer's pool of database connections")
	f.StringVar(&o.dir, "dir", "", "directory for the data, which decides about the file system (default: the temporary one)")
	f.StringVar(&o.only, "only", "", "orders or appends: that part only")
	f.StringVar(&o.output, "o", "table", "table or json")
	if err := f.Parse(args); err != nil {
		return err
	}
	var err1, err2 error
	o.callers, err1 = numbers(*callers)
	o.waiting, err2 = numbers(*waiting)
	switch {
	case err1 != nil || err2 != nil:
		return errors.Join(err1, err2)
	case f.NArg() > 0:
		return fmt.Errorf("%q is not a flag", f.Arg(0))
	case o.rounds < 1 || o.length <= 0 || o.connections < 1 || o.connections > 90:
		return errors.New("-rounds and -length must be positive, and -conns 1 to 90")
	case o.only != "" && o.only != "orders" && o.only != "appends":
		return errors.New("-only must be orders or appends")
	case o.output != "table" && o.output != "json":
		return errors.New("-o must be table or json")
	}
	return nil
}

func numbers(text string) (out []int, err error) {
	for field := range strings.SplitSeq(text, ",") {
		n, err := strconv.Atoi(field)
		if err != nil || n < 1 {
			return nil, fmt.Errorf("%q is not a list of positive numbers such as 1,16,64", text)
		}
		out = append(out, n)
	}
	return out, nil
}

// durable measures what a power cut must not take: orders beside the peers, and appends beside a server that syncs each.
func durable(ctx context.Context, args []string) (err error) {
	var o durableOptions
	if err := o.parse(args); err != nil {
		return err
	}
	dir, err := scratch(o.dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	r := &report{
		Machine: thisMachine(dir), Versions: theseVersions(), Durability: make(map[string]string), Rounds: o.rounds, RoundSeconds: o.length.Seconds(),
	}
	if o.only != "appends" {
		if err := r.orders(ctx, dir, o); err != nil {
			return err
		}
	}
	if o.only != "orders" {
		say("appends: %d rounds of %s for each of %v waiting, on either side", o.rounds, o.length, o.waiting)
		appends, err := bench.Appends(ctx, bench.AppendsOptions{Dir: dir, Waiting: o.waiting, Rounds: o.rounds, Length: o.length})
		if err != nil {
			return err
		}
		r.Appends = &appends
		r.Durability["shared barrier"] = "JetStream's default sync, then one syncfs of the store's file system, shared by all who wait"
		r.Durability["sync always"] = "sync_interval: always, an fsync of each message before its acknowledgement"
	}
	if o.output == "json" {
		return writeJSON(os.Stdout, r)
	}
	return r.table(os.Stdout)
}

// scratch makes a directory in parent, or in the temporary one, that the peer's user may pass through.
func scratch(parent string) (string, error) {
	dir, err := os.MkdirTemp(parent, "peers-")
	if err != nil {
		return "", err
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return "", err
	}
	return dir, os.Chmod(dir, 0o755)
}

// say tells how far the run is.
func say(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }

// orders starts all sides and measures them.
func (r *report) orders(ctx context.Context, dir string, o durableOptions) (err error) {
	var sides []side
	defer func() {
		for _, s := range sides {
			err = errors.Join(err, s.close())
		}
	}()
	say("building and starting Waybill, strict and fast")
	program, commit, err := buildWaybill(ctx, dir)
	if err != nil {
		return err
	}
	r.Versions.Waybill = commit
	for durability, promise := range promises {
		s, err := startSite(ctx, program, dir, durability)
		if err != nil {
			return err
		}
		sides = append(sides, s)
		r.Durability[s.name()] = promise
	}
	slices.SortFunc(sides, func(a, b side) int { return strings.Compare(b.name(), a.name()) }) // strict first: the ratios are its
	say("starting PostgreSQL")
	peer, err := startShop(ctx, dir, o.connections)
	switch {
	case err == nil:
		sides = append(sides, peer)
		r.Versions.PostgreSQL = peer.db.version
		r.Durability[peer.name()] = fmt.Sprintf("a Go service with a pool of %d, %s: one transaction an order, committed before the reply", o.connections, peer.db.settings)
	case errors.Is(err, errNoPostgres):
		r.LeftOut = err.Error()
		say("\n*** THE PEER IS LEFT OUT: %v ***\n", err)
	default:
		return fmt.Errorf("the peer: %w", err)
	}
	say("starting JetStream")
	stream, err := startStreamShop(ctx, dir)
	if err != nil {
		return fmt.Errorf("the service on JetStream: %w", err)
	}
	sides = append(sides, stream)
	r.Durability[stream.name()] = "a Go service, sync_interval always: four events an order, each with an fsync of its own before the next"

	placed := make([]int64, len(sides))
	for i, s := range sides { // once without measuring: connections, caches, prepared statements
		w := bench.LoopFor(ctx, 16, time.Second, s.place)
		if err := errors.Join(w.FirstError, ctx.Err()); err != nil {
			return fmt.Errorf("%s: %w", s.name(), err)
		}
		placed[i] += int64(w.Count)
	}
	for _, callers := range o.callers {
		rounds := make([][]round, len(sides))
		for n := range o.rounds {
			for i := range sides {
				at := (i + n) % len(sides) // who begins takes turns
				m, err := measure(ctx, sides, at, callers, o.length)
				if err != nil {
					return fmt.Errorf("%s with %d callers: %w", sides[at].name(), callers, err)
				}
				placed[at] += int64(m.result.Count)
				rounds[at] = append(rounds[at], m)
				say("%d callers, round %d: %s %.0f orders/s", callers, n+1, sides[at].name(), m.result.Rate())
			}
		}
		row := ordersRow{Callers: callers}
		for i, s := range sides {
			row.Sides = append(row.Sides, ordersSide{s.name(), ordersOf(rounds[i]), bench.RatioOf(results(rounds[0]), results(rounds[i]))})
		}
		r.Orders = append(r.Orders, row)
	}
	for i, s := range sides {
		say("checking what %s has stored of %d orders", s.name(), placed[i])
		if err := s.check(ctx, placed[i]); err != nil {
			return fmt.Errorf("%s: %w", s.name(), err)
		}
	}
	return nil
}

// round is one round of one side. An order's CPU time is that of all the side's processes from the round's begin until they are
// at rest again, so what they put off is in it; client is what the load generator used.
type round struct {
	result      bench.Result
	cpu, client time.Duration // an order
	backlog     time.Duration // from the last reply until the side was at rest
}

// measure runs a round of one side, once every side is at rest, and waits until that one is so again.
func measure(ctx context.Context, sides []side, at, callers int, length time.Duration) (round, error) {
	for _, s := range sides {
		if _, err := rest(ctx, s); err != nil {
			return round{}, err
		}
	}
	s := sides[at]
	before, err := cpuTime(s.processes()...)
	if err != nil {
		return round{}, err
	}
	own := ownCPU()
	m := round{result: bench.LoopFor(ctx, callers, length, s.place)}
	own = ownCPU() - own
	if err := errors.Join(m.result.FirstError, ctx.Err()); err != nil {
		return round{}, err
	}
	if m.backlog, err = rest(ctx, s); err != nil {
		return round{}, err
	}
	after, err := cpuTime(s.processes()...)
	if err != nil {
		return round{}, err
	}
	orders := time.Duration(max(1, m.result.Count))
	m.cpu, m.client = (after-before)/orders, own/orders
	return m, nil
}

// rest waits until a side uses less than a tenth of a core, and tells how long it was busy until then. Error: it is still busy
// after a minute; ctx's.
func rest(ctx context.Context, s side) (busy time.Duration, err error) {
	const look = 200 * time.Millisecond
	last, err := cpuTime(s.processes()...)
	if err != nil {
		return 0, err
	}
	for begun := time.Now(); time.Since(begun) < time.Minute; {
		from := time.Since(begun)
		if !sleep.For(ctx, look) {
			return 0, ctx.Err()
		}
		now, err := cpuTime(s.processes()...)
		if err != nil {
			return 0, err
		}
		if now-last <= look/10 {
			return from, nil
		}
		last = now
	}
	return 0, fmt.Errorf("%s is still busy a minute after its last order", s.name())
}

// ownCPU is what this process has used so far, user and system.
func ownCPU() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0 // it can't fail with these arguments
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func results(rounds []round) []bench.Result {
	var out []bench.Result
	for _, r := range rounds {
		out = append(out, r.result)
	}
	return out
}

// ordersOf sums up a side's rounds.
func ordersOf(rounds []round) ordersFigures {
	spread := func(figure func(round) float64) bench.Spread {
		var all []float64
		for _, r := range rounds {
			all = append(all, figure(r))
		}
		return bench.SpreadOf(all)
	}
	return ordersFigures{
		Figures: bench.FiguresOf(results(rounds)),
		CPU:     spread(func(r round) float64 { return float64(r.cpu.Nanoseconds()) / 1e3 }),
		Client:  spread(func(r round) float64 { return float64(r.client.Nanoseconds()) / 1e3 }),
		Backlog: spread(func(r round) float64 { return r.backlog.Seconds() }),
	}
}
