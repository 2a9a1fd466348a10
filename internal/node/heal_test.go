package node_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"waybill/embedded"
	"waybill/internal/fault"
	"waybill/internal/gateway"
	"waybill/internal/id"
	"waybill/internal/lean"
	"waybill/internal/node"
	"waybill/internal/nodetest"
	"waybill/internal/rpc"
	"waybill/subjects"
)

// healTime is how long after the disk is well again a node may take here until orders flow. What is promised is 10 s; an idle
// machine takes 2 to 4 s, and one that is five times slower has to pass as well.
const healTime = 30 * time.Second

// illDisk is a disk whose syncs fail while it is ill, and which then loses everything that was not yet synced.
type illDisk struct {
	dir  string
	addr atomic.Pointer[string] // of the server that has the store open
	ill  atomic.Bool

	mu    sync.Mutex
	lose  bool
	sizes map[string]int64 // of the streams' files when the last sync that succeeded began
	lost  int64            // bytes
}

func newIllDisk(t testing.TB) *illDisk { return &illDisk{dir: t.TempDir()} }

func (d *illDisk) start(t testing.TB) *nodetest.Node {
	n := nodetest.Start(t, nodetest.InDir(d.dir), nodetest.WithSyncFault(d.sync))
	addr := strings.TrimPrefix(n.URL(), "nats://")
	d.addr.Store(&addr)
	return n
}

// sync is asked before each sync of the store, and when the node looks whether the disk is well.
func (d *illDisk) sync() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.ill.Load():
		d.lose = true
		return errors.New("input/output error (injected)")
	case !d.lose:
		d.sizes = map[string]int64{}
		return d.blocks(func(path string, size int64) error { d.sizes[path] = size; return nil })
	case d.open():
		return nil // a look at the disk, while the former server still has the files
	}
	d.lose = false
	return d.blocks(func(path string, size int64) error {
		kept, ok := d.sizes[path]
		d.lost += size - kept
		if !ok {
			return os.Remove(path)
		}
		return os.Truncate(path, min(size, kept))
	})
}

func (d *illDisk) open() bool {
	nc, err := net.DialTimeout("tcp", *d.addr.Load(), time.Second)
	if err == nil {
		nc.Close()
	}
	return err == nil
}

// blocks calls f with each file that holds messages.
func (d *illDisk) blocks(f func(path string, size int64) error) error {
	return filepath.WalkDir(filepath.Join(d.dir, "nats"), func(path string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) || filepath.Ext(path) != ".blk" {
			return nil // what the server writes beside the messages comes and goes
		}
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		return f(path, info.Size())
	})
}

// readiness asks the node by HTTP.
func readiness(t testing.TB, at node.Endpoints) (r gateway.Readiness) {
	t.Helper()
	req, err := http.NewRequestWithContext(within(t), http.MethodGet, at.HTTP+"/readyz", nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if err := json.UnmarshalRead(res.Body, &r); err != nil {
		t.Fatal(err)
	}
	if r.Ready != (res.StatusCode == http.StatusOK) {
		t.Errorf("/readyz answers %d with %+v", res.StatusCode, r)
	}
	return r
}

// unready waits until the node says that it lacks something that contains text.
func unready(t testing.TB, at node.Endpoints, text string) {
	t.Helper()
	if err := until(20*time.Second, func() error {
		r := readiness(t, at)
		if slices.ContainsFunc(r.Missing, func(s string) bool { return strings.Contains(s, text) }) {
			return nil
		}
		return fmt.Errorf("/readyz says %+v, want %q in it", r, text)
	}); err != nil {
		t.Fatal(err)
	}
}

// flows waits until an order is confirmed, for d at most.
func flows(t testing.TB, c *dialed, name string, d time.Duration) {
	t.Helper()
	i, start := 0, time.Now()
	if err := until(d, func() error {
		i++
		o, err := ask(c, 2*time.Second, subjects.OrderPlace, card(id.Order(fmt.Sprintf("%s-%d", name, i)), "tok_ok", line("bulk", 1)))
		if err == nil && o.Status != "confirmed" {
			return fmt.Errorf("the order is %s", o.Status)
		}
		return err
	}); err != nil {
		t.Fatalf("no orders after %v: %v", d, err)
	}
	t.Logf("%s: orders flow after %v", name, time.Since(start).Round(10*time.Millisecond))
}

// load places orders until end is called, which returns what each was answered; an order that got an error has no status.
type load struct {
	mu      sync.Mutex
	told    map[id.Order]subjects.OrderStatus
	stop    context.CancelFunc
	all     sync.WaitGroup
	refused atomic.Int64 // as the site said itself that nothing could be confirmed
}

func startLoad(t testing.TB, name string, clients int, c *dialed) *load {
	ctx, cancel := context.WithCancel(context.Background())
	l := &load{told: map[id.Order]subjects.OrderStatus{}, stop: cancel}
	t.Cleanup(l.end)
	for w := range clients {
		l.all.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				o := id.Order(fmt.Sprintf("%s-%d-%d", name, w, i))
				info, err := ask(c, 2*time.Second, subjects.OrderPlace, card(o, "tok_ok", line("bulk", 1)))
				var status subjects.OrderStatus
				if err == nil {
					status = info.Status
				} else if fault.CodeOf(err) == fault.Unavailable {
					l.refused.Add(1)
					time.Sleep(40 * time.Millisecond)
				}
				l.mu.Lock()
				l.told[o] = status
				l.mu.Unlock()
				time.Sleep(brisk.rest)
			}
		})
	}
	return l
}

