package registry

import (
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"waybill/configs"
	"waybill/internal/fault"
	"waybill/subjects"
)

func TestRollback(t *testing.T) {
	t.Parallel()
	a := open(t, "a", nil)
	key := subjects.ConfigPrefix(site(t)) + inFlight
	back := func(revision int64, want string) SettingValue {
		t.Helper()
		got := must[SettingValue](t)(a.Rollback(t.Context(), inFlight, revision, "bob"))
		if string(got.Value) != want || got.SetBy != "bob" || got.SetAt.IsZero() || string(a.live.Raw(inFlight)) != want {
			t.Errorf("back to %d it is %+v, want %s", revision, got, want)
		}
		return got
	}
	refused := func(key string, revision int64, code fault.Code) {
		t.Helper()
		if _, err := a.Rollback(t.Context(), key, revision, "bob"); fault.CodeOf(err) != code {
			t.Errorf("back to %d of %s: %v, want %s", revision, key, err, code)
		}
	}
	refused(inFlight, 0, fault.FailedPrecondition) // nobody has set it
	refused("rpc.typo", 0, fault.NotFound)
	one := must[SettingValue](t)(a.Set(t.Context(), inFlight, []byte("1"), "ann")).Revision
	back(0, "1024") // before its first value it had its default
	back(0, "1")    // and taken back
	must[SettingValue](t)(a.Set(t.Context(), inFlight, []byte("2"), "ann"))
	must[SettingValue](t)(a.Set(t.Context(), inFlight, []byte("2"), "ann")) // the same once more is nothing to go back to
	back(0, "1")
	back(0, "2")
	back(one, "1")
	refused(inFlight, one+1_000_000, fault.NotFound)
	bad := put(t, a.client, key, `"bad"`)
	back(0, "1") // from a bad value to the last good one
	refused(inFlight, bad, fault.FailedPrecondition)
	must[*clientv3.DeleteResponse](t)(a.client.Delete(t.Context(), key))
	back(0, "1") // from the default that a deletion left
	if h := must[[]Revision](t)(a.History(t.Context(), inFlight)); h[0].SetBy != "bob" || string(h[0].Value) != "1" {
		t.Errorf("the history's last is %+v", h[0])
	}
}

// TestRollbackOverACompactedPast has an etcd of its own: compaction is for the whole of it.
func TestRollbackOverACompactedPast(t *testing.T) {
	t.Parallel()
	e := startEtcd(t, t.TempDir(), "127.0.0.1:0")
	a := open(t, "a", func(o *Options) { o.Client = dial(t, e.addr) })
	must[SettingValue](t)(a.Set(t.Context(), inFlight, []byte("1"), "ann"))
	now := must[SettingValue](t)(a.Set(t.Context(), inFlight, []byte("2"), "ann")).Revision
	must[*clientv3.CompactResponse](t)(a.client.Compact(t.Context(), now))
	if _, err := a.Rollback(t.Context(), inFlight, 0, "bob"); fault.CodeOf(err) != fault.FailedPrecondition {
		t.Errorf("back to what etcd has forgotten: %v", err)
	}
	if a.live.Int(inFlight) != 2 {
		t.Errorf("it is %d", a.live.Int(inFlight))
	}
}

func TestSetIf(t *testing.T) {
	t.Parallel()
	a, b := open(t, "a", nil), open(t, "b", nil)
	seen := must[SettingValue](t)(a.Set(t.Context(), inFlight, []byte("1"), "ann"))
	if got := must[SettingValue](t)(b.Get(t.Context(), inFlight)); got.Revision != seen.Revision || got.Revision == 0 {
		t.Errorf("set at %d, seen at %d", seen.Revision, got.Revision)
	}
	second := must[SettingValue](t)(b.SetIf(t.Context(), inFlight, []byte("2"), "bob", seen.Revision))
	_, err := a.SetIf(t.Context(), inFlight, []byte("3"), "ann", seen.Revision)
	if f := fault.From(err); f == nil || f.Code != fault.FailedPrecondition || f.Field != "expected_revision" {
		t.Errorf("over somebody else's change: %v", err)
	}
	if again := must[SettingValue](t)(b.SetIf(t.Context(), inFlight, []byte("2"), "bob", seen.Revision)); again.Revision != second.Revision {
		t.Errorf("asked again, as after a lost answer, it is %+v, want revision %d", again, second.Revision)
	}
	if _, err := a.SetIf(t.Context(), configs.ShippingAuto, []byte(`"book"`), "ann", seen.Revision); fault.CodeOf(err) != fault.FailedPrecondition {
		t.Errorf("of a setting that nobody has set: %v", err)
	}
}
