//go:build linux

package faults

import (
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// TestFaultPause stops the node's process for longer than its leases last, and lets it go on: as a machine does that is put to
// sleep. Orders flow soon after, and nothing is lost.
func TestFaultPause(t *testing.T) {
	t.Parallel()
	draw := seed(t)
	cs := newCustomers()
	node := start(t, filepath.Join(scratch(t), "site"))
	c := node.client(t)
	open(t, c)
	stop := cs.crowd(t.Context(), c, 16)
	defer func() { stop() }()
	for range number(1, 6) {
		cs.served(t, 50)
		paused := pause(t, node, between(draw, 5*time.Second, time.Duration(number(6, 20))*time.Second))
		took, err := cs.flows(t, c, 30*time.Second)
		if err != nil {
			t.Errorf("no orders %v after the pause: %v\n%s", took, err, &node.log)
		}
		t.Logf("paused for %v, orders %v later", paused, took)
	}
	stop()
	cs.again(t, c, unanswered)
	audit(t, c, cs)
}

// TestFaultPauseOfOne stops the process of a site that writes the stock, while another one could. It takes over; the first, which does not
// know that it was deposed, writes nothing when it goes on.
func TestFaultPauseOfOne(t *testing.T) {
	t.Parallel()
	draw := seed(t)
	cs := newCustomers()
	work := scratch(t)
	first := start(t, filepath.Join(work, "first"), "WAYBILL_SERVICES=catalog,payment,order,shipping,notification,webhook,customer,config,health,dead,journal")
	first.endpoints(t)
	join := "WAYBILL_JOIN=" + first.dir
	leader := start(t, filepath.Join(work, "second"), "WAYBILL_SERVICES=inventory", join)
	leader.endpoints(t)
	other := start(t, filepath.Join(work, "third"), "WAYBILL_SERVICES=inventory", join)
	other.endpoints(t)
	c := first.client(t)
	open(t, c)
	stop := cs.crowd(t.Context(), c, 16)
	defer func() { stop() }()
	for range number(1, 6) {
		cs.served(t, 50)
		leader.signal(t, syscall.SIGSTOP)
		begun := time.Now()
		took, err := cs.flows(t, c, 30*time.Second)
		if err != nil {
			t.Errorf("no orders %v after the writer of the stock stood still: %v\n%s", took, err, &other.log)
		}
		t.Logf("orders %v after the writer of the stock stood still", took)
		if rest := between(draw, 5*time.Second, time.Duration(number(6, 20))*time.Second) - time.Since(begun); rest > 0 {
			time.Sleep(rest)
		}
		leader.signal(t, syscall.SIGCONT)
		cs.served(t, 100)
		leader.alive(t)
		leader, other = other, leader
	}
	stop()
	cs.again(t, c, unanswered)
	audit(t, c, cs)
}

// pause stops a process for that long, and returns how long it was.
func pause(t *testing.T, p *process, d time.Duration) time.Duration {
	t.Helper()
	p.signal(t, syscall.SIGSTOP)
	begun := time.Now()
	time.Sleep(d)
	p.signal(t, syscall.SIGCONT)
	return time.Since(begun)
}
