package registry

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	clientv3 "go.etcd.io/etcd/client/v3"

	"waybill/configs"
	"waybill/internal/fault"
	"waybill/internal/registry/etcdtest"
	"waybill/internal/timestamp"
	"waybill/subjects"
)

const inFlight = configs.RPCMaxInFlight

// hears tells of every setting that changes at an instance from now on.
func (n node) hears(t *testing.T) <-chan string {
	changed := make(chan string, 1000)
	t.Cleanup(n.live.OnChange(func(key string) { changed <- key }))
	return changed
}

func TestSetIsSeenByOthersSoon(t *testing.T) {
	t.Parallel()
	moment := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	a := open(t, "a", func(o *Options) { o.Now = func() time.Time { return moment } })
	b := open(t, "b", nil)
	seen := b.hears(t)

	var set SettingValue
	fastest := patience
	for n := range int64(7) { // the fastest of some: the machine may be busy with something else
		began := time.Now()
		set = must[SettingValue](t)(a.Set(t.Context(), inFlight, []byte(" "+string('1'+byte(n))+" "), "ann"))
		if a.live.Int(inFlight) != n+1 {
			t.Error("Set has returned and the value has not taken effect here")
		}
		if key := next(t, seen, "the change at the other instance"); key != inFlight || b.live.Int(inFlight) != n+1 {
			t.Errorf("the other instance saw %s and has %d", key, b.live.Int(inFlight))
		}
		fastest = min(fastest, time.Since(began))
	}
	t.Logf("a change is seen by the other instance after %s", fastest)
	if fastest > 250*time.Millisecond {
		t.Errorf("it took %s for the other instance to see a change", fastest)
	}
	want := SettingValue{Key: inFlight, Type: "integer", Unit: "requests", SetBy: "ann", SetAt: timestamp.Of(moment)}
	for _, got := range []SettingValue{set, must[SettingValue](t)(a.Get(t.Context(), inFlight)), must[SettingValue](t)(b.Get(t.Context(), inFlight))} {
		if string(got.Value) != "7" || string(got.Default) != "1024" || got.Key != want.Key || got.Type != want.Type || got.Unit != want.Unit ||
			got.SetBy != want.SetBy || got.SetAt != want.SetAt || got.Description == "" {
			t.Errorf("the setting is %+v", got)
		}
	}
	stored := must[*clientv3.GetResponse](t)(a.client.Get(t.Context(), subjects.ConfigPrefix(site(t)), clientv3.WithPrefix()))
	if len(stored.Kvs) != 1 || string(stored.Kvs[0].Value) != "7" || string(stored.Kvs[0].Key) != subjects.ConfigPrefix(site(t))+inFlight {
		t.Errorf("etcd holds %v below the prefix of the settings, want the bare value alone", stored.Kvs)
	}
}

func TestListShowsEverySetting(t *testing.T) {
	t.Parallel()
	a := open(t, "a", nil)
	put(t, a.client, subjects.ConfigPrefix(site(t))+configs.ShippingAuto, `"book"`)
	list := must[[]SettingValue](t)(a.List(t.Context()))
	if len(list) != len(configs.Settings()) {
		t.Fatalf("%d settings are listed, %d are declared", len(list), len(configs.Settings()))
	}
	for i, s := range configs.Settings() {
		want, by := s.Default, ""
		if s.Key == configs.ShippingAuto {
			want, by = `"book"`, ByOther // a read sees what etcd holds, also before the watch has brought it
		}
		if got := list[i]; got.Key != s.Key || string(got.Value) != want || string(got.Default) != s.Default || got.SetBy != by || !got.SetAt.IsZero() {
			t.Errorf("%s is listed as %+v", s.Key, got)
		}
	}
	text, err := json.Marshal(list[0])
	if err != nil || strings.Contains(string(text), "set_by") || strings.Contains(string(text), "set_at") {
		t.Errorf("a setting that nobody has set is %s, %v", text, err)
	}
}

