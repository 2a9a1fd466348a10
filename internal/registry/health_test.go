package registry

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3client"

	"waybill/internal/fault"
	"waybill/subjects"
)

func passing() Health { return Health{Status: Passing, Version: "1"} }

// present asks etcd whether a key is there.
func present(t *testing.T, c *clientv3.Client, key string) bool {
	t.Helper()
	return must[*clientv3.GetResponse](t)(c.Get(t.Context(), key, clientv3.WithCountOnly())).Count == 1
}

func TestHealthComesChangesAndGoes(t *testing.T) {
	t.Parallel()
	var now atomic.Int64
	now.Store(time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC).UnixMilli())
	a := open(t, "a", func(o *Options) { o.Now, o.TTL = func() time.Time { return time.UnixMilli(now.Load()) }, time.Second })
	key := subjects.HealthKey(site(t), subjects.Order, "a")
	changes := keyWatch(t, a.client, key)

	var status atomic.Value
	status.Store(Passing)
	a.Report(subjects.Order, func() Health {
		h := Health{Status: status.Load().(Status), Version: "1.2", Requests: map[string]uint64{"handled": 3, "failed": 1}}
		if a.HealthWritten() { // a service may ask
			h.Checks = []Check{{"journal", Passing, "up"}}
		}
		return h
	})
	want := `{"status":"passing","version":"1.2","since":"2026-05-01T12:00:00.000Z","checks":[],"requests":{"failed":1,"handled":3}}`
	if got := next(t, changes, "the first report"); got != want {
		t.Errorf("the first report is\n%s, want\n%s", got, want)
	}
	until(t, "the registry knows that it has written the health", a.HealthWritten)
	now.Add(60_000)
	want = strings.Replace(want, "[]", `[{"name":"journal","status":"passing","message":"up"}]`, 1)
	if got := next(t, changes, "the next report"); got != want {
		t.Errorf("the next report is\n%s, want\n%s", got, want)
	}
	status.Store(Critical)
	want = `"status":"critical","version":"1.2","since":"2026-05-01T12:01:00.000Z"`
	if got := next(t, changes, "the change"); !strings.Contains(got, want) {
		t.Errorf("after a change of status the report is\n%s, want\n%s", got, want)
	}
	instances := must[[]Instance](t)(a.Instances(t.Context()))
	if len(instances) != 1 || instances[0].Service != subjects.Order || instances[0].Instance != "a" ||
		instances[0].Status != Critical || len(instances[0].Checks) != 1 {
		t.Errorf("the instances are %+v", instances)
	}
	began := time.Now()
	if err := a.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := next(t, changes, "the end"); got != "" || time.Since(began) > time.Second {
		t.Errorf("a clean stop left %q, after %s", got, time.Since(began))
	}
	if a.HealthWritten() {
		t.Error("a closed registry says that its health is written")
	}
	if err := a.Close(t.Context()); err != nil {
		t.Errorf("closing again: %v", err)
	}
}

func TestInstancesOfTheWholeSite(t *testing.T) {
	t.Parallel()
	a, b := open(t, "a", nil), open(t, "b", nil)
	a.Report(subjects.Payment, passing)
	a.Report(subjects.Order, passing)
	b.Report(subjects.Order, func() Health { return Health{Status: Warning, Version: "2"} })
	put(t, a.client, subjects.HealthKey(site(t), subjects.Order, "c"), "?")
	until(t, "all have reported", func() bool { return a.HealthWritten() && b.HealthWritten() })
	var got []string
	for _, i := range must[[]Instance](t)(b.Instances(t.Context())) {
		got = append(got, string(i.Service)+" "+i.Instance+" "+string(i.Status))
	}
	if want := "order a passing, order b warning, order c critical, payment a passing"; strings.Join(got, ", ") != want {
		t.Errorf("the instances are %q, want %q", got, want)
	}
}

// TestHealthOfTheDeadRunsOut kills an instance and waits for its lease, a short one, to run out.
func TestHealthOfTheDeadRunsOut(t *testing.T) {
	t.Parallel()
	a := open(t, "a", func(o *Options) { o.TTL = time.Second })
	changes := keyWatch(t, a.client, subjects.HealthKey(site(t), subjects.Order, "a"))
	a.Report(subjects.Order, passing)
	next(t, changes, "the report")
	a.crash()
	began := time.Now()
	if got := next(t, changes, "the end of the lease"); got != "" || time.Since(began) > 3*time.Second {
		t.Errorf("%s after the death etcd holds %q", time.Since(began), got)
	}
}

func TestFormerLifeIsRevoked(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "settings.json")
	keep := func(o *Options) { o.StateFile = file }
	former := open(t, "a", keep)
	key := subjects.HealthKey(site(t), subjects.Order, "a")
	changes := keyWatch(t, former.client, key)
	former.Report(subjects.Order, passing)
	next(t, changes, "the report")
	former.crash()

	second := open(t, "a", keep)
	if !present(t, second.client, key) {
		t.Fatal("the lease of the former life ran out before the test began")
	}
	began := time.Now()
	if err := second.RevokeFormer(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := next(t, changes, "the end of the former life"); got != "" || time.Since(began) > time.Second {
		t.Errorf("%s after the revocation etcd holds %q", time.Since(began), got)
	}
	second.Report(subjects.Order, passing)
	next(t, changes, "the report of the second life")
	if err := second.RevokeFormer(t.Context()); err != nil || !present(t, second.client, key) {
		t.Errorf("revoking again (%v) took the present life's health", err)
	}
	if err := second.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(filepath.Join(filepath.Dir(file), "leases.json")); err != nil || string(text) != `{"leases":[]}` {
		t.Errorf("after a clean stop the leases on disk are %s, %v", text, err)
	}
}

