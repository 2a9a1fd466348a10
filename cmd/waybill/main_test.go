package main

import (
	"bytes"
	"context"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var update = flag.Bool("update", false, "write the golden files anew")

// buffer is what a program wrote. A node's log comes from many goroutines, so it has a lock.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// result is what a run of the program left.
type result struct {
	code     int
	out, err string
}

// run runs the program with an environment that holds nothing but what is given.
func run(t *testing.T, stdin string, environ []string, args ...string) result {
	t.Helper()
	var out, err buffer
	code := newProgram(strings.NewReader(stdin), &out, &err, environ).run(t.Context(), args)
	return result{code, out.String(), err.String()}
}

// nowhere is an environment in which no site can be found.
func nowhere(t *testing.T) []string {
	t.Helper()
	return []string{"WAYBILL_DATA=" + t.TempDir(), "WAYBILL_SERVER=nats://127.0.0.1:1", "HOME=" + t.TempDir()}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs (-update writes it anew):\n%s", name, got)
	}
}

func TestHelpOfTheRoot(t *testing.T) {
	r := run(t, "", nil, "--help")
	if r.code != exitDone || r.err != "" {
		t.Errorf("exit %d, %q", r.code, r.err)
	}
	golden(t, "help.txt", r.out)
	if bare := run(t, "", nil); bare.out != r.out || bare.code != exitDone {
		t.Error("the program without a command says something else than its help")
	}
}

// TestEveryCommandExplainsItself: one line of what it does, an example that names it, and lines that fit a terminal.
func TestEveryCommandExplainsItself(t *testing.T) {
	p := newProgram(strings.NewReader(""), io.Discard, io.Discard, nil)
	todo := p.root().Commands()
	seen := 0
	for len(todo) > 0 {
		c := todo[0]
		todo = append(todo[1:], c.Commands()...)
		seen++
		if c.Short == "" || strings.HasSuffix(c.Short, ".") {
			t.Errorf("%s: short help %q", c.CommandPath(), c.Short)
		}
		if !strings.Contains(c.Example, "waybill "+strings.Fields(c.CommandPath())[1]) {
			t.Errorf("%s: its example %q does not show it", c.CommandPath(), c.Example)
		}
		for line := range strings.SplitSeq(c.Long+"\n"+c.Example, "\n") {
			if len([]rune(line)) > 150 {
				t.Errorf("%s: a line of %d characters", c.CommandPath(), len([]rune(line)))
			}
		}
	}
	if seen < 50 {
		t.Errorf("only %d commands were found", seen)
	}
}

func TestInterruptionEndsACommand(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out, err buffer
	code := newProgram(strings.NewReader(""), &out, &err, nowhere(t)).run(ctx, []string{"order", "list"})
	if code != exitFailed || out.String() != "" {
		t.Errorf("exit %d, %q, %q", code, out.String(), err.String())
	}
}
