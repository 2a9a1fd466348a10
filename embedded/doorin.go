package embedded

import (
	"bytes"
	stdjson "encoding/json" // the server's own decoder
	"errors"
	"io"
	"net"
	"strings"
	"sync/atomic"

	"waybill/internal/lean"
)

const (
	maxLine    = 4 << 10  // bytes of a line of the protocol, as the server has it
	maxLocal   = 32 << 10 // bytes of a message that is delivered within the process
	maxInboxes = 32       // subscriptions of one connection to inboxes
)

// intake hears a client, and reads what it says as far as it takes to deliver requests within the process: those of a client with a
// client's rights to a service that nobody else hears, for a reply to an inbox that the same connection hears once. All else goes to the
// server as it came, and so does everything behind what this doesn't know: the server alone judges what a client says. One goroutine at a
// time uses it.
type intake struct {
	relay  *relay
	from   net.Conn
	server io.WriteCloser
	out    *outlet
	local  *locals

	spoken  bool // the client has said a line
	raw     bool // nothing is read any more
	greeted bool // the first line was read
	passing int  // bytes of a payload that are yet to come
	inboxes []*inbox
}

func newIntake(r *relay, from net.Conn, server io.WriteCloser) *intake {
	return &intake{relay: r, from: from, server: server, out: r.out, local: r.door.local, raw: r.door.local == nil}
}

// hear carries what the client says until there is no more; false where another goroutine has taken this one's place. It needs no
// deadlines: the server takes what it is sent, or ends the connection; what the client says after that is read and dropped.
func (t *intake) hear() (over bool) {
	buf, held := make([]byte, firstBuffer), 0
	for {
		n, err := t.from.Read(buf[held:])
		n += held
		if !t.spoken && bytes.IndexByte(buf[:n], '\n') >= 0 {
			t.spoken = true
			t.relay.door.heard(t.relay)
		}
		taken, ok := t.take(buf[:n])
		if !ok {
			return false
		}
		if err != nil {
			t.server.Close()
			return true
		}
		if held = copy(buf, buf[taken:n]); held == len(buf) || n == len(buf) && n < lastBuffer {
			buf = append(buf[:held], make([]byte, 2*len(buf)-held)...)
		}
	}
}

// request is a message that can be delivered within the process.
type request struct {
	hearer lean.Hearer
	inbox  *inbox
	reply  []byte
	header int // bytes
	size   int // bytes of header and payload
}

// take goes through what was read and returns how much of it is done with. The rest is the beginning of a line, or of a request. It is
// not ok once another goroutine has taken this one's place: then nothing here is this one's any more.
func (t *intake) take(b []byte) (taken int, ok bool) {
	alone := true     // there was no other request
	begin, at := 0, 0 // of what is for the server, and of what is not looked at yet
	for at < len(b) && !t.raw {
		if t.passing > 0 {
			at += t.skip(b[at:])
			continue
		}
		line := b[at : at+bytes.IndexByte(b[at:], '\n')+1]
		if len(line) == 0 && len(b)-at <= maxLine && strings.IndexByte("CHPSU", b[at]) >= 0 {
			t.to(b[begin:at])
			return at, true
		}
		q, ok := t.line(line)
		if !ok {
			at += len(line)
			continue
		}
		from, to := at+len(line), at+len(line)+q.size
		if len(b) < to+len(crlf) {
			t.to(b[begin:at])
			return at, true
		}
		if string(b[to:to+len(crlf)]) != crlf {
			t.raw = true
			break
		}
		if bytes.Contains(b[from:from+q.header], []byte(traceHeaders)) {
			at = to + len(crlf)
			continue
		}
		t.to(b[begin:at])
		at = to + len(crlf)
		begin = at
		reply, block := string(q.reply), bytes.Clone(b[from:to])
		if alone && at == len(b) {
			return at, t.relay.lend(func() { q.hearer.Deliver(reply, block, q.header, q.inbox, true) })
		}
		alone = false
		q.hearer.Deliver(reply, block, q.header, q.inbox, false)
	}
	t.to(b[begin:])
	return len(b), true
}

// skip passes by a payload, and returns how much of it there is. It ends as the server wants it to, or nothing more is read.
func (t *intake) skip(b []byte) int {
	n := min(max(t.passing-len(crlf), 0), len(b))
	t.passing -= n
	for ; n < len(b) && t.passing > 0; n++ {
		t.raw = t.raw || b[n] != crlf[len(crlf)-t.passing]
		t.passing--
	}
	return n
}

// to hands on what is for the server.
func (t *intake) to(b []byte) {
	if len(b) > 0 {
		_, _ = t.server.Write(b)
	}
}

const (
	crlf = "\r\n"
	// traceHeaders begin the headers by which the server is asked to tell where a message goes, or would go.
	traceHeaders = "Nats-Trace-"
)

// line reads one line. ok means a request that can be delivered within the process, once it is there as a whole.
func (t *intake) line(line []byte) (q request, ok bool) {
	words, ended := bytes.CutSuffix(line, []byte(crlf))
	op, rest, _ := bytes.Cut(words, []byte(" "))
	if !ended || len(line) > maxLine || bytes.ContainsAny(rest, "\r\t") {
		t.raw = true // also a line of no end
		return q, false
	}
	first := !t.greeted
	t.greeted = true
	known := true
	switch string(op) {
	case "CONNECT":
		known = first && t.local.isClient(rest)
	case "PUB":
		q, ok, known = t.publish(rest, false)
	case "HPUB":
		q, ok, known = t.publish(rest, true)
	case "SUB":
		known = t.subscribe(rest)
	case "UNSUB":
		known = t.unsubscribe(rest)
	case "PING", "PONG":
	default:
		known = false
	}
	t.raw = !known || first && string(op) != "CONNECT"
	return q, ok && !t.raw
}

