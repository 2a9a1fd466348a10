package embedded

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"waybill/internal/fault"
	"waybill/internal/sleep"
)

// KeptEtcd is an etcd in a process of its own, which is started again, on the same address and the same data, whenever it ends: on a
// full disk, a panic, a kill, or where it does not answer any more. Its methods are safe for concurrent use.
type KeptEtcd struct {
	config EtcdConfig // with the address that was chosen at the first start
	disk   *Disk
	log    zerolog.Logger
	cancel context.CancelFunc
	done   chan struct{}
	former *etcdProcess // of a start that failed: it was killed, and may not have ended; of the goroutine that starts it

	mu       sync.Mutex
	now      *etcdProcess // nil while none runs
	trouble  string       // why none runs
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
	// Pauses between two tries to start a part that heals itself.
	FirstPause = 500 * time.Millisecond
	LastPause  = 5 * time.Second

	firstWait = 15 * time.Second // for the first start; whoever waits for it then goes on without
	steady    = 10 * time.Second // what lived so long is started again without a pause
)

// KeepEtcd starts etcd in a process of its own and returns when it can be read and written; it keeps it running until Stop. disk says
// when a restart is worth a try. Where the start fails for what may pass by itself (limits, memory, a disk that hangs), or takes
// longer than 15 s, it returns all the same, and etcd is tried until it runs: Healthy says why it does not. Its error is one line that
// says what to do: a port that is taken, a directory that can't be written, data of another program's version; then nothing is left
// running but what was killed and hangs in a call to the disk. Data that is damaged is set aside.
func KeepEtcd(ctx context.Context, c EtcdConfig, disk *Disk) (*KeptEtcd, error) {
	life, cancel := context.WithCancel(context.WithoutCancel(ctx)) // ended by Stop
	k := &KeptEtcd{config: c, disk: disk, log: c.Log, cancel: cancel, done: make(chan struct{})}
	first, over := context.WithTimeout(ctx, firstWait)
	defer over()
	p, err := k.start(first)
	if err == nil {
		k.config.Addr, k.now = p.addr, p
	} else if err = k.goOnWithout(ctx, err); err != nil {
		cancel()
		return nil, err
	}
	go k.keep(life, p)
	return k, nil
}

// goOnWithout has the first start be tried again later, at an address that is known now, or returns why that makes no sense.
func (k *KeptEtcd) goOnWithout(ctx context.Context, err error) error {
	if ctx.Err() != nil || lasting(err) {
		return err
	}
	if _, port, _ := splitAddr(k.config.Addr); port == 0 { // whoever is to find etcd later has to know a number
		l, refused := net.Listen("tcp", k.config.Addr)
		if refused != nil {
			return err
		}
		k.config.Addr = l.Addr().String()
		l.Close()
	}
	k.trouble = fault.From(err).Message
	k.log.Error().Err(err).Msg("etcd can't be started; the site goes on without, and it is tried again")
	return nil
}

// Addr is the clients' host:port. It stays the same.
func (k *KeptEtcd) Addr() string { return k.config.Addr }

// Healthy returns why etcd can't do its work, or nil. It reads state only.
func (k *KeptEtcd) Healthy() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.now == nil {
		return fault.New(fault.Unavailable, "etcd does not run (%s); it is started again", k.trouble)
	}
	return k.now.healthy()
}

// Restarts says how often etcd was started again.
func (k *KeptEtcd) Restarts() Restarts {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.restarts
}

// Stop ends the keeping and etcd's process. Error: deadline_exceeded where ctx ends first, or the process can't be ended because it
// hangs in a call to the disk; it ends with that.
func (k *KeptEtcd) Stop(ctx context.Context) error {
	k.cancel()
	ended := make(chan error, 1)
	go func() { // a try to start etcd may hang with the disk
		<-k.done
		k.mu.Lock()
		p := k.now
		k.now, k.trouble = nil, "it was stopped"
		k.mu.Unlock()
		switch {
		case p != nil:
			ended <- p.stop(ctx)
		case k.former != nil && !k.former.gone(killWait):
			ended <- fault.New(fault.DeadlineExceeded, "%s", formerHangs)
		default:
			ended <- nil
		}
	}()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
		return fault.Wrap(ctx.Err(), fault.DeadlineExceeded, "etcd has not stopped in time")
	}
}

