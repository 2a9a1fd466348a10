//go:build linux

package faults

import (
	"context"
	"fmt"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"waybill/client"
	"waybill/subjects"
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

// TestFaultPauseOfOne stops the process of a site that writes the stock, while another one could. That one takes over; the first,
// which does not know that it was deposed, writes nothing when it goes on.
func TestFaultPauseOfOne(t *testing.T) {
	t.Parallel()
	draw := seed(t)
	cs := newCustomers()
	work := scratch(t)
	first := start(t, filepath.Join(work, "first"),
		"WAYBILL_SERVICES=catalog,payment,order,shipping,notification,webhook,customer,config,health,dead,journal")
	c := first.client(t)
	join := "WAYBILL_JOIN=" + first.dir
	writers := map[string]*process{} // by the name of their instance
	var name string
	for _, dir := range []string{"second", "third"} {
		p := start(t, filepath.Join(work, dir), "WAYBILL_SERVICES=inventory", join)
		p.endpoints(t)
		if name == "" { // it is alone, so it leads
			name = writer(t, c)
			writers[name] = p
		} else {
			writers["other"] = p
		}
	}
	leader := func() *process {
		if p := writers[writer(t, c)]; p != nil {
			return p
		}
		return writers["other"]
	}
	open(t, c)
	stop := cs.crowd(t.Context(), c, 16)
	defer func() { stop() }()
	for range number(1, 6) {
		cs.served(t, 50)
		was := writer(t, c)
		stands := leader()
		stands.signal(t, syscall.SIGSTOP)
		begun := time.Now()
		took, err := cs.flows(t, c, 30*time.Second)
		if err != nil {
			t.Errorf("no orders %v after the writer of the stock stood still: %v", took, err)
		}
		if now := writer(t, c); now == was {
			t.Errorf("%s still leads: what was stopped was not the writer", now)
		}
		t.Logf("orders %v after the writer of the stock stood still", took)
		if rest := between(draw, 5*time.Second, time.Duration(number(6, 20))*time.Second) - time.Since(begun); rest > 0 {
			time.Sleep(rest)
		}
		stands.signal(t, syscall.SIGCONT)
		cs.served(t, 100)
		stands.alive(t)
	}
	stop()
	cs.again(t, c, unanswered)
	audit(t, c, cs)
}

// writer is the instance that writes the stock, as etcd has it.
func writer(t *testing.T, c *client.Client) (name string) {
	t.Helper()
	if err := until(20*time.Second, func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		h, err := c.Health.List(ctx)
		if err != nil {
			return err
		}
		if name = h.Leaders[subjects.RoleInventory]; name == "" {
			return fmt.Errorf("nobody writes the stock: %v", h.Leaders)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return name
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
