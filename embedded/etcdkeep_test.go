package embedded

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"waybill/internal/fault"
)

// TestKeptEtcd has etcd give up, on a disk that is ill for a while, and looks that it comes back where it was with what it held,
// also for a client that was connected before; and that the next start finds its directory.
func TestKeptEtcd(t *testing.T) {
	dir := t.TempDir()
	var ill atomic.Bool
	disk := NewDisk(dir, func() uint64 { return 1 << 20 }, func() error {
		if ill.Load() {
			return errors.New("injected")
		}
		return nil
	})
	config := EtcdConfig{DataDir: filepath.Join(dir, "etcd"), Addr: "127.0.0.1:0", Log: testLog(t).Level(8)}
	start := func() *KeptEtcd {
		k, err := KeepEtcd(ctxFor(t, 20*time.Second), config, disk)
		return must(t, k, err)
	}
	stop := func(k *KeptEtcd) {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		check(t, k.Stop(ctx))
	}
	connect := func(k *KeptEtcd) *clientv3.Client {
		c, err := clientv3.New(clientv3.Config{Endpoints: []string{k.Addr()}, DialTimeout: 5 * time.Second, Logger: zap.NewNop()})
		return must(t, c, err)
	}
	ctx := ctxFor(t, 60*time.Second)

	k := start()
	c := connect(k)
	addr := k.Addr()
	_, err := c.Put(ctx, "/a", "1")
	check(t, err)
	for round, end := range []func(){
		func() { k.current().log.zap().Fatal("injected: no space left on device") },
		func() { k.current().log.zap().Panic("injected: failed to commit") },
	} {
		ill.Store(true)
		gone := make(chan struct{})
		go func() { defer close(gone); end() }() // ends this goroutine, and not the process
		<-gone
		eventually(t, func() bool {
			return k.Healthy() != nil && strings.Contains(fault.From(k.Healthy()).Message, "can't be made durable")
		})
		ill.Store(false)
		eventually(t, func() bool { return k.Healthy() == nil })
		if r := k.Restarts(); r.Count != round+1 || !strings.HasPrefix(r.Reason, "injected: ") {
			t.Errorf("it was %v", r)
		}
		got, err := c.Get(ctx, "/a")
		if err != nil || len(got.Kvs) != 1 || string(got.Kvs[0].Value) != "1" {
			t.Errorf("after restart %d: %+v %v", round+1, got, err)
		}
	}
	_, err = c.Put(ctx, "/b", "2")
	check(t, err)
	if k.Addr() != addr {
		t.Errorf("it was at %s and is at %s", addr, k.Addr())
	}
	check(t, c.Close())
	stop(k)
	if left := entries(t, dir); left != "etcd-3" {
		t.Errorf("the directory holds %s", left)
	}

	k = start()
	c = connect(k)
	got, err := c.Get(ctx, "/b")
	if err != nil || len(got.Kvs) != 1 {
		t.Errorf("after the next start: %+v %v", got, err)
	}
	check(t, c.Close())
	stop(k)
	if left := entries(t, dir); left != "etcd" {
		t.Errorf("the directory holds %s", left)
	}
}

// TestGenerations has a crash leave every state of a copy.
func TestGenerations(t *testing.T) {
	for name, c := range map[string]struct {
		there []string
		want  string // the content that is found
	}{
		"nothing":            {nil, ""},
		"one":                {[]string{"d"}, "d"},
		"an unfinished copy": {[]string{"d", "d-2.new"}, "d"},
		"a finished copy":    {[]string{"d", "d-2"}, "d-2"},
		"the copy alone":     {[]string{"d-2"}, "d-2"},
		"of ten":             {[]string{"d-9", "d-10", "d-11.new"}, "d-10"},
		"others' names":      {[]string{"d", "d-x", "d-1", "dd-3"}, "d"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "d")
			for _, there := range c.there {
				at := filepath.Join(filepath.Dir(dir), there)
				check(t, os.MkdirAll(at, 0o700))
				check(t, os.WriteFile(filepath.Join(at, "content"), []byte(there), 0o600))
			}
			check(t, adoptGeneration(dir))
			got, _ := os.ReadFile(filepath.Join(dir, "content"))
			if string(got) != c.want {
				t.Errorf("found %q, want %q", got, c.want)
			}
		})
	}
}

// TestDiskWell asks a disk that is well, one that is full and one that can't be written.
func TestDiskWell(t *testing.T) {
	dir := t.TempDir()
	check(t, NewDisk(dir, func() uint64 { return 1 }, nil).Well(t.Context()))
	for want, d := range map[string]*Disk{
		"almost full":           NewDisk(dir, func() uint64 { return 1 << 62 }, nil),
		"can't be made durable": NewDisk(dir, func() uint64 { return 1 }, func() error { return errors.New("injected") }),
		"can't be":              NewDisk(filepath.Join(dir, "nowhere"), func() uint64 { return 1 }, nil),
	} {
		if err := d.Well(t.Context()); fault.CodeOf(err) != fault.Unavailable || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	if left := entries(t, dir); left != "" {
		t.Errorf("the questions left %s", left)
	}
}

func entries(t *testing.T, dir string) string {
	t.Helper()
	all, err := os.ReadDir(dir)
	check(t, err)
	var names []string
	for _, e := range all {
		names = append(names, e.Name())
	}
	return strings.Join(names, " ")
}

func eventually(t *testing.T, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it did not come to be")
		}
	}
}
