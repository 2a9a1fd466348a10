package embedded

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"waybill/internal/fault"
)

// KeptEtcd is an etcd that is started again, in the same process and on the same address, when it gives up: on a full disk, a
// failed write, or whatever else it calls fatal. Talk to it over its address: a client within the process (Etcd.Client) could
// wait for ever for a part of it that is no more. Its methods are safe for concurrent use.
type KeptEtcd struct {
	config EtcdConfig // with the address that was chosen at the first start
	disk   *Disk
	log    zerolog.Logger
	cancel context.CancelFunc
	done   chan struct{}

	mu       sync.Mutex
	now      *Etcd  // nil while none runs
	trouble  string // why none runs
	restarts Restarts
}

// Restarts counts the restarts of a part that heals itself, and keeps why the last one was.
type Restarts struct {
	Count  int
	Reason string
}

// String is "restarted 2 times, last because …", or nothing.
func (r Restarts) String() string {
	switch r.Count {
	case 0:
		return ""
	case 1:
		return "restarted once, because " + r.Reason
	}
	return fmt.Sprintf("restarted %d times, last because %s", r.Count, r.Reason)
}

const (
	// etcdEnd is how long an etcd that gave up may take to let go of its connections; it gives its clients 5 s.
	etcdEnd = 8 * time.Second

	// Pauses between two tries to start a part that heals itself.
	FirstPause = 500 * time.Millisecond
	LastPause  = 5 * time.Second
)

// KeepEtcd starts etcd as StartEtcd does, with its errors, and keeps it running until Stop. disk says when a restart is worth
// a try.
//
// An etcd that gave up has ended some of its goroutines where they stood, and others wait for them for ever, with its files
// locked. So the next one gets a copy of the directory: DATA/etcd-2 after DATA/etcd, and so on. A start of the program takes
// the last of them and names it DATA/etcd again.
func KeepEtcd(ctx context.Context, c EtcdConfig, disk *Disk) (*KeptEtcd, error) {
	if err := adoptGeneration(c.DataDir); err != nil {
		return nil, err
	}
	e, err := StartEtcd(ctx, c)
	if err != nil {
		return nil, err
	}
	c.Addr = e.Addr()
	life, cancel := context.WithCancel(context.Background()) // ended by Stop
	k := &KeptEtcd{config: c, disk: disk, log: c.Log, cancel: cancel, done: make(chan struct{}), now: e}
	go k.keep(life, e)
	return k, nil
}

// Addr is the clients' host:port. It stays the same.
func (k *KeptEtcd) Addr() string { return k.config.Addr }

// Healthy returns why etcd can't do its work, or nil. It reads state only.
func (k *KeptEtcd) Healthy() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.now == nil {
		return fault.New(fault.Unavailable, "etcd is being restarted (%s)", k.trouble)
	}
	return k.now.Healthy()
}

// Restarts says how often etcd was started again.
func (k *KeptEtcd) Restarts() Restarts {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.restarts
}

// Stop ends the keeping and etcd. One that gave up is not waited for. Error: deadline_exceeded where ctx ends first; the stop
// goes on then.
func (k *KeptEtcd) Stop(ctx context.Context) error {
	k.cancel()
	ended := make(chan error, 1)
	go func() { // a try to start etcd may hang with the disk
		<-k.done
		e := k.current()
		if e == nil || e.over() != nil {
			ended <- nil
			return
		}
		ended <- e.Stop(ctx)
	}()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
		return fault.Wrap(ctx.Err(), fault.DeadlineExceeded, "etcd has not stopped in time")
	}
}

// keep starts etcd again each time it gives up, until ctx ends.
func (k *KeptEtcd) keep(ctx context.Context, e *Etcd) {
	defer close(k.done)
	for e != nil {
		tended := make(chan struct{})
		go func(e *Etcd) { // beside the keeping: a call that meets something fatal ends its goroutine, or waits in it for ever
			defer close(tended)
			var err error
			defer e.log.caught("the making of room", &err)
			e.tendSpace(ctx)
		}(e)
		select {
		case <-e.log.fatal:
		case <-e.etcd.Server.StopNotify():
		case <-ctx.Done():
			select { // a database that is being written anew is not to be closed
			case <-tended:
			case <-time.After(spaceEnd):
			}
			return
		}
		reason := e.log.why()
		k.set(nil, reason)
		k.log.Error().Str("reason", reason).Msg("etcd gave up; it is started again once the disk is well")
		go e.Stop(ctx) // begins the end; what remains of it may never come to one
		select {
		case <-e.stopped:
		case <-time.After(etcdEnd):
		case <-ctx.Done():
			return
		}
		if e = k.again(ctx); e == nil {
			return
		}
		k.mu.Lock()
		k.restarts = Restarts{k.restarts.Count + 1, reason}
		k.mu.Unlock()
		k.set(e, "")
		k.log.Info().Str("reason", reason).Msg("etcd runs again")
	}
}

func (k *KeptEtcd) current() *Etcd {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.now
}

func (k *KeptEtcd) set(e *Etcd, trouble string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.now, k.trouble = e, trouble
}

// again tries until etcd has started, or ctx ends (nil).
func (k *KeptEtcd) again(ctx context.Context) *Etcd {
	said := ""
	for wait := FirstPause; ; wait = min(2*wait, LastPause) {
		e, err := k.try(ctx)
		if err == nil {
			return e
		}
		if ctx.Err() != nil {
			return nil
		}
		if text := fault.From(err).Message; text != said {
			k.log.Warn().Err(err).Msg("etcd can't be started yet; it is tried again")
			k.set(nil, text)
			said = text
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil
		}
	}
}

func (k *KeptEtcd) try(ctx context.Context) (*Etcd, error) {
	if err := k.disk.Well(ctx); err != nil {
		return nil, err
	}
	dir, err := nextGeneration(k.config.DataDir, k.disk)
	if err != nil {
		return nil, err
	}
	c := k.config
	c.DataDir = dir
	return StartEtcd(ctx, c)
}
