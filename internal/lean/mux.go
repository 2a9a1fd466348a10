package lean

import (
	"context"
	"strconv"
	"sync"

	"github.com/nats-io/nats.go"
)

// mux gives each request a reply subject and each reply to its request. The subjects are used again, as the server remembers
// those that it has seen: one that got its reply serves another request. One whose request was given up serves none until the
// late reply has come, so a reply is never taken for another's. It relies on one reply at most for each request.
type mux struct {
	prefix string // of the reply subjects, with the dot at its end

	mu    sync.Mutex
	slots []*Pending
	free  []*Pending
	err   error // why no reply will come any more
}

// Pending is a request that waits for its reply. Wait must be called once.
type Pending struct {
	mux     *mux
	slot    int
	subject string
	reply   chan result // holds one

	state state // guarded by mux.mu
}

type state uint8

const (
	idle    state = iota
	waiting       // for its reply
	givenUp       // nobody waits any more, and the reply may still come
)

type result struct {
	msg Msg
	err error
}

func newMux(prefix string) *mux { return &mux{prefix: prefix} }

// begin takes a free slot.
func (m *mux) begin() (*Pending, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err != nil {
		return nil, m.err
	}
	var p *Pending
	if n := len(m.free); n > 0 {
		p = m.free[n-1]
		m.free = m.free[:n-1]
	} else {
		p = &Pending{mux: m, slot: len(m.slots), reply: make(chan result, 1)}
		p.subject = m.prefix + strconv.Itoa(p.slot)
		m.slots = append(m.slots, p)
	}
	p.state = waiting
	return p, nil
}

// cancel takes back a begin whose request was not sent.
func (m *mux) cancel(p *Pending) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if p.state == waiting {
		p.state = idle
		m.free = append(m.free, p)
	}
}

// deliver hands a message on to the request that its subject belongs to. A reply that nobody asked for is dropped.
func (m *mux) deliver(subject []byte, msg Msg) {
	slot, ok := number(subject[min(len(m.prefix), len(subject)):])
	m.mu.Lock()
	defer m.mu.Unlock()
	if !ok || slot >= len(m.slots) {
		return
	}
	p := m.slots[slot]
	switch p.state {
	case waiting:
		p.state = idle
		p.reply <- result{msg: msg} // Wait frees the slot
	case givenUp:
		p.state = idle
		m.free = append(m.free, p)
	}
}

// fail ends every request: no reply will come.
func (m *mux) fail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err != nil {
		return
	}
	m.err = err
	for _, p := range m.slots {
		if p.state == waiting {
			p.state = idle
			p.reply <- result{err: err}
		}
	}
}

// Wait returns the reply. Errors: nats.ErrNoResponders where nobody serves the subject; ctx's own when it ends first, and
// nats.ErrDisconnected when the connection breaks: the request may have been carried out then.
func (p *Pending) Wait(ctx context.Context) (Msg, error) {
	select {
	case r := <-p.reply:
		return p.end(r)
	case <-ctx.Done():
	}
	m := p.mux
	m.mu.Lock()
	if p.state == waiting {
		p.state = givenUp
		m.mu.Unlock()
		return Msg{}, ctx.Err()
	}
	m.mu.Unlock()
	return p.end(<-p.reply) // it came at the same moment
}

func (p *Pending) end(r result) (Msg, error) {
	m := p.mux
	m.mu.Lock()
	m.free = append(m.free, p)
	m.mu.Unlock()
	if r.err == nil && len(r.msg.Data) == 0 && r.msg.Status() == "503" {
		return Msg{}, nats.ErrNoResponders
	}
	return r.msg, r.err
}

// number reads a decimal number of at most nine digits.
func number(b []byte) (n int, ok bool) {
	if len(b) == 0 || len(b) > 9 {
		return 0, false
	}
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int(c-'0')
	}
	return n, true
}