// publish reads a message's line. Where it is not one to deliver within the process, its payload passes by.
func (t *intake) publish(words []byte, withHeader bool) (q request, ok, known bool) {
	var f [4][]byte
	n := fields(words, f[:])
	fixed := 2
	if withHeader {
		fixed = 3
	}
	if n != fixed && n != fixed+1 {
		return q, false, false
	}
	size, sized := lean.Decimal(f[n-1])
	if withHeader {
		var bounded bool
		q.header, bounded = lean.Decimal(f[n-2])
		sized = sized && bounded && q.header <= size
	}
	if !sized {
		return q, false, false
	}
	if q.size = size; n == fixed+1 && size <= min(maxLocal, t.local.payload) && t.out.verified.Load() {
		q.reply = f[1]
		if q.inbox = t.inbox(q.reply); q.inbox != nil {
			q.hearer, ok = t.local.find(f[0])
		}
	}
	if !ok {
		t.passing = size + len(crlf)
	}
	return q, ok, true
}

// fields splits words at spaces into f and says how many there are; len(f)+1 where there are more.
func fields(words []byte, f [][]byte) int {
	n := 0
	for len(words) > 0 {
		word, rest, _ := bytes.Cut(words, []byte(" "))
		if words = rest; len(word) == 0 {
			continue
		}
		if n == len(f) {
			return n + 1
		}
		f[n] = word
		n++
	}
	return n
}

// inbox is a subscription of the client's to which replies come: to one subject, to all one below a prefix, or to everything there.
type inbox struct {
	out    *outlet
	prefix string
	below  byte // what stands behind the prefix: * or >; 0 for nothing
	sid    string
	// servers is one whose messages the server must see: it counts them, as there is an end after some, or shares them out within a queue
	// group; or the client does not hear it any more.
	servers atomic.Bool
}

var errServers = errors.New("the server must see the reply")

func (i *inbox) matches(reply []byte) bool {
	if len(reply) < len(i.prefix) || string(reply[:len(i.prefix)]) != i.prefix {
		return false
	}
	rest := reply[len(i.prefix):]
	switch i.below {
	case '*':
		return len(rest) > 0 && bytes.IndexByte(rest, '.') < 0
	case '>':
		return len(rest) > 0
	}
	return len(rest) == 0
}

// Answer implements lean.Answerer.
func (i *inbox) Answer(reply string, h lean.Header, data []byte) error {
	if i.servers.Load() {
		return errServers
	}
	return i.out.answer(reply, i.sid, h, data)
}

// inbox is the one that hears the reply; nil where there is none, or more than one, or the server has to see to it.
func (t *intake) inbox(reply []byte) (found *inbox) {
	for _, i := range t.inboxes {
		if i.matches(reply) {
			if found != nil || i.servers.Load() {
				return nil
			}
			found = i
		}
	}
	return found
}

// subscribe notes an inbox. A pattern that this can't tell apart from one is not known.
func (t *intake) subscribe(words []byte) (known bool) {
	var f [3][]byte
	n := fields(words, f[:])
	if n != 2 && n != 3 {
		return false
	}
	prefix, below := string(f[0]), byte(0)
	if rest, ok := strings.CutSuffix(prefix, ".*"); ok {
		prefix, below = rest+".", '*'
	} else if rest, ok := strings.CutSuffix(prefix, ".>"); ok {
		prefix, below = rest+".", '>'
	}
	switch {
	case strings.ContainsAny(prefix, "*>"):
		return false
	case !strings.HasPrefix(prefix, clientInbox):
		return true
	case len(t.inboxes) == maxInboxes:
		return false
	}
	for _, i := range t.inboxes {
		if i.sid == string(f[n-1]) {
			return false // the server has its own mind about an id that is given twice
		}
	}
	i := &inbox{out: t.out, prefix: prefix, below: below, sid: string(f[n-1])}
	i.servers.Store(n == 3)
	t.inboxes = append(t.inboxes, i)
	return true
}

// unsubscribe notes that an inbox ends, at once or after some messages.
func (t *intake) unsubscribe(words []byte) (known bool) {
	var f [2][]byte
	n := fields(words, f[:])
	if n != 1 && n != 2 {
		return false
	}
	kept := t.inboxes[:0]
	for _, i := range t.inboxes {
		if i.sid == string(f[0]) {
			i.servers.Store(true)
		}
		if i.sid != string(f[0]) || n == 2 {
			kept = append(kept, i)
		}
	}
	clear(t.inboxes[len(kept):])
	t.inboxes = kept
	return true
}

// isClient reports whether a CONNECT makes the client one with a client's rights, if the server lets it in, and asks for nothing that
// the server alone does. It reads what the server reads.
func (l *locals) isClient(words []byte) bool {
	var c struct {
		Verbose  bool   `json:"verbose"`
		Pedantic bool   `json:"pedantic"`
		Headers  bool   `json:"headers"`
		Nkey     string `json:"nkey"`
	}
	c.Verbose, c.Pedantic = true, true // where the client does not say
	return stdjson.Unmarshal(words, &c) == nil && !c.Verbose && !c.Pedantic && c.Headers && (c.Nkey == "" || c.Nkey == l.clientKey)
}
