package lean

import (
	"bufio"
	"bytes"
	"errors"
	"hash/maphash"
	"io"
	"net"
	"runtime"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	readBuffer  = 32 << 10
	keptBuffer  = 256 << 10 // write buffers up to this size are used again
	maxBuffered = 16 << 20  // bytes that may wait to be written
	maxMessage  = 64 << 20
	keptReply   = 128 // bytes of a reply subject that is kept
	longCrowd   = 8   // writes that wait for others after one that took the messages of several
	seldom      = 32  // one of so many writes waits for others in any case, to see whether there are any
)

// errCongested is returned while too much waits to be written: the server does not read.
var errCongested = errors.New("too much waits to be sent to the NATS server")

// session is a Conn's life from one dial to the next break.
type session struct {
	c       *Conn
	at      address
	conn    net.Conn
	under   *socket // of conn
	secured bool
	in      *bufio.Reader
	mux     *mux
	hearing hearing
	kick    chan struct{} // holds at most one: something waits to be written
	quit    chan struct{} // closed when the session has failed
	seed    maphash.Seed
	replies [512]string // of the reader alone

	mu      sync.Mutex
	out     []byte // waits to be written
	spare   []byte
	writing bool
	behind  bool                  // writing, and left to the flusher
	waiting int                   // messages in out
	crowd   int                   // above 0 where others have lately had something to write at the same time
	flushes uint                  // so far
	pongs   []func()              // what the answers to the pings that are under way bring about, in order
	subs    map[int]*subscription // that the server may send for
	err     error                 // final
}

// publish appends a message to what is to be written. With now the caller writes it, together with what others have appended,
// unless somebody is writing already.
func (s *session) publish(subject, reply string, h Header, data []byte, now bool) error {
	s.mu.Lock()
	if err := s.refused(); err != nil {
		s.mu.Unlock()
		return err
	}
	s.out = AppendMessage(s.out, "PUB ", subject, reply, h, data)
	s.waiting++
	s.written(now)
	return nil
}

// AppendMessage appends a message as the protocol has it: the operation with a space behind it, which gets an H before it where there is
// a header, the subject, what stands behind that (a reply subject or a subscription's id) unless it is empty, the lengths, header and data.
func AppendMessage(b []byte, op, subject, behind string, h Header, data []byte) []byte {
	if len(h) > 0 {
		b = append(b, 'H')
	}
	b = append(append(b, op...), subject...)
	if behind != "" {
		b = append(append(b, ' '), behind...)
	}
	if len(h) > 0 {
		b = strconv.AppendInt(append(b, ' '), int64(len(h)), 10)
	}
	b = strconv.AppendInt(append(b, ' '), int64(len(h)+len(data)), 10)
	b = append(append(b, crlf...), h...)
	return append(append(b, data...), crlf...)
}

// answer answers the server's ping.
func (s *session) answer() error {
	s.mu.Lock()
	if err := s.refused(); err != nil {
		s.mu.Unlock()
		return err
	}
	s.out = append(s.out, "PONG\r\n"...)
	s.written(false)
	return nil
}

func (s *session) refused() error {
	if s.err == nil && len(s.out) > maxBuffered {
		return errCongested
	}
	return s.err
}

// written sees to what was appended. It is called with mu held, and releases it.
func (s *session) written(now bool) {
	if now && !s.writing {
		s.flush()
		return
	}
	wake := !s.writing
	s.mu.Unlock()
	if wake {
		s.wake()
	}
}

func (s *session) wake() {
	select {
	case s.kick <- struct{}{}:
	default:
	}
}

// flush writes once what waits. Where there is a crowd it lets others run first, so that one write takes what they have to send, too:
// a system call costs more than a request. It is called with mu held and writing false, and releases mu.
func (s *session) flush() {
	s.writing = true
	s.flushes++
	if yield := s.crowd > 0 || s.flushes%seldom == 0; yield {
		s.mu.Unlock()
		runtime.Gosched()
		s.mu.Lock()
		s.crowd--
	}
	if s.waiting > 1 {
		s.crowd = longCrowd
	}
	s.crowd = max(s.crowd, 0)
	s.waiting = 0
	out := s.out
	if len(out) == 0 {
		s.writing = false
		s.mu.Unlock()
		return
	}
	s.out, s.spare = s.spare[:0], nil
	s.mu.Unlock()
	s.under.begin()
	_, err := s.conn.Write(out)
	s.under.end()
	s.mu.Lock()
	if cap(out) <= keptBuffer {
		s.spare = out
	}
	s.behind = err == nil && s.under.behind.Load()
	s.writing = s.behind
	more := len(s.out) > 0 || s.behind
	s.mu.Unlock()
	if err != nil {
		s.conn.Close() // the reader tells of it
	} else if more {
		s.wake()
	}
}

// flusher writes what others have left.
func (s *session) flusher() {
	for {
		select {
		case <-s.kick:
			s.mu.Lock()
			switch {
			case s.behind:
				s.catchUp()
			case s.writing:
				s.mu.Unlock() // who writes wakes this again
			default:
				s.flush()
			}
		case <-s.quit:
			return
		}
	}
}

// catchUp writes what the socket has kept, and then what waits. It is called with mu held and behind true, and releases mu.
func (s *session) catchUp() {
	s.behind = false // and writing, until it is done
	s.mu.Unlock()
	err := s.under.finish()
	s.mu.Lock()
	s.writing = false
	if err != nil {
		s.mu.Unlock()
		s.conn.Close() // the reader tells of it
		return
	}
	s.flush()
}

