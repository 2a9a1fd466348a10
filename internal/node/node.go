// Package node is the composition root: it starts every part of a site's process in order, says when the node takes orders,
// and stops everything in reverse. A start that fails takes back what it had begun.
package node

import (
	"context"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/rs/zerolog"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"waybill/configs"
	"waybill/embedded"
	"waybill/handlers"
	"waybill/internal/fault"
	"waybill/internal/gateway"
	"waybill/internal/id"
	"waybill/internal/journal"
	"waybill/internal/lean"
	"waybill/internal/paygate"
	"waybill/internal/registry"
	"waybill/internal/rpc"
	"waybill/internal/view"
	"waybill/subjects"
)

// Options are what a node is started with.
type Options struct {
	Config  configs.Config
	Version string // of the program, semantic
	Log     zerolog.Logger

	// Clock tells the time to the domain; nil is time.Now. Hook is called after each append, inner call, gateway call and
	// reply. Sync makes the own store durable in place of the system's call; one goroutine calls it. All three are for tests.
	Clock func() time.Time
	Hook  func(point string)
	Sync  func() error
	// SyncFault is asked before each sync of the store, and whenever the disk is tried; its error is what they end with. For tests.
	SyncFault func() error
	// EtcdQuota is the most that the embedded etcd's database may have, in bytes; 0 is its own. For tests.
	EtcdQuota int64
	// Refuse is asked before each request and each probe of a service; its error is their answer. For tests.
	Refuse func(service subjects.Service, method string) error
	// Channel is how customers are reached; nil is the log.
	Channel handlers.Channel
	// Gateway takes the card payments; nil is the sandbox. It outlives the node.
	Gateway paygate.Gateway
	// TuneRuntime has the node set the collector and the processors of its process, for a process that runs nothing else.
	TuneRuntime bool
}

// Endpoints is where a node listens: the content of DATA/endpoints.json.
type Endpoints struct {
	NATS string `json:"nats"`
	HTTP string `json:"http"`
	Etcd string `json:"etcd"`
	PID  int    `json:"pid"`

	NATSSocket string `json:"nats_socket,omitempty"` // the path of a Unix socket
	NATSWS     string `json:"nats_ws,omitempty"`     // for WebSockets
}

// Node is a running node: a shell that lasts (the directory's lock, etcd, HTTP), and in it the life of the moment, which is all
// that rests on the store. Its methods are safe for concurrent use.
type Node struct {
	closers
	opts     Options
	instance string
	levels   *levels
	live     *configs.Live

	etcd       *embedded.KeptEtcd // nil where etcd runs elsewhere
	etcdClient *clientv3.Client
	disk       *embedded.Disk
	space      *space
	healing    healing
	http       *gateway.Server

	phases    *phases
	endpoints Endpoints
	stopOnce  sync.Once
	stopErr   error
}

