package node_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"waybill/internal/guard"
)

// guardEnv names the guard that a process of this test's binary does without.
const guardEnv = "WAYBILL_TEST_GUARD_OFF"

// switchOff switches off the guard that the environment names; TestMain asks before any test runs.
func switchOff() error {
	name, ok := os.LookupEnv(guardEnv)
	if !ok {
		return nil
	}
	i := slices.IndexFunc(guard.All(), func(g guard.Guard) bool { return g.String() == name })
	if i < 0 {
		return fmt.Errorf("%s: there is no guard %q", guardEnv, name)
	}
	guard.SwitchOff(guard.All()[i])
	return nil
}

// watched says for each guard which test falls without it, and with which complaints.
var watched = map[guard.Guard]struct {
	test       string
	complaints []string
}{
	guard.Barrier: {"TestPowerCut", []string{"that were answered are gone"}},
	guard.Idempotency: {"TestAskedAgain", []string{
		"--- FAIL: TestAskedAgain/order", "--- FAIL: TestAskedAgain/payment", "--- FAIL: TestAskedAgain/reservation",
	}},
	guard.CAS: {"TestCancelOvertakesConfirm", []string{"the order that was cancelled is confirmed"}},
	guard.Compensation: {"TestGivenBack", []string{
		"--- FAIL: TestGivenBack/stock_of_an_order_that_was_declined", "--- FAIL: TestGivenBack/money_of_an_order_that_was_cancelled",
	}},
	guard.Fence: {"TestDeposedLeaderWrites", []string{"the last unit was sold twice"}},
	guard.Aside: {"TestCriticalStepsAside", []string{"was asked all the same", "failed beside an instance that is well"}},
}

// TestProofWithoutGuard proves the proof: each guard is switched off in a process of its own, and there the test that watches it
// must fail, and for that reason. That the same test passes with all guards on is the rest of this package's run.
func TestProofWithoutGuard(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range guard.All() {
		t.Run(g.String(), func(t *testing.T) {
			t.Parallel()
			w, ok := watched[g]
			if !ok {
				t.Fatalf("no test watches the guard %s", g)
			}
			ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
			defer cancel()
			cmd := exec.CommandContext(ctx, self, "-test.run=^"+w.test+"$", "-test.timeout=90s")
			cmd.Env = append(os.Environ(), guardEnv+"="+g.String())
			out, err := cmd.CombinedOutput()
			said := string(out)
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.ExitCode() != 1 { // 1 is a test that failed; a panic or a time-out is 2
				t.Fatalf("%s ended with %v without the guard %s, and should fail:\n%s", w.test, err, g, said)
			}
			for _, c := range w.complaints {
				if !strings.Contains(said, c) {
					t.Errorf("%s did not complain %q without the guard %s:\n%s", w.test, c, g, said)
				}
			}
		})
	}
}
