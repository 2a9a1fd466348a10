package node

import (
	"runtime"
	"runtime/debug"
	"testing"
	"time"

	"github.com/KimMachineGun/automemlimit/memlimit"
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
	const most = 4 * memoryBudget
	m := &memory{most: most}
	for _, c := range []struct {
		live, allocated uint64
		want            int
	}{
		{0, 0, leastPercent}, {1, 0, mostPercent}, {memoryBudget / 2, 0, 100}, {memoryBudget * 4 / 5, 0, leastPercent}, {memoryBudget, 0, leastPercent}, {1 << 40, 0, leastPercent},
		{memoryBudget / 2, memoryBudget / 4, 100}, {memoryBudget, memoryBudget, 100}, {memoryBudget, 2 * memoryBudget, 200}, {memoryBudget, 1 << 40, 300}, // the most
		{memoryBudget / 10, 1 << 40, mostPercent}, {2 * memoryBudget, 1 << 40, 100}, {most, 1 << 40, leastPercent}, {2 * most, 1 << 40, leastPercent},
	} {
		if got := m.percent(c.live, c.allocated); got != c.want {
			t.Errorf("with %d bytes alive and %d allocated in an interval %d %%, not %d", c.live, c.allocated, got, c.want)
		}
	}
}

// TestFaded: a busy interval counts at once, and for less and less afterwards.
func TestFaded(t *testing.T) {
	at := faded(0, 800)
	if at != 800 || faded(at, 900) != 900 || faded(at, 750) != 750 {
		t.Errorf("%d, %d and %d are not what was allocated last", at, faded(at, 900), faded(at, 750))
	}
	for range 10 { // twenty seconds
		at = faded(at, 0)
	}
	if at < 200 || at > 240 {
		t.Errorf("%d is left of 800 after ten intervals without work", at)
	}
}

// TestUsable: what the process may use is something, and no more than the machine has.
func TestUsable(t *testing.T) {
	has, err := memlimit.FromSystem()
	if err != nil {
		t.Fatal(err)
	}
	if got := usable(); got < 64<<20 || got > has {
		t.Errorf("%d bytes of %d", got, has)
	}
}
