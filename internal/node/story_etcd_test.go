package node_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"waybill/configs"
	"waybill/internal/nodetest"
	"waybill/internal/registry/etcdtest"
	"waybill/subjects"
)

// TestSiteOverAnEtcdProcess tells the stories that etcd has a part in of a site whose etcd is the system's, a process of its own.
func TestSiteOverAnEtcdProcess(t *testing.T) {
	t.Parallel()
	etcdtest.Program(t, "etcd")
	e, err := etcdtest.Start(filepath.Join(t.TempDir(), "etcd"), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Stop)
	s := open(t, nodetest.WithConfig(func(c *configs.Config) { c.EtcdEndpoints = []string{"http://" + e.Addr} }))
	for name, f := range map[string]func(*testing.T, *site){
		"settings": settingsStory, "health": healthStory, "services": servicesStory, "etcdctl": etcdctlStory,
	} {
		t.Run(name, func(t *testing.T) { f(t, s) })
	}
	nodetest.Stock(t, s.c, 10, "sku-process")
	s.place(t, card("over-a-process", "tok_ok", line("sku-process", 1)), "confirmed")
}

// TestEtcdctl reads and writes a site's embedded etcd with etcdctl.
func TestEtcdctl(t *testing.T) {
	t.Parallel()
	etcdtest.Program(t, "etcdctl")
	etcdctlStory(t, open(t))
}

// etcdctlStory reads and writes the contract's keys as a plain etcdctl does.
func etcdctlStory(t *testing.T, s *site) {
	ctl := func(args ...string) string {
		t.Helper()
		return etcdtest.Ctl(t, strings.TrimPrefix(s.Endpoints().Etcd, "http://"), args...)
	}
	const setting = "order.pending_timeout"
	key := subjects.ConfigPrefix(s.Config.Site) + setting
	if want := "/waybill/local/config/" + setting; key != want {
		t.Errorf("the key is %s, the contract says %s", key, want)
	}
	for _, value := range []string{`"16m"`, `"17m"`} {
		ctl("put", key, value)
		put := time.Now()
		if err := until(time.Second+slack, func() error { // by the watch alone: config.get would ask etcd
			text, err := os.ReadFile(filepath.Join(s.Config.Data, "settings.json"))
			if err == nil && !strings.Contains(string(text), value) {
				err = fmt.Errorf("the settings that hold are %s", text)
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(put); took > time.Second {
			t.Logf("the setting took effect after %s; on a machine with nothing else to do that is too long", took)
		}
		if got, err := s.c.Config.Get(within(t), setting); err != nil || string(got.Value) != value || got.SetBy != "etcd" {
			t.Errorf("the setting is %+v, %v", got, err)
		}
	}
	s.set(t, setting, `"18m"`)
	if got := strings.TrimSpace(ctl("get", key, "--print-value-only")); got != `"18m"` {
		t.Errorf("etcdctl reads %s", got)
	}
	ctl("del", key)
	eventually(t, "the default holds again", func() bool {
		got, err := s.c.Config.Get(within(t), setting)
		return err == nil && string(got.Value) == string(got.Default)
	})

	keys := strings.Fields(ctl("get", "/waybill/local/health/", "--prefix", "--keys-only"))
	if len(keys) != len(subjects.Services) {
		t.Errorf("the keys of health are %q", keys)
	}
	for _, key := range keys {
		var held struct {
			Status   string         `json:"status"`
			Version  string         `json:"version"`
			Since    string         `json:"since"`
			Checks   []any          `json:"checks"`
			Requests map[string]any `json:"requests"`
		}
		value := ctl("get", key, "--print-value-only")
		if err := json.Unmarshal([]byte(value), &held); err != nil || held.Status != "passing" || held.Version == "" || held.Since == "" || len(held.Checks) == 0 || held.Requests == nil {
			t.Errorf("%s is %s, %v", key, value, err)
		}
	}
	for _, role := range []string{subjects.RoleInventory, subjects.RoleProcess} {
		if got := ctl("get", "/waybill/local/leader/"+role, "--prefix", "--print-value-only"); strings.TrimSpace(got) == "" {
			t.Errorf("nobody leads as %s", role)
		}
	}
}
