package node

import (
	"context"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// memory keeps the process of a site small without making the collector work for nothing: while the heap is small garbage may
// pile up to the budget, as it grows the collector runs sooner, and at rest what is free goes back to the system. It is for a
// process that runs one node: the collector is the process's.
type memory struct {
	durable  func() uint64 // moves while there is work
	interval time.Duration
	quit     chan struct{}
	done     chan struct{}
}

const (
	memoryBudget   = 150 << 20 // of the heap with its garbage, as long as what lives leaves room in it
	memoryInterval = 2 * time.Second
	leastPercent   = 40 // the collector's CPU grows as this falls
	mostPercent    = 400
	restTicks      = 5  // so many intervals without work are rest
	restAgain      = 30 // a site at rest leaves some 5 MB of garbage a minute, and the store lets go of its indexes after two
)

// tuneMemory begins, unless the operator has said by GOGC or GOMEMLIMIT how it is to be.
func (n *life) tuneMemory() {
	if os.Getenv("GOGC") != "" || os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	m := &memory{durable: n.barrier.Durable, interval: memoryInterval, quit: make(chan struct{}), done: make(chan struct{})}
	before := debug.SetGCPercent(mostPercent)
	go m.run()
	n.onStop("memory", func(context.Context) error {
		close(m.quit)
		<-m.done
		debug.SetGCPercent(before)
		return nil
	})
}

func (m *memory) run() {
	defer close(m.done)
	tick := time.NewTicker(m.interval)
	defer tick.Stop()
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	last, still := m.durable(), 0
	for {
		select {
		case <-tick.C:
		case <-m.quit:
			return
		}
		metrics.Read(live)
		debug.SetGCPercent(percent(live[0].Value.Uint64()))
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

// percent is how much garbage may come to what lives before it is collected.
func percent(live uint64) int {
	if live == 0 || live >= memoryBudget {
		return leastPercent
	}
	return int(min(max((memoryBudget-live)*100/live, leastPercent), mostPercent))
}
