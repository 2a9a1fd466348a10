package registry

import (
	"io"
	"net"
	"sync"
	"testing"
)

// proxy is the network between a node and the shared etcd; it can be cut and mended.
type proxy struct {
	addr string

	mu    sync.Mutex
	cut   bool
	conns map[net.Conn]bool
	work  sync.WaitGroup
}

func startProxy(t *testing.T) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{addr: l.Addr().String(), conns: map[net.Conn]bool{}}
	p.work.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return // the listener was closed
			}
			p.work.Go(func() { p.relay(c) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		p.set(true)
		p.work.Wait()
	})
	return p
}

// set cuts or mends the network.
func (p *proxy) set(cut bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = cut
	for c := range p.conns {
		if cut {
			_ = c.Close()
		}
	}
}

func (p *proxy) add(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.cut {
		p.conns[c] = true
	}
	return !p.cut
}

func (p *proxy) relay(near net.Conn) {
	defer near.Close()
	far, err := net.Dial("tcp", shared)
	if err != nil {
		return
	}
	defer far.Close()
	if !p.add(near) || !p.add(far) {
		return
	}
	p.work.Go(func() {
		_, _ = io.Copy(far, near) // either end closing is how it ends
		_ = far.Close()
	})
	_, _ = io.Copy(near, far)
}
