package node_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"waybill/internal/nodetest"
)

// etcdOf is the process that is the etcd of a node's directory; 0 where there is none.
func etcdOf(t testing.TB, dir string) int {
	t.Helper()
	processes, err := filepath.Glob("/proc/[0-9]*")
	if err != nil || len(processes) == 0 {
		t.Skip("SKIPPED: there is no /proc to look for etcd's process in")
	}
	for _, p := range processes {
		if name, err := os.ReadFile(filepath.Join(p, "cmdline")); err != nil || strings.TrimRight(string(name), "\x00") != "waybill: etcd" {
			continue
		}
		open, err := filepath.Glob(filepath.Join(p, "fd", "*"))
		if err != nil {
			t.Fatal(err)
		}
		for _, fd := range open {
			if file, err := os.Readlink(fd); err == nil && strings.HasPrefix(file, filepath.Join(dir, "etcd")+"/") {
				pid, err := strconv.Atoi(filepath.Base(p))
				if err != nil {
					t.Fatal(err)
				}
				return pid
			}
		}
	}
	return 0
}

// TestFaultOfEtcdsOwnProcess kills the process that is a site's etcd each second, for ten seconds with -faults.all, breaks it as an
// unreadable page of its database does, and stops it, while orders come in: none fails, the settings hold, and all is well afterwards.
// When the node has stopped, the process is gone.
func TestFaultOfEtcdsOwnProcess(t *testing.T) {
	t.Parallel()
	kills := 4
	if *faultsAll {
		kills = 10
	}
	n := nodetest.Start(t)
	c, b := busySite(t, n)
	send := func(s syscall.Signal) {
		if pid := etcdOf(t, n.Config.Data); pid != 0 { // it may be between two lives
			if err := syscall.Kill(pid, s); err != nil {
				t.Error(err)
			}
		}
	}
	restarted := func(why string) {
		t.Helper()
		if err := until(40*time.Second, func() error {
			if r := readiness(t, n.Endpoints()); !r.Ready || !strings.Contains(strings.Join(r.Notes, " "), why) {
				return fmt.Errorf("/readyz says %+v, want %q", r, why)
			}
			return nil
		}); err != nil {
			t.Error(err)
		}
	}
	for range kills {
		send(syscall.SIGKILL)
		b.flow(t, 20*time.Second)
		time.Sleep(time.Second)
	}
	restarted("because its process ended: signal: killed")
	wellWithin(t, c, 1, calmWithin)
	holds(t, c, "rpc.max_in_flight", "777")

	send(syscall.SIGBUS)
	restarted("because SIGBUS")
	wellWithin(t, c, 1, calmWithin)

	send(syscall.SIGSTOP)
	degraded(t, c, "etcd does not answer")
	b.flow(t, 20*time.Second)
	restarted("because it left")
	wellWithin(t, c, 1, calmWithin)
	setting(t, c, "rpc.max_in_flight", "778")

	if sold := b.settle(t, c); sold != b.number.Load() {
		t.Errorf("of %d orders %d were confirmed", b.number.Load(), sold)
	}
	audit(t, c)
	n.Stop()
	if pid := etcdOf(t, n.Config.Data); pid != 0 {
		t.Errorf("the node has stopped, and its etcd is process %d", pid)
	}
}

// TestEtcdsProcessEndsWithTheNode kills a node: its etcd is gone within a second, and the next start, at once and on the same ports, does
// not mind.
func TestEtcdsProcessEndsWithTheNode(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for range 3 {
		n := startChild(t, childOrder{Dir: dir})
		if n.endpoints(t); etcdOf(t, dir) == 0 {
			t.Fatal("there is no process of etcd's")
		}
		n.kill()
		killed := time.Now()
		if err := until(time.Second, func() error {
			if pid := etcdOf(t, dir); pid != 0 {
				return fmt.Errorf("process %d lives on", pid)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		t.Logf("gone %v after its parent", time.Since(killed))
	}
	n := startChild(t, childOrder{Dir: dir, Leaks: true})
	n.endpoints(t)
	if err := n.stop(t); err != nil {
		t.Error(err)
	}
	if pid := etcdOf(t, dir); pid != 0 {
		t.Errorf("the node has stopped, and its etcd is process %d", pid)
	}
}

// TestFaultOfEtcdAtTheFirstStart has etcd be impossible to start when a site begins, for what may pass: the site takes orders with the
// settings that it knew, says so, and etcd has them when it runs.
func TestFaultOfEtcdAtTheFirstStart(t *testing.T) {
	t.Parallel()
	n := nodetest.Start(t)
	setting(t, mustDial(t, n.URL()), "rpc.max_in_flight", "777")
	n.Stop()
	dir := n.Config.Data
	mark := filepath.Join(dir, "etcd.reseed") // it can't be looked at: a link to itself
	for _, err := range []error{os.Symlink(mark, mark), os.RemoveAll(filepath.Join(dir, "etcd"))} {
		if err != nil {
			t.Fatal(err)
		}
	}
	n = nodetest.Start(t, nodetest.InDir(dir))
	c := mustDial(t, n.URL())
	degraded(t, c, "etcd")
	holds(t, c, "rpc.max_in_flight", "777")
	nodetest.Stock(t, c.Client, 1_000, "bread")
	b := buy(c, 1, "bread", steady)
	b.flow(t, 20*time.Second)
	if err := os.Remove(mark); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(mark, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	well(t, c, 1)
	holds(t, c, "rpc.max_in_flight", "777")
	setting(t, c, "rpc.max_in_flight", "778")
	b.settle(t, c)
}
