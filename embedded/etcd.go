package embedded

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"sync"
	"time"

	"github.com/rs/zerolog"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3client"
	"go.etcd.io/etcd/server/v3/storage/wal"

	"waybill/internal/fault"
)

// EtcdConfig says how etcd is to run.
type EtcdConfig struct {
	DataDir string // DATA/etcd; made if need be
	Addr    string // host:port of the clients' listener, on loopback; port 0 is any free one
	// Seed gives one that has to begin with nothing what it should hold. May be nil.
	Seed func(context.Context, *clientv3.Client) error
	// Quota is the most that its database may have, in bytes; 0 is what a site needs, many times over. For tests.
	Quota int64
	Log   zerolog.Logger

	hook func(method string) // called within each request over the network, for tests
}

// Etcd is a running etcd of one member. Its methods are safe for concurrent use.
type Etcd struct {
	etcd   *embed.Etcd
	client *clientv3.Client
	log    *etcdLog

	// Fresh says that its data was damaged and is set aside: it began with nothing.
	Fresh bool
	space struct {
		mu  sync.Mutex
		err error // why room could not be made the last time
	}
	stop    chan struct{} // holds the right to stop
	stopped chan struct{}
}

const (
	closeExtra   = 300 * time.Millisecond // beyond what etcd gives its clients to end their requests
	walSegment   = 4 << 20                // of 64 MB as etcd has it: two are preallocated
	etcdQuota    = 256 << 20              // settings, health and elections take a few hundred kilobytes
	etcdSnapshot = 5_000                  // entries between snapshots, so that a start has little to read
)

// wal.SegmentSizeBytes is a variable of its package; setting it once, before the first use, is the only way to tune it.
var tuneWAL = sync.OnceFunc(func() { wal.SegmentSizeBytes = walSegment })

// StartEtcd starts etcd and returns when it can be read and written. Its error is one line that says what to do: a port that
// is taken, a directory that can't be written, data of another program's version; then nothing is left running. Data that is
// damaged is set aside. It needs no port for peers: it has none. A client's way in is the loopback interface alone, because etcd
// knows no users here.
func StartEtcd(ctx context.Context, c EtcdConfig) (*Etcd, error) {
	if err := CheckListener(c.Addr, false, false); err != nil {
		return nil, err
	}
	host, _, err := splitAddr(c.Addr)
	if err != nil {
		return nil, err
	}
	if err := privateDir(c.DataDir); err != nil { // etcd warns about any other mode
		return nil, err
	}
	if err := writable(c.DataDir); err != nil {
		return nil, err
	}
	tuneWAL()
	fresh, err := setAsideDamaged(c.DataDir, c.Log)
	if err != nil {
		return nil, err
	}
	log := newEtcdLog(c.Log)
	e := &Etcd{log: log, Fresh: fresh, stop: make(chan struct{}, 1), stopped: make(chan struct{})}
	if err := e.start(ctx, c, host); err != nil {
		return nil, err
	}
	if fresh && c.Seed != nil {
		if err := c.Seed(ctx, e.client); err != nil {
			e.giveUp()
			return nil, err
		}
	}
	return e, nil
}

type startedEtcd struct {
	etcd *embed.Etcd
	err  error
}

func (e *Etcd) start(ctx context.Context, c EtcdConfig, host string) error {
	started := make(chan startedEtcd, 1)
	go func() { // a fatal complaint ends this goroutine, and then the log has the reason
		r := startedEtcd{err: errEtcdFatal}
		defer func() {
			if p := recover(); p != nil {
				r.err = fmt.Errorf("etcd panicked: %v", p)
			}
			started <- r
		}()
		r.etcd, r.err = embed.StartEtcd(etcdConfig(c, host, e.log))
	}()
	select {
	case r := <-started:
		if r.err != nil {
			return e.startError(c, r.err)
		}
		e.etcd = r.etcd
	case <-e.log.fatal:
		go discard(started)
		return e.startError(c, errEtcdFatal)
	case <-ctx.Done():
		go discard(started)
		return fault.Wrap(ctx.Err(), fault.DeadlineExceeded, "etcd was not ready in time (%s)", e.log.why())
	}
	var err error
	select {
	case <-e.etcd.Server.ReadyNotify():
		e.client = v3client.New(e.etcd.Server)
		return nil
	case err = <-e.etcd.Err():
		err = e.startError(c, err)
	case <-e.etcd.Server.StopNotify():
		err = e.startError(c, errEtcdFatal)
	case <-e.log.fatal:
		err = e.startError(c, errEtcdFatal)
	case <-ctx.Done():
		err = fault.Wrap(ctx.Err(), fault.DeadlineExceeded, "etcd was not ready in time (%s)", e.log.why())
	}
	e.giveUp()
	return err
}

// giveUp stops what has not begun its work. What met something fatal may never end: it is not waited for longer than a clean stop takes.
func (e *Etcd) giveUp() {
	go e.shutdown()
	select {
	case <-e.stopped:
	case <-time.After(stopTimeout):
	}
}

