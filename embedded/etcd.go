package embedded

import (
	"cmp"
	"context"
	"errors"
	"net"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/gofrs/flock"
	"github.com/rs/zerolog"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/storage/wal"

	"waybill/internal/fault"
)

// Etcd runs in a process of its own, which is this program started again: a panic in one of etcd's goroutines, and a page of its
// database that can't be read, end the process that they are in, and nothing in that process can keep them from it. What is in
// this file runs there; etcdprocess.go is its parent's side.

const (
	closeWait    = time.Second // what etcd's clients get to end their requests
	walSegment   = 4 << 20     // of 64 MB as etcd has it: two are preallocated
	etcdQuota    = 256 << 20   // settings, health and elections take a few hundred kilobytes
	etcdSnapshot = 5_000       // entries between snapshots, so that a start has little to read
	formerLook   = 10 * time.Millisecond

	// Of etcd's own heap, which is small: what lives in it is some 10 MB.
	etcdGC     = 40
	etcdMemory = 64 << 20
)

// How a process knows that it is to be etcd: by its name and its environment at once, of which no user's input can set both.
const (
	etcdName = "waybill: etcd" // argv[0], for ps
	etcdMark = "WAYBILL_IS_ETCD"
)

// asked says that this program asks at its start whether it is to be etcd. One that does not would begin all over again as its own child.
var asked atomic.Bool

// planted is called once etcd is ready, with what the order says. Only tests set it.
var planted func(what string, e *embed.Etcd)

// etcdOrder is what the process is told: the first line of its standard input.
type etcdOrder struct {
	DataDir string `json:"data_dir"`
	Addr    string `json:"addr"`
	Quota   int64  `json:"quota"`
	Seed    []Pair `json:"seed,omitempty"`    // what one that has to begin with nothing is to hold
	NoSeed  string `json:"no_seed,omitempty"` // why that is not known
	Plant   string `json:"plant,omitempty"`
}

// RunAsEtcd is to be called first in main, also in a test's that starts nodes: where this process was started by KeepEtcd to be
// etcd it runs etcd and never returns. In any other process it returns at once.
func RunAsEtcd() {
	if asked.Store(true); os.Args[0] != etcdName || os.Getenv(etcdMark) == "" {
		return
	}
	signal.Ignore(os.Interrupt, syscall.SIGTERM, syscall.SIGHUP) // they reach the whole group; the parent says when this one ends
	nameProcess()
	debug.SetGCPercent(etcdGC)
	debug.SetMemoryLimit(etcdMemory)
	out := zerolog.New(os.Stdout) // one write for each line, so that lines of several goroutines stay whole
	order, stop, err := takeOrders(os.Stdin)
	if err == nil {
		err = serveEtcd(order, out, stop)
	}
	if err != nil {
		f := fault.From(err)
		out.Log().Str(wordKey, wordFailed).Str("code", string(f.Code)).Str("reason", f.Message).Bool("lasting", lasting(err)).Send()
		os.Exit(1)
	}
	os.Exit(0)
}

// serveEtcd runs etcd until stop is closed. Its error says why etcd can't be started. What etcd itself calls fatal ends the process
// from within, as a panic does.
func serveEtcd(o etcdOrder, out zerolog.Logger, stop <-chan struct{}) error {
	wal.SegmentSizeBytes = walSegment // a variable of its package: there is no other way to tune it
	host, _, err := splitAddr(o.Addr)
	if err != nil {
		return err
	}
	if err := awaitFormer(o.DataDir, out); err != nil {
		return err
	}
	if err := setAsideDamaged(o.DataDir, out); err != nil {
		return err
	}
	if err := seedEtcd(o, host, out, stop); err != nil {
		return err
	}
	log := newEtcdLog(out)
	e, err := openEtcd(o, etcdConfig(o, host, log), log, stop)
	if err != nil || e == nil {
		return err
	}
	out.Log().Str(wordKey, wordReady).Str("addr", e.Clients[0].Addr().String()).Send()
	if planted != nil {
		planted(o.Plant, e)
	}
	select {
	case <-stop:
	case err = <-e.Err():
		return fault.Wrap(err, fault.Unavailable, "etcd stopped by itself (%v)", err)
	case <-e.Server.StopNotify():
		return fault.New(fault.Unavailable, "etcd stopped by itself (%s)", log.why())
	}
	log.stopping.Store(true)
	closed := make(chan struct{})
	go func() { // ends at the latest when the last client's connection does, which the end of the process brings
		e.Close()
		close(closed)
	}()
	select {
	case <-closed:
	case <-time.After(closeWait):
		for _, l := range e.Clients {
			l.Close()
		}
		e.Server.Stop()
	}
	return nil
}

