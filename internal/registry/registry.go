// Package registry is a node's side of etcd: live settings with a watch, the health of its services under a lease, and
// elections. etcd may be away at any time, also at the start: settings then keep their last known values (kept on disk),
// Degraded says so, and everything is caught up when etcd is back.
//
// Guarantees: the changes of one setting are seen in etcd's order, and a bad value is never seen; a health key lives no
// longer than its lease does after this process is gone; a function that leads is told when its leadership is lost.
package registry

import (
	"context"
	"errors"
	"path/filepath"
	"sync"
	"time"

	"github.com/rs/zerolog"
	clientv3 "go.etcd.io/etcd/client/v3"

	"waybill/configs"
	"waybill/internal/fault"
	"waybill/internal/id"
	"waybill/subjects"
)

const (
	defaultTTL   = 5 * time.Second
	callWait     = 2 * time.Second        // the most that one question to etcd may take
	retryPause   = 250 * time.Millisecond // between two tries at something that etcd did not do
	byeWait      = 2 * time.Second        // the most that taking back a lease may hold up a stop
	beatInterval = time.Second
)

// Options are what a Registry is made of.
type Options struct {
	Client    *clientv3.Client // used, not owned: the caller closes it after the registry
	Site      subjects.Site
	Instance  string        // names this process among those of the site; an id of at most 64 characters
	StateFile string        // the last known settings; leases.json stands beside it. Empty: nothing is kept on disk
	Live      *configs.Live // where the settings take effect
	Log       zerolog.Logger
	Now       func() time.Time // nil: time.Now

	// TTL of the leases, in whole seconds; 0 means 5 s, which is what the contract promises.
	TTL time.Duration
}

// Registry is the connection of one instance to its site's part of etcd. It is safe for concurrent use.
type Registry struct {
	client   *clientv3.Client
	site     subjects.Site
	instance string
	live     *configs.Live
	log      zerolog.Logger
	now      func() time.Time
	ttl      time.Duration

	settings *settingStore
	link     link
	leases   *leaseBook
	health   *healthBoard
	resync   chan struct{} // holds one wish to read the settings from scratch

	stop      context.CancelFunc // ends the loops
	loops     sync.WaitGroup
	closing   chan struct{} // closed by Close; ends campaigns
	closeOnce sync.Once
	closeErr  error

	campaignMu sync.Mutex // guards closed and campaigns.Add against Close
	closed     bool
	campaigns  sync.WaitGroup
}

// Open loads the last known settings from disk, then those in etcd, and begins to watch. It waits for etcd for 2 s at
// most; that etcd is away is no error. ctx bounds the opening alone: the registry lives until Close.
// Error: invalid_argument for options that make no sense.
func Open(ctx context.Context, o Options) (*Registry, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.TTL == 0 {
		o.TTL = defaultTTL
	}
	r := &Registry{
		client: o.Client, site: o.Site, instance: o.Instance, live: o.Live, log: o.Log, now: o.Now, ttl: o.TTL,
		settings: newSettingStore(o.Site, o.Live, o.StateFile, o.Log),
		leases:   openLeaseBook(leaseFile(o.StateFile), o.Log),
		health:   newHealthBoard(),
		resync:   make(chan struct{}, 1),
		closing:  make(chan struct{}),
	}
	r.link = link{log: o.Log, now: o.Now}
	r.settings.restore()
	revision, err := r.load(ctx)
	if err != nil {
		r.link.away(err)
	}
	run, stop := context.WithCancel(context.WithoutCancel(ctx))
	r.stop = stop
	r.loops.Go(func() { r.watch(run, revision) })
	r.loops.Go(func() { r.beat(run) })
	return r, nil
}

func (o Options) check() error {
	switch {
	case o.Client == nil || o.Live == nil:
		return fault.New(fault.InvalidArgument, "a registry needs a client of etcd and a place for the live settings")
	case o.TTL != 0 && (o.TTL < time.Second || o.TTL%time.Second != 0):
		return fault.New(fault.InvalidArgument, "the lease time %s is not a whole number of seconds", o.TTL)
	}
	if err := o.Site.Check(); err != nil {
		return err
	}
	return id.CheckDerived("instance", o.Instance)
}

func leaseFile(stateFile string) string {
	if stateFile == "" {
		return ""
	}
	return filepath.Join(filepath.Dir(stateFile), "leases.json")
}

// Close ends what the registry does and takes its leases back, so that its keys vanish from etcd at once. It waits, no
// longer than ctx, for campaigns to end: those who lead are told first. Calling it again returns the same.
// Error: unavailable when etcd could not be told (the keys vanish when their lease runs out), deadline_exceeded when
// somebody still leads.
func (r *Registry) Close(ctx context.Context) error {
	r.closeOnce.Do(func() {
		r.campaignMu.Lock()
		r.closed = true
		r.campaignMu.Unlock()
		close(r.closing)
		r.stop()
		r.loops.Wait() // they hold no wait that ignores the stop
		err := r.health.withdraw(ctx)
		ended := make(chan struct{})
		go func() { // ends with the last campaign, whose own wait for etcd is bounded
			r.campaigns.Wait()
			close(ended)
		}()
		select {
		case <-ended:
		case <-ctx.Done():
			err = errors.Join(err, fault.Wrap(ctx.Err(), fault.DeadlineExceeded, "a function that leads did not return in time"))
		}
		r.closeErr = err
	})
	return r.closeErr
}

// IgnoredValues counts the bad values of settings that were found in etcd since the start and not taken; it never falls.
func (r *Registry) IgnoredValues() uint64 { return r.settings.ignored.Load() }

// Degraded says, for people, what does not work because etcd is away; yes is false when all is well.
func (r *Registry) Degraded() (reason string, yes bool) { return r.link.degraded() }
