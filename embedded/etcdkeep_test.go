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
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"

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
	t.Parallel()
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
		"applying nothing":       {plant("stand still where it is applied"), "questions unanswered"},
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

// known is a seed of one pair.
func known(key string) func() ([]Pair, error) {
	return func() ([]Pair, error) { return []Pair{{Key: key, Value: "known", Note: "/note", NoteValue: "n"}}, nil }
}

// TestEtcdLosesItsDatabase cuts the database off under a running etcd: reading it ends the process, and it begins anew with what it is
// given. Nobody ever reads one that has not got it yet.
func TestEtcdLosesItsDatabase(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "etcd")
	k, client := keepEtcd(t, EtcdConfig{DataDir: dir, Seed: func() ([]Pair, error) {
		last, err := known("/a")()
		var pairs []Pair // more than a pipe holds, and more than is written in a moment
		for i := range 300 {
			pairs = append(pairs, Pair{Key: fmt.Sprint("/known", i), Value: strings.Repeat("v", 300), Note: fmt.Sprint("/notes", i)})
		}
		return append(pairs, last...), err
	}})
	_, err := client.Put(t.Context(), "/a", "set")
	check(t, err)
	for i := range 200 {
		_, err := client.Put(t.Context(), fmt.Sprint("/k", i), strings.Repeat("v", 4<<10))
		check(t, err)
	}
	often := backoff.Config{BaseDelay: 2 * time.Millisecond, Multiplier: 1, MaxDelay: 2 * time.Millisecond}
	early, err := clientv3.New(clientv3.Config{Endpoints: []string{k.Addr()}, Logger: zap.NewNop(),
		DialOptions: []grpc.DialOption{grpc.WithConnectParams(grpc.ConnectParams{Backoff: often, MinConnectTimeout: time.Second})}})
	check(t, err)
	defer early.Close()
	check(t, os.Truncate(databaseFile(dir), 8192))
	eventually(t, func() bool { // it is read when something is looked for or written
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		if k.Restarts().Count == 0 && k.Healthy() == nil {
			_, _ = client.Get(ctx, "/k", clientv3.WithPrefix())
			_, _ = client.Put(ctx, "/k", "")
		}
		if r, err := early.Get(ctx, "/a"); err == nil && len(r.Kvs) == 0 {
			t.Fatal("it was read before it had what it is given")
		}
		return k.Restarts().Count > 0 && k.Healthy() == nil
	})
	t.Log(k.Restarts())
	if reason := k.Restarts().Reason; !strings.Contains(reason, "SIGBUS") {
		t.Errorf("it was restarted because %q", reason)
	}
	eventually(t, func() bool { return k.Healthy() == nil })
	holds(t, client, "/a", "known")
	holds(t, client, "/note", "n")
	if left := entries(t, filepath.Dir(dir)); !strings.HasPrefix(left, "etcd etcd.damaged-") || strings.Contains(left, "reseed") {
		t.Errorf("the directory holds %s", left)
	}
}

// TestEtcdSeedsAgain has what a new etcd begins with be refused, while the node goes on and over its end: it is written as soon as it can
// be, nobody can read etcd before, and what somebody sets later stays.
func TestEtcdSeedsAgain(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "etcd")
	k, _ := keepEtcd(t, EtcdConfig{DataDir: dir})
	stopEtcd(t, k)
	check(t, os.WriteFile(databaseFile(dir), make([]byte, 64<<10), 0o600))
	var tries atomic.Int32
	k, _ = keepEtcd(t, EtcdConfig{DataDir: dir, Seed: func() ([]Pair, error) { tries.Add(1); return known("")() }}) // no key
	eventually(t, func() bool { return tries.Load() > 1 })
	refused(t, k.Healthy(), fault.Unavailable, "last known settings")
	if kept := setAside(t, dir); len(kept) != 1 {
		t.Errorf("kept %v", kept)
	}
	stopEtcd(t, k)
	k, client := keepEtcd(t, EtcdConfig{DataDir: dir, Seed: known("/a")})
	holds(t, client, "/a", "known")
	_, err := client.Put(t.Context(), "/a", "set")
	check(t, err)
	stopEtcd(t, k)
	k, client = keepEtcd(t, EtcdConfig{DataDir: dir, Seed: known("/a")})
	holds(t, client, "/a", "set")
	stopEtcd(t, k)
	// A restore of a backup, or an end before the data was moved: what is there stays.
	check(t, markForSeed(dir))
	_, client = keepEtcd(t, EtcdConfig{DataDir: dir, Seed: known("/a")})
	holds(t, client, "/a", "set")
}

