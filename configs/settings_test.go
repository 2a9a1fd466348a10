package configs

import (
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"waybill/internal/fault"
	"waybill/subjects"
)

func TestDeclarations(t *testing.T) {
	all := Settings()
	if !slices.IsSortedFunc(all, func(a, b Setting) int { return strings.Compare(a.Key, b.Key) }) {
		t.Error("the settings are not sorted by key, which Lookup rests on")
	}
	for i, s := range all {
		if i > 0 && all[i-1].Key == s.Key {
			t.Errorf("%s is declared twice", s.Key)
		}
		if good, err := s.Check([]byte(s.Default)); err != nil || string(good) != s.Default {
			t.Errorf("the default of %s becomes %s, %v", s.Key, good, err)
		}
		if got, ok := Lookup(s.Key); !ok || got.Key != s.Key {
			t.Errorf("Lookup(%s) = %v, %v", s.Key, got.Key, ok)
		}
		if s.Description == "" || s.Affects == "" || (s.Type == TypeInteger && s.Unit == "") || (s.Type == TypeChoice) != (s.Choices != nil) {
			t.Errorf("the declaration of %s is incomplete: %+v", s.Key, s)
		}
	}
	keys := []string{PaymentCapture, PaymentGateway, PaymentGatewayKey, PaymentGatewayTimeout, OrderPendingGrace, OrderPendingTimeout, OrderRetryInterval,
		InventoryReservationTTL, RPCMaxInFlight, StorageLowSpace, ShippingAuto, LogLevel}
	for _, service := range subjects.Services {
		keys = append(keys, LogLevelOf(service), MaxInFlightOf(service))
	}
	for _, durable := range subjects.Durables {
		if durable == subjects.DurableNotifyShipments {
			continue // it has those of DurableNotify
		}
		retry := RetryOf(durable)
		keys = append(keys, retry.Interval, retry.Longest, retry.MaxTries)
	}
	if len(keys) != len(all) {
		t.Errorf("%d settings are declared, %d of them have a name in the code", len(all), len(keys))
	}
	for _, key := range keys {
		if _, ok := Lookup(key); !ok {
			t.Errorf("%s is not declared", key)
		}
	}
	if _, ok := Lookup("log.levels"); ok {
		t.Error("Lookup finds what is not declared")
	}
}

// TestEverySettingIsRead looks for the reader of each setting in the program: one that nothing reads would be a lie.
func TestEverySettingIsRead(t *testing.T) {
	readers := map[string]string{ // by the beginning of the keys
		PaymentCapture: "configs.PaymentCapture", PaymentGateway: "configs.PaymentGateway)", PaymentGatewayKey: "configs.PaymentGatewayKey",
		PaymentGatewayTimeout: "configs.PaymentGatewayTimeout", OrderPendingGrace: "configs.OrderPendingGrace", OrderPendingTimeout: "configs.OrderPendingTimeout",
		OrderRetryInterval: "configs.OrderRetryInterval", InventoryReservationTTL: "configs.InventoryReservationTTL", StorageLowSpace: "configs.StorageLowSpace",
		ShippingAuto: "configs.ShippingAuto", LogLevel: "live.LevelOf(", RPCMaxInFlight: "live.MaxInFlight(", "consumer": "live.Retry(", "notification": "live.Retry(",
	}
	var program strings.Builder
	for _, dir := range []string{"../handlers", "../internal/node"} {
		files, err := filepath.Glob(dir + "/*.go")
		if err != nil || len(files) == 0 {
			t.Fatalf("%s holds %d files, %v", dir, len(files), err)
		}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			program.Write(text)
		}
	}
	for _, s := range Settings() {
		reader := readers[s.Key]
		for key, r := range readers {
			if reader == "" && strings.HasPrefix(s.Key, key+".") {
				reader = r
			}
		}
		if reader == "" || !strings.Contains(program.String(), reader) {
			t.Errorf("nothing reads %s (looked for %q)", s.Key, reader)
		}
	}
}