// TestLostLeaseIsReplaced takes the lease away behind the instance's back.
func TestLostLeaseIsReplaced(t *testing.T) {
	t.Parallel()
	a := open(t, "a", func(o *Options) { o.TTL = time.Second })
	key := subjects.HealthKey(site(t), subjects.Order, "a")
	changes := keyWatch(t, a.client, key)
	a.Report(subjects.Order, passing)
	next(t, changes, "the report")
	lease := clientv3.LeaseID(must[*clientv3.GetResponse](t)(a.client.Get(t.Context(), key)).Kvs[0].Lease)
	must[*clientv3.LeaseRevokeResponse](t)(a.client.Revoke(t.Context(), lease))
	if got := next(t, changes, "the loss"); got != "" {
		t.Errorf("the loss is %q", got)
	}
	if got := next(t, changes, "the new report"); !strings.Contains(got, "passing") {
		t.Errorf("the new report is %q", got)
	}
}

// TestEtcdGoesAndComes takes etcd away from a node and gives it back.
func TestEtcdGoesAndComes(t *testing.T) {
	t.Parallel()
	wire := startProxy(t)
	plain := dial(t, shared)
	a := open(t, "a", func(o *Options) { o.Client, o.TTL = dial(t, wire.addr), time.Second })
	key := subjects.HealthKey(site(t), subjects.Order, "a")
	changes := keyWatch(t, plain, key)
	a.Report(subjects.Order, passing)
	next(t, changes, "the report")
	wire.set(true)
	until(t, "the node notices", func() bool { _, yes := a.Degraded(); return yes })
	if got := next(t, changes, "the end of the lease"); got != "" {
		t.Errorf("the lease did not run out: %q", got)
	}
	until(t, "the lease counts as lost", func() bool { return !a.HealthWritten() })
	if n := a.log.count("etcd does not answer; going on"); n != 1 {
		t.Errorf("the log says %d times that etcd is away", n)
	}
	put(t, plain, subjects.ConfigPrefix(site(t))+inFlight, "7")
	if v := must[SettingValue](t)(a.Get(t.Context(), inFlight)); string(v.Value) != "1024" {
		t.Errorf("without etcd the setting is %s", v.Value)
	}
	wire.set(false)
	if got := next(t, changes, "the new report"); !strings.Contains(got, "passing") {
		t.Errorf("the new report is %q", got)
	}
	until(t, "the node has caught up", func() bool {
		_, yes := a.Degraded()
		return !yes && a.HealthWritten() && a.live.Int(inFlight) == 7
	})
}

// TestInProcessClient uses a client that calls the server directly, as a node with an etcd of its own may.
func TestInProcessClient(t *testing.T) {
	t.Parallel()
	e := startEtcd(t, t.TempDir(), "127.0.0.1:0")
	if e.inside == nil {
		t.Skip("etcd is another process")
	}
	client := v3client.New(e.inside.Server)
	t.Cleanup(func() { _ = client.Close() })
	a := open(t, "a", func(o *Options) { o.Client = client })
	seen := a.hears(t)
	put(t, client, subjects.ConfigPrefix(site(t))+inFlight, "7")
	next(t, seen, "the change")
	a.Report(subjects.Order, passing)
	until(t, "the health is written", a.HealthWritten)
	terms := newTerms()
	stopped := terms.campaign(t, a, t.Context())
	next(t, terms.began, "the election")
	if err := a.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := next(t, stopped, "the end of the campaign"); err != nil {
		t.Error(err)
	}
	if got := must[*clientv3.GetResponse](t)(client.Get(t.Context(), "/waybill/"+string(site(t))+"/", clientv3.WithPrefix())); len(got.Kvs) != 1 {
		t.Errorf("after a clean stop etcd holds %v, want the setting alone", got.Kvs)
	}
}

func TestOptionsAreChecked(t *testing.T) {
	t.Parallel()
	good := Options{Client: dial(t, shared), Site: site(t), Instance: "a", Live: open(t, "x", nil).live}
	for what, spoil := range map[string]func(*Options){
		"no client":       func(o *Options) { o.Client = nil },
		"no live":         func(o *Options) { o.Live = nil },
		"no site":         func(o *Options) { o.Site = "" },
		"a bad site":      func(o *Options) { o.Site = "A/B" },
		"no instance":     func(o *Options) { o.Instance = "" },
		"a bad instance":  func(o *Options) { o.Instance = "a/b" },
		"half a second":   func(o *Options) { o.TTL = 500 * time.Millisecond },
		"a negative time": func(o *Options) { o.TTL = -time.Second },
	} {
		o := good
		spoil(&o)
		if r, err := Open(t.Context(), o); fault.CodeOf(err) != fault.InvalidArgument || r != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestCloseWaitsNoLongerThanItMay(t *testing.T) {
	t.Parallel()
	a := open(t, "a", nil)
	release := make(chan struct{})
	leading := make(chan string, 1)
	ended := make(chan error, 1)
	go func() {
		ended <- a.Campaign(t.Context(), "stubborn", func(context.Context) error {
			leading <- a.instance
			<-release
			return nil
		})
	}()
	next(t, leading, "the election")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := a.Close(ctx); fault.CodeOf(err) != fault.DeadlineExceeded {
		t.Errorf("Close with somebody who does not stop leading: %v, want deadline_exceeded", err)
	}
	close(release)
	if err := next(t, ended, "the end of the campaign"); err != nil {
		t.Error(err)
	}
}