// watch closes the connection when the server does not answer any more; that ends a write that hangs, too.
func (s *session) watch() {
	tick := time.NewTicker(pingInterval)
	defer tick.Stop()
	unheard := 0 // guarded by mu
	for {
		select {
		case <-tick.C:
		case <-s.quit:
			return
		}
		s.mu.Lock()
		if unheard >= maxUnheard {
			s.mu.Unlock()
			s.conn.Close()
			return
		}
		unheard++
		s.mu.Unlock()
		if s.ping("", func() { unheard = 0 }) != nil {
			continue // too much waits to be written: that counts, too
		}
	}
}

// ping sends a line, which may be empty, and a ping; when the server has answered, and so has taken the line, pong is called with
// mu held.
func (s *session) ping(line string, pong func()) error {
	s.mu.Lock()
	if err := s.refused(); err != nil {
		s.mu.Unlock()
		return err
	}
	s.pongs = append(s.pongs, pong)
	s.out = append(append(s.out, line...), "PING\r\n"...)
	s.written(false)
	return nil
}

func (s *session) pong() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.pongs) > 0 {
		s.pongs[0]()
		s.pongs = s.pongs[1:]
	}
}

// hear tells the server of a subscription.
func (s *session) hear(sub *subscription) error {
	s.mu.Lock()
	if err := s.refused(); err != nil {
		s.mu.Unlock()
		return err
	}
	s.subs[sub.id] = sub
	s.out = sub.line(s.out)
	s.written(false)
	return nil
}

// forget ends a subscription; what the server sends until it has heard of that is still handed over.
func (s *session) forget(sub *subscription) error {
	return s.ping("UNSUB "+strconv.Itoa(sub.id)+crlf, func() { delete(s.subs, sub.id) })
}

func (s *session) subscription(id int) *subscription {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.subs[id]
}

// fail ends the session.
func (s *session) fail(err error) {
	s.conn.Close()
	gone := nats.ErrDisconnected
	if errors.Is(err, nats.ErrConnectionClosed) {
		gone = nats.ErrConnectionClosed
	}
	s.mu.Lock()
	s.err, s.out = gone, nil
	s.mu.Unlock()
	close(s.quit)
	s.mux.fail(gone)
}

// read takes what comes, until the connection breaks. Its error is what the server said before, where it said something.
func (s *session) read() error {
	var said error
	for {
		line, err := s.in.ReadSlice('\n')
		if err != nil {
			if said != nil {
				return said
			}
			return err
		}
		switch {
		case bytes.HasPrefix(line, []byte("MSG ")):
			err = s.message(line[len("MSG "):], false)
		case bytes.HasPrefix(line, []byte("HMSG ")):
			err = s.message(line[len("HMSG "):], true)
		case bytes.HasPrefix(line, []byte("PING")):
			err = s.answer()
		case bytes.HasPrefix(line, []byte("PONG")):
			s.pong()
		case bytes.HasPrefix(line, []byte("INFO ")):
			_, err = s.c.heed(s, line)
		case bytes.HasPrefix(line, []byte("-ERR")):
			// The server closes the connection itself where the error is one that ends it.
			refused := refusal(line)
			if subject := forbidden(refused); subject != "" {
				s.mux.refuse(subject, refused)
			} else if !errors.Is(refused, nats.ErrPermissionViolation) {
				said = refused
			}
			s.hearing.heed(s.mux, refused)
			s.c.o.Log.Warn().Err(refused).Str("connection", s.c.o.Name).Msg("the NATS server reports an error")
		}
		if err != nil {
			return err
		}
	}
}

var errProtocol = errors.New("the server sent what is not the NATS protocol")

// reply is a reply subject as a string. Callers use their subjects again, so each of the last ones is kept where its hash says.
func (s *session) reply(subject []byte) string {
	if len(subject) > keptReply {
		return string(subject)
	}
	known := &s.replies[maphash.Bytes(s.seed, subject)%uint64(len(s.replies))]
	if *known != string(subject) {
		*known = string(subject)
	}
	return *known
}

// message reads a message: subject, subscription, reply (optional), length of the header (with one), length of all.
func (s *session) message(line []byte, withHeader bool) error {
	var f [5][]byte
	n := 0
	for line = bytes.TrimRight(line, crlf); len(line) > 0; n++ {
		if n == len(f) {
			return errProtocol
		}
		end := bytes.IndexByte(line, ' ')
		if end < 0 {
			f[n], line = line, nil
			continue
		}
		f[n], line = line[:end], line[end+1:]
	}
	fixed := 3
	if withHeader {
		fixed = 4
	}
	if n != fixed && n != fixed+1 {
		return errProtocol
	}
	id, ok := Decimal(f[1])
	size, ok2 := Decimal(f[n-1])
	head := 0
	if withHeader {
		var ok3 bool
		head, ok3 = Decimal(f[n-2])
		ok2 = ok2 && ok3
	}
	if !ok || !ok2 || head > size || size > maxMessage {
		return errProtocol
	}
	// What stands in the line is gone with the next read.
	var subject [256]byte
	name := append(subject[:0], f[0]...)
	msg := Msg{}
	if n == fixed+1 {
		msg.Reply = s.reply(f[2])
	}
	body := make([]byte, size)
	if _, err := io.ReadFull(s.in, body); err != nil {
		return err
	}
	if _, err := s.in.Discard(len(crlf)); err != nil {
		return err
	}
	msg.Data = body[head:]
	if head > 0 {
		msg.header = Header(body[:head])
	}
	if id == repliesID {
		slot, turn, ok := slotOf(name, len(s.mux.prefix))
		s.mux.deliver(slot, turn, ok, msg)
		return nil
	}
	if sub := s.subscription(id); sub != nil {
		if msg.Subject = sub.subject; string(name) != sub.subject {
			msg.Subject = string(name)
		}
		sub.handle(msg)
	}
	return nil
}
