package embedded

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

// keeperEnv is set for a process of this test's binary that is to keep an etcd; its value is the etcd's address and directory.
const keeperEnv = "WAYBILL_TEST_KEEPER"

// beKeeper runs this process as a keeper, if it is one: it says where its etcd's process is, and ends as its input says.
func beKeeper() (keeper bool, code int) {
	addr, dir, ok := strings.Cut(os.Getenv(keeperEnv), " ")
	if !ok {
		return false, 0
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	k, err := KeepEtcd(ctx, EtcdConfig{DataDir: dir, Addr: addr, Log: zerolog.New(os.Stderr)}, NewDisk(filepath.Dir(dir), func() uint64 { return 1 }, nil))
	if err != nil {
		fmt.Println(err)
		return true, 1
	}
	fmt.Println(k.current().cmd.Process.Pid, k.Addr())
	switch word, _ := bufio.NewReader(os.Stdin).ReadString('\n'); word {
	case "panic\n":
		panic("planted")
	case "exit\n":
		return true, 0
	}
	if err := k.Stop(ctx); err != nil {
		fmt.Println(err)
		return true, 1
	}
	return true, 0
}

// keeper is a process that keeps an etcd, as its parent sees it.
type keeper struct {
	cmd   *exec.Cmd
	stdin io.WriteCloser
	etcd  int    // the process that etcd is
	addr  string // of etcd
}

func startKeeper(t *testing.T, addr, dir string) *keeper {
	t.Helper()
	program, err := os.Executable()
	check(t, err)
	k := &keeper{cmd: exec.Command(program, "-test.run=^$")}
	k.cmd.Env = append(os.Environ(), keeperEnv+"="+addr+" "+dir)
	stdout, err := k.cmd.StdoutPipe()
	check(t, err)
	k.stdin, err = k.cmd.StdinPipe()
	check(t, err)
	check(t, k.cmd.Start())
	t.Cleanup(func() { _, _ = k.cmd.Process.Kill(), k.cmd.Wait() })
	said, err := bufio.NewReader(stdout).ReadString('\n')
	if err == nil {
		_, err = fmt.Sscan(said, &k.etcd, &k.addr)
	}
	if err != nil {
		t.Fatalf("the keeper said %q: %v", said, err)
	}
	return k
}

// TestEtcdEndsWithItsParent ends the process that keeps an etcd in every way that there is: within a second etcd's process is gone, also
// where it stands still.
func TestEtcdEndsWithItsParent(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(k *keeper) error{
		"stopped": func(k *keeper) error { return k.stdin.Close() },
		"killed":  func(k *keeper) error { return k.cmd.Process.Kill() },
		"panics":  func(k *keeper) error { _, err := io.WriteString(k.stdin, "panic\n"); return err },
		"exits":   func(k *keeper) error { _, err := io.WriteString(k.stdin, "exit\n"); return err },
		"killed while etcd stands still": func(k *keeper) error {
			return firstError(syscall.Kill(k.etcd, syscall.SIGSTOP), k.cmd.Process.Kill())
		},
	} {
		t.Run(name, func(t *testing.T) {
			k := startKeeper(t, "127.0.0.1:0", filepath.Join(t.TempDir(), "etcd"))
			if !lives(k.etcd) {
				t.Fatal("there is no process of etcd's")
			}
			check(t, end(k))
			_ = k.cmd.Wait() // how it ended is not the point
			gone := time.Now()
			for lives(k.etcd) {
				if time.Since(gone) > time.Second {
					t.Fatal("etcd's process lives on")
				}
				time.Sleep(time.Millisecond)
			}
			t.Logf("gone %v after its parent", time.Since(gone))
		})
	}
}

// TestEtcdStartsBesideADyingOne kills the process that keeps an etcd, ten times, and starts the next one on the same port and directory at
// once.
func TestEtcdStartsBesideADyingOne(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "etcd")
	k := startKeeper(t, "127.0.0.1:0", dir)
	addr := k.addr
	for range 10 {
		check(t, k.cmd.Process.Kill())
		_ = k.cmd.Wait() // it was killed
		k = startKeeper(t, addr, dir)
		if left := entries(t, filepath.Dir(dir)); left != "etcd" {
			t.Fatalf("the directory holds %s", left)
		}
	}
}

// TestEtcdWaitsForAFormerOne has another process hold the database for a while, as one does that is slow to die: it is waited for, and its
// data is taken for damaged only where it is.
func TestEtcdWaitsForAFormerOne(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "etcd")
	k, client := keepEtcd(t, EtcdConfig{DataDir: dir})
	_, err := client.Put(t.Context(), "/a", "1")
	check(t, err)
	stopEtcd(t, k)
	for _, damaged := range []bool{false, true} {
		if damaged {
			check(t, os.WriteFile(databaseFile(dir), make([]byte, 64<<10), 0o600))
		}
		f, err := os.OpenFile(databaseFile(dir), os.O_RDWR, 0)
		check(t, err)
		check(t, syscall.Flock(int(f.Fd()), syscall.LOCK_EX))
		held := 2 * time.Second
		time.AfterFunc(held, func() { f.Close() })
		began := time.Now()
		k, client = keepEtcd(t, EtcdConfig{DataDir: dir})
		if took := time.Since(began); took < held*9/10 {
			t.Errorf("it started after %v", took)
		}
		if len(setAside(t, dir)) > 0 != damaged {
			t.Errorf("its data was set aside: %t", !damaged)
		}
		if !damaged {
			holds(t, client, "/a", "1")
		}
		stopEtcd(t, k)
	}
}
