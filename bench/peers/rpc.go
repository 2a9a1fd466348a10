package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"time"

	"waybill/bench"
)

// rpcOptions are the flags of rpc.
type rpcOptions struct {
	callers   []int
	processes []int
	rounds    int
	length    time.Duration
	peers     []peer
	output    string
}

func (o *rpcOptions) parse(args []string) error {
	f := flag.NewFlagSet("rpc", flag.ContinueOnError)
	callers := f.String("callers", "1,16,256", "how many call at the same time")
	processes := f.String("processes", "1,2", "1: service and callers in this process; 2: the service in one of its own")
	f.IntVar(&o.rounds, "rounds", 5, "rounds of each peer, for each number of callers")
	f.DurationVar(&o.length, "length", 400*time.Millisecond, "length of a round")
	only := f.String("only", "", "the peers to measure, such as grpc,waybill-tcp (default: all)")
	f.StringVar(&o.output, "o", "table", "table, json or md")
	if err := f.Parse(args); err != nil {
		return err
	}
	var err1, err2, err3 error
	o.callers, err1 = numbers(*callers)
	o.processes, err2 = numbers(*processes)
	o.peers, err3 = find(*only)
	switch {
	case err1 != nil || err2 != nil || err3 != nil:
		return errors.Join(err1, err2, err3)
	case f.NArg() > 0:
		return fmt.Errorf("%q is not a flag", f.Arg(0))
	case slices.Max(o.processes) > 2:
		return errors.New("-processes must be 1, 2 or 1,2")
	case slices.Max(o.callers) > maxCallers:
		return fmt.Errorf("-callers must be at most %d", maxCallers)
	case o.rounds < 1 || o.length <= 0:
		return errors.New("-rounds and -length must be positive")
	case o.output != "table" && o.output != "json" && o.output != "md":
		return errors.New("-o must be table, json or md")
	}
	return nil
}

const (
	maxCallers = 1000                  // Waybill's service takes 1,024 requests at a time
	warmUp     = 50 * time.Millisecond // before each round, with as many callers
)

// compareCalls measures a call of each peer, in turn.
func compareCalls(ctx context.Context, args []string) (err error) {
	var o rpcOptions
	if err := o.parse(args); err != nil {
		return err
	}
	dir, err := scratch("")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	r := &rpcReport{Machine: thisMachine(dir), Versions: theseVersions(), Rounds: o.rounds, RoundSeconds: o.length.Seconds(), Peers: make(map[string]string)}
	for _, p := range o.peers {
		r.Peers[p.name()] = p.about()
		r.names = append(r.names, p.name())
	}
	for _, processes := range o.processes {
		if err := r.measure(ctx, dir, o, processes); err != nil {
			return err
		}
	}
	return r.write(os.Stdout, o.output)
}

// measure adds the tables of one number of processes.
func (r *rpcReport) measure(ctx context.Context, dir string, o rpcOptions, processes int) (err error) {
	var hosts []*host
	defer func() {
		for _, h := range hosts {
			err = errors.Join(err, h.close())
		}
	}()
	for _, p := range o.peers {
		if processes == 2 && withinOne(p) {
			continue
		}
		h, err := newHost(p, filepath.Join(dir, fmt.Sprint(processes), p.name()), processes == 2)
		if err != nil {
			return err
		}
		hosts = append(hosts, h)
	}
	for _, callers := range o.callers {
		rounds := make([][]callRound, len(hosts))
		for n := range o.rounds {
			say("%d callers, processes: %d, round %d of %d", callers, processes, n+1, o.rounds)
			for i := range hosts {
				at := (i + n*max(1, len(hosts)/o.rounds)) % len(hosts) // who begins takes turns
				m, err := hosts[at].round(ctx, callers, o.length)
				if err != nil {
					return fmt.Errorf("%s with %d callers: %w", hosts[at].peer.name(), callers, err)
				}
				rounds[at] = append(rounds[at], m)
			}
		}
		names := make([]string, len(hosts))
		for i, h := range hosts {
			names[i] = h.peer.name()
		}
		r.Tables = append(r.Tables, tableOf(processes, callers, names, rounds))
	}
	return nil
}

