//go:build linux

package faults

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"waybill/client"
	"waybill/internal/node"
)

// process is a running node as the world sees it.
type process struct {
	dir  string // its data directory
	cmd  *exec.Cmd
	log  tail
	dead chan struct{} // closed when the process has ended
	err  error         // of its end; to be read after dead
}

// tail keeps the end of what a process writes.
type tail struct {
	mu   sync.Mutex
	text []byte
}

func (l *tail) Write(p []byte) (int, error) {
	const most = 8 << 10
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = append(l.text, p...)
	if over := len(l.text) - most; over > 0 {
		l.text = bytes.Clone(l.text[over:])
	}
	return len(p), nil
}

func (l *tail) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.text)
}

// start starts a node on a directory, with more of its environment such as WAYBILL_DURABILITY=fast. It ends with the test at
// the latest, also where the test is killed.
func start(t testing.TB, dir string, env ...string) *process {
	t.Helper()
	return startUnder(t, nil, dir, env...)
}

// startUnder is start with a command before the node's own, which the node's process must come out of by exec.
func startUnder(t testing.TB, command []string, dir string, env ...string) *process {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	command = append(command, program, "-test.run=^$")
	if *faultsBinary != "" {
		command = append(command[:len(command)-2], *faultsBinary, "serve")
	}
	// A former life's announcement must not be taken for this one's.
	if err := os.Remove(filepath.Join(dir, "endpoints.json")); err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	p := &process{dir: dir, cmd: exec.Command(command[0], command[1:]...), dead: make(chan struct{})}
	for _, pair := range os.Environ() {
		if !strings.HasPrefix(pair, "WAYBILL_") {
			p.cmd.Env = append(p.cmd.Env, pair)
		}
	}
	p.cmd.Env = append(p.cmd.Env, childEnv+"=1", "WAYBILL_DATA="+dir, "WAYBILL_LOG_LEVEL=warn", "WAYBILL_LOG_FORMAT=json",
		"WAYBILL_NATS_ADDR=127.0.0.1:0", "WAYBILL_HTTP_ADDR=127.0.0.1:0", "WAYBILL_ETCD_ADDR=127.0.0.1:0")
	p.cmd.Env = append(p.cmd.Env, env...)
	p.cmd.Stdout, p.cmd.Stderr = &p.log, &p.log
	p.cmd.WaitDelay = time.Second // a tracer keeps the pipe a little longer than the node
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.dead)
		p.err = p.cmd.Wait()
	}()
	t.Cleanup(p.kill)
	return p
}

// longestStart is how long a node may take to take orders, on a machine that has much else to do.
const longestStart = 60 * time.Second

// endpoints waits until the node takes orders; it is false where the node has died before.
func (p *process) endpoints(t testing.TB) (e node.Endpoints, ok bool) {
	t.Helper()
	err := until(longestStart, func() error {
		select {
		case <-p.dead:
			return nil
		default:
		}
		text, err := os.ReadFile(filepath.Join(p.dir, "endpoints.json"))
		if err != nil {
			return err
		}
		if err := json.Unmarshal(text, &e); err != nil {
			return err
		}
		ok = true
		return nil
	})
	if err != nil {
		t.Fatalf("the node was not ready within %v: %v\n%s", longestStart, err, &p.log)
	}
	return e, ok
}

// client waits until the node takes orders and connects to it, for the length of the test.
func (p *process) client(t testing.TB) *client.Client {
	t.Helper()
	e, ok := p.endpoints(t)
	if !ok {
		t.Fatalf("the node did not start: %v\n%s", p.err, &p.log)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	c, err := client.Connect(ctx, e.NATS)
	if err != nil {
		t.Fatalf("no client: %v\n%s", err, &p.log)
	}
	t.Cleanup(c.Close)
	return c
}

// ready is what the node's /readyz answers: its code and its text. The code is 0 where it answers nothing.
func (p *process) ready(t testing.TB, e node.Endpoints) (code int, text string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, e.HTTP+"/readyz", nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, err.Error()
	}
	defer res.Body.Close()
	var b bytes.Buffer
	if _, err := b.ReadFrom(res.Body); err != nil {
		return 0, err.Error()
	}
	return res.StatusCode, b.String()
}

// kill kills the node as the kernel would, and waits for its end.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it may have ended by itself
	<-p.dead
}

// signal sends the node a signal.
func (p *process) signal(t testing.TB, s syscall.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		t.Fatalf("%v: %v\n%s", s, err, &p.log)
	}
}

// alive fails the test where the node has ended by itself.
func (p *process) alive(t testing.TB) {
	t.Helper()
	select {
	case <-p.dead:
		t.Fatalf("the node died by itself: %v\n%s", p.err, &p.log)
	default:
	}
}

// killed reports whether the node's end was a SIGKILL.
func (p *process) killed() bool {
	<-p.dead
	var exit *exec.ExitError
	if !errors.As(p.err, &exit) {
		return false
	}
	status, ok := exit.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGKILL
}

// until asks f every few milliseconds for d at most; f's last error says what is still missing.
func until(d time.Duration, f func() error) error { return untilEvery(20*time.Millisecond, d, f) }

// untilEvery is until with another time between two questions, for one that is much work.
func untilEvery(pause, d time.Duration, f func() error) error {
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for end := time.Now().Add(d); ; <-tick.C {
		err := f()
		if err == nil || time.Now().After(end) {
			return err
		}
	}
}
