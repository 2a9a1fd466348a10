//go:build linux

package faults

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"waybill/client"
)

// TestFaultKill kills a node again and again, at random moments of its start and of its work, with as many customers as it can serve:
// the long campaign says how many orders a second they were told the end of, some of them after a gateway that kept silent for a second.
func TestFaultKill(t *testing.T) {
	t.Parallel()
	draw := seed(t)
	kills, loaded, told, orders := 0, time.Duration(0), 0, 0
	for range number(1, 10) {
		dir := filepath.Join(scratch(t), "site")
		cs := newCustomers()
		node := start(t, dir)
		open(t, node.client(t))
		for i := range number(3, 20) {
			if i > 0 && draw.IntN(4) == 0 { // in the middle of its start
				node.kill()
				node = start(t, dir)
				time.Sleep(between(draw, 0, 400*time.Millisecond))
			} else {
				c := node.client(t)
				if draw.IntN(2) == 0 {
					cs.again(t, c, unanswered)
				}
				before, began := cs.told(), time.Now()
				stop := cs.crowd(t.Context(), c, number(32, 128))
				if i == 0 {
					cs.served(t, 10)
				}
				time.Sleep(between(draw, 50*time.Millisecond, time.Duration(number(700, 2000))*time.Millisecond))
				node.alive(t)
				node.kill()
				loaded += time.Since(began)
				stop()
				told += cs.told() - before
				c.Close()
			}
			node.kill()
			kills++
			node = start(t, dir)
		}
		settle(t, node, cs)
		orders += len(cs.orders())
	}
	t.Logf("%d kills, %d orders, %.0f orders/s while customers came", kills, orders, float64(told)/loaded.Seconds())
}

// TestFaultKillAtWrite kills a node when one of its threads is about to write for the n-th time in its life, for one n after the
// other: on an empty directory, where it makes what it keeps, and on a site under load.
func TestFaultKillAtWrite(t *testing.T) {
	t.Parallel()
	tools(t, "strace")
	draw := seed(t)
	atWrite := func(dir string, n int) *process {
		return startUnder(t, []string{"strace", "-D", "-f", "--seccomp-bpf", "-qqq", "-o", filepath.Join(filepath.Dir(dir), "trace"),
			"-e", "trace=write,pwrite64,writev,pwritev", "-e", fmt.Sprintf("inject=write,pwrite64,writev,pwritev:signal=SIGKILL:when=%d", n)}, dir)
	}
	kills, loaded := 0, 0
	count := func(node *process) {
		if !node.killed() {
			t.Errorf("the node died by itself: %v\n%s", node.err, &node.log)
		}
		kills++
	}
	for site := range number(1, 20) {
		dir := filepath.Join(scratch(t), "site")
		cs := newCustomers()
		for i := range number(1, 2) {
			n := 1 + 2*site + i
			if !*faultsAll {
				n = 1 + draw.IntN(60)
			}
			node := atWrite(dir, n)
			node.endpoints(t)
			node.kill()
			count(node)
		}
		node := start(t, dir)
		c := node.client(t)
		open(t, c)
		stop := cs.crowd(t.Context(), c, 16)
		cs.served(t, 20)
		node.kill()
		stop()
		c.Close()
		for i := range number(2, 5) {
			n := 3 * (1 + 5*site + i)
			switch {
			case !*faultsAll:
				n = 100 + draw.IntN(300)
			case i%2 == 1:
				n = 100 + draw.IntN(2000)
			}
			node := atWrite(dir, n)
			if underTrace(t, node, cs) {
				loaded++
			}
			count(node)
		}
		settle(t, start(t, dir), cs)
	}
	t.Logf("%d kills, %d of them under load", kills, loaded)
	if *faultsAll && loaded == 0 {
		t.Error("no node came as far as to take orders")
	}
}

// underTrace has customers order until the node dies, or has lived long enough, and reports whether any was answered.
func underTrace(t *testing.T, node *process, cs *customers) bool {
	defer node.kill()
	e, ok := node.endpoints(t)
	if !ok {
		return false
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Duration(number(1, 5))*time.Second)
	defer cancel()
	before := len(cs.orders())
	c, err := client.Connect(ctx, e.NATS)
	if err != nil {
		return false // it has died since
	}
	defer c.Close()
	defer cs.crowd(ctx, c, 16)()
	select {
	case <-node.dead:
	case <-ctx.Done():
	}
	return len(cs.orders()) > before
}

// settle audits a site that has been through enough: what was not answered is asked for again first.
func settle(t *testing.T, node *process, cs *customers) {
	t.Helper()
	c := node.client(t)
	cs.again(t, c, unanswered)
	audit(t, c, cs)
	t.Logf("%d orders: %v", len(cs.orders()), cs.count())
	if cs.count()["confirmed"] == 0 {
		t.Error("nothing was confirmed")
	}
	node.alive(t)
	node.kill()
}
