package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// process is a program that the benchmark started. Its output is in a file.
type process struct {
	cmd   *exec.Cmd
	log   string
	ended chan struct{}
}

// startProcess starts cmd with its output going to the file log, and its standard output too where that is not taken.
func startProcess(cmd *exec.Cmd, log string) (*process, error) {
	out, err := os.Create(log)
	if err != nil {
		return nil, err
	}
	defer out.Close() // the process has its own
	cmd.Stderr = out
	if cmd.Stdout == nil {
		cmd.Stdout = out
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &process{cmd, log, make(chan struct{})}
	go func() { cmd.Wait(); close(p.ended) }()
	return p, nil
}

// await asks ready every few milliseconds until it says true. Error: the process has ended, or does not get ready in 60 s.
func (p *process) await(ready func() (bool, error)) error {
	for deadline := time.Now().Add(60 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if ok, err := ready(); ok || err != nil {
			return err
		}
		select {
		case <-p.ended:
			return fmt.Errorf("%s ended: %s", filepath.Base(p.cmd.Path), p.said())
		default:
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s is not ready after 60 s: %s", filepath.Base(p.cmd.Path), p.said())
		}
	}
}

// said is the end of what the process wrote.
func (p *process) said() string {
	text, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return string(bytes.TrimSpace(text[max(0, len(text)-2000):]))
}

// stop interrupts the process, which stops each of ours in good order, and kills it where it is still there after 20 s.
func (p *process) stop() error {
	p.cmd.Process.Signal(os.Interrupt)
	select {
	case <-p.ended:
		return nil
	case <-time.After(20 * time.Second):
		p.cmd.Process.Kill()
		<-p.ended
		return fmt.Errorf("%s did not stop within 20 s", filepath.Base(p.cmd.Path))
	}
}

// tick is the unit of the times in /proc/PID/stat, the same on every Linux.
const tick = 10 * time.Millisecond

// cpuTime is what the processes and all their descendants have used so far, user and system. What a descendant that has ended
// used is in it once its parent has waited for it.
func cpuTime(roots ...*process) (time.Duration, error) {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil || len(stats) == 0 {
		return 0, errors.Join(errors.New("no processes in /proc: this needs Linux"), err)
	}
	type usage struct {
		parent int
		ticks  int64
	}
	all := make(map[int]usage, len(stats))
	for _, path := range stats {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // it has just ended
		}
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:])) // the name before it may hold blanks
		if len(fields) < 15 {
			return 0, fmt.Errorf("%s is not as expected: %s", path, text)
		}
		var u usage
		u.parent, _ = strconv.Atoi(fields[1])
		for _, f := range fields[11:15] { // utime, stime, and those of the children that were waited for
			n, err := strconv.ParseInt(f, 10, 64)
			if err != nil {
				return 0, fmt.Errorf("%s is not as expected: %s", path, text)
			}
			u.ticks += n
		}
		all[pid] = u
	}
	ours := make(map[int]bool, len(roots))
	for _, p := range roots {
		if _, ok := all[p.cmd.Process.Pid]; !ok {
			return 0, fmt.Errorf("%s ended: %s", filepath.Base(p.cmd.Path), p.said())
		}
		ours[p.cmd.Process.Pid] = true
	}
	var sum int64
	for pid, u := range all {
		for at := pid; at > 1; at = all[at].parent {
			if ours[at] {
				sum += u.ticks
				break
			}
		}
	}
	return time.Duration(sum) * tick, nil
}
