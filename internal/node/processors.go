package node

import (
	"context"
	"os"
	"runtime"
)

// blockedCalls is how many system calls that wait for the disk are under way for most of the time on a busy site: the barrier's
// sync, and a stream's write that waits for it.
const blockedCalls = 2

// spareProcessors has the runtime run as many goroutines at once as it may use cores, with those not counted that wait for the disk. A
// goroutine in a system call keeps its place among GOMAXPROCS until the runtime's monitor takes notice, which may take longer than a
// sync does: on two cores half of the process stood still meanwhile. It is for a process that runs one node and holds its store, unless the
// operator has said by GOMAXPROCS how it is to be. A container's limit is that of the start. docs/benchmarks.md has what it brings.
func (n *life) spareProcessors() {
	if os.Getenv("GOMAXPROCS") != "" || n.store.own == nil || !n.barrier.Strict() {
		return
	}
	runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + blockedCalls)
	n.onStop("processors", func(context.Context) error {
		runtime.SetDefaultGOMAXPROCS()
		return nil
	})
}
