package embedded

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"waybill/internal/fault"
)

func keepEtcd(t *testing.T, c EtcdConfig) (*KeptEtcd, *clientv3.Client) {
	t.Helper()
	dir := t.TempDir()
	c.DataDir, c.Addr, c.Log = filepath.Join(dir, "etcd"), "127.0.0.1:0", testLog(t).Level(8)
	k, err := KeepEtcd(ctxFor(t, 20*time.Second), c, NewDisk(dir, func() uint64 { return 1 << 20 }, nil))
	check(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := k.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{k.Addr()}, DialTimeout: 5 * time.Second, Logger: zap.NewNop()})
	check(t, err)
	t.Cleanup(func() { _ = client.Close() }) // its error is the end of its own context
	return k, client
}

// TestEtcdPanics has etcd panic where it serves a question, a stream, and where it applies what was written: the process lives, and
// etcd is started again with what it held.
func TestEtcdPanics(t *testing.T) {
	ctx := ctxFor(t, 90*time.Second)
	var panicAt atomic.Value
	panicAt.Store("")
	k, client := keepEtcd(t, EtcdConfig{hook: func(method string) {
		if panicAt.CompareAndSwap(method, "") {
			panic("planted")
		}
	}})
	_, err := client.Put(ctx, "/a", "1")
	check(t, err)
	for round, c := range []struct {
		what, reason string
		do           func(ctx context.Context)
	}{
		{"a question", "panicked in /etcdserverpb.KV/Range", func(ctx context.Context) {
			panicAt.Store("/etcdserverpb.KV/Range")
			_, _ = client.Get(ctx, "/a") // what comes of it is not the point
		}},
		{"a stream", "panicked in /etcdserverpb.Watch/Watch", func(ctx context.Context) {
			panicAt.Store("/etcdserverpb.Watch/Watch")
			for range client.Watch(ctx, "/a", clientv3.WithCreatedNotify()) {
				break
			}
		}},
		{"the application of a write", "planted", func(ctx context.Context) {
			panicked.Store(true)
			k.current().etcd.Server.Backend().SetTxPostLockInsideApplyHook(func() { panic("planted") })
			_, _ = client.Put(ctx, "/b", "2")
		}},
	} {
		doing, cancel := context.WithTimeout(ctx, 3*time.Second)
		c.do(doing)
		cancel()
		eventually(t, func() bool { return k.Restarts().Count == round+1 && k.Healthy() == nil })
		if reason := k.Restarts().Reason; !strings.Contains(reason, c.reason) {
			t.Errorf("%s: it was restarted because %q, want %q", c.what, reason, c.reason)
		}
		got, err := client.Get(ctx, "/a")
		if err != nil || len(got.Kvs) != 1 || string(got.Kvs[0].Value) != "1" {
			t.Errorf("%s: etcd came back with %+v, %v", c.what, got, err)
		}
	}
}

// TestEtcdMakesRoom fills etcd up to its quota, with its past and with keys that are in use: of the past it rids itself, the
// others it asks to be deleted, and then takes writes again.
func TestEtcdMakesRoom(t *testing.T) {
	ctx := ctxFor(t, 90*time.Second)
	k, client := keepEtcd(t, EtcdConfig{Quota: 8 << 20})
	piece := strings.Repeat("x", 512<<10)
	takesWrites := func() bool {
		_, err := client.Put(ctx, "/mine", "1")
		return err == nil && k.Healthy() == nil
	}
	eventually(t, func() bool {
		_, err := client.Put(ctx, "/same", piece)
		return err == rpctypes.ErrNoSpace
	})
	began := time.Now()
	eventually(t, takesWrites)
	t.Logf("full of its past it took writes again after %s", time.Since(began))

	keys := 0
	eventually(t, func() bool { // there may be room for one more when the rest of the past is gone
		_, err := client.Put(ctx, fmt.Sprintf("/in-use/%d", keys), piece)
		if err == nil {
			keys++
		}
		err = k.Healthy()
		return err != nil && strings.Contains(fault.From(err).Message, "delete the keys")
	})
	_, err := client.Delete(ctx, "/in-use/", clientv3.WithPrefix())
	check(t, err)
	began = time.Now()
	eventually(t, takesWrites)
	t.Logf("after the keys were deleted it took writes again after %s", time.Since(began))
	if k.Restarts().Count != 0 {
		t.Errorf("it was %v", k.Restarts())
	}
}