// TestPendingOrdersAreInTime keeps the promise that a pending order is finished within 30 s of the gateway answering again.
func TestPendingOrdersAreInTime(t *testing.T) {
	grace, _ := Lookup(OrderPendingGrace)
	retry, _ := Lookup(OrderRetryInterval)
	if sum := grace.Max.(time.Duration) + retry.Max.(time.Duration); sum > 30*time.Second {
		t.Errorf("the bounds allow %s", sum)
	}
}

func TestCheck(t *testing.T) {
	long := `"` + strings.Repeat("x", maxValue) + `"`
	text := Setting{Key: "a.text", Type: TypeString, Min: int64(1), Max: int64(3)}
	truth := Setting{Key: "a.truth", Type: TypeBoolean}
	unbounded := Setting{Key: "a.number", Type: TypeInteger}
	declared := func(key string) Setting { s, _ := Lookup(key); return s }
	for _, c := range []struct {
		s    Setting
		good map[string]string // value → canonical
		bad  []string
	}{
		{declared(PaymentCapture), map[string]string{`"on_confirm"`: `"on_confirm"`, " \"on_\\u0063onfirm\"\n": `"on_confirm"`},
			[]string{``, `on_confirm`, `"On_confirm"`, `""`, `null`, `1`, `["on_confirm"]`, `"on_confirm" 1`, `"on_confirm`, "\"\xff\"", `"\ud800"`, long}},
		{declared(OrderPendingTimeout), map[string]string{`"1s"`: `"1s"`, `"30d"`: `"30d"`, `"720h"`: `"720h"`, `"90s"`: `"90s"`,
			`"1d12h"`: `"1d12h"`, ` "1.5h" `: `"1.5h"`},
			[]string{`"999ms"`, `"31d"`, `"30d1ms"`, `"-1s"`, `"0"`, `15`, `"15"`, `"15 m"`, `"m"`, `"d"`, `"1d25h"`, `"1d-1h"`, `"99999999999d"`, `"106752d"`, `""`, `null`}},
		{declared(RPCMaxInFlight), map[string]string{`1`: `1`, ` 65536 `: `65536`, `1024`: `1024`},
			[]string{`0`, `-1`, `65537`, `1e3`, `1024.0`, `"1024"`, `01`, `99999999999999999999`, `true`, `null`, `1 2`, `{}`}},
		{unbounded, map[string]string{`-0`: `0`, `-9223372036854775808`: `-9223372036854775808`}, []string{`9223372036854775808`}},
		{truth, map[string]string{`true`: `true`, ` false`: `false`}, []string{`"true"`, `1`, `null`, `TRUE`}},
		{text, map[string]string{`"äöü"`: `"äöü"`, `"a"`: `"a"`}, []string{`""`, `"abcd"`, `1`}},
	} {
		for value, want := range c.good {
			if got, err := c.s.Check([]byte(value)); err != nil || string(got) != want {
				t.Errorf("%s: Check(%s) = %s, %v; want %s", c.s.Key, value, got, err, want)
			}
		}
		for _, value := range c.bad {
			_, err := c.s.Check([]byte(value))
			f := fault.From(err)
			if f == nil || f.Code != fault.InvalidArgument || f.Field != "value" || !strings.Contains(f.Message, c.s.Key) {
				t.Errorf("%s: Check(%.50s) = %v; want an invalid_argument for the field value", c.s.Key, value, err)
			}
		}
	}
}

func TestRefusalsSayTheRightForm(t *testing.T) {
	for key, want := range map[string]string{
		PaymentCapture:      `the value of payment.capture must be one of "on_dispatch", "on_confirm"`,
		OrderPendingTimeout: `the value of order.pending_timeout must be a duration such as "15m" from 1s to 30d`,
		RPCMaxInFlight:      `the value of rpc.max_in_flight must be an integer from 1 to 65536 requests`,
	} {
		s, _ := Lookup(key)
		if _, err := s.Check([]byte(`{}`)); err == nil || fault.From(err).Message != want {
			t.Errorf("Check({}) = %v, want %s", err, want)
		}
	}
}

