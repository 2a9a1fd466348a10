//go:build linux

package faults

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// tracer is an strace that injects faults into a running node.
type tracer struct {
	cmd  *exec.Cmd
	file string // what it writes
}

// trace attaches strace to every thread of the node, with these arguments, until stop or the end of the test. Every system call
// of the node is slower from then on.
func (p *process) trace(t *testing.T, args ...string) *tracer {
	t.Helper()
	tr := &tracer{file: filepath.Join(scratch(t), "trace")}
	pid := p.cmd.Process.Pid
	all := append([]string{"-f", "-qqq", "-ttt", "-y", "-o", tr.file, "-p", strconv.Itoa(pid)}, args...)
	tr.cmd = exec.Command("strace", all...)
	var said tail
	tr.cmd.Stderr = &said
	tr.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := tr.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tr.stop)
	if err := until(20*time.Second, func() error { return attached(pid) }); err != nil {
		t.Fatalf("strace: %v: %s", err, &said)
	}
	return tr
}

// attached says which thread of the process has no tracer.
func attached(pid int) error {
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	if err != nil || len(files) == 0 {
		return fmt.Errorf("the process %d has no threads: %v", pid, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err == nil && strings.Contains(string(text), "\nTracerPid:\t0\n") {
			return fmt.Errorf("no tracer in %s", file)
		}
	}
	return nil
}

// stop detaches strace; the node goes on without it. Stopping twice is fine.
func (tr *tracer) stop() {
	if tr.cmd.ProcessState != nil {
		return
	}
	_ = tr.cmd.Process.Signal(syscall.SIGTERM) // it may have ended with its node
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	defer context.AfterFunc(ctx, func() { _ = tr.cmd.Process.Kill() })()
	_ = tr.cmd.Wait() // its exit code is the node's, or that of its signal
}

// first is when the first line with that text was written, and the line; the time is zero where there is none.
func (tr *tracer) first(t *testing.T, text string) (time.Time, string) {
	t.Helper()
	f, err := os.Open(tr.file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		line := lines.Text()
		fields := strings.Fields(line)
		if !strings.Contains(line, text) || len(fields) < 2 {
			continue
		}
		seconds, err := strconv.ParseFloat(fields[1], 64)
		if err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		return time.UnixMicro(int64(seconds * 1e6)), line
	}
	return time.Time{}, ""
}
