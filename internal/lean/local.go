package lean

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"
)

// Local delivers messages within the process: where the only one that hears a subject is a member of a queue group on one of the
// process's own connections to a server, a message to it need not go through that server. It is safe for concurrent use.
type Local struct {
	heard func(subject string) int

	mu    sync.Mutex
	heads atomic.Pointer[map[string][]*subscription] // by subject; never changed, only replaced
}

// Answerer takes the reply to a message that was delivered within the process. It is safe for concurrent use and does not wait; header
// and data may be used again when it returns. Its error means that the reply must go through the server.
type Answerer interface {
	Answer(reply string, h Header, data []byte) error
}

// NewLocal makes one for connections to the same account of one server. heard says how many subscriptions the server has for a subject
// there, from wherever; it is asked for each message, and must not block.
func NewLocal(heard func(subject string) int) *Local {
	l := &Local{heard: heard}
	l.heads.Store(new(map[string][]*subscription))
	return l
}

// add makes a subscription one that messages are delivered to; not one of all that a subject brings to everybody.
func (l *Local) add(sub *subscription) {
	if l != nil && sub.queue != "" {
		l.change(sub.subject, func(subs []*subscription) []*subscription { return append(slices.Clone(subs), sub) })
	}
}

func (l *Local) remove(sub *subscription) {
	if l != nil && sub.queue != "" {
		l.change(sub.subject, func(subs []*subscription) []*subscription {
			return slices.DeleteFunc(slices.Clone(subs), func(s *subscription) bool { return s == sub })
		})
	}
}

func (l *Local) change(subject string, how func([]*subscription) []*subscription) {
	l.mu.Lock()
	defer l.mu.Unlock()
	heads := maps.Clone(*l.heads.Load())
	if heads == nil {
		heads = make(map[string][]*subscription)
	}
	if heads[subject] = how(heads[subject]); len(heads[subject]) == 0 {
		delete(heads, subject)
	}
	l.heads.Store(&heads)
}

// Hearer is where messages to a subject may be delivered; its zero value is nowhere.
type Hearer struct{ sub *subscription }

// Find is the hearer of a subject; false where there is none within the process, or others hear the subject, too.
func (l *Local) Find(subject []byte) (Hearer, bool) {
	if l == nil {
		return Hearer{}, false
	}
	return l.alone((*l.heads.Load())[string(subject)])
}

func (l *Local) find(subject string) (Hearer, bool) {
	if l == nil {
		return Hearer{}, false
	}
	return l.alone((*l.heads.Load())[subject])
}

func (l *Local) alone(subs []*subscription) (Hearer, bool) {
	if len(subs) != 1 || !subs[0].c.Connected() || l.heard(subs[0].subject) != 1 {
		return Hearer{}, false
	}
	return Hearer{subs[0]}, true
}

// Subject is what the hearer hears.
func (h Hearer) Subject() string { return h.sub.subject }

// Deliver hands a message over, whose header is the first part of block. The block is the hearer's from now on. Other than what comes
// through the server, it may be delivered while another one is. With here it may return only when it is answered (Msg.Here).
func (h Hearer) Deliver(reply string, block []byte, header int, back Answerer, here bool) {
	h.sub.handle(Msg{Subject: h.sub.subject, Reply: reply, Data: block[header:], header: Header(block[:header:header]), back: back, here: here})
}

// Answer sends the reply to m by the way that m came, or else by send.
func (m Msg) Answer(h Header, data []byte, send func(subject string, h Header, data []byte) error) error {
	if m.back != nil && m.back.Answer(m.Reply, h, data) == nil {
		return nil
	}
	return send(m.Reply, h, data)
}

// Answer implements Answerer.
func (m *mux) Answer(reply string, h Header, data []byte) error {
	slot, turn, ok := slotOf(reply, len(m.prefix))
	block := slices.Concat(h, data)
	m.deliver(slot, turn, ok, Msg{Data: block[len(h):], header: Header(block[:len(h):len(h)])})
	return nil
}
