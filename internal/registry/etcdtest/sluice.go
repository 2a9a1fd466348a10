package etcdtest

import (
	"net"
	"sync"
	"testing"
)

// Sluice is the network before an etcd: while it is shut nothing passes, and no connection breaks.
type Sluice struct {
	Addr string

	gate sync.RWMutex // held for writing while it is shut
	mu   sync.Mutex
	shut bool
	ends []net.Conn
}

// NewSluice opens a way to an address, until the test ends.
func NewSluice(t testing.TB, to string) *Sluice {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &Sluice{Addr: l.Addr().String()}
	var work sync.WaitGroup
	work.Go(func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return // the listener was closed
			}
			far, err := net.Dial("tcp", to)
			if err != nil {
				_ = near.Close()
				continue
			}
			s.mu.Lock()
			s.ends = append(s.ends, near, far)
			s.mu.Unlock()
			work.Go(func() { s.relay(near, far) })
			work.Go(func() { s.relay(far, near) })
		}
	})
	t.Cleanup(func() {
		s.Open()
		_ = l.Close()
		s.mu.Lock()
		for _, c := range s.ends {
			_ = c.Close()
		}
		s.mu.Unlock()
		work.Wait()
	})
	return s
}

func (s *Sluice) relay(from, to net.Conn) {
	defer from.Close()
	defer to.Close()
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		s.gate.RLock()
		_, werr := to.Write(buffer[:n])
		s.gate.RUnlock()
		if err != nil || werr != nil {
			return
		}
	}
}

// Shut stops all that passes; what comes waits.
func (s *Sluice) Shut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.shut {
		s.gate.Lock()
		s.shut = true
	}
}

// Open lets everything pass again, what has waited first.
func (s *Sluice) Open() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.shut {
		s.gate.Unlock()
		s.shut = false
	}
}