// discard closes an etcd that comes up after its start was given up: StartEtcd can't be interrupted. Where one of its own
// goroutines met something fatal it never returns, and this one waits with it until the process ends.
func discard(started <-chan startedEtcd) {
	if r := <-started; r.etcd != nil {
		r.etcd.Close()
	}
}

var errEtcdFatal = errors.New("etcd stopped by itself")

func (e *Etcd) startError(c EtcdConfig, err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		return portError(err, "etcd", c.Addr, "--etcd-addr")
	}
	return fault.Wrap(err, fault.FailedPrecondition,
		"etcd can't open its data in %s (%s): check its owner and free space, use the program that wrote it, or restore a backup", c.DataDir, e.log.why())
}

func etcdConfig(c EtcdConfig, host string, log *etcdLog) *embed.Config {
	cfg := embed.NewConfig()
	cfg.Name = "waybill"
	cfg.Dir = c.DataDir
	cfg.ZapLoggerBuilder = embed.NewZapLoggerBuilder(log.zap())

	// Alone, it elects itself, within two elections' time: short ones make for a quick start. Each tick wakes the process: longer ones
	// make for a quiet one. docs/benchmarks.md has the figures.
	cfg.TickMs = 30
	cfg.ElectionMs = 150

	cfg.ListenClientUrls = []url.URL{{Scheme: "http", Host: c.Addr}}
	cfg.AdvertiseClientUrls = cfg.ListenClientUrls
	// A member has to have an address for peers, but nobody listens on it.
	cfg.ListenPeerUrls = nil
	cfg.AdvertisePeerUrls = []url.URL{{Scheme: "http", Host: "127.0.0.1:2380"}}
	cfg.InitialCluster = cfg.InitialClusterFromName(cfg.Name)

	// No web page may talk to it, whatever name its author lets resolve to this machine.
	cfg.CORS = map[string]struct{}{"http://waybill.invalid": {}}
	cfg.HostWhitelist = map[string]struct{}{"localhost": {}, "127.0.0.1": {}, "::1": {}, host: {}}
	cfg.EnableGRPCGateway = false
	cfg.GRPCAdditionalServerOptions = log.guards(c.hook)

	cfg.SnapshotCount = etcdSnapshot
	cfg.SnapshotCatchUpEntries = etcdSnapshot
	cfg.MaxSnapFiles, cfg.MaxWalFiles = 2, 2
	cfg.QuotaBackendBytes = cmp.Or(c.Quota, etcdQuota)
	cfg.AutoCompactionMode = embed.CompactorModeRevision
	cfg.AutoCompactionRetention = "10000" // of which the settings' history is a small part
	cfg.MaxRequestBytes = 1 << 20
	cfg.WarningApplyDuration = time.Second
	cfg.WarningUnaryRequestDuration = time.Second
	return cfg
}

// Client talks to etcd within the process, without a socket. It belongs to the Etcd and ends with it.
func (e *Etcd) Client() *clientv3.Client { return e.client }

// Addr is the clients' host:port, with the port that was chosen where 0 was asked for.
func (e *Etcd) Addr() string { return e.etcd.Clients[0].Addr().String() }

// Healthy returns why etcd can't do its work, or nil. It reads state only.
func (e *Etcd) Healthy() error {
	if err := e.over(); err != nil {
		return err
	}
	return e.spaceError()
}

// over returns why etcd is at its end, or nil.
func (e *Etcd) over() error {
	select {
	case <-e.log.fatal:
		return fault.New(fault.Unavailable, "etcd gave up (%s): it is restarted once the disk is well", e.log.why())
	case <-e.etcd.Server.StopNotify():
		return fault.New(fault.Unavailable, "etcd is stopped")
	default:
		return nil
	}
}

// Stop ends the client, the listener and etcd, and returns when all of it has ended. Error: deadline_exceeded where ctx ends
// first; etcd goes on stopping, and Stop may be called again to wait for it.
func (e *Etcd) Stop(ctx context.Context) error {
	select {
	case e.stop <- struct{}{}: // the first one stops, for all
		go e.shutdown()
	default:
	}
	select {
	case <-e.stopped:
		return nil
	case <-ctx.Done():
		return fault.Wrap(ctx.Err(), fault.DeadlineExceeded, "etcd has not stopped in time")
	}
}

func (e *Etcd) shutdown() {
	e.log.stopping.Store(true)
	if e.client != nil {
		e.client.Close()
	}
	closed := make(chan struct{})
	go func() { // ends at the latest when the last client's connection does
		e.etcd.Close()
		close(closed)
	}()
	select {
	case <-closed:
	case <-time.After(e.etcd.Server.Cfg.ReqTimeout() + closeExtra):
		// A connection on which nothing was ever sent keeps Close waiting. The requests have ended by now, so that the rest may.
		for _, l := range e.etcd.Clients {
			l.Close()
		}
		e.etcd.Server.Stop()
	}
	close(e.stopped)
}
