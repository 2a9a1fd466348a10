package node_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"waybill/embedded"
	"waybill/internal/node"
	"waybill/internal/nodetest"
	"waybill/subjects"
)

// childEnv is set for a process of this test's binary that is to be a node and not a test; its value is a childOrder.
const childEnv = "WAYBILL_TEST_CHILD"

// childOrder says what a child is to do. It runs a node until its standard input ends, and kills itself where it is told to.
type childOrder struct {
	Dir    string `json:"dir"`
	Record string `json:"record,omitempty"` // a file that gets a line for every point passed
	Point  string `json:"point,omitempty"`  // where it kills itself,
	Nth    int    `json:"nth,omitempty"`    // at the n-th time, from 1
	Leaks  bool   `json:"leaks,omitempty"`  // fails when goroutines are left after the stop

	Join     string             `json:"join,omitempty"`     // the directory of the site's first process
	Services []subjects.Service `json:"services,omitempty"` // none: all
	Etcd     string             `json:"etcd,omitempty"`     // it runs an etcd on this address, and no node
	Waits    string             `json:"waits,omitempty"`    // it is a client of this address that waits for a setting to change
}

// beChild runs this process as a child, if it is one; TestMain asks first. The exit code is 0 after a clean stop.
func beChild() (isChild bool, code int) {
	text, ok := os.LookupEnv(childEnv)
	if !ok {
		return false, 0
	}
	var o childOrder
	err := json.Unmarshal([]byte(text), &o)
	if err == nil {
		err = o.run()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return true, 1
	}
	return true, 0
}

func (o childOrder) run() error {
	if o.Etcd != "" {
		return o.runEtcd()
	}
	if o.Waits != "" {
		return waitForChange(o.Waits)
	}
	hook, err := o.hook()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	config := nodetest.Config(o.Dir)
	config.Join = o.Join
	if len(o.Services) > 0 {
		config.Services = o.Services
	}
	n, err := node.Start(ctx, node.Options{Config: config, Version: "0.0.0", Log: zerolog.New(os.Stderr), Hook: hook})
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, os.Stdin)
	stopping, stop := context.WithTimeout(context.Background(), 10*time.Second)
	defer stop()
	if err := errors.Join(err, n.Stop(stopping)); err != nil || !o.Leaks {
		return err
	}
	return goleak.Find(lasting...)
}

// runEtcd is an etcd as a site may have it outside of it, which a test stops, hangs and kills, as a group of processes.
func (o childOrder) runEtcd() error {
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	disk := embedded.NewDisk(o.Dir, func() uint64 { return 0 }, nil)
	e, err := embedded.KeepEtcd(ctx, embedded.EtcdConfig{DataDir: filepath.Join(o.Dir, "etcd"), Addr: o.Etcd, Log: zerolog.New(os.Stderr)}, disk)
	if err != nil {
		return err
	}
	text, err := json.Marshal(node.Endpoints{NATS: "none", Etcd: "http://" + e.Addr()})
	if err == nil {
		file := filepath.Join(o.Dir, "endpoints.json")
		err = errors.Join(os.WriteFile(file+".new", text, 0o600), os.Rename(file+".new", file))
	}
	if err == nil {
		_, err = io.Copy(io.Discard, os.Stdin)
	}
	stopping, stop := context.WithTimeout(context.Background(), 10*time.Second)
	defer stop()
	return errors.Join(err, e.Stop(stopping))
}

// hook counts the points that are passed, writes them down, and kills the process at the one that was named.
func (o childOrder) hook() (func(string), error) {
	var record *os.File
	if o.Record != "" {
		var err error
		if record, err = os.OpenFile(o.Record, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600); err != nil {
			return nil, err
		}
	}
	var mu sync.Mutex
	passed := 0
	return func(point string) {
		mu.Lock()
		defer mu.Unlock()
		if record != nil {
			if _, err := record.WriteString(point + "\n"); err != nil {
				fmt.Fprintln(os.Stderr, err)
			}
		}
		if point != o.Point {
			return
		}
		if passed++; passed == o.Nth {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL) // no return from this: others that pass wait for mu until the end
			select {}
		}
	}, nil
}

// child is a running child as its parent sees it.
type child struct {
	order childOrder
	cmd   *exec.Cmd
	stdin io.WriteCloser
	log   *strings.Builder // its standard error; to be read after dead
	dead  chan struct{}    // closed when the process has ended
	err   error            // of its end; to be read after dead
}

// startChild starts a child. It ends with the test at the latest.
func startChild(t testing.TB, o childOrder) *child {
	t.Helper()
	text, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	// A former life's announcement must not be taken for this one's.
	if err := os.Remove(filepath.Join(o.Dir, "endpoints.json")); err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	c := &child{order: o, cmd: exec.Command(self, "-test.run=^$"), log: new(strings.Builder), dead: make(chan struct{})}
	c.cmd.Env = append(os.Environ(), childEnv+"="+string(text))
	c.cmd.Stderr = c.log
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: o.Etcd != ""}
	if c.stdin, err = c.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(c.dead)
		c.err = c.cmd.Wait()
	}()
	t.Cleanup(c.kill)
	return c
}

// url waits until the child is ready; it is empty where the child has died before.
func (c *child) url(t testing.TB) string {
	t.Helper()
	return c.endpoints(t).NATS
}

// endpoints are where the child listens, once it is ready; all are empty where it has died before.
func (c *child) endpoints(t testing.TB) (e node.Endpoints) {
	t.Helper()
	err := until(60*time.Second, func() error {
		select {
		case <-c.dead:
			return nil
		default:
		}
		text, err := os.ReadFile(filepath.Join(c.order.Dir, "endpoints.json"))
		if err != nil {
			return err
		}
		return json.Unmarshal(text, &e)
	})
	if err != nil {
		t.Fatalf("the child did not become ready: %v", err)
	}
	return e
}

// pause stops the child as SIGSTOP does: it is there and does nothing. resume ends that.
func (c *child) pause(t testing.TB)  { c.signal(t, syscall.SIGSTOP) }
func (c *child) resume(t testing.TB) { c.signal(t, syscall.SIGCONT) }

func (c *child) signal(t testing.TB, s syscall.Signal) {
	t.Helper()
	pid := c.cmd.Process.Pid
	if c.order.Etcd != "" {
		pid = -pid // its group
	}
	if err := syscall.Kill(pid, s); err != nil {
		t.Fatal(err)
	}
}

// kill kills the child as the kernel would, and waits for its end.
func (c *child) kill() {
	_ = c.cmd.Process.Kill() // it may have ended by itself
	<-c.dead
}

// stop ends the child as SIGTERM ends a node, and returns what it had to complain of.
func (c *child) stop(t testing.TB) error {
	t.Helper()
	if err := c.stdin.Close(); err != nil {
		t.Fatal(err)
	}
	timer := time.NewTimer(20 * time.Second)
	defer timer.Stop()
	select {
	case <-c.dead:
	case <-timer.C:
		c.kill()
		t.Fatal("the child did not stop")
	}
	if c.err != nil {
		return fmt.Errorf("%w\n%s", c.err, c.log)
	}
	return nil
}

// killed reports whether the child's end was a SIGKILL: its own, at the point that it was told.
func (c *child) killed() bool {
	<-c.dead
	var exit *exec.ExitError
	if !errors.As(c.err, &exit) {
		return false
	}
	status, ok := exit.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGKILL
}
