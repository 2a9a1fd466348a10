package node

import (
	"runtime"
	"runtime/debug"
	"testing"
	"time"
)

// TestMemoryAtRest: what is free goes back to the system once there is no work, and again when more has become free at rest.
func TestMemoryAtRest(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(100))
	kept := func() uint64 { // of the system's memory, in bytes
		var s runtime.MemStats
		runtime.ReadMemStats(&s)
		return s.HeapSys - s.HeapReleased
	}
	m := &memory{durable: func() uint64 { return 1 }, interval: 10 * time.Millisecond, quit: make(chan struct{}), done: make(chan struct{})}
	debug.FreeOSMemory()
	before := kept()
	go m.run()
	defer func() {
		close(m.quit)
		<-m.done
	}()
	const garbage = 64 << 20
	for round := range 3 {
		for n := 0; n < garbage; n += 1 << 10 {
			keptAlive = make([]byte, 1<<10)
		}
		keptAlive = nil
		for deadline := time.Now().Add(5 * time.Second); kept() > before+garbage/8; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("round %d: the process keeps %d MB more than at its start", round, (kept()-before)>>20)
			}
		}
	}
}

// keptAlive has what is assigned to it allocated on the heap.
var keptAlive []byte

func TestPercent(t *testing.T) {
	for live, want := range map[uint64]int{
		0: leastPercent, 1: mostPercent, memoryBudget / 2: 100, memoryBudget * 4 / 5: leastPercent, memoryBudget: leastPercent, 1 << 40: leastPercent,
	} {
		if got := percent(live); got != want {
			t.Errorf("with %d bytes alive %d %%, not %d", live, got, want)
		}
	}
}