func TestDurations(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"15m": 15 * time.Minute, "250ms": 250 * time.Millisecond, "30d": 720 * time.Hour, "24h": 24 * time.Hour, "1h30m": 90 * time.Minute,
		"1h0m5s": time.Hour + 5*time.Second, "20s": 20 * time.Second, "10m": 10 * time.Minute, "0s": 0, "1m30s": 90 * time.Second,
	} {
		got, err := ParseDuration(text)
		if err != nil || got != want {
			t.Errorf("ParseDuration(%q) = %s, %v", text, got, err)
		}
		back, err := ParseDuration(FormatDuration(want))
		if err != nil || back != want {
			t.Errorf("%s is written as %s", want, FormatDuration(want))
		}
		if text != "24h" && FormatDuration(want) != text {
			t.Errorf("FormatDuration(%s) = %s, want %s", want, FormatDuration(want), text)
		}
	}
}

func TestLive(t *testing.T) {
	l := NewLive()
	if l.Duration(OrderPendingTimeout) != 15*time.Minute || l.Int(RPCMaxInFlight) != 1024 || l.String(PaymentCapture) != CaptureOnDispatch {
		t.Error("a new Live does not hold the defaults")
	}
	if l.Duration("nothing") != 0 || l.Int(PaymentCapture) != 0 || l.Bool(LogLevel) || l.String("") != "" || l.Raw("nothing") != nil {
		t.Error("what is not there is not zero")
	}
	var heard []string
	cancel := l.OnChange(func(key string) { heard = append(heard, key+"="+string(l.Raw(key))) })
	set := func(key, value string, want fault.Code) {
		t.Helper()
		if err := l.Set(key, []byte(value)); fault.CodeOf(err) != want {
			t.Errorf("Set(%s, %s) = %v, want %q", key, value, err, want)
		}
	}
	set(RPCMaxInFlight, "7", "")
	set(RPCMaxInFlight, " 7", "") // the same: nobody hears of it
	set(RPCMaxInFlight, "0", fault.InvalidArgument)
	set("nothing", "0", fault.NotFound)
	if err := l.Reset(RPCMaxInFlight); err != nil {
		t.Error(err)
	}
	if err := l.Reset("nothing"); fault.CodeOf(err) != fault.NotFound {
		t.Errorf("Reset of what is not there: %v", err)
	}
	cancel()
	set(RPCMaxInFlight, "8", "")
	if want := []string{"rpc.max_in_flight=7", "rpc.max_in_flight=1024"}; !slices.Equal(heard, want) {
		t.Errorf("heard %q, want %q", heard, want)
	}
	if l.Int(RPCMaxInFlight) != 8 {
		t.Errorf("the value is %d", l.Int(RPCMaxInFlight))
	}
}

func TestLevelOf(t *testing.T) {
	l := NewLive()
	for _, step := range []struct{ key, value, order, payment string }{
		{LogLevel, `"inherit"`, "inherit", "inherit"},
		{LogLevel, `"warn"`, "warn", "warn"},
		{LogLevelOf(subjects.Order), `"debug"`, "debug", "warn"},
		{LogLevelOf(subjects.Order), `"inherit"`, "warn", "warn"},
	} {
		if err := l.Set(step.key, []byte(step.value)); err != nil {
			t.Fatal(err)
		}
		if o, p := l.LevelOf(subjects.Order), l.LevelOf(subjects.Payment); o != step.order || p != step.payment {
			t.Errorf("after %s = %s: order logs %s, payment %s", step.key, step.value, o, p)
		}
	}
}

func TestMaxInFlight(t *testing.T) {
	l := NewLive()
	for _, step := range []struct {
		key, value  string
		order, dead int
	}{
		{RPCMaxInFlight, `7`, 7, 7},
		{MaxInFlightOf(subjects.Order), `3`, 3, 7},
		{RPCMaxInFlight, `9`, 3, 9},
		{MaxInFlightOf(subjects.Order), `0`, 9, 9},
	} {
		if err := l.Set(step.key, []byte(step.value)); err != nil {
			t.Fatal(err)
		}
		if o, d := l.MaxInFlight(subjects.Order), l.MaxInFlight(subjects.Dead); o != step.order || d != step.dead {
			t.Errorf("after %s = %s: order takes %d, dead %d", step.key, step.value, o, d)
		}
	}
}

