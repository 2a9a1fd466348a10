package registry

import (
	"context"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"waybill/configs"
	"waybill/internal/fault"
	"waybill/subjects"
)

// changes asks for what changed after a revision, for no longer than d.
func (n node) changes(t *testing.T, after int64, d time.Duration) (keys []string, revision int64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	list, revision, err := n.Changes(ctx, after, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range list {
		keys = append(keys, s.Key+"="+string(s.Value))
	}
	return keys, revision
}

const soon = 100 * time.Millisecond

func TestChanges(t *testing.T) {
	t.Parallel()
	a, b := open(t, "a", nil), open(t, "b", nil)
	if keys, revision := a.changes(t, 0, soon); len(keys) != 0 || revision != 0 {
		t.Errorf("of a site without settings: %v at %d", keys, revision)
	}
	// One who waits hears of what another instance sets, at once.
	type answer struct {
		keys     []string
		revision int64
	}
	heard := make(chan answer, 1)
	go func() {
		keys, revision := b.changes(t, 0, patience)
		heard <- answer{keys, revision}
	}()
	set := must[SettingValue](t)(a.Set(t.Context(), inFlight, []byte("7"), "ann"))
	got := next(t, heard, "the change")
	if !slices.Equal(got.keys, []string{inFlight + "=7"}) || got.revision != set.Revision {
		t.Errorf("heard %v at %d, set at %d", got.keys, got.revision, set.Revision)
	}
	// Changes between two questions are joined and none is missed, whichever instance is asked.
	after := got.revision
	for _, value := range []string{"8", "9"} {
		must[SettingValue](t)(a.Set(t.Context(), inFlight, []byte(value), "ann"))
	}
	put(t, a.client, subjects.ConfigPrefix(site(t))+configs.ShippingAuto, `"bad"`) // is no change
	last := must[SettingValue](t)(b.Set(t.Context(), configs.PaymentCapture, []byte(`"on_confirm"`), "bob")).Revision
	for _, n := range []node{a, b} {
		until(t, "both instances know of the last", func() bool { return n.Revision() == last })
		if keys, revision := n.changes(t, after, patience); !slices.Equal(keys, []string{configs.PaymentCapture + `="on_confirm"`, inFlight + "=9"}) || revision != last {
			t.Errorf("after %d: %v at %d, want both at %d", after, keys, revision, last)
		}
	}
	// A deletion is a change to the default.
	must[*clientv3.DeleteResponse](t)(a.client.Delete(t.Context(), subjects.ConfigPrefix(site(t))+inFlight))
	keys, after := a.changes(t, last, patience)
	if !slices.Equal(keys, []string{inFlight + "=1024"}) || after <= last {
		t.Errorf("after a deletion: %v at %d", keys, after)
	}
	// An instance that never knew the setting is not taken for one whose etcd has lost its past.
	if keys, revision := open(t, "c", nil).changes(t, after, soon); len(keys) != 0 || revision != after {
		t.Errorf("a new instance: %v at %d", keys, revision)
	}
	// Who is ahead of this instance, and stays ahead of etcd, asked another etcd: everything is new.
	if keys, revision := a.changes(t, after+1_000_000, patience); len(keys) != 2 || revision != after {
		t.Errorf("ahead of etcd: %v at %d, want what was ever set at %d", keys, revision, after)
	}
	quit := make(chan struct{})
	close(quit)
	if _, _, err := a.Changes(t.Context(), after, quit); fault.CodeOf(err) != fault.Unavailable {
		t.Errorf("when the process stops: %v", err)
	}
}

// TestSettingsTakeEffectEverywhere measures how long after Set has returned a setting has taken effect in ten instances. The
// bound leaves room for a busy machine; the aim is 250 ms.
func TestSettingsTakeEffectEverywhere(t *testing.T) {
	const instances, rounds, bound = 10, 60, time.Second
	type node10 struct {
		node
		heard chan time.Time
	}
	var all []node10
	for i := range instances {
		dir := t.TempDir()
		n := node10{open(t, "n"+string('0'+byte(i)), func(o *Options) { o.StateFile = filepath.Join(dir, "settings.json") }), make(chan time.Time, 1)}
		t.Cleanup(n.live.OnChange(func(string) { n.heard <- time.Now() }))
		all = append(all, n)
	}
	var took []time.Duration
	for round := range rounds {
		until(t, "etcd takes a change", func() bool { // a disk that others keep busy may make etcd miss the time of one try
			_, err := all[round%instances].Set(t.Context(), inFlight, []byte{'1' + byte(round/10), '0' + byte(round%10)}, "ann")
			if err != nil && fault.CodeOf(err) != fault.Unavailable {
				t.Fatal(err)
			}
			return err == nil
		})
		returned := time.Now()
		var mu sync.Mutex
		var waiting sync.WaitGroup
		for _, n := range all {
			waiting.Go(func() {
				select {
				case at := <-n.heard:
					mu.Lock()
					defer mu.Unlock()
					took = append(took, max(0, at.Sub(returned))) // most hear of it before the caller does
				case <-time.After(patience):
					t.Errorf("an instance did not hear of round %d", round)
				}
			})
		}
		waiting.Wait()
	}
	if len(took) != instances*rounds {
		t.Fatalf("%d of %d effects were seen", len(took), instances*rounds)
	}
	slices.Sort(took)
	p50, p99, most := took[len(took)/2], took[len(took)*99/100], took[len(took)-1]
	t.Logf("in %d instances after Set's return: p50 %s, p99 %s, at most %s", instances, p50, p99, most)
	if p99 > bound {
		t.Errorf("p99 is %s, want at most %s", p99, bound)
	}
}