func TestSetRefuses(t *testing.T) {
	t.Parallel()
	a := open(t, "a", nil)
	for _, c := range []struct {
		key, value string
		want       fault.Code
		field      string
	}{
		{inFlight, "0", fault.InvalidArgument, "value"},
		{inFlight, "many", fault.InvalidArgument, "value"},
		{configs.PaymentCapture, `"never"`, fault.InvalidArgument, "value"},
		{configs.PaymentGatewayKey, `"test_in_the_clear"`, fault.InvalidArgument, "value"},
		{configs.PaymentGatewayKey, `"file:/nowhere/at/all"`, fault.FailedPrecondition, "value"},
		{"rpc.max", "1", fault.NotFound, "key"},
	} {
		_, err := a.Set(t.Context(), c.key, []byte(c.value), "ann")
		if f := fault.From(err); f == nil || f.Code != c.want || f.Field != c.field {
			t.Errorf("Set(%s, %s) = %v, want %s at field %s", c.key, c.value, err, c.want, c.field)
		}
	}
	if _, err := a.Get(t.Context(), "rpc.max"); fault.CodeOf(err) != fault.NotFound {
		t.Errorf("Get of what is not declared: %v", err)
	}
	if _, err := a.History(t.Context(), "rpc.max"); fault.CodeOf(err) != fault.NotFound {
		t.Errorf("History of what is not declared: %v", err)
	}
	if got := must[*clientv3.GetResponse](t)(a.client.Get(t.Context(), "/waybill/"+string(site(t))+"/", clientv3.WithPrefix())); len(got.Kvs) != 0 {
		t.Errorf("what was refused stands in etcd: %v", got.Kvs)
	}
}

// TestRacingSets has many set one setting at once: each is told that it won or that it lost, and as many revisions stand
// in etcd as won.
func TestRacingSets(t *testing.T) {
	t.Parallel()
	nodes := []node{open(t, "a", nil), open(t, "b", nil)}
	var all sync.WaitGroup
	var mu sync.Mutex
	won := 0
	for i := range 16 {
		all.Go(func() {
			_, err := nodes[i%2].Set(t.Context(), inFlight, []byte{'1', byte('0' + i%10)}, "racer")
			mu.Lock()
			defer mu.Unlock()
			switch fault.CodeOf(err) {
			case "":
				won++
			case fault.Aborted:
			default:
				t.Errorf("a racing Set: %v", err)
			}
		})
	}
	all.Wait()
	history := must[[]Revision](t)(nodes[0].History(t.Context(), inFlight))
	if won == 0 || len(history) != won {
		t.Errorf("%d of 16 won, and etcd holds %d revisions", won, len(history))
	}
	want := must[SettingValue](t)(nodes[0].Get(t.Context(), inFlight))
	other := must[SettingValue](t)(nodes[1].Get(t.Context(), inFlight))
	if string(want.Value) != string(history[0].Value) || string(other.Value) != string(want.Value) {
		t.Errorf("the instances have %s and %s, etcd has %s", want.Value, other.Value, history[0].Value)
	}
}

// TestOneOfManyWins has many change a setting over the same revision at once: compare-and-set lets one of them.
func TestOneOfManyWins(t *testing.T) {
	t.Parallel()
	const racers, rounds = 8, 10
	var nodes []node
	for i := range racers {
		nodes = append(nodes, open(t, "n"+string('0'+byte(i)), nil))
	}
	seen := must[SettingValue](t)(nodes[0].Set(t.Context(), inFlight, []byte("100"), "ann")).Revision
	for round := range rounds {
		var all sync.WaitGroup
		var mu sync.Mutex
		var winners []int64
		ready := make(chan struct{})
		for i, n := range nodes {
			all.Go(func() {
				<-ready
				got, err := n.SetIf(t.Context(), inFlight, []byte{'1', '0' + byte(round), '0' + byte(i)}, "racer", seen)
				mu.Lock()
				defer mu.Unlock()
				switch code := fault.CodeOf(err); code {
				case "":
					winners = append(winners, got.Revision)
				case fault.Aborted, fault.FailedPrecondition:
				default:
					t.Errorf("a racer: %v", err)
				}
			})
		}
		close(ready)
		all.Wait()
		if len(winners) != 1 {
			t.Fatalf("%d of %d changed the setting over one revision", len(winners), racers)
		}
		seen = winners[0]
	}
}

