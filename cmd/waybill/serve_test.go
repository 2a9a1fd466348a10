package main

import (
	"bytes"
	"context"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// readyLog notices when a node says that it is ready.
type readyLog struct {
	buffer
	once  sync.Once
	ready chan struct{}
}

func (r *readyLog) Write(p []byte) (int, error) {
	n, err := r.buffer.Write(p)
	if bytes.Contains(p, []byte("ready in")) {
		r.once.Do(func() { close(r.ready) }) // whoever waits for it finds the line
	}
	return n, err
}

// TestServe runs a node as its operator does: it is found by the commands, refuses a second one, and stops when it is told to.
func TestServe(t *testing.T) {
	data := t.TempDir()
	flags := []string{"serve", "--data", data, "--nats-addr", "127.0.0.1:0", "--http-addr", "127.0.0.1:0", "--etcd-addr", "127.0.0.1:0"}
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	log := &readyLog{ready: make(chan struct{})}
	done := make(chan int, 1)
	go func() { done <- newProgram(strings.NewReader(""), io.Discard, log, nil).run(ctx, flags) }()
	select {
	case <-log.ready:
	case code := <-done:
		t.Fatalf("it ended with %d: %s", code, log)
	case <-time.After(30 * time.Second):
		t.Fatalf("it is not ready: %s", log)
	}
	for _, says := range []string{"nats listens", "http listens", "etcd listens", `"durability":"strict"`} {
		if !strings.Contains(log.String(), says) {
			t.Errorf("the log does not say %s: %s", says, log)
		}
	}
	environ := []string{"WAYBILL_DATA=" + data}
	step{args: "catalog list", out: `^\{"items":\[\],"next_cursor":""\}\n$`}.run(t, environ)
	step{args: strings.Join(flags, " "), code: 1, err: `^[a-z_]+: [^\n]*in use[^\n]*\n$`}.run(t, nil)

	begun := time.Now()
	interrupt()
	select {
	case code := <-done:
		if code != exitDone {
			t.Errorf("it ended with %d: %s", code, log)
		}
	case <-time.After(15 * time.Second):
		t.Fatal("it does not stop")
	}
	if took := time.Since(begun); took > 10*time.Second {
		t.Errorf("it took %s to stop", took)
	}
	if _, err := os.Stat(filepath.Join(data, "endpoints.json")); !os.IsNotExist(err) {
		t.Errorf("endpoints.json is still there: %v", err)
	}
}

func TestServeThatCannot(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	notADirectory := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(notADirectory, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	free := " --nats-addr 127.0.0.1:0 --http-addr 127.0.0.1:0 --etcd-addr 127.0.0.1:0"
	for _, s := range []step{
		{args: "serve --data " + t.TempDir() + strings.Replace(free, "--nats-addr 127.0.0.1:0", "--nats-addr "+taken.Addr().String(), 1), code: 1,
			err: `(^|\n)[a-z_]+: [^\n]*` + taken.Addr().String()},
		{args: "serve --data " + notADirectory + free, code: 1, err: `^[a-z_]+: [^\n]*` + notADirectory},
		{args: "serve --data " + t.TempDir() + strings.Replace(free, "--http-addr 127.0.0.1:0", "--http-addr 0.0.0.0:0", 1), code: 2, err: `http_addr`},
	} {
		s.run(t, nil)
	}
	step{args: "serve --data " + t.TempDir() + free, code: 2, err: `WAYBILL_NATS_ADR`}.run(t, []string{"WAYBILL_NATS_ADR=x"})
}
