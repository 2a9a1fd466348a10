package main

import (
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"waybill/internal/nodetest"
)

// A site is reached by a Unix socket that leads to its NATS server, for calls and for the journal.
func TestUnixSocket(t *testing.T) {
	n := nodetest.Start(t)
	nodetest.Stock(t, n.Client(t), 10, "espresso")
	dir, err := os.MkdirTemp("", "waybill") // t.TempDir is too long for a socket's name
	if err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(dir, "nats.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	t.Cleanup(func() { l.Close(); all.Wait(); os.RemoveAll(dir) })
	all.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", strings.TrimPrefix(n.URL(), "nats://"))
			if err != nil {
				in.Close()
				continue
			}
			copied := func(to, from net.Conn) { _, _ = io.Copy(to, from); to.Close(); from.Close() }
			all.Go(func() { copied(in, out) })
			all.Go(func() { copied(out, in) })
		}
	})
	environ := []string{"WAYBILL_SERVER=unix://" + socket, "HOME=" + t.TempDir()}
	step{args: "stock get espresso", out: `"on_hand":10`}.run(t, environ)
	step{args: "verify", out: `"violations":\[\]`}.run(t, environ)
	step{args: "stock get espresso --server unix:///nowhere/at.all", code: 1, err: "no waybill answers at unix:///nowhere/at.all"}.run(t, environ)
}
