package embedded

import (
	"context"
	"sync"
	"sync/atomic"

	"waybill/internal/fault"
	"waybill/internal/guard"
)

// Barrier makes the file system that holds the store durable, once for all who wait. A message that JetStream acknowledged
// is written, but not yet safe from a power cut; after a sync that began later than the acknowledgement it is. The barrier
// covers the whole file system, so everything else that was written there before is safe too.
//
// Those who wait form a round. One goroutine takes the round with the highest sequence in it, syncs, and lets all of it go;
// who comes during a sync is in the next round, because that sync may have passed its message already. So one waiter pays
// one sync, a thousand pay one or two. All methods are safe for concurrent use.
type Barrier struct {
	strict  bool
	sync    func() error
	release func() error // closes what sync uses

	durable atomic.Uint64 // everything up to it survives a power cut (fast: the death of the process)
	noted   atomic.Uint64 // known to be acknowledged; the next sync covers it, whether anyone waits or not

	mu   sync.Mutex
	next *round // of those who came after the current sync began; nil when there are none
	err  error  // final

	kick chan struct{} // holds at most one: there is a next round
	quit chan struct{}
	done chan struct{}
	once sync.Once
}

type round struct {
	highest uint64
	over    chan struct{} // closed when the sync has ended; err is set before
	err     error
}

// NewBarrier makes the barrier of the file system that dir is on. A strict one syncs; one that is not (fast) lets everyone
// pass at once. It must be opened before the first message is written: an error in writing back is only reported to those
// who had the file system open then. inject is for tests: where it is given, it is asked before each sync, and its error is
// the sync's. Error: unavailable where dir can't be opened or the system can't sync a file system.
func NewBarrier(dir string, strict bool, inject func() error) (*Barrier, error) {
	if !strict {
		return newBarrier(nil, nil), nil
	}
	sync, release, err := openSync(dir)
	if err != nil {
		return nil, fault.Wrap(err, fault.Unavailable, "the file system of %s can't be made durable: choose another --data, or run with --durability fast", dir)
	}
	return newBarrier(injected(sync, inject), release), nil
}

// injected is sync with what a test wants before it.
func injected(sync, inject func() error) func() error {
	if inject == nil {
		return sync
	}
	return func() error {
		if err := inject(); err != nil {
			return err
		}
		return sync()
	}
}

// NewBarrierWith makes a strict barrier for which sync stands in place of the system's: a test that looks at what is durable, or
// has a sync fail. sync is called by one goroutine.
func NewBarrierWith(sync func() error) *Barrier { return newBarrier(sync, nil) }

// newBarrier with a nil sync is a fast one.
func newBarrier(sync, release func() error) *Barrier {
	b := &Barrier{strict: sync != nil, sync: sync, release: release,
		kick: make(chan struct{}, 1), quit: make(chan struct{}), done: make(chan struct{})}
	if b.strict {
		go b.run()
	} else {
		close(b.done)
	}
	return b
}

// Wait returns when everything up to sequence, which the caller knows to be acknowledged, is durable: at once when it
// already is, or in fast mode. Errors: unavailable with the reason once a sync has failed, for good, or after Close;
// ctx's, when that ends first: the sequence may become durable all the same.
func (b *Barrier) Wait(ctx context.Context, sequence uint64) error {
	if !b.strict {
		b.Note(sequence)
		return b.Err()
	}
	if guard.Off(guard.Barrier) {
		raise(&b.durable, sequence)
		return b.Err()
	}
	b.mu.Lock()
	if b.err != nil {
		b.mu.Unlock()
		return b.err
	}
	if sequence <= b.durable.Load() {
		b.mu.Unlock()
		return nil
	}
	return b.join(ctx, sequence)
}

// Sync returns when everything that was written to the file system before the call is durable, whatever it is: what is
// kept beside the journal has no sequence in it. Errors are those of Wait.
func (b *Barrier) Sync(ctx context.Context) error {
	if !b.strict || guard.Off(guard.Barrier) {
		return b.Err()
	}
	b.mu.Lock()
	if b.err != nil {
		b.mu.Unlock()
		return b.err
	}
	return b.join(ctx, 0)
}

// join waits in the next round. It is called with mu held, and releases it.
func (b *Barrier) join(ctx context.Context, sequence uint64) error {
	r := b.next
	if r == nil {
		r = &round{over: make(chan struct{})}
		b.next = r
		select {
		case b.kick <- struct{}{}:
		default:
		}
	}
	r.highest = max(r.highest, sequence)
	b.mu.Unlock()

	select {
	case <-r.over:
		return r.err
	case <-ctx.Done():
		return fault.Wrap(ctx.Err(), fault.DeadlineExceeded, "the time ran out before the storage was durable; ask again with the same id")
	}
}

// Note tells that everything up to sequence is acknowledged. The next sync makes it durable without anyone waiting for it;
// in fast mode it counts as durable at once.
func (b *Barrier) Note(sequence uint64) {
	if b.strict {
		raise(&b.noted, sequence)
	} else {
		raise(&b.durable, sequence)
	}
}

// Durable is the sequence up to which everything survives a power cut; in fast mode, the highest that was noted or waited for.
func (b *Barrier) Durable() uint64 { return b.durable.Load() }

// Strict reports whether the barrier survives a power cut (and not just the death of the process).
func (b *Barrier) Strict() bool { return b.strict }

// Err is the failure that ended the barrier, or nil.
func (b *Barrier) Err() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.err
}

// Close ends the barrier: who waits gets an error, and so does everyone later. It returns when a sync that is under way has
// ended. Closing twice is fine.
func (b *Barrier) Close() error {
	var err error
	b.once.Do(func() {
		close(b.quit)
		<-b.done
		b.fail(fault.New(fault.Unavailable, "the storage is closed; ask again when the site is up"))
		if b.release != nil {
			err = b.release()
		}
	})
	return err
}

func (b *Barrier) run() {
	defer close(b.done)
	for {
		select {
		case <-b.kick:
		case <-b.quit:
			return
		}
		b.mu.Lock()
		r := b.next
		b.next = nil
		b.mu.Unlock()
		if r == nil {
			continue
		}
		// Both are read before the sync starts: what comes later may be on either side of it.
		target := max(r.highest, b.noted.Load())
		if err := b.sync(); err != nil {
			// After a failed sync the kernel may have dropped the dirty pages: a later success would prove nothing.
			r.err = b.fail(fault.Wrap(err, fault.Unavailable,
				"the storage could not be made durable, so nothing is confirmed until the store has been restarted, which happens by itself once the disk is well"))
			close(r.over)
			return
		}
		raise(&b.durable, target)
		close(r.over)
	}
}

// fail makes err final unless another already is, lets those go who still wait, and returns what is final.
func (b *Barrier) fail(err error) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err == nil {
		b.err = err
	}
	if r := b.next; r != nil {
		b.next = nil
		r.err = b.err
		close(r.over)
	}
	return b.err
}

func raise(v *atomic.Uint64, to uint64) {
	for {
		old := v.Load()
		if to <= old || v.CompareAndSwap(old, to) {
			return
		}
	}
}