// host is where a peer's service runs. Within this process it is started for each round, so that no other one's memory is about.
type host struct {
	peer  peer
	dir   string
	child *child // nil: this process
}

func newHost(p peer, dir string, apart bool) (*host, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	h := &host{peer: p, dir: dir}
	var err error
	if apart {
		h.child, err = startChild(filepath.Join(dir, "log"), "rpc-service", "-peer", p.name(), "-dir", dir)
	}
	return h, err
}

func (h *host) close() error {
	if h.child == nil {
		return nil
	}
	return h.child.stop()
}

// reach returns the service's address, and what ends a service within this process.
func (h *host) reach(ctx context.Context) (address string, end func() error, err error) {
	if h.child != nil {
		return h.child.at, func() error { return nil }, nil
	}
	s, err := h.peer.start(ctx, h.dir)
	if err != nil {
		return "", nil, err
	}
	return s.address(), s.stop, nil
}

// callRound is one round of one peer. CPU is the user and system time of all its processes, for a call; allocations are those of this
// process for a call.
type callRound struct {
	result bench.Result
	cpu    time.Duration
	allocs float64
}

// round connects so many callers, has them call for a moment, and measures then.
func (h *host) round(ctx context.Context, callers int, length time.Duration) (m callRound, err error) {
	address, end, err := h.reach(ctx)
	if err != nil {
		return m, err
	}
	defer func() { err = errors.Join(err, end()) }()
	c, err := h.peer.dial(ctx, address, callers)
	if err != nil {
		return m, err
	}
	defer func() { err = errors.Join(err, c.close()) }()
	if w := loop(ctx, c, callers, warmUp); w.FirstError != nil {
		return m, w.FirstError
	}
	runtime.GC()
	before, err := h.usage()
	if err != nil {
		return m, err
	}
	m.result = loop(ctx, c, callers, length)
	if err := errors.Join(m.result.FirstError, ctx.Err()); err != nil {
		return m, err
	}
	after, err := h.usage()
	if err != nil {
		return m, err
	}
	calls := max(1, m.result.Count)
	m.cpu = (after.cpu - before.cpu) / time.Duration(calls)
	m.allocs = float64((after.mallocs - before.mallocs) / uint64(calls)) // whole ones, as go test counts them
	return m, nil
}

// usage is what was used so far: CPU time by the service's process and this one, allocations by this one.
type usage struct {
	cpu     time.Duration
	mallocs uint64
}

func (h *host) usage() (usage, error) {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	u := usage{ownCPU(), m.Mallocs}
	if h.child == nil {
		return u, nil
	}
	child, err := h.child.cpu()
	u.cpu += child
	return u, err
}

// loop has the callers call without pause for the length of time, each on its own. A call ends by its timeout alone: contexts of calls
// that hang on one parent would all wait for its lock.
func loop(ctx context.Context, c caller, callers int, length time.Duration) bench.Result {
	results := make([]bench.Result, callers)
	alone := context.WithoutCancel(ctx)
	begun := time.Now()
	var all sync.WaitGroup
	for n := range results {
		all.Go(func() {
			request := question(n)
			results[n] = bench.LoopFor(ctx, 1, length, func(context.Context, int) error { return c.call(alone, n, request) })
		})
	}
	all.Wait()
	out := bench.Result{Took: time.Since(begun)}
	for _, r := range results {
		out.Count += r.Count
		out.Errors += r.Errors
		out.Latencies = append(out.Latencies, r.Latencies...)
		if out.FirstError == nil {
			out.FirstError = r.FirstError
		}
	}
	slices.Sort(out.Latencies)
	return out
}
