package bench_test

import (
	"bufio"
	"cmp"
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/pprof/profile"
	"github.com/rs/zerolog"

	"waybill/bench"
	"waybill/client"
	"waybill/configs"
	"waybill/internal/node"
	"waybill/internal/nodetest"
	"waybill/subjects"
)

var (
	profiled       = flag.Int("profile", 0, "orders that TestProfile places while it looks where their time goes; 0 skips it")
	profileCallers = flag.Int("profile.callers", 16, "how many place orders at the same time")
	profileOut     = flag.String("profile.out", "", "a file for the profile of the time, for go tool pprof")
	profileAllocs  = flag.String("profile.allocs", "", "a file for the profile of the allocations")
	profiledNode   = flag.String("profile.node", "", "for TestProfile itself: the directory of the node that this process is to be")
	profileMemory  = flag.Bool("profile.memory", false, "for TestProfile itself: look at allocations in place of time")
)

// part is what a function belongs to. A sample counts for the function nearest to it that belongs to any.
type part struct {
	name   string
	prefix []string
}

const (
	waybillPath = "waybill/"
	serverPath  = "github.com/nats-io/nats-server/v2/server."
)

var parts = []part{
	{"NATS server: the streams' files", []string{serverPath + "(*fileStore)", serverPath + "(*msgBlock)", serverPath + "(*consumerFileStore)", serverPath + "writeMsgRecord"}},
	{"NATS server: streams and consumers", []string{serverPath + "(*stream)", serverPath + "(*consumer)", serverPath + "(*jsAccount)", serverPath + "(*jsPubMsg)", serverPath + "genHeader"}},
	{"NATS server: connections and subjects", []string{"github.com/nats-io/nats-server/v2/"}},
	{"connections within the process", []string{waybillPath + "internal/lean.", "github.com/nats-io/nats%2ego", "github.com/nats-io/nats.go"}},
	{"rpc: the layers around a handler", []string{waybillPath + "internal/rpc.", waybillPath + "internal/scope."}},
	{"journal: consumers and readers", []string{
		waybillPath + "internal/journal.(*consum", waybillPath + "internal/journal.(*puller)", waybillPath + "internal/journal.(*tail)", waybillPath + "internal/journal.(*work",
		waybillPath + "internal/journal.(*Sealer)", waybillPath + "internal/journal.(*stream)",
	}},
	{"journal: events written, hashed, appended", []string{waybillPath + "internal/journal."}},
	{"order service", []string{waybillPath + "handlers.(*Orders)", waybillPath + "internal/order.", waybillPath + "handlers.(*Prices)", waybillPath + "internal/vault."}},
	{"inventory service", []string{waybillPath + "handlers.(*Inventory)", waybillPath + "handlers.(*stockroom)", waybillPath + "internal/inventory."}},
	{"payment service and its gateway", []string{waybillPath + "handlers.(*Payments)", waybillPath + "internal/payment.", waybillPath + "internal/sandbox.", waybillPath + "internal/paygate."}},
	{"shipping and notification services", []string{waybillPath + "handlers.(*Shipping)", waybillPath + "internal/shipment.", waybillPath + "handlers.(*Notifications)"}},
	{"what services share", []string{waybillPath + "handlers.", waybillPath + "internal/id.", waybillPath + "internal/timestamp.", waybillPath + "subjects."}},
	{"read models", []string{waybillPath + "internal/view.", "modernc.org/", "database/sql"}},
	{"durability barrier", []string{waybillPath + "embedded."}},
	{"the rest of the node", []string{waybillPath}},
	{"etcd", []string{"go.etcd.io/", "google.golang.org/grpc"}},
	{"garbage collector", []string{"runtime.gcBgMarkWorker", "runtime.bgsweep", "runtime.bgscavenge", "runtime.gcStart", "runtime.gcMarkTermination"}},
}

const rest = "scheduler and the rest of Go's runtime"

// partOf returns what a sample counts for.
func partOf(s *profile.Sample) string {
	for _, location := range s.Location {
		for _, line := range location.Line {
			for _, p := range parts {
				for _, prefix := range p.prefix {
					if strings.HasPrefix(line.Function.Name, prefix) {
						return p.name
					}
				}
			}
		}
	}
	return rest
}