func TestPlainClient(t *testing.T) {
	t.Parallel()
	a := open(t, "a", nil)
	seen := a.hears(t)
	prefix := subjects.ConfigPrefix(site(t))
	marker := int64(0)
	// settle waits until the watch has brought everything that was written so far.
	settle := func() {
		marker++
		put(t, a.client, prefix+configs.StorageLowSpace, string('0'+byte(marker))+"000000")
		for a.live.Int(configs.StorageLowSpace) != marker*1_000_000 {
			next(t, seen, "the marker")
		}
	}
	put(t, a.client, prefix+inFlight, "7")
	settle()
	for i, bad := range []string{"0", `"7"`, "{", ""} {
		put(t, a.client, prefix+inFlight, bad)
		settle()
		if n := a.live.Int(inFlight); n != 7 {
			t.Errorf("after the bad value %q the setting is %d", bad, n)
		}
		got := must[SettingValue](t)(a.Get(t.Context(), inFlight)) // reads etcd again: the bad value must not count twice
		if string(got.Value) != "7" || !strings.HasPrefix(got.Problem, "etcd holds a bad value, which another client wrote") || a.IgnoredValues() != uint64(i+1) || a.log.count("ignoring a bad value") != i+1 {
			t.Errorf("after the bad value %q: %s, %d ignored, %d warnings", bad, got.Value, a.IgnoredValues(), a.log.count("ignoring a bad value"))
		}
	}
	put(t, a.client, prefix+"rpc.typo", "1")
	settle()
	must[SettingValue](t)(a.Get(t.Context(), inFlight))
	if n := a.log.count("rpc.typo"); n != 1 || a.IgnoredValues() != 4 {
		t.Errorf("a key that nobody declared is warned of %d times, and %d values are ignored", n, a.IgnoredValues())
	}
	put(t, a.client, prefix+inFlight, " 9 ")
	settle()
	if got := must[SettingValue](t)(a.Get(t.Context(), inFlight)); a.live.Int(inFlight) != 9 || got.Problem != "" {
		t.Errorf("a good value after bad ones: %+v", got)
	}
	must[*clientv3.DeleteResponse](t)(a.client.Delete(t.Context(), prefix+inFlight))
	settle()
	if got := must[SettingValue](t)(a.Get(t.Context(), inFlight)); a.live.Int(inFlight) != 1024 || string(got.Value) != "1024" || got.SetBy != "" {
		t.Errorf("a deleted setting is %d, %+v", a.live.Int(inFlight), got)
	}
}

func TestHistory(t *testing.T) {
	t.Parallel()
	a := open(t, "a", nil)
	key := subjects.ConfigPrefix(site(t)) + inFlight
	if got := must[[]Revision](t)(a.History(t.Context(), inFlight)); got == nil || len(got) != 0 {
		t.Errorf("a setting that nobody has set has the history %v", got)
	}
	must[SettingValue](t)(a.Set(t.Context(), inFlight, []byte("1"), "a\x1b[31mnn\n"))
	must[SettingValue](t)(a.Set(t.Context(), inFlight, []byte("2"), strings.Repeat("ü", 300)+"\xff"))
	must[*clientv3.DeleteResponse](t)(a.client.Delete(t.Context(), key))
	put(t, a.client, key, "3")
	put(t, a.client, key, "not JSON")
	must[SettingValue](t)(a.Set(t.Context(), inFlight, []byte("5"), " \t\x1b\u200b "))
	check := func(want ...string) {
		t.Helper()
		var got []string
		last := int64(1 << 62)
		for _, r := range must[[]Revision](t)(a.History(t.Context(), inFlight)) {
			if r.Revision >= last || (r.SetBy == ByOther) != r.SetAt.IsZero() {
				t.Errorf("the revision %+v follows %d", r, last)
			}
			last = r.Revision
			got = append(got, string(r.Value)+" "+r.SetBy)
		}
		if strings.Join(got, ", ") != strings.Join(want, ", ") {
			t.Errorf("the history is %q, want %q", got, want)
		}
	}
	check("5 unknown", "null etcd", "3 etcd", "2 "+strings.Repeat("ü", 100), "1 a [31mnn")
	for i := range maxHistory + 5 {
		put(t, a.client, key, string('1'+byte(i%9)))
	}
	if got := must[[]Revision](t)(a.History(t.Context(), inFlight)); len(got) != maxHistory {
		t.Errorf("the history has %d revisions, want the %d newest", len(got), maxHistory)
	}
}