// Start starts a node and returns once it takes orders: its health is written, its roles are claimed, its read models have
// caught up. While it waits for that it says in the log what is missing; it waits as long as ctx lasts. ctx does not bound
// the node's life: Stop ends it. Errors are one line for the operator; nothing is left running then.
func Start(ctx context.Context, o Options) (*Node, error) {
	if err := o.Config.Validate(); err != nil {
		return nil, err
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	n := &Node{opts: o, instance: instanceName(), live: configs.NewLive(), phases: newPhases()}
	n.levels = newLevels(n.live, o.Config.LogLevel)
	n.log = n.levels.logger(o.Log, "")
	n.onStop("log levels", func(context.Context) error { n.levels.stop(); return nil })
	for _, step := range []func(context.Context) error{
		n.directory,  // first: nobody else may touch what follows
		n.firstLife,  // etcd, NATS, and all that rests on them
		n.listenHTTP, // last: it says whether all the rest stands
		n.becomeReady,
	} {
		if err := step(ctx); err != nil {
			stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
			defer cancel()
			return nil, errors.Join(err, n.unwind(stopping))
		}
	}
	return n, nil
}

func instanceName() string {
	host, err := os.Hostname()
	if err != nil || !id.Valid(host, 30) {
		host = "node"
	}
	return host + "-" + id.New()[:8]
}

// Endpoints says where the node listens.
func (n *Node) Endpoints() Endpoints { return n.endpoints }

// Stop ends the node: no new work, what is in flight is finished until ctx ends, then everything closes in reverse. Further
// calls return what the first did.
func (n *Node) Stop(ctx context.Context) error {
	n.stopOnce.Do(func() { n.stopErr = n.unwind(ctx) })
	return n.stopErr
}

// directory takes the data directory for this process.
func (n *Node) directory(context.Context) error {
	data := n.opts.Config.Data
	lock, err := embedded.Lock(data)
	if err != nil {
		return err
	}
	n.onStop("directory", func(context.Context) error { return lock.Unlock() })
	if err := embedded.CheckVersion(data, n.opts.Version); err != nil {
		return err
	}
	return n.forgetEndpoints()
}

func (n *Node) endpointsFile() string { return filepath.Join(n.opts.Config.Data, "endpoints.json") }

func (n *Node) forgetEndpoints() error {
	if err := os.Remove(n.endpointsFile()); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fault.Wrap(err, fault.Unavailable, "%s can't be removed", n.endpointsFile())
	}
	return nil
}

// join fills in what --join leaves to the other process's directory.
func join(c configs.Config) (configs.Config, error) {
	if c.Join == "" {
		return c, nil
	}
	text, err := os.ReadFile(filepath.Join(c.Join, "endpoints.json"))
	if err != nil {
		return c, fault.Wrap(err, fault.Unavailable, "no waybill runs on %s: start it first, or name another directory with --join", c.Join)
	}
	var e Endpoints
	if err := json.Unmarshal(text, &e); err != nil {
		return c, fault.Wrap(err, fault.Unavailable, "%s is no endpoints.json", filepath.Join(c.Join, "endpoints.json"))
	}
	c.NATSURL, c.EtcdEndpoints, c.Creds = e.NATS, []string{e.Etcd}, filepath.Join(c.Join, "secrets")
	return c, nil
}

// firstLife starts etcd and the first life, and has them tended.
func (n *Node) firstLife(ctx context.Context) error {
	c, err := join(n.opts.Config)
	if err != nil {
		return err
	}
	n.opts.Config = c
	n.disk = embedded.NewDisk(c.Data, func() uint64 { return uint64(n.live.Int(configs.StorageLowSpace)) }, n.opts.SyncFault)
	n.space = newSpace(freeSpace(c.Data), n.live, n.log)
	n.onStop("space", func(context.Context) error { n.space.stop(); return nil })
	etcd := make(chan error, 1)
	go func() { // at the same time as NATS: neither needs the other
		defer n.phases.begin("etcd")()
		etcd <- n.startEtcd(ctx)
	}()
	first := n.newLife()
	opened := n.phases.begin("nats")
	err = first.open(ctx)
	opened()
	// The errors of both, in this order: an operator mends one thing at a time.
	if err = firstLine(errors.Join(err, <-etcd)); err == nil {
		err = first.begin(ctx, n.etcdClient)
	}
	if err != nil {
		stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		return errors.Join(err, first.unwind(stopping))
	}
	n.endpoints.NATS = first.store.url
	if own := first.store.own; own != nil {
		n.endpoints.NATSSocket, n.endpoints.NATSWS = own.Socket(), own.WSURL()
		n.opts.Config.NATSAddr, n.opts.Config.NATSWSAddr = own.Addr(), own.WSAddr() // where port 0 was asked for, the next life has the same port
	}
	n.healing.life.Store(first)
	tending, cancel := context.WithCancel(context.WithoutCancel(ctx)) // ended by stopLife
	n.healing.cancel, n.healing.done = cancel, make(chan struct{})
	go n.tend(tending)
	n.onStop("site", n.stopLife)
	return nil
}

