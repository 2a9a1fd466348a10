package embedded

import (
	"os"
	"runtime"
)

// blockedCalls is how many system calls that wait for the disk are under way for most of the time on a busy strict store: the barrier's
// sync, and a stream's write that waits for it.
const blockedCalls = 2

// SpareProcessors has the runtime run as many goroutines at once as it may use cores, with those not counted that wait for the disk; back
// takes that back. A goroutine in a system call keeps its place among GOMAXPROCS until the runtime's monitor takes notice, which may
// take longer than a sync does: on two cores half of the process stood still meanwhile. It is for a process that holds one strict store
// and little else; where the operator has said by GOMAXPROCS how it is to be, nothing changes. A container's limit is that of this
// moment. docs/benchmarks.md has what it brings.
func SpareProcessors() (back func()) {
	if os.Getenv("GOMAXPROCS") != "" {
		return func() {}
	}
	runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + blockedCalls)
	return runtime.SetDefaultGOMAXPROCS
}
