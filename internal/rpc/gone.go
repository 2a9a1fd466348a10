package rpc

import (
	"time"

	"waybill/internal/fault"
)

// ErrCallerGone is the cause (context.Cause) of a request's context that ended because nobody could hear the reply any more: the
// caller's connection broke, or it gave its reply subject up. Its code is that of a deadline, and what a handler leaves behind is the same.
var ErrCallerGone error = fault.New(fault.DeadlineExceeded, "nobody waits for this request any more; ask again with the same id to learn its outcome")

// LookForGone is how often CancelGone and Rest are to be called.
const LookForGone = 250 * time.Millisecond

// unheardFor is a little less than there is between two looks.
const unheardFor = LookForGone * 4 / 5

// CancelGone cancels the requests at work whose callers have gone: that arrived LookForGone ago or before, and on whose reply subject
// nobody has listened since a call that was 200 ms ago or more. Meanwhile a caller whose connection broke may come back. heard reports
// whether anybody listens to a subject; it is asked of slow requests only, and must not block. It returns how many were cancelled.
// One goroutine may call it at a time.
func (s *Server) CancelGone(now time.Time, heard func(reply string) bool) int {
	if s.limit.count() == 0 {
		return 0
	}
	gone := 0
	for _, c := range s.workers.slow(now.Add(-LookForGone)) {
		switch {
		case heard(c.reply):
			c.unheard = time.Time{}
		case c.unheard.IsZero():
			c.unheard = now
		case now.Sub(c.unheard) < unheardFor: // looks that were due may come all at once
		case c.giveUp():
			gone++
		}
	}
	return gone
}

// Rest lets go, every LookForGone, workers that many requests at once have left behind. One goroutine may call it at a time.
func (s *Server) Rest() { s.workers.rest() }

// slow are the contexts of the requests at work that arrived before a time.
func (w *workers) slow(before time.Time) (out []*boundedContext) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for own := range w.all {
		if c := own.at.Load(); c != nil && c.arrived.Before(before) {
			out = append(out, c)
		}
	}
	return out
}

// giveUp ends the context with ErrCallerGone, unless its request is over.
func (c *boundedContext) giveUp() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over || c.Context.Err() != nil {
		return false
	}
	c.gone.Add(1)
	c.abandon(ErrCallerGone) // with mu held: once the request is over, the worker's parent context is another's
	return true
}
