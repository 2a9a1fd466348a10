package journal

import (
	"slices"
	"sync"
	"time"
)

// order keeps the events of a subject in order when one of them has to be tried again, and counts its tries. What it knows is
// bounded by the events in flight, and is this process's own: after a restart the count begins anew. Safe for concurrent use.
type order struct {
	patience time.Duration // how long an event that is due is waited for: another process of the same consumer may have got it
	mu       sync.Mutex
	lines    map[string]*line // by subject; only while something waits
}

// line is the events of a subject that were given back to the server and have to come again: the head failed, or is the next to
// be handled, and the others wait behind it.
type line struct {
	waiting []uint64  // sequences, ascending
	tries   int       // of the head
	due     time.Time // when the head comes again
}

func newOrder(patience time.Duration) *order {
	return &order{patience: patience, lines: make(map[string]*line)}
}

// tries is how often the event has failed so far.
func (o *order) tries(r Record) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	if l := o.lines[r.Subject]; l != nil && l.waiting[0] == r.Sequence {
		return l.tries
	}
	return 0
}

// settle forgets an event that is done with, and lets the next one go.
func (o *order) settle(r Record, now time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	l := o.lines[r.Subject]
	if l == nil {
		return
	}
	if i, ok := slices.BinarySearch(l.waiting, r.Sequence); ok {
		o.remove(r.Subject, l, i, now)
	}
}

// fail puts an event in line, to come again at the given time.
func (o *order) fail(r Record, tries int, due time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	l := o.lines[r.Subject]
	if l == nil {
		l = &line{}
		o.lines[r.Subject] = l
		o.prune(due)
	}
	l.insert(r.Sequence)
	if l.waiting[0] == r.Sequence {
		l.tries, l.due = tries, due
	}
}

// blocked reports whether r has to wait behind an earlier event of its subject, and for how long; it is in line then.
func (o *order) blocked(r Record, now time.Time) (time.Duration, bool) {
	const behind = 20 * time.Millisecond // so that the earlier one comes first
	o.mu.Lock()
	defer o.mu.Unlock()
	l := o.lines[r.Subject]
	for l != nil && now.After(l.due.Add(o.patience)) && l.waiting[0] < r.Sequence {
		o.remove(r.Subject, l, 0, now)
		l = o.lines[r.Subject]
	}
	if l == nil || r.Sequence <= l.waiting[0] {
		return 0, false
	}
	l.insert(r.Sequence)
	return max(l.due.Sub(now), 0) + behind, true
}

// prune forgets the lines in which nothing has come for long, once there are more than can be in flight.
func (o *order) prune(now time.Time) {
	if len(o.lines) <= 2*maxPending {
		return
	}
	for subject, l := range o.lines {
		if len(l.waiting) > 0 && now.After(l.due.Add(o.patience)) {
			delete(o.lines, subject)
		}
	}
}

// remove takes the i-th event out of a line.
func (o *order) remove(subject string, l *line, i int, now time.Time) {
	l.waiting = slices.Delete(l.waiting, i, i+1)
	if i == 0 {
		l.tries = 0
		if l.due.Before(now) {
			l.due = now
		}
	}
	if len(l.waiting) == 0 {
		delete(o.lines, subject)
	}
}

func (l *line) insert(sequence uint64) {
	if i, there := slices.BinarySearch(l.waiting, sequence); !there {
		l.waiting = slices.Insert(l.waiting, i, sequence)
	}
}