// TestEtcdSeedUnreadable has what a new etcd begins with not be known: for good, it begins without; for a while, it waits.
func TestEtcdSeedUnreadable(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "etcd")
	check(t, os.MkdirAll(dir, 0o700))
	check(t, os.WriteFile(filepath.Join(dir, "member"), nil, 0o600)) // damaged
	var tries atomic.Int32
	k, _ := keepEtcd(t, EtcdConfig{DataDir: dir, Seed: func() ([]Pair, error) {
		if tries.Add(1) == 1 {
			return nil, fmt.Errorf("injected: %w", syscall.EMFILE)
		}
		return nil, errors.New("injected")
	}})
	refused(t, k.Healthy(), fault.Unavailable, "too many open files")
	eventually(t, func() bool { return k.Healthy() == nil })
	if left := entries(t, filepath.Dir(dir)); tries.Load() != 2 || !strings.HasPrefix(left, "etcd etcd.damaged-") || strings.Contains(left, "reseed") {
		t.Errorf("after %d tries the directory holds %s", tries.Load(), left)
	}
}

// TestEtcdStartsLater has the first start fail for what may pass: it is known where etcd will be, and it comes to be there.
func TestEtcdStartsLater(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ script, says string }{
		"no program":             {"", "no such file or directory"},
		"killed, as for memory":  {"#!/bin/sh\nkill -9 $$\n", "signal: killed"},
		"the runtime gives up":   {"#!/bin/sh\necho 'fatal error: runtime: out of memory' >&2; exit 2\n", "out of memory"},
		"fatal, but it may pass": {"#!/bin/sh\necho '{\"waybill_etcd\":\"fatal\",\"reason\":\"open: too many open files\"}'; exit 1\n", "too many open files"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			program := filepath.Join(t.TempDir(), "program")
			if c.script != "" {
				check(t, os.WriteFile(program, []byte(c.script), 0o700))
			}
			k, client := keepEtcd(t, EtcdConfig{program: program})
			refused(t, k.Healthy(), fault.Unavailable, c.says)
			own, err := os.Executable()
			check(t, err)
			check(t, firstError(os.Symlink(own, program+".new"), os.Rename(program+".new", program)))
			eventually(t, func() bool { return k.Healthy() == nil })
			_, err = client.Put(t.Context(), "/a", "1")
			check(t, err)
			if r := k.Restarts(); r.Count != 0 {
				t.Errorf("it was %v", r)
			}
		})
	}
}

// TestEtcdStartStillRefused has the first start fail for what nobody but the operator can change.
func TestEtcdStartStillRefused(t *testing.T) {
	program := filepath.Join(t.TempDir(), "program")
	check(t, os.WriteFile(program, []byte("#!/bin/sh\necho '{\"waybill_etcd\":\"fatal\",\"reason\":\"invalid downgrade\"}'; exit 1\n"), 0o700))
	_, err := KeepEtcd(ctxFor(t, 20*time.Second), EtcdConfig{DataDir: filepath.Join(t.TempDir(), "etcd"), Addr: "127.0.0.1:0", Log: testLog(t).Level(8), program: program},
		NewDisk(t.TempDir(), func() uint64 { return 1 }, nil))
	refused(t, err, fault.FailedPrecondition, "invalid downgrade", "use the program that wrote it")
}

// TestEtcdStartsNoneBesideAFormer has a process that was begun in vain not end: no other is begun until it has.
func TestEtcdStartsNoneBesideAFormer(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	former := &etcdProcess{ended: make(chan struct{})}
	k := &KeptEtcd{config: EtcdConfig{DataDir: filepath.Join(dir, "etcd"), Addr: "127.0.0.1:0", Log: testLog(t).Level(8)},
		disk: NewDisk(dir, func() uint64 { return 1 }, nil), former: former}
	_, err := k.try(ctxFor(t, 20*time.Second))
	refused(t, err, fault.Unavailable, "does not end")
	close(former.ended)
	p, err := k.try(ctxFor(t, 20*time.Second))
	check(t, err)
	check(t, p.stop(ctxFor(t, 10*time.Second)))
}

// TestEtcdLaunchError looks that whoever reads why the process can't be started is told what to look at.
func TestEtcdLaunchError(t *testing.T) {
	for err, says := range map[error]string{syscall.EAGAIN: "limits on processes", syscall.EMFILE: "open files", syscall.ENOENT: "/proc", syscall.EACCES: "/proc"} {
		refused(t, launchError(err), fault.Unavailable, err.Error(), says)
	}
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
