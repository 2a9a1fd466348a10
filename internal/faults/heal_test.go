//go:build linux

package faults

import (
	"testing"
	"time"

	"waybill/client"
	"waybill/internal/node"
)

// healsItself says whether a node whose disk failed goes on without a human once the disk is well.
const healsItself = true

// longestHeal is how long after the disk is well orders are taken again.
const longestHeal = 10 * time.Second

// healed expects a node whose disk failed and is well again to take orders by itself. Where it does not promise that, it must say
// that it is not ready, and is started anew. It returns the node and the client to go on with.
func healed(t *testing.T, p *process, e node.Endpoints, c *client.Client, cs *customers, env ...string) (*process, *client.Client) {
	t.Helper()
	p.alive(t)
	if healsItself {
		took, err := cs.flows(t, c, longestHeal)
		if err != nil {
			code, text := p.ready(t, e)
			t.Fatalf("no orders %v after the disk is well: %v; /readyz says %d %s\n%s", took, err, code, text, &p.log)
		}
		t.Logf("orders %v after the disk is well", took)
		return p, c
	}
	if _, err := cs.flows(t, c, time.Second); err == nil {
		return p, c // the fault has not reached what it can't bear
	}
	if code, text := p.ready(t, e); code == 200 {
		t.Errorf("the node takes no orders, and says that it is ready: %s", text)
	} else {
		t.Logf("/readyz: %d %s", code, text)
	}
	p.kill()
	p = start(t, p.dir, env...)
	return p, p.client(t)
}
