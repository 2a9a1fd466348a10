// Package etcdtest runs etcd as a process of its own for tests, as Debian's etcd-server has it, and the network before it.
package etcdtest

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"
)

// patience is how long an etcd may take to answer, and to stop.
const patience = 20 * time.Second

// Program is the path of etcd or etcdctl. Where it is not installed the test is skipped, and says so on the standard error; in CI
// it fails.
func Program(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err == nil {
		return path
	}
	if os.Getenv("CI") == "true" {
		t.Fatalf("%s is not installed: CI needs the packages etcd-server and etcd-client", name)
	}
	fmt.Fprintf(os.Stderr, "SKIPPED %s: %s is not installed (Debian: etcd-server, etcd-client)\n", t.Name(), name)
	t.Skipf("%s is not installed", name)
	return ""
}

// Process is an etcd that runs.
type Process struct {
	Addr string // host:port for clients

	cmd  *exec.Cmd
	log  bytes.Buffer // to be read after dead
	dead chan struct{}
	once sync.Once
}

// Start starts an etcd on a directory and waits until it answers. addr is where it is to listen; port 0 is any free one.
func Start(dir, addr string) (*Process, error) {
	var err error
	for range 5 { // etcd can't be asked for any free port: another program may take the one that was found
		var p *Process
		if p, err = start(dir, addr); err == nil {
			return p, nil
		}
		if host, port, _ := net.SplitHostPort(addr); host == "" || port != "0" {
			return nil, err
		}
	}
	return nil, err
}

func start(dir, addr string) (*Process, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, err
	}
	p := &Process{Addr: l.Addr().String(), dead: make(chan struct{})}
	if err := l.Close(); err != nil {
		return nil, err
	}
	clients, peers := "http://"+p.Addr, "http://127.0.0.1:0"
	p.cmd = exec.Command("etcd", "--data-dir", dir, "--listen-client-urls", clients, "--advertise-client-urls", clients,
		"--listen-peer-urls", peers, "--initial-advertise-peer-urls", peers, "--initial-cluster", "default="+peers,
		"--heartbeat-interval", "10", "--election-timeout", "100", "--logger", "zap", "--log-level", "warn")
	p.cmd.Stderr = &p.log
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(p.dead)
		_ = p.cmd.Wait() // how it ended is for whoever ended it
	}()
	client := http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		select {
		case <-p.dead:
			return nil, fmt.Errorf("etcd ended by itself: %s", p.log.Bytes())
		default:
		}
		if res, err := client.Get(clients + "/health"); err == nil {
			_ = res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return p, nil
			}
		}
		if time.Now().After(end) {
			p.Kill()
			return nil, fmt.Errorf("etcd did not answer within %s: %s", patience, p.log.Bytes())
		}
	}
}

// Stop ends it as its operator would, and waits for its end. A second call does nothing.
func (p *Process) Stop() { p.end(os.Interrupt) }

// Kill ends it as the kernel would, and waits for its end.
func (p *Process) Kill() { p.end(os.Kill) }

func (p *Process) end(how os.Signal) {
	p.once.Do(func() {
		_ = p.cmd.Process.Signal(how) // it may have ended by itself
		select {
		case <-p.dead:
		case <-time.After(patience):
			_ = p.cmd.Process.Kill()
			<-p.dead
		}
	})
}

// Ctl runs etcdctl against it and returns what it printed.
func Ctl(t testing.TB, addr string, args ...string) string {
	t.Helper()
	cmd := exec.Command(Program(t, "etcdctl"), append([]string{"--endpoints", addr}, args...)...)
	cmd.Env = append(os.Environ(), "ETCDCTL_API=3")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("etcdctl %q: %v\n%s", args, err, out)
	}
	return string(out)
}
