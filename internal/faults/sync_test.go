//go:build linux

package faults

import (
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// syncs are the system calls that make something durable.
const syncs = "syncfs,fsync,fdatasync"

// TestFaultSyncFails has every sync fail for a while. What was asked for after the first failure is not answered as done, until
// the disk is well; what was answered before is there.
func TestFaultSyncFails(t *testing.T) {
	t.Parallel()
	tools(t, "strace")
	draw := seed(t)
	for range number(1, 5) {
		cs := newCustomers()
		node := start(t, filepath.Join(scratch(t), "site"))
		e, _ := node.endpoints(t)
		c := node.client(t)
		open(t, c)
		stop := cs.crowd(t.Context(), c, 16)
		cs.served(t, 50)
		tr := node.trace(t, "-e", "trace="+syncs, "-e", "inject="+syncs+":error=EIO")
		time.Sleep(between(draw, time.Second, 3*time.Second))
		stop()
		asked := time.Now()
		code, text := node.ready(t, e)
		if code == 200 {
			t.Errorf("no sync succeeds, and the node says that it is ready: %s", text)
		}
		tr.stop()
		failed, line := tr.first(t, "syncfs")
		if failed.IsZero() {
			t.Fatal("no sync has failed")
		}
		t.Logf("the first failure: %s", line)
		if n := cs.confirmedSince(failed); n > 0 {
			t.Errorf("%d orders were confirmed in the %v after a sync had failed", n, asked.Sub(failed))
		}
		node, c = healed(t, node, e, c, cs)
		cs.again(t, c, unanswered)
		audit(t, c, cs)
		node.alive(t)
		node.kill()
	}
}

// TestFaultSyncSlow has every sync take 200 ms longer. Orders go on, slower.
func TestFaultSyncSlow(t *testing.T) {
	t.Parallel()
	tools(t, "strace")
	seed(t)
	cs := newCustomers()
	node := start(t, filepath.Join(scratch(t), "site"))
	c := node.client(t)
	open(t, c)
	stop := cs.crowd(t.Context(), c, 8)
	defer stop()
	cs.served(t, 20)
	tr := node.trace(t, "-e", "trace="+syncs, "-e", "inject="+syncs+":delay_exit=200000")
	slow := time.Now()
	cs.served(t, 40)
	took := time.Since(slow)
	tr.stop()
	if took < 200*time.Millisecond {
		t.Errorf("40 orders took %v: no sync was waited for", took)
	}
	t.Logf("40 orders took %v", took)
	quick, err := cs.flows(t, c, 30*time.Second)
	if err != nil {
		t.Error(err)
	}
	t.Logf("an order %v after the disk was quick again", quick)
	stop()
	cs.again(t, c, unanswered)
	audit(t, c, cs)
}

// TestFaultDiskHangs freezes the file system for some seconds, as a disk does that spins up or is reset: every write hangs.
// Nothing is lost, and orders flow when it is over, without a restart.
func TestFaultDiskHangs(t *testing.T) {
	t.Parallel()
	tools(t, "fsfreeze")
	draw := seed(t)
	_, dir, node, cs := onDisk(t, "loop")
	c := node.client(t)
	open(t, c)
	stop := cs.crowd(t.Context(), c, 16)
	defer func() { stop() }()
	for range number(1, 5) {
		cs.served(t, 50)
		thaw := freeze(t, dir)
		frozen := time.Now()
		time.Sleep(between(draw, 2*time.Second, time.Duration(number(4, 20))*time.Second))
		lasted := time.Since(frozen)
		thaw()
		took, err := cs.flows(t, c, 30*time.Second)
		if err != nil {
			t.Errorf("no orders %v after the disk goes on: %v\n%s", took, err, &node.log)
		}
		t.Logf("frozen for %v, orders %v later", lasted, took)
		node.alive(t)
	}
	stop()
	cs.again(t, c, unanswered)
	audit(t, c, cs)
}

// freeze has everything that writes to the file system wait until thaw is called, or the test ends. Another process sees to it that
// the file system does not stay so when this one is killed, or waits for it itself.
func freeze(t *testing.T, dir string) (thaw func()) {
	t.Helper()
	guard := exec.Command("sh", "-c", `sleep 60; exec fsfreeze -u "$0"`, dir)
	if err := guard.Start(); err != nil {
		t.Fatal(err)
	}
	if err := command("fsfreeze", "-f", dir); err != nil {
		t.Fatal(err)
	}
	frozen := true
	thaw = func() {
		if !frozen {
			return
		}
		frozen = false
		if err := command("fsfreeze", "-u", dir); err != nil {
			t.Error(err)
		}
		_ = guard.Process.Kill()
		_ = guard.Wait() // it was killed
	}
	t.Cleanup(thaw)
	return thaw
}
