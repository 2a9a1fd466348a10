package node

import (
	"context"
	"errors"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"waybill/embedded"
	"waybill/internal/fault"
	"waybill/internal/sleep"
)

const (
	tendInterval = 250 * time.Millisecond
	patience     = 2 * time.Second // how long a complaint of the server must last before it counts as final
	retireTime   = time.Second     // what is in flight in a life whose store failed can't be confirmed any more: it is cut off then
	lingerTold   = 30 * time.Second
)

// healing is what a node knows of its own restarts. It is safe for concurrent use.
type healing struct {
	life   atomic.Pointer[life] // nil while one has ended and the next has not begun
	cancel context.CancelFunc
	done   chan struct{}

	mu       sync.Mutex
	restarts embedded.Restarts
	reason   string // why a restart is under way; empty while none is
	waits    string // what it waits for
}

// tend watches over the life until ctx ends, and begins another one when it is broken.
func (n *Node) tend(ctx context.Context) {
	defer close(n.healing.done)
	tick := time.NewTicker(tendInterval)
	defer tick.Stop()
	var since time.Time // of the complaint
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		reason, final := n.healing.life.Load().check()
		switch {
		case reason == "":
			since = time.Time{}
			continue
		case since.IsZero():
			since = time.Now()
		}
		if !final && time.Since(since) < patience {
			continue
		}
		if !n.restart(ctx, reason) {
			return
		}
		since = time.Time{}
	}
}

// restart ends the life and begins another one, as often as that takes; false when ctx ended first. The old life goes on until
// the disk is well: it answers that nothing can be confirmed.
func (n *Node) restart(ctx context.Context, reason string) bool {
	n.healing.begin(reason)
	n.log.Error().Str("reason", reason).Msg("the store failed: nothing is confirmed until it has been restarted, which is tried once the disk is well")
	said := ""
	for pause := embedded.FirstPause; ; pause = min(2*pause, embedded.LastPause) {
		err := n.renew(ctx)
		if err == nil {
			break
		}
		if ctx.Err() != nil {
			return false
		}
		text := fault.From(err).Message
		n.healing.wait(text)
		if text != said {
			n.log.Warn().Err(err).Msg("the restart has to wait; it is tried again")
			said = text
		}
		if !sleep.For(ctx, pause) {
			return false
		}
	}
	n.log.Info().Str("reason", reason).Int("restarts", n.healing.end()).Msg("the store was restarted; orders are taken again as soon as the node is ready")
	return true
}

// renew tries once to put another life in the place of the present one.
func (n *Node) renew(ctx context.Context) error {
	own := n.opts.Config.NATSURL == ""
	if own {
		if err := n.disk.Well(ctx); err != nil {
			return err
		}
	}
	if old := n.healing.life.Swap(nil); old != nil {
		if err := n.retire(ctx, old); err != nil {
			return err
		}
	}
	if own {
		if err := n.disk.Reread(n.opts.Config.Data); err != nil {
			return err
		}
		if err := embedded.ForgetIndexes(filepath.Join(n.opts.Config.Data, "nats")); err != nil {
			return err
		}
	}
	next := n.newLife()
	err := next.open(ctx)
	if err == nil {
		err = next.begin(ctx, n.etcdClient)
	}
	if err != nil {
		return errors.Join(err, n.retire(ctx, next))
	}
	n.healing.life.Store(next)
	return nil
}

// retire ends a life and returns once nothing of it is left: two servers must never have the same store open. Where a part of
// it hangs, in a call to a disk that does not answer, that is waited for as long as ctx lasts, and said.
func (n *Node) retire(ctx context.Context, old *life) error {
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), retireTime)
	defer cancel()
	_ = old.unwind(stopping) // says what it met
	tell := time.NewTicker(lingerTold)
	defer tell.Stop()
	n.healing.wait("the former server has not let go of the store: does the disk hang?")
	for gone := old.gone(); ; {
		select {
		case <-gone:
			n.healing.wait("")
			return nil
		case <-tell.C:
			n.log.Warn().Msg("the former server has not let go of the store: does the disk hang? The restart waits for it")
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// stopLife ends the tending and the life.
func (n *Node) stopLife(ctx context.Context) error {
	n.healing.cancel()
	<-n.healing.done // who runs the closers does not wait for one on a disk that hangs
	if l := n.healing.life.Load(); l != nil {
		return l.unwind(ctx)
	}
	return nil
}

func (h *healing) begin(reason string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.reason, h.waits = reason, ""
}

func (h *healing) wait(what string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.waits = what
}

// end counts the restart and returns how many there were.
func (h *healing) end() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.restarts = embedded.Restarts{Count: h.restarts.Count + 1, Reason: h.reason}
	h.reason, h.waits = "", ""
	return h.restarts.Count
}

// missing says, as part of the node's readiness, that a restart is under way.
func (h *healing) missing() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.reason == "" {
		return nil
	}
	out := []string{"restart: the store is restarted because " + h.reason}
	if h.waits != "" {
		out = append(out, "restart: it waits: "+h.waits)
	}
	return out
}

// restarts says how often the node has restarted its store.
func (n *Node) restarts() embedded.Restarts {
	n.healing.mu.Lock()
	defer n.healing.mu.Unlock()
	return n.healing.restarts
}

// notes says what the node has restarted by itself.
func (n *Node) notes() []string {
	var out []string
	if text := n.restarts().String(); text != "" {
		out = append(out, "store: "+text)
	}
	if n.etcd != nil {
		if text := n.etcd.Restarts().String(); text != "" {
			out = append(out, "etcd: "+text)
		}
	}
	return out
}
