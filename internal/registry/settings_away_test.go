package registry

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"waybill/configs"
	"waybill/internal/fault"
	"waybill/internal/registry/etcdtest"
	"waybill/subjects"
)

// TestSettingsWhileEtcdHangs: what is known holds, a change is refused in time, and what was changed meanwhile comes afterwards.
func TestSettingsWhileEtcdHangs(t *testing.T) {
	t.Parallel()
	way := etcdtest.NewSluice(t, shared)
	a := open(t, "a", func(o *Options) { o.Client = dial(t, way.Addr) })
	elsewhere := open(t, "b", nil)
	must[SettingValue](t)(a.Set(t.Context(), inFlight, []byte("7"), "ann"))
	way.Shut()
	until(t, "the instance says that etcd is away", func() bool { _, away := a.Degraded(); return away })
	must[SettingValue](t)(elsewhere.Set(t.Context(), inFlight, []byte("8"), "bob"))
	began := time.Now()
	if got := must[SettingValue](t)(a.Get(t.Context(), inFlight)); string(got.Value) != "7" || a.live.Int(inFlight) != 7 {
		t.Errorf("while etcd hangs the setting is %s", got.Value)
	}
	if took := time.Since(began); took > callWait/2 {
		t.Errorf("a read waited %s for an etcd that is known to be away", took)
	}
	if _, err := a.Set(t.Context(), inFlight, []byte("9"), "ann"); fault.CodeOf(err) != fault.Unavailable {
		t.Errorf("set while etcd hangs: %v", err)
	}
	way.Open()
	until(t, "the change that was missed is there, and all is well", func() bool {
		_, away := a.Degraded()
		return !away && a.live.Int(inFlight) == elsewhere.live.Int(inFlight)
	})
}

// TestSettingsWhileEtcdIsFull raises the alarm that etcd raises when its space is used up.
func TestSettingsWhileEtcdIsFull(t *testing.T) {
	t.Parallel()
	e := startEtcd(t, t.TempDir(), "127.0.0.1:0")
	a := open(t, "a", func(o *Options) { o.Client = dial(t, e.addr) })
	must[SettingValue](t)(a.Set(t.Context(), inFlight, []byte("7"), "ann"))
	maintenance := pb.NewMaintenanceClient(a.client.ActiveConnection())
	member := must[*clientv3.StatusResponse](t)(a.client.Status(t.Context(), e.addr)).Header.MemberId
	alarm := &pb.AlarmRequest{Action: pb.AlarmRequest_ACTIVATE, MemberID: member, Alarm: pb.AlarmType_NOSPACE}
	must[*pb.AlarmResponse](t)(maintenance.Alarm(t.Context(), alarm))
	_, err := a.Set(t.Context(), inFlight, []byte("8"), "ann")
	if f := fault.From(err); f == nil || f.Code != fault.Unavailable || !strings.Contains(f.Message, "out of space") {
		t.Errorf("set while etcd is full: %v", err)
	}
	if got := must[SettingValue](t)(a.Get(t.Context(), inFlight)); string(got.Value) != "7" || a.live.Int(inFlight) != 7 {
		t.Errorf("while etcd is full the setting is %s", got.Value)
	}
	a.Report(subjects.Order, func() Health { return Health{Status: Passing} }) // it can't be written
	until(t, "the instance says that etcd is full", func() bool {
		reason, away := a.Degraded()
		return away && strings.Contains(reason, "etcd is out of space")
	})
	alarm.Action = pb.AlarmRequest_DEACTIVATE
	must[*pb.AlarmResponse](t)(maintenance.Alarm(t.Context(), alarm))
	must[SettingValue](t)(a.Set(t.Context(), inFlight, []byte("9"), "ann"))
	until(t, "the health is written", func() bool { _, away := a.Degraded(); return !away && a.HealthWritten() })
}

// TestSettingsAreKeptOnceTheyCan: what could not be written to disk is written when it can, without another change.
func TestSettingsAreKeptOnceTheyCan(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "not-yet")
	file := filepath.Join(dir, "settings.json")
	a := open(t, "a", func(o *Options) { o.StateFile = file })
	must[SettingValue](t)(a.Set(t.Context(), inFlight, []byte("7"), "ann"))
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	must[SettingValue](t)(a.Get(t.Context(), inFlight)) // reads etcd
	text, err := os.ReadFile(file)
	if err != nil || !strings.Contains(string(text), inFlight) {
		t.Errorf("the state file holds %q, %v", text, err)
	}
}

// TestSecretsStayOut: neither etcd nor the state file nor the log holds a secret that a setting names.
func TestSecretsStayOut(t *testing.T) {
	t.Parallel()
	const secret = "test_keep_this_to_yourself"
	dir := t.TempDir()
	key, state := filepath.Join(dir, "key"), filepath.Join(dir, "settings.json")
	if err := os.WriteFile(key, []byte(secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	a := open(t, "a", func(o *Options) { o.StateFile = state })
	must[SettingValue](t)(a.Set(t.Context(), configs.PaymentGatewayKey, []byte(`"file:`+key+`"`), "ann"))
	if _, err := a.Set(t.Context(), configs.PaymentGatewayKey, []byte(`"`+secret+`"`), "ann"); fault.CodeOf(err) != fault.InvalidArgument {
		t.Errorf("a secret in the clear: %v", err)
	}
	if got, err := a.live.Secret(configs.PaymentGatewayKey); err != nil || got.Reveal() != secret {
		t.Errorf("the setting leads to %q, %v", got.Reveal(), err)
	}
	kept := must[[]byte](t)(os.ReadFile(state))
	value, _, err := a.valueAt(context.Background(), configs.PaymentGatewayKey, 0)
	if err != nil || string(value.Value) != `"file:`+key+`"` || string(value.Key) != subjects.ConfigPrefix(site(t))+configs.PaymentGatewayKey {
		t.Errorf("etcd holds %s, %v", value, err)
	}
	if strings.Contains(string(kept), secret) || !strings.Contains(string(kept), key) || a.log.count(secret) != 0 {
		t.Errorf("the secret stands in the state file or the log: %s", kept)
	}
}
