package node_test

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"waybill/configs"
	"waybill/internal/nodetest"
	"waybill/internal/registry/etcdtest"
	"waybill/subjects"
)

// backWithin is when all has to be well after etcd is back, by the word, and what a busy machine takes longer.
const backWithin = 5*time.Second + slack

// calmWithin is when health shows that it is well after it has gone back and forth, which is damped: 24 looks, one each two seconds.
const calmWithin = 24*2*time.Second + backWithin

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
	return wellWithin(t, c, instances, backWithin)
}

func wellWithin(t testing.TB, c *dialed, instances int, longest time.Duration) time.Duration {
	t.Helper()
	back := time.Now()
	if err := until(longest, func() error {
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
	listen := etcdtest.Address(t)
	etcd := startChild(t, childOrder{Dir: etcdDir, Etcd: listen})
	address := etcd.endpoints(t).Etcd
	outside := nodetest.WithConfig(func(c *configs.Config) { c.EtcdEndpoints = []string{address} })
	n := nodetest.Start(t, nodetest.InDir(dir), outside)
	c, b := busySite(t, n)

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
	b = buyAfter(c, 4, "bread", steady, b.number.Load())
	b.flow(t, 10*time.Second)
	degraded(t, c, "etcd does not answer since")
	holds(t, c, "rpc.max_in_flight", "777")
	for time.Since(gone) < away {
		b.flow(t, 10*time.Second)
		time.Sleep(100 * time.Millisecond)
	}

	etcd = startChild(t, childOrder{Dir: etcdDir, Etcd: listen})
	etcd.endpoints(t)
	t.Logf("etcd was away for %s; all was well %s after it was back", time.Since(gone).Round(time.Second), well(t, c, 1))
	setting(t, c, "rpc.max_in_flight", "778")
	if sold := b.settle(t, c); sold != b.number.Load() {
		t.Errorf("of %d orders %d were confirmed", b.number.Load(), sold)
	}
	audit(t, c)
}

// bare is a plain client of an etcd.
func bare(t testing.TB, address string) *clientv3.Client {
	t.Helper()
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{address}, DialTimeout: 5 * time.Second, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() }) // its error is the end of its own context
	return c
}

