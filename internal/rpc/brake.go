package rpc

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// brake bounds the requests of one method in flight by how long they take. The limit of a service is there for bursts: held full
// by more requests than can be served, it means that each waits for all the others, and that those that are turned away wait for
// them, too. So where some were turned away in an interval, and those that were served took longer than the target on average, while
// the processors were at work, no more are let in than were served in the target's time (Little's law). Otherwise the bound grows
// again: as many callers as have found room so far, who wait for each other, are no overload.
// What a request waits for others than the site, such as a payment gateway, is no overload: where that is long, it counts beside the target.
type brake struct {
	target time.Duration
	cpu    func() time.Duration // that this process has used so far

	inFlight atomic.Int64
	bound    atomic.Int64
	refused  atomic.Bool  // some in this interval
	last     atomic.Int64 // when the bound was last looked at, in ns since the brake began

	mu     sync.Mutex
	began  time.Time
	used   time.Duration // of cpu, at the begin of this interval
	served int64         // requests in it that succeeded
	took   time.Duration // all of them together
	waited time.Duration // of that until a processor began with them
	others time.Duration // of that for others than the site, where it was long
}

const (
	brakeInterval = 200 * time.Millisecond
	leastInFlight = 64          // the brake never lets in fewer
	burst         = 256         // so many may come at once while it is open; more where there is reason to
	mostInFlight  = 1 << 16     // the service's own limit is lower
	brakeForgets  = time.Second // without a request served, after which nothing is known any more

	// The processors count as at work where the process used so much of them, or, where others use them, where a request waited so long
	// until its worker began with it.
	brakeCPU  = 0.15
	brakeWait = 2 * time.Millisecond
)

func newBrake(target time.Duration) *brake {
	b := &brake{target: target, cpu: processCPU, began: time.Now()}
	b.used = b.cpu()
	b.bound.Store(burst)
	return b
}

// enter lets a request in, or not. Who entered must leave.
func (b *brake) enter(now time.Time) bool {
	n := b.inFlight.Add(1)
	if n <= b.bound.Load() {
		return true
	}
	if b.hung(now) && n <= b.bound.Load() {
		return true
	}
	b.inFlight.Add(-1)
	b.refused.Store(true)
	return false
}

// hung lets the bound grow where none was served for a while: all that are in flight wait for somebody else.
func (b *brake) hung(now time.Time) bool {
	at := now.Sub(b.began)
	last := b.last.Load()
	if at-time.Duration(last) <= brakeForgets || !b.last.CompareAndSwap(last, int64(at-brakeForgets+brakeInterval)) {
		return false
	}
	b.bound.Store(max(b.more(), burst))
	return true
}

func (b *brake) more() int64 {
	bound := b.bound.Load()
	return min(max(bound+bound/4, leastInFlight), mostInFlight)
}

// leave ends a request that entered when it arrived, that a worker began with at began, and that has waited outside for others than the site.
func (b *brake) leave(arrived, began, now time.Time, outside time.Duration, succeeded bool) {
	b.inFlight.Add(-1)
	if !succeeded {
		return // it may have been refused for anything, without work
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.served++
	b.took += now.Sub(arrived)
	b.waited += began.Sub(arrived)
	if outside > 2*b.target { // the sandbox is no slow gateway, though in an overload it is not quick
		b.others += outside
	}
	at := now.Sub(b.began)
	if passed := at - time.Duration(b.last.Load()); passed >= brakeInterval {
		b.adjust(passed)
		b.last.Store(int64(at))
	}
}

// adjust sets the bound after an interval. The caller holds mu.
func (b *brake) adjust(passed time.Duration) {
	used := b.cpu()
	served := time.Duration(b.served)
	processors := min(runtime.NumCPU(), runtime.GOMAXPROCS(0)) // the runtime may have some to spare for what waits for the disk
	busy := float64(used-b.used) >= brakeCPU*float64(passed)*float64(processors) || b.waited >= brakeWait*served
	switch refused := b.refused.Swap(false); {
	case refused && b.took-b.others > b.target*served && busy && passed <= brakeForgets:
		b.bound.Store(min(max(leastInFlight, int64(float64(served*b.target+b.others)/float64(passed))), mostInFlight))
	case refused || b.bound.Load() < burst:
		b.bound.Store(b.more())
	default:
		b.bound.Store(max(b.bound.Load()*3/4, burst))
	}
	b.used, b.served, b.took, b.waited, b.others = used, 0, 0, 0, 0
}