// startEtcd starts etcd, or finds the way to the one that runs elsewhere. Neither need run: the registry does without until it does.
func (n *Node) startEtcd(ctx context.Context) error {
	c := n.opts.Config
	endpoints := c.EtcdEndpoints
	if len(endpoints) == 0 {
		etcd, err := embedded.KeepEtcd(ctx, embedded.EtcdConfig{
			DataDir: filepath.Join(c.Data, "etcd"), Addr: c.EtcdAddr,
			Seed:  n.lastKnown,
			Quota: n.opts.EtcdQuota, Log: n.log,
		}, n.disk)
		if err != nil {
			return err
		}
		n.etcd = etcd
		n.onStop("etcd", etcd.Stop)
		endpoints = []string{"http://" + etcd.Addr()}
	}
	n.endpoints.Etcd = endpoints[0]
	client, err := dialEtcd(endpoints)
	if err != nil {
		return err
	}
	n.etcdClient = client
	n.onStop("etcd client", func(context.Context) error { return client.Close() })
	return nil
}

func (n *Node) settingsFile() string { return filepath.Join(n.opts.Config.Data, "settings.json") }

// firstLine is the first of joined errors: an operator mends one thing at a time.
func firstLine(err error) error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok && len(joined.Unwrap()) > 0 {
		return joined.Unwrap()[0]
	}
	return err
}

func dialEtcd(endpoints []string) (*clientv3.Client, error) {
	c, err := clientv3.New(clientv3.Config{
		Endpoints: endpoints, DialTimeout: 3 * time.Second, DialKeepAliveTime: 5 * time.Second, DialKeepAliveTimeout: 3 * time.Second, Logger: zap.NewNop(),
	})
	if err != nil {
		return nil, fault.Wrap(err, fault.InvalidArgument, "the etcd endpoints can't be used")
	}
	return c, nil
}

func (n *life) openRegistry(ctx context.Context) error {
	r, err := registry.Open(ctx, registry.Options{
		Client: n.etcd, Site: n.opts.Config.Site, Instance: n.instance, StateFile: filepath.Join(n.opts.Config.Data, "settings.json"),
		Live: n.live, Log: n.log,
	})
	if err != nil {
		return err
	}
	n.registry = r
	n.onStop("registry", func(ctx context.Context) error {
		if err := r.Close(ctx); err != nil {
			n.log.Warn().Err(err).Msg("etcd could not be told of the stop; the leases run out by themselves")
		}
		return nil
	})
	return nil
}

// settings revokes what a former life of this directory still claims.
func (n *life) settings(ctx context.Context) error {
	if _, away := n.registry.Degraded(); away { // nothing is to be waited for: the registry does it when etcd is back
		over, cancel := context.WithCancel(ctx)
		cancel()
		ctx = over
	}
	if err := n.registry.RevokeFormer(ctx); err != nil {
		n.log.Warn().Err(err).Msg("the leases of this node's former life run out by themselves")
	}
	return nil
}

// durability makes the streams and the barrier.
func (n *life) durability(ctx context.Context) error {
	c := n.opts.Config
	strict := c.Durability == configs.Strict
	if n.store.own != nil { // before the first write: the system tells of a failed one only those who had the file system open
		b, err := n.ownBarrier(strict)
		if err != nil {
			return err
		}
		n.barrier, n.recent = b, journal.NewRecent()
		n.onStop("barrier", func(context.Context) error { return b.Close() })
	} else {
		nc, err := n.store.connect(embedded.Front(subjects.Journal))
		if err != nil {
			return err
		}
		n.link, n.server = nc, nc.ConnectedServerId() // before anything is acknowledged in this life
		b, err := newRemoteBarrier(rpc.NewCaller(lean.Over(nc), c.Site), strict, n.server)
		if err != nil {
			nc.Close()
			return err
		}
		n.onStop("barrier", func(context.Context) error { b.close(); nc.Close(); return nil })
		n.barrier = b
	}
	made := n.phases.begin("streams")
	if err := n.streams(ctx); err != nil {
		return err
	}
	made()
	var err error
	if n.opts.TuneRuntime {
		n.tuneMemory()
		if n.store.own != nil && n.barrier.Strict() {
			back := embedded.SpareProcessors()
			n.onStop("processors", func(context.Context) error { back(); return nil })
		}
	}
	n.hashKey, err = hkdf.Key(sha256.New, n.store.master[:], nil, "waybill request hashes "+string(c.Site), 32)
	return err
}