// keep starts etcd again each time it ends, until ctx does. p is nil where the first start is still to be done.
func (k *KeptEtcd) keep(ctx context.Context, p *etcdProcess) {
	defer close(k.done)
	if p == nil {
		if p = k.again(ctx); p == nil {
			return
		}
		k.set(p, "")
		k.log.Info().Msg("etcd runs")
	}
	for pause := time.Duration(0); p != nil; pause = min(max(2*pause, FirstPause), LastPause) {
		began := time.Now()
		reason := p.attend(ctx)
		if ctx.Err() != nil {
			return
		}
		if !k.end(ctx, p, reason) {
			return
		}
		if reason == "" {
			reason = p.why()
		}
		k.set(nil, reason)
		k.log.Error().Str("reason", reason).Str("last_words", p.stderr.String()).Msg("etcd's process has ended; it is started again once the disk is well")
		if time.Since(began) > steady {
			pause = 0
		}
		if !sleep.For(ctx, pause) {
			return
		}
		if p = k.again(ctx); p == nil {
			return
		}
		k.mu.Lock()
		k.restarts = Restarts{k.restarts.Count + 1, reason}
		k.mu.Unlock()
		k.set(p, "")
		k.log.Info().Str("reason", reason).Msg("etcd runs again")
	}
}

// end ends a process, and waits for it as long as it takes: two must never have the same data open. false: ctx ended first.
func (k *KeptEtcd) end(ctx context.Context, p *etcdProcess, reason string) bool {
	if p.kill() {
		return true
	}
	k.set(nil, reason+"; it is killed, but hangs: does the disk?")
	k.log.Error().Str("reason", reason).Msg("etcd's process is killed and does not end: does the disk hang? Its restart waits for that")
	select {
	case <-p.ended:
		return true
	case <-ctx.Done():
		return false
	}
}

func (k *KeptEtcd) set(p *etcdProcess, trouble string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.now, k.trouble = p, trouble
}

// again tries until etcd has started, or ctx ends (nil).
func (k *KeptEtcd) again(ctx context.Context) *etcdProcess {
	said := ""
	for wait := FirstPause; ; wait = min(2*wait, LastPause) {
		p, err := k.try(ctx)
		if err == nil {
			return p
		}
		if ctx.Err() != nil {
			return nil
		}
		if text := fault.From(err).Message; text != said {
			k.log.Warn().Err(err).Msg("etcd can't be started yet; it is tried again")
			k.set(nil, text)
			said = text
		}
		if !sleep.For(ctx, wait) {
			return nil
		}
	}
}

// try starts etcd again on what the disk holds, which need not be what the system keeps of it in memory.
func (k *KeptEtcd) try(ctx context.Context) (*etcdProcess, error) {
	if k.former != nil && !k.former.gone(killWait) {
		return nil, fault.New(fault.Unavailable, "%s", formerHangs)
	}
	k.former = nil
	if err := k.disk.Well(ctx); err != nil {
		return nil, err
	}
	if err := privateDir(k.config.DataDir); err != nil { // what was set aside may not have been made anew
		return nil, err
	}
	if err := k.disk.Reread(k.config.DataDir); err != nil {
		return nil, err
	}
	return k.start(ctx)
}

const formerHangs = "a former process of etcd was killed and does not end: does the disk hang?"

// start starts etcd. A process that was begun in vain and can't be ended is kept in mind: no other is begun beside it.
func (k *KeptEtcd) start(ctx context.Context) (*etcdProcess, error) {
	p, err := startEtcd(ctx, k.config)
	if err != nil {
		k.former = p
		return nil, err
	}
	return p, nil
}