func TestRetry(t *testing.T) {
	l := NewLive()
	seconds := func(durable subjects.Durable) (list []float64) {
		backoff, _ := l.Retry(durable)
		for _, d := range backoff {
			list = append(list, d.Seconds())
		}
		return list
	}
	if got := seconds(subjects.DurablePlan); !slices.Equal(got, []float64{.25, .5, 1, 2, 4, 8, 15}) {
		t.Errorf("by default events are tried again after %v s", got)
	}
	if got := seconds(subjects.DurableNotify); !slices.Equal(got, []float64{10}) {
		t.Errorf("by default notifications are tried again after %v s", got)
	}
	keys := RetryOf(subjects.DurableNotify)
	for key, value := range map[string]string{keys.Interval: `"1h"`, keys.Longest: `"24h"`, keys.MaxTries: `3`} {
		if err := l.Set(key, []byte(value)); err != nil {
			t.Fatal(err)
		}
	}
	for _, durable := range []subjects.Durable{subjects.DurableNotify, subjects.DurableNotifyShipments} {
		if got := seconds(durable); !slices.Equal(got, []float64{3600, 7200, 4 * 3600, 8 * 3600, 16 * 3600, 24 * 3600}) {
			t.Errorf("notifications of %s are tried again after %v s", durable, got)
		}
	}
	if _, tries := l.Retry(subjects.DurableNotify); tries != 3 || keys.Interval != "notification.retry_interval" {
		t.Errorf("%d tries by %s", tries, keys.Interval)
	}
}

var update = flag.Bool("update", false, "write docs/settings.md anew")

// TestSettingsPage keeps docs/settings.md what the declarations say.
func TestSettingsPage(t *testing.T) {
	const path = "../docs/settings.md"
	if *update {
		if err := os.WriteFile(path, []byte(SettingsPage()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(path)
	if err != nil || string(text) != SettingsPage() {
		t.Errorf("docs/settings.md is not what the declarations say (%v): run go generate ./configs", err)
	}
	for _, s := range Settings() {
		if !strings.Contains(string(text), "| `"+s.Key+"` |") {
			t.Errorf("docs/settings.md lacks %s", s.Key)
		}
	}
}

// TestLiveUnderLoad has writers, readers and listeners at work at once: the race detector and the order of what listeners
// hear are the judges.
func TestLiveUnderLoad(t *testing.T) {
	l := NewLive()
	var last jsontext.Value
	changes := 0
	cancel := l.OnChange(func(key string) { last, changes = l.Raw(key), changes+1 }) // calls come one at a time
	var all sync.WaitGroup
	for w := range 4 {
		all.Go(func() {
			for i := range 200 {
				if err := l.Set(RPCMaxInFlight, jsontext.Value(slices.Concat([]byte{byte('1' + w)}, []byte{byte('0' + i%10)}))); err != nil {
					t.Error(err)
				}
			}
		})
		all.Go(func() {
			for range 1000 {
				if n := l.Int(RPCMaxInFlight); n < 10 || n > 1024 {
					t.Errorf("read %d", n)
				}
			}
		})
		all.Go(func() { l.OnChange(func(string) {})() })
	}
	all.Wait()
	cancel()
	if changes == 0 || string(last) != string(l.Raw(RPCMaxInFlight)) {
		t.Errorf("after %d changes the listener heard %s last, the value is %s", changes, last, l.Raw(RPCMaxInFlight))
	}
}

func BenchmarkLiveInt(b *testing.B) {
	l := NewLive()
	for b.Loop() {
		if l.Int(RPCMaxInFlight) == 0 {
			b.Fatal("no value")
		}
	}
}
