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
	// reply. Both are for tests.
	Clock func() time.Time
	Hook  func(point string)
	// Channel is how customers are reached; nil is the log.
	Channel handlers.Channel
	// TuneMemory has the node set the collector of its process, for a process that runs nothing else.
	TuneMemory bool
}

// Endpoints is where a node listens: the content of DATA/endpoints.json.
type Endpoints struct {
	NATS string `json:"nats"`
	HTTP string `json:"http"`
	Etcd string `json:"etcd"`
	PID  int    `json:"pid"`
}

// Node is a running node. Its methods are safe for concurrent use.
type Node struct {
	opts     Options
	instance string
	log      zerolog.Logger
	levels   *levels

	store    *store
	etcd     *embedded.Etcd // nil where etcd runs elsewhere
	live     *configs.Live
	registry *registry.Registry
	barrier  barrier
	hashKey  []byte
	models   *models
	lists    *handlers.Lists
	space    *space
	services *services
	http     *gateway.Server

	phases    *phases
	endpoints Endpoints
	closers   []closer // in the order of the start
	stopOnce  sync.Once
	stopErr   error
}

// closer undoes one step of the start.
type closer struct {
	name  string
	close func(ctx context.Context) error
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
	for _, step := range []func(context.Context) error{
		n.directory,  // first: nobody else may touch what follows
		n.servers,    // NATS and etcd, at the same time: neither needs the other
		n.settings,   // before the services: they read the settings
		n.durability, // before anything is written
		n.readModels, // before the services: they list from them
		n.serve,      // who is called before who calls
		n.listenHTTP, // last: it says whether all the rest stands
	} {
		if err := step(ctx); err != nil {
			stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
			defer cancel()
			return nil, errors.Join(err, n.unwind(stopping))
		}
	}
	if err := n.becomeReady(ctx); err != nil {
		stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		return nil, errors.Join(err, n.unwind(stopping))
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

func (n *Node) onStop(name string, f func(context.Context) error) {
	n.closers = append(n.closers, closer{name, f})
}

func (n *Node) unwind(ctx context.Context) error {
	var errs []error
	for i := len(n.closers) - 1; i >= 0; i-- {
		c, start := n.closers[i], time.Now()
		if err := c.close(ctx); err != nil {
			n.log.Warn().Err(err).Str("part", c.name).Msg("a part did not stop cleanly")
			errs = append(errs, err)
		}
		n.log.Debug().Str("part", c.name).Dur("took", time.Since(start)).Msg("stopped")
	}
	n.closers = nil
	return errors.Join(errs...)
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

// servers starts NATS and etcd, or connects to those that run elsewhere.
func (n *Node) servers(ctx context.Context) error {
	c, err := join(n.opts.Config)
	if err != nil {
		return err
	}
	n.opts.Config = c
	type started struct {
		etcd   *embedded.Etcd
		client *clientv3.Client
		err    error
	}
	etcd := make(chan started, 1)
	go func() {
		defer n.phases.begin("etcd")()
		var s started
		if len(c.EtcdEndpoints) > 0 {
			s.client, s.err = dialEtcd(c.EtcdEndpoints)
		} else {
			s.etcd, s.err = embedded.StartEtcd(ctx, embedded.EtcdConfig{DataDir: filepath.Join(c.Data, "etcd"), Addr: c.EtcdAddr, Log: n.log})
		}
		etcd <- s
	}()
	opened := n.phases.begin("nats")
	store, err := openStore(ctx, c, n.log)
	opened()
	if err == nil {
		n.store = store
		n.onStop("nats", func(ctx context.Context) error {
			store.forget()
			if store.own != nil {
				return store.own.Stop(ctx)
			}
			return nil
		})
		n.endpoints.NATS = store.url
	}
	e := <-etcd
	switch {
	case e.etcd != nil:
		n.etcd = e.etcd
		n.onStop("etcd", e.etcd.Stop)
		n.endpoints.Etcd = "http://" + e.etcd.Addr()
	case e.client != nil:
		n.onStop("etcd client", func(context.Context) error { return e.client.Close() })
		n.endpoints.Etcd = c.EtcdEndpoints[0]
	}
	if err := errors.Join(err, e.err); err != nil {
		return firstLine(err)
	}
	client := e.client
	if n.etcd != nil {
		client = n.etcd.Client()
	}
	return n.openRegistry(ctx, client)
}

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

func (n *Node) openRegistry(ctx context.Context, client *clientv3.Client) error {
	r, err := registry.Open(ctx, registry.Options{
		Client: client, Site: n.opts.Config.Site, Instance: n.instance, StateFile: filepath.Join(n.opts.Config.Data, "settings.json"),
		Live: n.live, Log: n.log, SoleProcess: n.store.own != nil, // the process that holds the store leads by right while etcd is away
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

// settings revokes what a former life of this directory still claims, and applies the log levels.
func (n *Node) settings(ctx context.Context) error {
	if err := n.registry.RevokeFormer(ctx); err != nil {
		n.log.Warn().Err(err).Msg("the leases of this node's former life run out by themselves")
	}
	n.onStop("log levels", func(context.Context) error { n.levels.stop(); return nil })
	return nil
}

// durability makes the streams and the barrier.
func (n *Node) durability(ctx context.Context) error {
	c := n.opts.Config
	strict := c.Durability == configs.Strict
	if n.store.own != nil { // before the first write: the system tells of a failed one only those who had the file system open
		b, err := embedded.NewBarrier(filepath.Join(c.Data, "nats"), strict)
		if err != nil {
			return err
		}
		n.barrier = b
		n.onStop("barrier", func(context.Context) error { return b.Close() })
	} else {
		nc, err := n.store.connect(embedded.Front(subjects.Journal))
		if err != nil {
			return err
		}
		b, err := newRemoteBarrier(rpc.NewCaller(nc, c.Site), strict)
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
	n.space = newSpace(c.Data, n.live, n.log)
	n.onStop("space", func(context.Context) error { n.space.stop(); return nil })
	var err error
	if n.opts.TuneMemory {
		n.tuneMemory()
	}
	n.hashKey, err = hkdf.Key(sha256.New, n.store.master[:], nil, "waybill request hashes "+string(c.Site), 32)
	return err
}

// readModels opens the view and begins to follow the journal.
func (n *Node) readModels(ctx context.Context) error {
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
	s, err := gateway.Start(n.opts.Config.HTTPAddr, n.missing, n.log)
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
	n.onStop("endpoints", func(context.Context) error { return n.forgetEndpoints() })
	n.log.Info().Fields(n.phases.fields()).Msg("how long the start took, in ms")
	return nil
}

// missing is what the node lacks before it takes orders.
func (n *Node) missing() []string {
	var out []string
	if n.store.own != nil {
		if err := n.store.own.Healthy(); err != nil {
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
	if _, degraded := n.registry.Degraded(); !degraded && !n.registry.HealthWritten() {
		out = append(out, "health: not yet written to etcd")
	}
	return out
}