// openEtcd starts etcd and returns it once it is ready; nil where stop is closed first.
func openEtcd(o etcdOrder, c *embed.Config, log *etcdLog, stop <-chan struct{}) (*embed.Etcd, error) {
	e, err := embed.StartEtcd(c)
	if err != nil {
		return nil, startError(o, err, log.why())
	}
	select {
	case <-e.Server.ReadyNotify():
		return e, nil
	case err := <-e.Err():
		return nil, startError(o, err, log.why())
	case <-e.Server.StopNotify():
		return nil, startError(o, errEtcdStopped, log.why())
	case <-stop:
		return nil, nil
	}
}

// awaitFormer waits until no other process has etcd's database open: a start may find one that is still dying with its parent. Its
// own parent bounds it.
func awaitFormer(dir string, out zerolog.Logger) error {
	file := databaseFile(dir)
	if _, err := os.Stat(file); err != nil {
		return nil // checkEtcd and etcd itself say more
	}
	f := flock.New(file, flock.SetFlag(os.O_RDWR))
	if free, err := f.TryLock(); err == nil && !free {
		out.Debug().Str(wordKey, wordWaits).Str("reason", "another process has its database open").Msg("etcd waits for a former process to end")
		_, _ = f.TryLockContext(context.Background(), formerLook)
		out.Log().Str(wordKey, wordWaits).Send()
	}
	return f.Unlock()
}

func databaseFile(dir string) string { return filepath.Join(dir, "member", "snap", "db") }

var errEtcdStopped = errors.New("etcd stopped by itself")

func startError(o etcdOrder, err error, why string) error {
	if passing(err) {
		return fault.Wrap(err, fault.Unavailable, "etcd can't be started now (%v): check the disk, and the limits on memory and open files", err)
	}
	var op *net.OpError
	if errors.As(err, &op) {
		return portError(err, "etcd", o.Addr, "--etcd-addr")
	}
	return fault.Wrap(err, fault.FailedPrecondition,
		"etcd can't open its data in %s (%s): check its owner and free space, use the program that wrote it, or restore a backup", o.DataDir, why)
}

func etcdConfig(o etcdOrder, host string, log *etcdLog) *embed.Config {
	cfg := embed.NewConfig()
	cfg.Name = "waybill"
	cfg.Dir = o.DataDir
	cfg.ZapLoggerBuilder = embed.NewZapLoggerBuilder(log.zap())

	// Alone, it elects itself, within two elections' time: short ones make for a quick start. Each tick wakes the process: longer ones
	// make for a quiet one. docs/benchmarks.md has the figures.
	cfg.TickMs = 50
	cfg.ElectionMs = 250
	cfg.BackendBatchInterval = 500 * time.Millisecond // what was acknowledged is in the log

	cfg.ListenClientUrls = []url.URL{{Scheme: "http", Host: o.Addr}}
	cfg.AdvertiseClientUrls = cfg.ListenClientUrls
	// A member has to have an address for peers, but nobody listens on it.
	cfg.ListenPeerUrls = nil
	cfg.AdvertisePeerUrls = []url.URL{{Scheme: "http", Host: "127.0.0.1:2380"}}
	cfg.InitialCluster = cfg.InitialClusterFromName(cfg.Name)

	// No web page may talk to it, whatever name its author lets resolve to this machine.
	cfg.CORS = map[string]struct{}{"http://waybill.invalid": {}}
	cfg.HostWhitelist = map[string]struct{}{"localhost": {}, "127.0.0.1": {}, "::1": {}, host: {}}
	cfg.EnableGRPCGateway = false

	cfg.SnapshotCount = etcdSnapshot
	cfg.SnapshotCatchUpEntries = etcdSnapshot
	cfg.MaxSnapFiles, cfg.MaxWalFiles = 2, 2
	cfg.QuotaBackendBytes = cmp.Or(o.Quota, etcdQuota)
	cfg.AutoCompactionMode = embed.CompactorModeRevision
	cfg.AutoCompactionRetention = "10000" // of which the settings' history is a small part
	cfg.MaxRequestBytes = 1 << 20
	cfg.WarningApplyDuration = time.Second
	cfg.WarningUnaryRequestDuration = time.Second
	return cfg
}
