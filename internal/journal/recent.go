package journal

import (
	"bytes"
	"context"
	"sync"
	"time"

	"waybill/internal/lean"
)

// What a Recent keeps at most: what a site at its limit writes in a second, some 25,000 events of 1.3 KB, where a reader that keeps
// up is behind by a fifth of one. It must not be scarce: a reader that has to ask the store takes longer for it, is further behind then,
// and finds nothing here any more until the load is over.
const (
	recentEvents = 32768
	recentBytes  = 40 << 20 // of headers and bodies
)

// Recent keeps what this process has appended to its store until the reader of the whole journal has taken it, so that the server
// need not send it back to where it came from. The journals of a process share one, and one reader at a time uses it; while there
// is none nothing is kept. What does not fit is not kept; that, what other processes wrote, batches, and what was written and not
// acknowledged, is read from the store. It must not outlive its store: after a power cut sequences may come back with other events.
// It is safe for concurrent use; the nil Recent keeps nothing.
type Recent struct {
	wake chan struct{} // holds at most one: the reader that waits has something to look at

	mu      sync.Mutex
	reading bool
	next    uint64                 // of the reader: what lies before it is not kept
	last    uint64                 // the highest sequence that was acknowledged since the reader came, kept or not
	bytes   int                    // of what is kept
	events  [recentEvents]*Message // by sequence modulo recentEvents, from next on
	waits   bool                   // the reader has seen nothing, and wants to be woken
	asked   bool                   // by hurry
}

// NewRecent makes a Recent.
func NewRecent() *Recent { return &Recent{wake: make(chan struct{}, 1)} }

// attach makes the caller the reader, from the sequence next on, until it calls detach. It is false where there is one already.
func (r *Recent) attach(next uint64) bool {
	if r == nil {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.reading {
		return false
	}
	r.reading, r.next, r.last, r.asked = true, next, 0, false
	return true
}

func (r *Recent) detach() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.reading, r.waits, r.bytes = false, false, 0
	clear(r.events[:])
}

// copyOf is the event that m will be once it is acknowledged, for add; nil where nobody reads. The header's memory is used again by
// others and is copied, the body is the record's.
func (r *Recent) copyOf(m *outgoing, as Record) *Message {
	if r == nil {
		return nil
	}
	r.mu.Lock()
	reading := r.reading
	r.mu.Unlock()
	if !reading {
		return nil
	}
	return &Message{Subject: m.subject, Header: lean.Header(bytes.Clone(m.wire())), Data: m.payload, hash: as.Hash, state: as.State}
}

// add keeps an event that the store has acknowledged with the sequence, in whatever order acknowledgements come.
func (r *Recent) add(m *Message, sequence uint64) {
	if m == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	m.Sequence = sequence
	if !r.reading || sequence < r.next {
		return // it came late, and was read from the store
	}
	r.last = max(r.last, sequence)
	if slot, size := r.slot(sequence), m.size(); *slot == nil && sequence-r.next < recentEvents && r.bytes+size <= recentBytes {
		*slot = m
		r.bytes += size
	}
	r.rouse()
}

// hurry has the reader look at once for what the barrier knows to be durable.
func (r *Recent) hurry() {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked = r.reading
	r.rouse()
}

// rouse wakes the reader if it waits. r.mu is held.
func (r *Recent) rouse() {
	if !r.waits {
		return
	}
	r.waits = false
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// wait returns true when there is something to look at, or ctx has ended, and false after a while without. from has shown nothing
// before.
func (r *Recent) wait(ctx context.Context, most time.Duration) bool {
	timer := time.NewTimer(most)
	defer timer.Stop()
	select {
	case <-r.wake:
	case <-ctx.Done():
	case <-timer.C:
		return false
	}
	return true
}

// from lets go of what lies before next, and returns the events from there on up to the first that is not kept, at most so many.
// missing tells that a later one than that is acknowledged; asked, that somebody was in a hurry since the last call.
func (r *Recent) from(next uint64, most int) (batch []Message, missing, asked bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pass(next)
	n := 0
	for n < most && *r.slot(next + uint64(n)) != nil {
		n++
	}
	if n > 0 {
		batch = make([]Message, n)
		for i := range batch {
			batch[i] = **r.slot(next + uint64(i))
		}
	}
	missing, asked = n < most && next+uint64(n) <= r.last, r.asked
	r.asked = false
	r.waits = n == 0 && !missing && !asked
	return batch, missing, asked
}

// pass lets go of what lies before next. r.mu is held.
func (r *Recent) pass(next uint64) {
	for s := r.next; s < min(next, r.next+recentEvents); s++ {
		if slot := r.slot(s); *slot != nil {
			r.bytes -= (*slot).size()
			*slot = nil
		}
	}
	r.next = max(r.next, next)
}

func (r *Recent) slot(sequence uint64) **Message { return &r.events[sequence%recentEvents] }

// size is what an event of copyOf takes, in bytes.
func (m *Message) size() int {
	h, _ := m.Header.(lean.Header)
	return len(m.Subject) + len(h) + len(m.Data)
}