// TestProfile shows where the time and the allocations of an order go, in a node of its own process.
func TestProfile(t *testing.T) {
	if *profiled == 0 {
		t.Skip("skipped: it takes half a minute; run it with -profile 5000, as make profile does")
	}
	times, orders := profileOrders(t, false)
	allocations, _ := profileOrders(t, true)
	keepProfile(t, times, *profileOut)
	keepProfile(t, allocations, *profileAllocs)
	type row struct {
		name                   string
		micros, objects, bytes float64
	}
	rows := map[string]*row{}
	of := func(s *profile.Sample) *row {
		name := partOf(s)
		if rows[name] == nil {
			rows[name] = &row{name: name}
		}
		return rows[name]
	}
	for _, s := range times.Sample {
		of(s).micros += float64(s.Value[1]) / 1e3 / orders
	}
	for _, s := range allocations.Sample {
		of(s).objects += float64(s.Value[0]) / orders
		of(s).bytes += float64(s.Value[1]) / orders
	}
	var all row
	var sorted []*row
	for _, r := range rows {
		sorted = append(sorted, r)
		all.micros, all.objects, all.bytes = all.micros+r.micros, all.objects+r.objects, all.bytes+r.bytes
	}
	if all.micros == 0 || all.objects == 0 {
		t.Fatal("the profiles are empty")
	}
	slices.SortFunc(sorted, func(a, b *row) int { return cmp.Compare(b.micros, a.micros) })
	var out strings.Builder
	fmt.Fprintf(&out, "%.0f orders, strict, %d callers\n| part | µs of CPU | share | allocations | bytes |\n|---|---|---|---|---|\n", orders, *profileCallers)
	for _, r := range append(sorted, &row{"all", all.micros, all.objects, all.bytes}) {
		fmt.Fprintf(&out, "| %s | %.0f | %.1f %% | %.0f | %.1f kB |\n", r.name, r.micros, 100*r.micros/all.micros, r.objects, r.bytes/1000)
	}
	t.Log(out.String())
}

// profileOrders places orders in a node that is a process of its own, and returns the profile of that.
func profileOrders(t *testing.T, memory bool) (*profile.Profile, float64) {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0], "-test.run", "^TestProfiledNode$", "-test.timeout", "10m", "-profile.node", dir, fmt.Sprintf("-profile.memory=%t", memory))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	said := bufio.NewScanner(stdout)
	defer func() {
		in.Close() // ends it
		_, _ = io.Copy(io.Discard, stdout)
		_ = cmd.Wait()
	}()
	answer := func(question string) string {
		t.Helper()
		if _, err := io.WriteString(in, question+"\n"); err != nil {
			t.Fatal(err)
		}
		if !said.Scan() {
			t.Fatalf("the node did not answer %q", question)
		}
		return said.Text()
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	c, err := client.Connect(ctx, answer("url"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := bench.Prepare(ctx, c); err != nil {
		t.Fatal(err)
	}
	time.Sleep(11 * time.Second) // for as long as prices are read anew after a write to the catalog
	place := func(orders int) {
		t.Helper()
		r := bench.Loop(ctx, *profileCallers, orders, func(ctx context.Context, i int) error {
			o, err := client.Call(ctx, c, subjects.OrderPlace, bench.Order(i))
			if err == nil && o.Status != "confirmed" {
				err = fmt.Errorf("the order is %s: %+v", o.Status, o.Reason)
			}
			return err
		})
		if r.Errors > 0 {
			t.Fatalf("%d orders failed, the first with: %v", r.Errors, r.FirstError)
		}
	}
	place(*profiled / 5)
	answer("begin")
	place(*profiled)
	time.Sleep(2 * time.Second) // for what follows an order
	if text := answer("end"); text != "written" {
		t.Fatal(text)
	}
	p := readProfile(t, filepath.Join(dir, "end"))
	if memory {
		before := readProfile(t, filepath.Join(dir, "begin"))
		before.Scale(-1)
		if p, err = profile.Merge([]*profile.Profile{before, p}); err != nil {
			t.Fatal(err)
		}
	}
	return p, float64(*profiled)
}

// keepProfile writes a profile where it is wanted.
func keepProfile(t *testing.T, p *profile.Profile, path string) {
	t.Helper()
	if path == "" {
		return
	}
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := p.Write(f); err != nil {
		t.Fatal(err)
	}
}

func readProfile(t *testing.T, path string) *profile.Profile {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	p, err := profile.Parse(f)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestProfiledNode is the node of TestProfile: it does what it is told on its standard input, and ends with it.
func TestProfiledNode(t *testing.T) {
	if *profiledNode == "" {
		t.Skip("skipped: it is the other process of TestProfile")
	}
	if *profileMemory {
		runtime.MemProfileRate = 4096
	}
	o := node.Options{Config: nodetest.Config(filepath.Join(*profiledNode, "data")), Version: "0.0.0", Log: zerolog.New(os.Stderr), TuneRuntime: true}
	o.Config.Durability = configs.Strict
	n, err := node.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := n.Stop(ctx); err != nil {
			t.Error(err)
		}
	}()
	write := func(name string) string {
		if !*profileMemory {
			if name == "begin" {
				f, err := os.Create(filepath.Join(*profiledNode, "end"))
				if err == nil {
					err = pprof.StartCPUProfile(f)
				}
				return fmt.Sprint(err)
			}
			pprof.StopCPUProfile()
			return "written"
		}
		runtime.GC() // the profile is that of the last collection
		f, err := os.Create(filepath.Join(*profiledNode, name))
		if err == nil {
			defer f.Close()
			err = pprof.Lookup("allocs").WriteTo(f, 0)
		}
		if err != nil {
			return err.Error()
		}
		return "written"
	}
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		switch in.Text() {
		case "url":
			fmt.Println(n.Endpoints().NATS)
		default:
			fmt.Println(write(in.Text()))
		}
	}
}
