package embedded

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"waybill/internal/fault"
)

func itoa(n int) string { return strconv.Itoa(n) }

// children names the processes that are this one's children and have not ended.
func children(t testing.TB) string {
	t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*/stat")
	check(t, err)
	var out []string
	for _, file := range all {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // it has just ended
		}
		_, rest, _ := strings.Cut(string(text), ") ")
		if f := strings.Fields(rest); len(f) > 1 && f[0] != "Z" && f[1] == itoa(os.Getpid()) {
			out = append(out, string(text[:min(len(text), 40)]))
		}
	}
	return strings.Join(out, ", ")
}

// lives reports whether a process is there and has not ended.
func lives(pid int) bool {
	text, err := os.ReadFile(filepath.Join("/proc", itoa(pid), "stat"))
	_, rest, _ := strings.Cut(string(text), ") ")
	return err == nil && !strings.HasPrefix(rest, "Z")
}

func signalTo(s syscall.Signal) func(testing.TB, *KeptEtcd, *clientv3.Client) {
	return func(t testing.TB, k *KeptEtcd, _ *clientv3.Client) { check(t, k.current().cmd.Process.Signal(s)) }
}

func plant(how string) func(testing.TB, *KeptEtcd, *clientv3.Client) {
	return func(t testing.TB, _ *KeptEtcd, c *clientv3.Client) {
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		_, _ = c.Put(ctx, plantKey, how) // what comes of it is not the point
	}
}

// TestEtcdComesBack ends etcd's process in every way that there is: it is started again where it was, with what it held, also for a
// client that was connected before, and says why.
func TestEtcdComesBack(t *testing.T) {
	for name, c := range map[string]struct {
		do     func(testing.TB, *KeptEtcd, *clientv3.Client)
		reason string
	}{
		"a panic":                {plant("panic"), "panic: planted"},
		"a panic that is caught": {plant("panic where it is applied"), "planted"},
		"something fatal":        {plant("fatal"), "planted: no space left on device"},
		"a kill":                 {signalTo(syscall.SIGKILL), "signal: killed"},
		"an error of the bus":    {signalTo(syscall.SIGBUS), "SIGBUS: bus error"},
		"standing still":         {signalTo(syscall.SIGSTOP), "questions unanswered"},
		"an abort":               {signalTo(syscall.SIGABRT), "SIGABRT: abort"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "etcd")
			k, client := keepEtcd(t, EtcdConfig{DataDir: dir, plant: plantKey})
			addr := k.Addr()
			_, err := client.Put(t.Context(), "/a", "1")
			check(t, err)
			began := time.Now()
			c.do(t, k, client)
			eventually(t, func() bool { return k.Restarts().Count == 1 && k.Healthy() == nil })
			t.Logf("restarted after %v: %v", time.Since(began), k.Restarts())
			if reason := k.Restarts().Reason; !strings.Contains(reason, c.reason) {
				t.Errorf("it was restarted because %q, want %q", reason, c.reason)
			}
			if k.Addr() != addr {
				t.Errorf("it was at %s and is at %s", addr, k.Addr())
			}
			holds(t, client, "/a", "1")
			if left := entries(t, filepath.Dir(dir)); left != "etcd" {
				t.Errorf("the directory holds %s", left)
			}
		})
	}
}

// TestEtcdLosesItsDatabase cuts the database off under a running etcd: reading it ends the process, and it begins anew with what it is
// given.
func TestEtcdLosesItsDatabase(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "etcd")
	k, client := keepEtcd(t, EtcdConfig{DataDir: dir, Seed: func(ctx context.Context, c *clientv3.Client) error {
		_, err := c.Put(ctx, "/a", "known")
		return err
	}})
	for i := range 200 {
		_, err := client.Put(t.Context(), fmt.Sprint("/k", i), strings.Repeat("v", 4<<10))
		check(t, err)
	}
	check(t, os.Truncate(databaseFile(dir), 8192))
	eventually(t, func() bool { // it is read when something is looked for or written
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		_, _ = client.Get(ctx, "/k", clientv3.WithPrefix())
		_, _ = client.Put(ctx, "/k", "")
		return k.Restarts().Count > 0 && k.Healthy() == nil
	})
	t.Log(k.Restarts())
	if reason := k.Restarts().Reason; !strings.Contains(reason, "SIGBUS") {
		t.Errorf("it was restarted because %q", reason)
	}
	eventually(t, func() bool { return k.Healthy() == nil })
	holds(t, client, "/a", "known")
	if left := entries(t, filepath.Dir(dir)); !strings.HasPrefix(left, "etcd etcd.damaged-") {
		t.Errorf("the directory holds %s", left)
	}
}

// TestEtcdSeedsAgain has what a new etcd begins with fail at the first try: the next one writes it.
func TestEtcdSeedsAgain(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "etcd")
	var tries atomic.Int32
	k, client := keepEtcd(t, EtcdConfig{DataDir: dir, Seed: func(ctx context.Context, c *clientv3.Client) error {
		if tries.Add(1) == 1 {
			return errors.New("injected")
		}
		_, err := c.Put(ctx, "/a", "known")
		return err
	}})
	check(t, k.current().cmd.Process.Kill())
	check(t, os.WriteFile(databaseFile(dir), make([]byte, 64<<10), 0o600))
	eventually(t, func() bool { return tries.Load() == 2 && k.Healthy() == nil })
	holds(t, client, "/a", "known")
}

