package guard

import (
	"os/exec"
	"strings"
	"testing"
)

func TestSwitchOff(t *testing.T) {
	for _, g := range All() {
		if g.String() == "" || Off(g) {
			t.Errorf("%d is %q, off %v: want a name, and on", g, g, Off(g))
		}
	}
	SwitchOff(CAS)
	t.Cleanup(func() { off[CAS] = false })
	for _, g := range All() {
		if Off(g) != (g == CAS) {
			t.Errorf("only %s was switched off, and %s is off: %v", CAS, g, Off(g))
		}
	}
}

// A program that is no test can't switch anything off.
func TestProgramKeepsItsGuards(t *testing.T) {
	out, err := exec.Command("go", "run", "./testdata/program").CombinedOutput()
	said := string(out)
	if err == nil || !strings.Contains(said, "on: true") || !strings.Contains(said, "panic: the guard barrier can be switched off in a test only") {
		t.Errorf("the program ended with %v and said:\n%s", err, said)
	}
}