// lastKnown is what an etcd that begins anew is given.
func (n *Node) lastKnown() ([]embedded.Pair, error) {
	known, err := registry.LastKnown(n.opts.Config.Site, n.settingsFile())
	pairs := make([]embedded.Pair, len(known))
	for i, p := range known {
		pairs[i] = embedded.Pair(p)
	}
	return pairs, err
}

// ownBarrier is the barrier of the store that this process holds.
func (n *life) ownBarrier(strict bool) (*embedded.Barrier, error) {
	if strict && n.opts.Sync != nil {
		return embedded.NewBarrierWith(n.opts.Sync), nil
	}
	return embedded.NewBarrier(filepath.Join(n.opts.Config.Data, "nats"), strict, n.opts.SyncFault)
}

// readModels opens the view and begins to follow the journal.
func (n *life) readModels(ctx context.Context) error {
	opened := n.phases.begin("view")
	v, err := view.Open(ctx, filepath.Join(n.opts.Config.Data, "view.db"), n.log)
	if err != nil {
		return err
	}
	opened()
	n.onStop("view", func(context.Context) error { return v.Close() })
	m, err := n.follow(v)
	if err != nil {
		return err
	}
	n.models = m
	n.onStop("projection", func(context.Context) error { m.stop(); return nil })
	n.lists = handlers.NewLists(v, n.barrier.Durable, m.hurry)
	return nil
}

func (n *Node) listenHTTP(context.Context) error {
	if !embedded.Loopback(n.opts.Config.HTTPAddr) {
		return fault.New(fault.InvalidArgument, "HTTP on %s would be open to anybody, without credentials and TLS: listen on 127.0.0.1", n.opts.Config.HTTPAddr)
	}
	s, err := gateway.Start(n.opts.Config.HTTPAddr, n.missing, n.notes, n.log)
	if err != nil {
		return err
	}
	n.http = s
	n.endpoints.HTTP = "http://" + s.Addr()
	n.onStop("http", s.Stop)
	return nil
}

// becomeReady waits until nothing is missing, then tells the world where the node is.
func (n *Node) becomeReady(ctx context.Context) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	began := time.Now()
	said := began
	for {
		missing := n.missing()
		n.phases.awaited(missing, began)
		if len(missing) == 0 {
			break
		}
		if time.Since(said) > 5*time.Second {
			n.log.Warn().Strs("missing", missing).Msg("not ready yet")
			said = time.Now()
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fault.Wrap(ctx.Err(), fault.Unavailable, "the node did not become ready: %v", missing)
		}
	}
	n.endpoints.PID = os.Getpid()
	text, err := json.Marshal(n.endpoints)
	if err != nil {
		return err
	}
	file := n.endpointsFile()
	if err := errors.Join(os.WriteFile(file+".new", text, 0o600), os.Rename(file+".new", file)); err != nil {
		return fault.Wrap(err, fault.Unavailable, "%s can't be written", file)
	}
	n.onStop("endpoints", func(context.Context) error {
		if l := n.healing.life.Load(); l != nil {
			l.registry.Withdraw() // before the services: what still finishes its work takes no more
		}
		return n.forgetEndpoints()
	})
	n.log.Info().Fields(n.phases.fields()).Msg("how long the start took, in ms")
	return nil
}

// missing is what the node lacks before it takes orders.
func (n *Node) missing() []string {
	l := n.healing.life.Load() // first: a life that ends in between is missed by the next line
	out := n.healing.missing()
	if l != nil {
		out = append(out, l.missing()...)
	}
	return out
}