// TestEtcdWaitsForTheDisk has etcd die on a disk that is ill for a while.
func TestEtcdWaitsForTheDisk(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var ill atomic.Bool
	disk := NewDisk(dir, func() uint64 { return 1 << 20 }, func() error {
		if ill.Load() {
			return errors.New("injected")
		}
		return nil
	})
	k, err := KeepEtcd(ctxFor(t, 20*time.Second), EtcdConfig{DataDir: filepath.Join(dir, "etcd"), Addr: "127.0.0.1:0", Log: testLog(t).Level(8)}, disk)
	check(t, err)
	t.Cleanup(func() { stopEtcd(t, k) })
	ill.Store(true)
	check(t, k.current().cmd.Process.Kill())
	eventually(t, func() bool {
		return k.Healthy() != nil && strings.Contains(fault.From(k.Healthy()).Message, "can't be made durable")
	})
	ill.Store(false)
	eventually(t, func() bool { return k.Healthy() == nil })
	if r := k.Restarts(); r.Count != 1 || !strings.Contains(r.Reason, "signal: killed") {
		t.Errorf("it was %v", r)
	}
}

// TestEtcdIgnoresTheGroup sends etcd's process what a terminal or systemd sends to all of a group: its parent alone ends it.
func TestEtcdIgnoresTheGroup(t *testing.T) {
	t.Parallel()
	k, client := keepEtcd(t, EtcdConfig{})
	p := k.current().cmd.Process
	for _, s := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		check(t, p.Signal(s))
	}
	_, err := client.Put(t.Context(), "/a", "1")
	check(t, err)
	check(t, client.Close())
	began := time.Now()
	stopEtcd(t, k)
	if took := time.Since(began); lives(p.Pid) || k.Restarts().Count > 0 || took > stopWait {
		t.Errorf("after its stop, which took %v, it lives: %t; it was %v", took, lives(p.Pid), k.Restarts())
	}
}

// TestEtcdStopsWhatHangs stops an etcd whose process stands still, and one that has a client that goes on asking.
func TestEtcdStopsWhatHangs(t *testing.T) {
	t.Parallel()
	k, _ := keepEtcd(t, EtcdConfig{})
	p := k.current().cmd.Process
	check(t, p.Signal(syscall.SIGSTOP))
	began := time.Now()
	stopEtcd(t, k)
	if took := time.Since(began); lives(p.Pid) || took > stopWait+2*killWait {
		t.Errorf("after its stop, which took %v, it lives: %t", took, lives(p.Pid))
	}

	k, client := keepEtcd(t, EtcdConfig{})
	p = k.current().cmd.Process
	watch := client.Watch(t.Context(), "/a", clientv3.WithCreatedNotify())
	<-watch
	began = time.Now()
	stopEtcd(t, k)
	if took := time.Since(began); lives(p.Pid) || took > stopWait {
		t.Errorf("after its stop, which took %v, it lives: %t", took, lives(p.Pid))
	}
}

// TestEtcdMakesRoom fills etcd up to its quota, with its past and with keys that are in use: of the past it rids itself, the
// others it asks to be deleted, and then takes writes again. While they are deleted one by one it does not write its database anew each time.
func TestEtcdMakesRoom(t *testing.T) {
	t.Parallel()
	ctx := ctxFor(t, 90*time.Second)
	k, client := keepEtcd(t, EtcdConfig{Quota: 8 << 20})
	const small = 4
	for i := range small {
		_, err := client.Put(ctx, fmt.Sprintf("/small/%d", i), "x")
		check(t, err)
	}
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
	_, err := client.Put(ctx, "/in-use/x", "")
	if err != rpctypes.ErrNoSpace {
		t.Errorf("it took a key: %v", err)
	}
	// Each change makes too little room. What is written anew is another file.
	database := func() uint64 {
		info, err := os.Stat(databaseFile(k.config.DataDir))
		return must(t, info, err).Sys().(*syscall.Stat_t).Ino
	}
	written, last := 0, database()
	for i := range small {
		_, err := client.Delete(ctx, fmt.Sprintf("/small/%d", i))
		check(t, err)
		time.Sleep(lookInterval)
		if now := database(); now != last {
			written, last = written+1, now
		}
	}
	if written > 2 { // one try, of at most two steps
		t.Errorf("the database was written anew %d times in %v", written, small*lookInterval)
	}
	_, err = client.Delete(ctx, "/in-use/", clientv3.WithPrefix())
	check(t, err)
	began = time.Now()
	eventually(t, takesWrites)
	t.Logf("after the keys were deleted it took writes again after %s", time.Since(began))
	if k.Restarts().Count != 0 {
		t.Errorf("it was %v", k.Restarts())
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
	for end := time.Now().Add(45 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it did not come to be")
		}
	}
}
