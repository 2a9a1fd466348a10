// Package poll makes connections whose reads look for data again and again for some microseconds before they wait to be woken:
// to wake a process takes longer than the answer to a small request. They do so only where it pays: where data mostly comes in
// that time, on few connections at once, and while the machine has a core to spare. A connection without traffic never polls.
package poll

import (
	"net"
	"runtime"
	"sync/atomic"
	"time"
)

// Bound is a good length for a read to poll: about what it takes to wake a process on a core that sleeps.
const Bound = 50 * time.Microsecond

const (
	full   = 64               // the most of a connection's score, and what it begins with
	gain   = 2                // what data that came in time adds to it; a try in vain takes one
	lively = time.Millisecond // a wait that was longer says that polling would not have helped

	// A connection whose score is used up tries again for one window of each period, which is all that a busy machine loses.
	period = 128 * time.Millisecond
	window = 4 * time.Millisecond
)

// polling counts the reads of the process that poll at the moment.
var polling atomic.Int32

// conn is a net.Conn that polls. One goroutine at a time polls; another one that reads meanwhile waits as usual.
type conn struct {
	net.Conn
	try   func(b []byte) (n int, err error, done bool) // reads what is there, or nothing
	bound time.Duration

	reading atomic.Bool   // guards what follows
	score   int           // of the last tries; it polls while this is above zero
	waited  time.Duration // by the last read that had to wait
}

// Wrap returns c with reads that poll for up to bound before they wait; c itself where bound is not above zero, where c has no
// read that does not wait, or where the process may use one core only. Deadlines and Close end a read that polls, within bound.
func Wrap(c net.Conn, bound time.Duration) net.Conn {
	if bound <= 0 || cores() < 2 {
		return c
	}
	try := tryRead(c)
	if try == nil {
		return c
	}
	return &conn{Conn: c, try: try, bound: bound, score: full}
}

// cores is how many the process may use: the runtime may have processors to spare for what waits for the disk.
func cores() int { return min(runtime.NumCPU(), runtime.GOMAXPROCS(0)) }

func (c *conn) Read(b []byte) (int, error) {
	if len(b) == 0 || !c.reading.CompareAndSwap(false, true) {
		return c.Conn.Read(b)
	}
	defer c.reading.Store(false)
	start := time.Now()
	if c.waited < lively && (c.score > 0 || trying(start)) {
		if n, err, done := c.poll(b, start); done {
			return n, err
		}
	}
	n, err := c.Conn.Read(b)
	c.waited = time.Since(start)
	return n, err
}

// trying reports whether it is time to find out whether polling pays again. It goes by the machine's clock, so that all processes
// find it out at the same time: between two that wait to be woken, one that polls gains nothing.
func trying(now time.Time) bool { return now.UnixNano()%int64(period) < int64(window) }

// poll reads what comes in time. Not done means that nothing came.
func (c *conn) poll(b []byte, start time.Time) (n int, err error, done bool) {
	if n, err, done = c.try(b); done {
		return n, err, true // without waiting: that says nothing of polling
	}
	// One core stays free for what else the process has to do.
	defer polling.Add(-1)
	if int(polling.Add(1)) >= cores() {
		return 0, nil, false
	}
	for last := start; ; {
		runtime.Gosched() // what makes the answer may wait for this core
		n, err, done = c.try(b)
		now := time.Now()
		switch {
		case now.Sub(last) > c.bound: // the core was taken away: it is needed for something else
			c.score = max(c.score-1, 0)
			return n, err, done
		case done:
			c.score = min(c.score+gain, full)
			return n, err, true
		case now.Sub(start) > c.bound:
			c.score = max(c.score-1, 0)
			return 0, nil, false
		}
		last = now
	}
}
