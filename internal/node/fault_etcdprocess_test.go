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

// TestFaultOfEtcdsOwnProcess kills the process that is a site's etcd each second, for ten seconds with -faults.all, and then breaks it as
// an unreadable page of its database does; at another site it stops it. Orders come in meanwhile: none fails, the settings hold and can
// be changed, and all is well afterwards. When the node has stopped, the process is gone.
func TestFaultOfEtcdsOwnProcess(t *testing.T) {
	t.Parallel()
	kills := 4
	if *faultsAll {
		kills = 10
	}
	t.Run("ended", func(t *testing.T) {
		t.Parallel()
		s := etcdsSite(t)
		for range kills {
			s.send(t, syscall.SIGKILL)
			s.buying.flow(t, 20*time.Second)
			time.Sleep(time.Second)
		}
		s.restarted(t, "because its process ended: signal: killed")
		wellWithin(t, s.c, 1, calmWithin)
		holds(t, s.c, "rpc.max_in_flight", "777")

		s.send(t, syscall.SIGBUS)
		s.restarted(t, "because SIGBUS")
		s.end(t)
	})
	t.Run("stopped", func(t *testing.T) {
		t.Parallel()
		s := etcdsSite(t)
		s.send(t, syscall.SIGSTOP)
		degraded(t, s.c, "etcd does not answer")
		s.buying.flow(t, 20*time.Second)
		s.restarted(t, "because it left")
		s.end(t)
	})
}

// siteOfEtcd is a site that sells while the process that is its etcd comes to harm.
type siteOfEtcd struct {
	n      *nodetest.Node
	c      *dialed
	buying *buyers
}

func etcdsSite(t *testing.T) siteOfEtcd {
	t.Helper()
	n := nodetest.Start(t)
	c, b := busySite(t, n)
	return siteOfEtcd{n, c, b}
}

// send sends etcd's process a signal; it may be between two lives.
func (s siteOfEtcd) send(t *testing.T, what syscall.Signal) {
	t.Helper()
	if pid := etcdOf(t, s.n.Config.Data); pid != 0 {
		if err := syscall.Kill(pid, what); err != nil {
			t.Error(err)
		}
	}
}

// restarted waits until the node is ready and says why etcd was restarted last.
func (s siteOfEtcd) restarted(t *testing.T, why string) {
	t.Helper()
	if err := until(40*time.Second, func() error {
		if r := readiness(t, s.n.Endpoints()); !r.Ready || !strings.Contains(strings.Join(r.Notes, " "), why) {
			return fmt.Errorf("/readyz says %+v, want %q", r, why)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
}

// end looks that all is well, that settings hold and can be changed and that no order failed, and stops the node: etcd ends with it.
func (s siteOfEtcd) end(t *testing.T) {
	t.Helper()
	wellWithin(t, s.c, 1, calmWithin)
	holds(t, s.c, "rpc.max_in_flight", "777")
	setting(t, s.c, "rpc.max_in_flight", "778")
	if sold := s.buying.settle(t, s.c); sold != s.buying.number.Load() {
		t.Errorf("of %d orders %d were confirmed", s.buying.number.Load(), sold)
	}
	audit(t, s.c)
	s.n.Stop()
	if pid := etcdOf(t, s.n.Config.Data); pid != 0 {
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
