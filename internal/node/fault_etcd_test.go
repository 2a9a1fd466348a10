package node_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"waybill/configs"
	"waybill/internal/nodetest"
	"waybill/subjects"
)

// backWithin is when all has to be well after etcd is back, by the word, and what a busy machine takes longer.
const backWithin = 5*time.Second + slack

// degraded waits until the site's health says that etcd is away, and why.
func degraded(t testing.TB, c *dialed, why string) {
	t.Helper()
	if err := until(20*time.Second, func() error {
		h, err := ask(c, 5*time.Second, subjects.HealthList, subjects.Empty{})
		if err != nil {
			return err
		}
		if !strings.Contains(h.Degraded, why) {
			return fmt.Errorf("the site says %q, want %q", h.Degraded, why)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

// well waits until the site's health is what it should be, with so many instances of each service, and returns how long it took.
func well(t testing.TB, c *dialed, instances int) time.Duration {
	t.Helper()
	back := time.Now()
	if err := until(backWithin, func() error {
		h, err := ask(c, 5*time.Second, subjects.HealthList, subjects.Empty{})
		if err != nil {
			return err
		}
		if h.Degraded != "" || len(h.Instances) != instances*len(subjects.Services) || h.Leaders[subjects.RoleInventory] == "" || h.Leaders[subjects.RoleProcess] == "" {
			return fmt.Errorf("degraded: %q, %d instances, leaders %v", h.Degraded, len(h.Instances), h.Leaders)
		}
		for _, in := range h.Instances {
			if in.Status != "passing" {
				return fmt.Errorf("%s of %s is %s: %v", in.Service, in.Instance, in.Status, in.Checks)
			}
		}
		return nil
	}); err != nil {
		t.Fatalf("etcd is back: %v", err)
	}
	return time.Since(back)
}

func holds(t testing.TB, c *dialed, key, value string) {
	t.Helper()
	v, err := ask(c, 10*time.Second, subjects.ConfigGet, subjects.KeyRequest{Key: key})
	if err != nil || string(v.Value) != value {
		t.Errorf("%s is %v, %v; want %s", key, v, err, value)
	}
}

// TestFaultOfEtcdOverARestart takes etcd away, for ten minutes with -faults.all, and starts the node again meanwhile: it takes orders
// with the settings that it knew.
func TestFaultOfEtcdOverARestart(t *testing.T) {
	t.Parallel()
	away := 6 * time.Second
	if *faultsAll {
		away = 10 * time.Minute
	}
	etcdDir, dir := t.TempDir(), t.TempDir()
	etcd := startChild(t, childOrder{Dir: etcdDir, Etcd: "127.0.0.1:0"})
	address := etcd.endpoints(t).Etcd
	outside := nodetest.WithConfig(func(c *configs.Config) { c.EtcdEndpoints = []string{address} })
	n := nodetest.Start(t, nodetest.InDir(dir), outside)
	c := mustDial(t, n.URL())
	impatient(t, c, "2s")
	nodetest.Stock(t, c.Client, 1_000_000, "bread")
	setting(t, c, "rpc.max_in_flight", "777")
	b := buy(c, 4, "bread", false)
	b.flow(t, 20*time.Second)

	etcd.kill()
	gone := time.Now()
	degraded(t, c, "etcd does not answer since")
	for time.Since(gone) < away/2 {
		b.flow(t, 10*time.Second)
		time.Sleep(100 * time.Millisecond)
	}
	before := b.settle(t, c)
	if before != b.number.Load() {
		t.Errorf("of %d orders before the restart %d were confirmed", b.number.Load(), before)
	}
	n.Stop()
	began := time.Now()
	n = nodetest.Start(t, nodetest.InDir(dir), outside)
	t.Logf("without etcd the node was ready after %s", time.Since(began))
	c = mustDial(t, n.URL())
	b = buyAfter(c, 4, "bread", false, b.number.Load())
	b.flow(t, 10*time.Second)
	degraded(t, c, "etcd does not answer since")
	holds(t, c, "rpc.max_in_flight", "777")
	for time.Since(gone) < away {
		b.flow(t, 10*time.Second)
		time.Sleep(100 * time.Millisecond)
	}

	etcd = startChild(t, childOrder{Dir: etcdDir, Etcd: address[len("http://"):]})
	etcd.endpoints(t)
	t.Logf("etcd was away for %s; all was well %s after it was back", time.Since(gone).Round(time.Second), well(t, c, 1))
	setting(t, c, "rpc.max_in_flight", "778")
	if sold := b.settle(t, c); sold != b.number.Load() {
		t.Errorf("of %d orders %d were confirmed", b.number.Load(), sold)
	}
	audit(t, c)
}
