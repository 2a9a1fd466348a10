package registry

import (
	"io"
	"net"
	"sync"
	"testing"
)

// proxy is the network between a node and an etcd; it can be cut and mended.
type proxy struct {
	addr string

	mu    sync.Mutex
	etcd  string
	cut   bool
	conns map[net.Conn]bool
	work  sync.WaitGroup
}

// startProxy is one to the shared etcd.
func startProxy(t *testing.T) *proxy { return startProxyTo(t, shared) }

func startProxyTo(t *testing.T, etcd string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{addr: l.Addr().String(), etcd: etcd, conns: map[net.Conn]bool{}}
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

// to mends the network and has it lead to another etcd.
func (p *proxy) to(etcd string) {
	p.mu.Lock()
	p.etcd = etcd
	p.mu.Unlock()
	p.set(false)
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
	p.mu.Lock()
	etcd := p.etcd
	p.mu.Unlock()
	far, err := net.Dial("tcp", etcd)
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
