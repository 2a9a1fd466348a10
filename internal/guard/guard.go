// Package guard names what Waybill's promises rest on, so that a test can take one of them away and see that the tests which
// claim to watch it fail: a test that passes with its guard off proves nothing. Each guard is asked for in the few lines that
// it stands for.
//
// In the program every guard is on and can't be switched off; to ask for one costs a load of a bool that nobody writes to.
package guard

import "testing"

// Guard is one of them.
type Guard int

const (
	// Barrier: who waits for durability waits for a sync. Off: all that is asked for is said to be durable, and nothing is synced.
	Barrier Guard = iota
	// Idempotency: what is asked again gets the stored answer. Off: it is done as if it were asked for the first time.
	Idempotency
	// CAS: an append states the last event of its subject. Off: whoever appends last wins.
	CAS
	// Compensation: what an order holds is given back before it ends. Off: it ends all the same.
	Compensation
	// Fence: an append to the stock states its writer's claim. Off: a leader that was deposed can write.
	Fence
	// Aside: a service whose health is critical takes no requests while another instance is better. Off: it goes on taking them.
	Aside

	count
)

var names = [count]string{"barrier", "idempotency", "cas", "compensation", "fence", "aside"}

// All lists every guard.
func All() []Guard {
	all := make([]Guard, count)
	for i := range all {
		all[i] = Guard(i)
	}
	return all
}

func (g Guard) String() string { return names[g] }

// off is written to before a test's first goroutine starts, and never in the program.
var off [count]bool

// Off reports whether a test has switched the guard off.
func Off(g Guard) bool { return off[g] }

// SwitchOff switches a guard off for the rest of this process, which must be a test's: elsewhere it panics. It must be called
// before anything asks for the guard.
func SwitchOff(g Guard) {
	if !testing.Testing() {
		panic("the guard " + g.String() + " can be switched off in a test only")
	}
	off[g] = true
}
