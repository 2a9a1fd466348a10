package node

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	clientv3 "go.etcd.io/etcd/client/v3"

	"waybill/configs"
	"waybill/embedded"
	"waybill/handlers"
	"waybill/internal/fault"
	"waybill/internal/journal"
	"waybill/internal/registry"
)

// life is all of a node that rests on its store: from the start of the NATS server, or the first connection to it, to its stop.
// A node whose store failed ends this life and begins another one. Nothing in memory goes from one to the next: what was not
// durable may be gone, and other events may come in its place.
type life struct {
	closers
	opts        Options
	instance    string
	levels      *levels
	live        *configs.Live
	space       *space
	phases      *phases
	etcd        *clientv3.Client
	etcdHealthy func() error  // nil of an etcd that runs elsewhere
	restarts    func() string // what the node restarted before, for people

	seen     atomic.Pointer[look] // of an own store
	store    *store
	link     *nats.Conn // to a store that runs elsewhere
	server   string     // the id of the server that link found first
	registry *registry.Registry
	barrier  barrier
	recent   *journal.Recent // what was appended to an own store; nil of one that runs elsewhere
	hashKey  []byte
	models   *models
	lists    *handlers.Lists
	services *services
}

// newLife makes the life that begins next.
func (n *Node) newLife() *life {
	return &life{closers: closers{log: n.log}, opts: n.opts, instance: n.instance, levels: n.levels, live: n.live, space: n.space, phases: n.phases,
		restarts: func() string { return n.restarts().String() },
		etcdHealthy: func() error {
			if n.etcd == nil {
				return nil
			}
			return n.etcd.Healthy()
		}}
}

// open starts the site's NATS, or finds the way to it.
func (n *life) open(ctx context.Context) error {
	store, err := openStore(ctx, n.opts.Config, n.log)
	if err != nil {
		return err
	}
	n.store = store
	n.seen.Store(&look{at: time.Now()})
	n.onStop("nats", func(ctx context.Context) error {
		store.forget()
		if store.own != nil {
			// The next life opens the same store: it is over when it is over, however little time is left. Who waits for it is bounded.
			return store.own.Stop(context.WithoutCancel(ctx))
		}
		return nil
	})
	return nil
}

// begin starts everything that rests on the store. What it started is in the closers, also after an error.
func (n *life) begin(ctx context.Context, etcd *clientv3.Client) error {
	n.etcd = etcd
	for _, step := range []func(context.Context) error{
		n.openRegistry, // before the services: they read the settings
		n.settings,
		n.durability, // before anything is written
		n.readModels, // before the services: they list from them
		n.serve,      // who is called before who calls
	} {
		if err := step(ctx); err != nil {
			return err
		}
		n.look() // what looks at the store from now on must not find an old look
	}
	return nil
}

// check looks at the store, and says why this life has to end, or nothing; what is not final may pass by itself. It may hang
// with the disk: one goroutine calls it.
func (n *life) check() (reason string, final bool) {
	n.look()
	return n.broken()
}

func (n *life) look() {
	if own := n.store.own; own != nil {
		err := own.Healthy()
		n.seen.Store(&look{at: time.Now(), err: err})
	}
}

// look is what the NATS server said when it was last asked how it is.
type look struct {
	at  time.Time
	err error
}

// lookLife is how long a look is good for. An older one means that the server does not answer.
const lookLife = 3 * time.Second

// healthy is what the last look at the store has shown. It never waits.
func (n *life) healthy() error {
	last := n.seen.Load()
	if silent := time.Since(last.at); silent > lookLife {
		return fault.New(fault.Unavailable, "the server does not say how it is for %s: does the disk hang?", silent.Round(time.Second))
	}
	return last.err
}

func (n *life) broken() (reason string, final bool) {
	if n.store.own == nil {
		if n.replaced() {
			return "the NATS server was restarted: what it had acknowledged may be gone", true
		}
		return "", false
	}
	if err := n.barrier.Err(); err != nil {
		return fault.From(err).Message, true
	}
	if err := n.seen.Load().err; err != nil {
		return fault.From(err).Message, false
	}
	return "", false
}

// replaced reports whether the process that holds the store has started another server since this life began. Where the
// operator's own cluster holds it, any of its servers is as good as another.
func (n *life) replaced() bool {
	return embedded.IsServer(n.link.ConnectedServerName()) && n.link.ConnectedServerId() != n.server
}

// missing is what this life lacks before the node takes orders.
func (n *life) missing() []string {
	var out []string
	if n.store.own != nil {
		if err := n.healthy(); err != nil {
			out = append(out, "nats: "+fault.From(err).Message)
		}
	}
	if err := n.barrier.Err(); err != nil {
		out = append(out, "durability: "+fault.From(err).Message)
	}
	if n.space.low() {
		out = append(out, "space: the file system is almost full")
	}
	out = append(out, n.models.missing()...)
	out = append(out, n.services.missing()...)
	out = append(out, n.services.doctor.critical()...)
	if _, degraded := n.registry.Degraded(); !degraded && !n.registry.HealthWritten() {
		out = append(out, "health: not yet written to etcd")
	}
	return out
}