// TestCompaction has an etcd of its own: compaction is for the whole of it.
func TestCompaction(t *testing.T) {
	t.Parallel()
	e := startEtcd(t, t.TempDir(), "127.0.0.1:0")
	a := open(t, "a", func(o *Options) { o.Client = dial(t, e.addr) })
	for _, value := range []string{"1", "2", "3"} {
		must[SettingValue](t)(a.Set(t.Context(), inFlight, []byte(value), "ann"))
	}
	now := must[*clientv3.GetResponse](t)(a.client.Get(t.Context(), "x")).Header.Revision
	must[*clientv3.CompactResponse](t)(a.client.Compact(t.Context(), now))
	if got := must[[]Revision](t)(a.History(t.Context(), inFlight)); len(got) != 1 || string(got[0].Value) != "3" {
		t.Errorf("after compaction the history is %v", got)
	}
	broken := make(chan struct{})
	go func() {
		a.follow(t.Context(), 1) // a watch from a revision that is no longer there
		close(broken)
	}()
	select {
	case <-broken:
	case <-time.After(patience):
		t.Fatal("a watch over a compacted past does not end")
	}
	// An instance whose watch began in that past reads everything again, and goes on.
	late := open(t, "late", func(o *Options) { o.Client = dial(t, e.addr) })
	late.stop()
	late.loops.Wait()
	following, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		late.watch(following, 1)
		close(ended)
	}()
	defer func() {
		cancel()
		<-ended
	}()
	must[SettingValue](t)(a.Set(t.Context(), configs.ShippingAuto, []byte(`"book"`), "ann"))
	until(t, "a watch over a compacted past goes on", func() bool { return late.live.String(configs.ShippingAuto) == configs.AutoBook })
	// A leader's key that was won before the compaction is still watched over.
	key := subjects.LeaderKey(site(t), role) + "/1"
	won := put(t, a.client, key, "a")
	put(t, a.client, "x", "y")
	now = put(t, a.client, "x", "z")
	must[*clientv3.CompactResponse](t)(a.client.Compact(t.Context(), now))
	led := &term{key: key, lost: make(chan struct{})}
	go a.guard(t.Context(), led, won)
	must[*clientv3.DeleteResponse](t)(a.client.Delete(t.Context(), key))
	select {
	case <-led.lost:
	case <-time.After(patience):
		t.Fatal("the loss of a leader's key is not noticed after a compaction")
	}
	put(t, a.client, subjects.ConfigPrefix(site(t))+inFlight, "4")
	until(t, "the registry's own watch brings the next value", func() bool { return a.live.Int(inFlight) == 4 })
}

// TestStartWithoutEtcd starts from the last known settings, says so, and catches up when etcd comes.
func TestStartWithoutEtcd(t *testing.T) {
	t.Parallel()
	dir, addr := t.TempDir(), etcdtest.Address(t)
	file := filepath.Join(dir, "settings.json")
	e := startEtcd(t, dir, addr)
	keep := func(o *Options) { o.Client, o.StateFile = dial(t, addr), file }

	first := open(t, "a", keep)
	must[SettingValue](t)(first.Set(t.Context(), inFlight, []byte("7"), "ann"))
	must[SettingValue](t)(first.Set(t.Context(), configs.ShippingAuto, []byte(`"book"`), "ann"))
	put(t, first.client, subjects.ConfigPrefix(site(t))+configs.ShippingAuto, `"bad"`)
	if err := first.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	e.Close()

	second := open(t, "a", keep)
	if reason, yes := second.Degraded(); !yes || !strings.Contains(reason, "etcd does not answer since") {
		t.Errorf("without etcd the registry is degraded: %v, %q", yes, reason)
	}
	got := must[SettingValue](t)(second.Get(t.Context(), inFlight))
	if second.live.Int(inFlight) != 7 || string(got.Value) != "7" || got.SetBy != "ann" || got.SetAt.IsZero() {
		t.Errorf("without etcd the last known setting is %d, %+v", second.live.Int(inFlight), got)
	}
	short, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	for what, err := range map[string]error{
		"Set":       second2(second.Set(short, inFlight, []byte("8"), "ann")),
		"History":   second2(second.History(short, inFlight)),
		"Instances": second2(second.Instances(short)),
		"Leaders":   second2(second.Leaders(short)),
	} {
		if fault.CodeOf(err) != fault.Unavailable {
			t.Errorf("%s without etcd: %v, want unavailable", what, err)
		}
	}

	startEtcd(t, dir, addr)
	put(t, dial(t, addr), subjects.ConfigPrefix(site(t))+inFlight, "9")
	until(t, "the registry has caught up", func() bool { _, yes := second.Degraded(); return !yes && second.live.Int(inFlight) == 9 })
	if s := second.live.String(configs.ShippingAuto); s != "book" {
		t.Errorf("where etcd holds a bad value the last good one from disk is %q, want book", s)
	}
}

func second2[T any](_ T, err error) error { return err }

func TestUnreadableStateFiles(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int64{
		"":  1024,
		"{": 1024,
		`{"settings":{"rpc.max_in_flight":{"value":0,"set_by":"x"},"gone":{"value":1,"set_by":"x"}}}`: 1024,
		`{"settings":{"rpc.max_in_flight":{"value":5,"set_by":"x"},"gone":{"value":1,"set_by":"x"}}}`: 5,
	} {
		file := filepath.Join(t.TempDir(), "settings.json")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		log := &logBuffer{}
		live := configs.NewLive()
		s := newSettingStore(site(t), live, file, zerologTo(log))
		s.restore()
		if live.Int(inFlight) != want || log.count("warn") == 0 {
			t.Errorf("from %q: %d, and %d warnings", text, live.Int(inFlight), log.count("warn"))
		}
	}
}
