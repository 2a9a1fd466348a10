package lean

import (
	"context"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
)

// mux gives each request a reply subject and each reply to its request. The subjects are used again, as the server remembers
// those that it has seen: one that got its reply serves another request. One whose request was given up is not: another takes its
// place, so that a late reply is never taken for another's. A second reply to the same request could be, where whoever else hears the
// subject answers, too: a request with a CallHeader takes no reply with another one.
type mux struct {
	prefix string // of the reply subjects, with the dot at its end

	mu      sync.Mutex
	slots   []*Pending
	free    []*Pending
	waiting int
	idle    chan struct{} // closed once nothing waits; nil while nobody asks
	err     error         // why no reply will come any more
	sweeper *time.Timer   // ends the requests whose time is over; nil until there is one
	swept   moment        // when it did so last

	next atomic.Int64 // the moment that the sweeper is set to; never where it is not
}

// Pending is a request that waits for its reply. Wait or WaitFor must be called once.
type Pending struct {
	mux   *mux
	slot  int
	reply chan result  // holds one
	until atomic.Int64 // the moment when its time is over; 0 for a request without

	// Guarded by mux.mu:
	subject string // of the reply
	turn    int    // counts the subjects that the slot had
	asked   string // the request's subject
	call    int    // the request's CallHeader; -1 for none
	waits   bool
}

type result struct {
	msg Msg
	err error
}

func newMux(prefix string) *mux {
	m := &mux{prefix: prefix}
	m.next.Store(never)
	return m
}

// begin takes a free slot for a request to the subject, and says where its reply is to come.
func (m *mux) begin(asked string, h Header) (p *Pending, reply string, err error) {
	call := h.call()
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err != nil {
		return nil, "", m.err
	}
	if n := len(m.free); n > 0 {
		p = m.free[n-1]
		m.free = m.free[:n-1]
	} else {
		p = &Pending{mux: m, slot: len(m.slots), reply: make(chan result, 1)}
		p.subject = m.prefix + strconv.Itoa(p.slot)
		m.slots = append(m.slots, p)
	}
	p.asked, p.call, p.waits = asked, call, true
	p.until.Store(0)
	m.waiting++
	return p, p.subject, nil
}

// over ends p's waiting. The caller holds mu.
func (m *mux) over(p *Pending) {
	p.waits = false
	if m.waiting--; m.waiting == 0 && m.idle != nil {
		close(m.idle)
		m.idle = nil
	}
}

// renew gives p another subject: a reply to the one that it had may still come. The caller holds mu.
func (m *mux) renew(p *Pending) {
	p.turn = (p.turn + 1) % maxTurns
	p.subject = m.prefix + strconv.Itoa(p.slot) + string(turnMark) + strconv.Itoa(p.turn)
}

const (
	turnMark = 't'
	maxTurns = 1_000_000_000 // Decimal reads nine digits
)

// cancel takes back a begin whose request was not sent.
func (m *mux) cancel(p *Pending) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if p.waits {
		m.over(p)
	} else {
		<-p.reply // it was ended meanwhile
	}
	m.free = append(m.free, p)
}

// slotOf reads the slot and its turn in a reply subject behind a prefix of so many bytes.
func slotOf[S string | []byte](subject S, prefix int) (slot, turn int, ok bool) {
	rest := subject[min(prefix, len(subject)):]
	for i := range len(rest) {
		if rest[i] == turnMark {
			slot, ok = Decimal(rest[:i])
			turn, again := Decimal(rest[i+1:])
			return slot, turn, ok && again
		}
	}
	slot, ok = Decimal(rest)
	return slot, 0, ok
}

// deliver hands a message on to the request that its subject belongs to. A reply that nobody waits for is dropped.
func (m *mux) deliver(slot, turn int, ok bool, msg Msg) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !ok || slot >= len(m.slots) {
		return
	}
	p := m.slots[slot]
	if p.call >= 0 {
		if call := msg.Call(); call >= 0 && call != p.call {
			return
		}
	}
	if p.waits && p.turn == turn {
		m.over(p)
		p.reply <- result{msg: msg} // Wait frees the slot
	}
}

// fail ends every request, for good: no reply will come.
func (m *mux) fail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err == nil {
		m.err = err
		if m.sweeper != nil {
			m.sweeper.Stop()
		}
		m.end(err, func(*Pending) bool { return true })
	}
}

// interrupt ends every request that waits; others may follow.
func (m *mux) interrupt(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.end(err, func(*Pending) bool { return true })
}

// refuse ends the requests to a subject that the server did not let through.
func (m *mux) refuse(asked string, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.end(err, func(p *Pending) bool { return p.asked == asked })
}

// end ends the waiting requests that are meant. The caller holds mu.
func (m *mux) end(err error, meant func(*Pending) bool) {
	for _, p := range m.slots {
		if p.waits && meant(p) {
			m.over(p)
			m.renew(p)
			p.reply <- result{err: err}
		}
	}
}

// drained is closed once no request waits.
func (m *mux) drained() <-chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.idle == nil {
		m.idle = make(chan struct{})
	}
	idle := m.idle
	if m.waiting == 0 {
		close(idle)
		m.idle = nil
	}
	return idle
}

// Wait returns the reply. Errors: nats.ErrNoResponders where nobody serves the subject; nats.ErrPermissionViolation where the
// server did not let the request through; ctx's own when it ends first, and nats.ErrDisconnected when the connection breaks: the
// request may have been carried out then.
func (p *Pending) Wait(ctx context.Context) (Msg, error) {
	done := ctx.Done()
	if done == nil {
		return p.end(<-p.reply)
	}
	select {
	case r := <-p.reply:
		return p.end(r)
	case <-done:
	}
	m := p.mux
	m.mu.Lock()
	if p.waits {
		m.over(p)
		m.renew(p)
		m.free = append(m.free, p)
		m.mu.Unlock()
		return Msg{}, ctx.Err()
	}
	m.mu.Unlock()
	return p.end(<-p.reply) // it came at the same moment
}

// WaitFor is Wait for no longer than a time, after which its error is context.DeadlineExceeded.
func (p *Pending) WaitFor(ctx context.Context, most time.Duration) (Msg, error) {
	p.mux.bound(p, most)
	return p.Wait(ctx)
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

// Decimal reads a decimal number of at most nine digits.
func Decimal[S string | []byte](b S) (n int, ok bool) {
	if len(b) == 0 || len(b) > 9 {
		return 0, false
	}
	for i := range len(b) {
		c := b[i]
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int(c-'0')
	}
	return n, true
}