func (l *load) end() {
	l.stop()
	l.all.Wait()
}

// confirmed returns the orders that were answered so.
func (l *load) confirmed() []id.Order {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []id.Order
	for o, status := range l.told {
		if status == "confirmed" {
			out = append(out, o)
		}
	}
	return out
}

// stands looks that each order that was confirmed is so, and that the site is sound.
func (l *load) stands(t testing.TB, c *dialed) {
	t.Helper()
	l.end()
	done := l.confirmed()
	if len(done) == 0 {
		t.Error("no order came through: nothing was tested")
	}
	for _, o := range done {
		if info, err := ask(c, 5*time.Second, subjects.OrderGet, subjects.GetOrderRequest{OrderID: o}); err != nil || info.Status != "confirmed" {
			t.Errorf("%s was confirmed, and now it is %+v %v", o, info, err)
		}
	}
	l.mu.Lock()
	all := len(l.told)
	l.mu.Unlock()
	t.Logf("%d orders, %d confirmed, %d refused as unavailable", all, len(done), l.refused.Load())
	audit(t, c)
}

// TestHealFailedSync fails the syncs of the store of a site of two processes, under load, has the store lose what was not
// durable, and lets the syncs succeed again.
func TestHealFailedSync(t *testing.T) {
	t.Parallel()
	disk := newIllDisk(t)
	a := disk.start(t)
	b := beside(t, a)
	c := mustDial(t, a.URL())
	nodetest.Stock(t, c.Client, 1_000_000, "bulk")
	impatient(t, c, "1s")
	before := a.Endpoints()
	l := startLoad(t, "sync", 8, c)

	for round := 1; round <= 2; round++ {
		flows(t, c, fmt.Sprintf("round%d", round), 20*time.Second)
		disk.ill.Store(true)
		unready(t, before, "durability: the storage could not be made durable")
		unready(t, before, "it waits: the file system of")
		from := len(l.confirmed())
		if _, err := ask(c, 2*time.Second, subjects.OrderPlace, card(id.Order(fmt.Sprintf("ill%d", round)), "tok_ok", line("bulk", 1))); err == nil {
			t.Error("an order was answered while nothing could be made durable")
		}
		if now := len(l.confirmed()); now > from+8 { // those that were on their way when the sync failed
			t.Errorf("%d orders were confirmed while nothing could be made durable", now-from)
		}
		disk.ill.Store(false)
		flows(t, c, fmt.Sprintf("healed%d", round), healTime)
	}
	const once, twice = "store: restarted once, because ", "store: restarted 2 times, last because "
	for n, restarted := range map[*nodetest.Node][]string{
		a: {twice},
		b: {once, twice}, // it may not have come as far as to begin another life before the second time
	} {
		if err := until(healTime, func() error {
			r := readiness(t, n.Endpoints())
			if !r.Ready || len(r.Notes) != 1 || !slices.ContainsFunc(restarted, func(text string) bool { return strings.HasPrefix(r.Notes[0], text) }) {
				return fmt.Errorf("/readyz says %+v", r)
			}
			return nil
		}); err != nil {
			t.Error(err)
		}
	}
	if after := a.Endpoints(); after != before {
		t.Errorf("the node was at %+v and is at %+v", before, after)
	}
	if _, err := os.Stat(filepath.Join(a.Config.Data, "endpoints.json")); err != nil {
		t.Error(err)
	}
	disk.mu.Lock()
	t.Logf("%d bytes were lost", disk.lost)
	if disk.lost == 0 {
		t.Error("the store lost nothing: that was no test")
	}
	disk.mu.Unlock()
	l.stands(t, c)
}

// TestFormerStore asks about what another life of the store acknowledged.
func TestFormerStore(t *testing.T) {
	t.Parallel()
	n := nodetest.Start(t)
	c := mustDial(t, n.URL())
	nodetest.Stock(t, c.Client, 1, "bulk")
	nc := enter(t, n, embedded.Front(subjects.Journal))
	calls := rpc.NewCaller(lean.Over(nc), n.Config.Site)
	for store, want := range map[string]fault.Code{"": fault.InvalidArgument, nc.ConnectedServerId(): "", "NSOMETHINGELSE": fault.Unavailable} {
		_, err := rpc.Call(within(t), calls, subjects.JournalSync, &subjects.SyncRequest{Sequence: 1, Store: store})
		if (err == nil) != (want == "") || err != nil && fault.CodeOf(err) != want {
			t.Errorf("asked about what %q acknowledged: %v", store, err)
		}
	}
}
