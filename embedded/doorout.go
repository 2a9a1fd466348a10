package embedded

import (
	"bytes"
	"errors"
	"net"
	"runtime"
	"sync"
	"sync/atomic"

	"waybill/internal/lean"
	"waybill/internal/poll"
)

const (
	maxReplies = 256 << 10 // bytes of replies that wait for a client; others go by the server, which ends a client that does not read
	keptReply  = 64 << 10  // bytes of memory for replies that are used again
	maxRounds  = 8         // batches that one reply writes
	longCrowd  = 8         // replies that wait for others after one that took others along
	seldom     = 32        // one of so many waits for others in any case, to see whether there are any
)

var errFull = errors.New("the client has not read what came before")

// outlet writes to a client: what the server says, and between its messages replies from within the process. Who replies never waits
// for the client.
type outlet struct {
	conn  net.Conn
	try   func([]byte) (int, error) // writes what the system takes at once; nil where conn has no such thing
	relay *relay

	verified atomic.Bool // the server has let the client in

	mu      sync.Mutex
	idle    sync.Cond // of mu: nobody writes
	writing bool
	awaited bool   // by what the server says
	within  bool   // the server's last word has not ended
	lost    bool   // where the server's words end
	replies []byte // wait to be written
	waiting int    // of them
	spare   []byte
	crowd   int  // above 0 where several have lately replied at the same time
	writes  uint // by who replied

	// Of the goroutine that hears the server:
	passing int    // bytes of a payload that are yet to come
	line    []byte // the beginning of a line
}

func newOutlet(conn net.Conn, r *relay) *outlet {
	o := &outlet{conn: conn, try: poll.TryWrite(conn), relay: r}
	o.idle.L = &o.mu
	return o
}

// write writes what the server says, and returns when that is done. Replies that wait are written before it, and those that have come
// meanwhile are left to another goroutine: neither waits for the end of the other.
func (o *outlet) write(b []byte) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	for o.writing {
		o.awaited = true
		o.idle.Wait()
	}
	o.writing, o.awaited = true, false
	var err error
	if len(o.replies) > 0 && !o.within {
		out := o.batch()
		err = o.put(out)
		o.keep(out)
	}
	if err == nil {
		o.follow(b)
		err = o.put(b)
	}
	if err == nil && len(o.replies) > 0 && !o.within {
		go o.finish(nil)
		return nil
	}
	o.stop()
	return err
}

// put writes while mu is released. The caller holds mu, and writes.
func (o *outlet) put(b []byte) error {
	o.mu.Unlock()
	defer o.mu.Lock()
	return o.relay.write(o.conn, b)
}

// batch takes the replies that wait.
func (o *outlet) batch() []byte {
	out := o.replies
	o.replies, o.spare, o.waiting = o.spare[:0], nil, 0
	return out
}

func (o *outlet) keep(out []byte) {
	if cap(out) <= keptReply {
		o.spare = out
	}
}

// stop ends a writing. The caller holds mu.
func (o *outlet) stop() {
	o.writing = false
	o.idle.Signal()
}

// answer writes a reply, or leaves it to who writes already. It does not wait for the client.
func (o *outlet) answer(subject, sid string, h lean.Header, data []byte) error {
	o.mu.Lock()
	if o.lost || len(o.replies) > maxReplies {
		o.mu.Unlock()
		return errFull
	}
	o.replies = lean.AppendMessage(o.replies, "MSG ", subject, sid, h, data)
	o.waiting++
	if o.writing || o.within || o.awaited {
		o.mu.Unlock()
		return nil
	}
	o.writing = true
	o.deliver()
	return nil
}

// deliver writes what waits, as much as the client's socket takes at once; what is left is written aside. Where several reply it lets
// others run first, so that one write takes what they have to say, too. It is called with mu held, and releases it.
func (o *outlet) deliver() {
	if o.writes++; o.crowd > 0 || o.writes%seldom == 0 {
		o.crowd--
		o.mu.Unlock()
		runtime.Gosched()
		o.mu.Lock()
	}
	if o.waiting > 1 {
		o.crowd = longCrowd
	}
	o.crowd = max(o.crowd, 0)
	var rest []byte
	var err error
	for round := 0; len(o.replies) > 0 && len(rest) == 0 && round < maxRounds && o.try != nil; round++ {
		out := o.batch()
		o.mu.Unlock()
		var n int
		n, err = o.try(out)
		o.mu.Lock()
		if rest = out[n:]; len(rest) == 0 || err != nil {
			o.keep(out)
		}
	}
	switch {
	case err != nil:
		defer o.relay.end()
		fallthrough
	case len(rest) == 0 && len(o.replies) == 0:
		o.stop()
	default:
		go o.finish(rest) // until which nobody else writes
	}
	o.mu.Unlock()
}

// finish writes the rest of a batch and what has come since, until the server has something to say.
func (o *outlet) finish(rest []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	defer o.stop()
	for len(rest) > 0 || len(o.replies) > 0 && !o.awaited {
		if len(rest) == 0 {
			rest = o.batch()
		}
		if o.put(rest) != nil {
			o.relay.end()
			return
		}
		rest = nil
	}
}

// follow notes where b, which the server says, leaves off. The caller holds mu.
func (o *outlet) follow(b []byte) {
	for len(b) > 0 && !o.lost {
		if o.passing > 0 {
			n := min(o.passing, len(b))
			o.passing -= n
			b = b[n:]
			continue
		}
		line, rest, ended := bytes.Cut(b, []byte("\n"))
		if !ended || len(o.line) > 0 {
			o.line = append(o.line, line...)
			line = o.line
		}
		if b = rest; !ended {
			o.lost = len(o.line) > lastBuffer
			break
		}
		o.line = o.line[:0]
		switch {
		case bytes.HasPrefix(line, []byte("MSG ")), bytes.HasPrefix(line, []byte("HMSG ")):
			line = bytes.TrimSuffix(line, []byte("\r"))
			size, ok := lean.Decimal(line[bytes.LastIndexByte(line, ' ')+1:])
			o.passing, o.lost = size+len(crlf), !ok
		case bytes.HasPrefix(line, []byte("PONG")):
			o.verified.Store(true)
		}
	}
	o.within = o.passing > 0 || len(o.line) > 0 || o.lost
}

// refuse ends the replies: the server ends the client.
func (o *outlet) refuse() {
	o.verified.Store(false) // no more requests
	o.mu.Lock()
	defer o.mu.Unlock()
	o.lost = true
}

// close ends the replies and returns when nothing is written any more. The connection is closed before.
func (o *outlet) close() {
	o.refuse()
	o.mu.Lock()
	defer o.mu.Unlock()
	for o.writing {
		o.idle.Wait()
	}
}