// TestFaultOfAFullEtcd fills the embedded etcd up to its quota while orders come in: with its past, of which it rids itself, and with keys
// in use, of which it says so until they are deleted.
func TestFaultOfAFullEtcd(t *testing.T) {
	t.Parallel()
	n := nodetest.Start(t, nodetest.WithEtcdQuota(8<<20))
	c := mustDial(t, n.URL())
	impatient(t, c, "2s")
	nodetest.Stock(t, c.Client, 1_000_000, "bread")
	b := buy(c, 4, "bread", steady)
	b.flow(t, 20*time.Second)
	etcd := bare(t, n.Endpoints().Etcd)
	piece := strings.Repeat("x", 512<<10)
	if err := until(30*time.Second, func() error {
		if _, err := etcd.Put(within(t), "/same", piece); !errors.Is(err, rpctypes.ErrNoSpace) {
			return fmt.Errorf("etcd took it: %w", err)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	full := time.Now()
	if err := until(backWithin, func() error {
		_, err := ask(c, 5*time.Second, subjects.ConfigSet, subjects.SetRequest{Key: "rpc.max_in_flight", Value: subjects.Raw("778")})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	t.Logf("etcd was full of its past; a setting could be changed again after %s", time.Since(full))
	well(t, c, 1)
	b.flow(t, 10*time.Second)

	keys := 0
	if err := until(30*time.Second, func() error { // as long as something of the past is left it makes room for one more
		if _, err := etcd.Put(within(t), fmt.Sprintf("/in-use/%d", keys), piece); err == nil {
			keys++
		}
		h, err := ask(c, 5*time.Second, subjects.HealthList, subjects.Empty{})
		if err == nil && (!strings.Contains(h.Degraded, "etcd is out of space") || !strings.Contains(fmt.Sprint(h.Instances), "delete the keys")) {
			err = fmt.Errorf("with %d keys the health is %+v", keys, h)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	b.flow(t, 10*time.Second)
	holds(t, c, "rpc.max_in_flight", "778")
	if _, err := etcd.Delete(within(t), "/in-use/", clientv3.WithPrefix()); err != nil {
		t.Fatal(err)
	}
	gone := time.Now() // it tries again 10 s after the last time
	if err := until(10*time.Second+backWithin, func() error {
		_, err := etcd.Put(within(t), "/same", "")
		return err
	}); err != nil {
		t.Fatal(err)
	}
	well(t, c, 1)
	t.Logf("etcd was full of keys in use; all was well %s after they were deleted", time.Since(gone))
	setting(t, c, "rpc.max_in_flight", "779")
	if sold := b.settle(t, c); sold != b.number.Load() {
		t.Errorf("of %d orders %d were confirmed", b.number.Load(), sold)
	}
	audit(t, c)
}

// TestFaultOfAPartition has the network between a site's leader and etcd stop forwarding for longer than the leases, while the other process
// still has its etcd; there a setting changes, and the past in which the leader's watch stands is compacted.
func TestFaultOfAPartition(t *testing.T) {
	t.Parallel()
	away := 8 * time.Second
	if *faultsAll {
		away = time.Minute
	}
	outside := startChild(t, childOrder{Dir: t.TempDir(), Etcd: "127.0.0.1:0"})
	address := outside.endpoints(t).Etcd
	way := etcdtest.NewSluice(t, address[len("http://"):])
	// The first has all services, and leads; the second is asked for nothing of health and settings, so that the first is.
	first := nodetest.Start(t, nodetest.WithConfig(func(c *configs.Config) { c.EtcdEndpoints = []string{"http://" + way.Addr} }))
	second := slices.DeleteFunc(allBut(subjects.Health), func(s subjects.Service) bool { return s == subjects.Config })
	beside(t, first, services(second...), nodetest.WithConfig(func(c *configs.Config) { c.EtcdEndpoints = []string{address} }))
	c, b := busySite(t, first)

	way.Shut()
	gone := time.Now()
	degraded(t, c, "etcd does not answer since")
	etcd := bare(t, address)
	key := subjects.ConfigPrefix(first.Config.Site) + "rpc.max_in_flight"
	for time.Since(gone) < away {
		if _, err := etcd.Put(within(t), key, "778"); err != nil {
			t.Fatal(err)
		}
		b.flow(t, 20*time.Second)
		time.Sleep(100 * time.Millisecond)
	}
	holds(t, c, "rpc.max_in_flight", "777")
	now, err := etcd.Put(within(t), key, "779")
	if err == nil {
		_, err = etcd.Compact(within(t), now.Header.Revision, clientv3.WithCompactPhysical())
	}
	if err != nil {
		t.Fatal(err)
	}
	way.Open()
	back := time.Now()
	if err := until(backWithin, func() error {
		h, err := ask(c, 5*time.Second, subjects.HealthList, subjects.Empty{})
		if err == nil && (h.Degraded != "" || len(h.Instances) != len(subjects.Services)+len(second) || h.Leaders[subjects.RoleInventory] == "") {
			err = fmt.Errorf("the health is %+v", h)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	t.Logf("the network was away for %s; all was well %s after it was back", time.Since(gone).Round(time.Second), time.Since(back))
	holds(t, c, "rpc.max_in_flight", "779")
	b.flow(t, 20*time.Second)
	if sold := b.settle(t, c); sold != b.number.Load() {
		t.Errorf("of %d orders %d were confirmed", b.number.Load(), sold)
	}
	audit(t, c)
}

// TestFaultOfCompaction compacts the embedded etcd again and again, up to its latest revision, while settings change and orders come in:
// each change takes effect.
func TestFaultOfCompaction(t *testing.T) {
	t.Parallel()
	n := nodetest.Start(t)
	c := mustDial(t, n.URL())
	impatient(t, c, "2s")
	nodetest.Stock(t, c.Client, 1_000_000, "bread")
	b := buy(c, 2, "bread", brisk)
	b.flow(t, 20*time.Second)
	etcd := bare(t, n.Endpoints().Etcd)
	key := subjects.ConfigPrefix(n.Config.Site) + "rpc.max_in_flight"
	for i := range 20 {
		want := strconv.Itoa(700 + i)
		for _, value := range []string{"1000", want} {
			now, err := etcd.Put(within(t), key, value)
			if err == nil {
				_, err = etcd.Compact(within(t), now.Header.Revision, clientv3.WithCompactPhysical())
			}
			if err != nil && !errors.Is(err, rpctypes.ErrCompacted) {
				t.Fatal(err)
			}
		}
		if err := until(backWithin, func() error {
			v, err := ask(c, 5*time.Second, subjects.ConfigGet, subjects.KeyRequest{Key: "rpc.max_in_flight"})
			if err == nil && string(v.Value) != want {
				err = fmt.Errorf("it is %s, want %s", v.Value, want)
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
	well(t, c, 1)
	b.flow(t, 20*time.Second)
	if sold := b.settle(t, c); sold != b.number.Load() {
		t.Errorf("of %d orders %d were confirmed", b.number.Load(), sold)
	}
	audit(t, c)
}
