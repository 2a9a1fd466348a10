package node

import (
	"context"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"time"

	"github.com/KimMachineGun/automemlimit/memlimit"
)

// memory keeps the process of a site small without making the collector work for nothing: while the heap is small garbage may
// pile up to the budget, while the site is busy as much as it allocates in an interval where the machine has room for it, and at rest what is free
// goes back to the system. It is for a process that runs one node: the collector is the process's.
type memory struct {
	durable  func() uint64 // moves while there is work
	most     uint64        // bytes of the heap with its garbage, however busy the site is
	interval time.Duration
	quit     chan struct{}
	done     chan struct{}
}

const (
	memoryBudget   = 150 << 20 // of the heap with its garbage, as long as what lives leaves room in it
	memoryShare    = 16        // a busy site may take this part of the memory that the process may use, where that is more
	memoryInterval = 2 * time.Second
	leastPercent   = 40 // the collector's CPU grows as this falls
	mostPercent    = 400
	fading         = 8  // the part by which less is allowed with each interval that is less busy
	restTicks      = 10 // so many intervals without work are rest
	restAgain      = 30 // a site at rest leaves some 5 MB of garbage a minute, and the store lets go of its indexes after two
)

// tuneMemory begins, unless the operator has said by GOGC or GOMEMLIMIT how it is to be.
func (n *life) tuneMemory() {
	if os.Getenv("GOGC") != "" || os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	m := &memory{durable: n.barrier.Durable, most: max(memoryBudget, usable()/memoryShare), interval: memoryInterval, quit: make(chan struct{}), done: make(chan struct{})}
	before := debug.SetGCPercent(mostPercent)
	go m.run()
	n.onStop("memory", func(context.Context) error {
		close(m.quit)
		<-m.done
		debug.SetGCPercent(before)
		return nil
	})
}

// usable is how many bytes of memory the process may use: its control group's limit, or what the machine has; 0 where neither is known.
func usable() uint64 {
	bytes, err := memlimit.FromSystem()
	if err != nil {
		bytes = 0
	}
	if limit, err := memlimit.FromCgroup(); err == nil && (bytes == 0 || limit < bytes) {
		bytes = limit
	}
	return bytes
}

func (m *memory) run() {
	defer close(m.done)
	tick := time.NewTicker(m.interval)
	defer tick.Stop()
	heap := []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/gc/heap/allocs:bytes"}}
	last, still := m.durable(), 0
	metrics.Read(heap)
	allocated := heap[1].Value.Uint64()
	busiest := uint64(0) // the most that was allocated in an interval, with what lies back fading away
	for {
		select {
		case <-tick.C:
		case <-m.quit:
			return
		}
		metrics.Read(heap)
		busiest = faded(busiest, heap[1].Value.Uint64()-allocated)
		debug.SetGCPercent(m.percent(heap[0].Value.Uint64(), busiest))
		allocated = heap[1].Value.Uint64()
		if now := m.durable(); now != last {
			last, still = now, 0
		} else if still++; still%restAgain == restTicks {
			if still == restTicks {
				runtime.GC() // what pools hold is let go by the second collection
			}
			debug.FreeOSMemory()
		}
	}
}

// percent is how much garbage may come to what lives before it is collected, where so many bytes were allocated in an interval. The store
// keeps what it has written and read of the journal for ten seconds, some 200 MB at a thousand orders a second: without the second rule a
// busy site would collect garbage several times a second, and its slowest orders are those that meet a collection.
func (m *memory) percent(live, allocated uint64) int {
	if live == 0 {
		return leastPercent
	}
	room := left(memoryBudget, live)
	room = max(room, min(allocated, left(m.most, live)))
	return int(min(max(room*100/live, leastPercent), mostPercent))
}

// faded is the most that was allocated in an interval, where before was that of the intervals before and this is the last one's. What
// lies back counts for less and less: orders come in bursts, and memory that was given back between two of them is cleared by the
// system for the second one page by page, which costs some 85 µs an order.
func faded(before, this uint64) uint64 { return max(this, before-before/fading) }

// left is what remains of a budget.
func left(budget, used uint64) uint64 { return budget - min(used, budget) }
