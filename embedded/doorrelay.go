package embedded

import (
	"container/list"
	"errors"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"waybill/internal/poll"
)

// The buffer of each direction of a relay, which grows with what comes.
const (
	firstBuffer = 1 << 10
	lastBuffer  = 64 << 10
)

// farewellTime is how long a connection that the server has ended stays open for the client to read why.
const farewellTime = 500 * time.Millisecond

// relay joins a client's connection and one to the server within the process. When one of them ends, both do.
type relay struct {
	door    *door
	from    string // the client's address
	began   time.Time
	writing atomic.Int64  // when the write to the client that is under way began, in ns since began; 0: there is none
	place   *list.Element // among the newcomers; nil once it has said something; guarded by door.mu

	in    *intake
	out   *outlet
	heard sync.WaitGroup // the goroutine that hears the server

	mu      sync.Mutex
	outside net.Conn
	inside  net.Conn // nil until there is one
	ended   bool
	lent    bool   // the goroutine that hears the client does something else
	lends   uint64 // how often so far
	looked  uint64 // lends at the last look
}

// run greets the client and relays until one of the two ends.
func (r *relay) run() {
	d := r.door
	in, out := poll.Wrap(r.outside, d.poll), r.outside
	var inside net.Conn
	var err error
	if d.greet == nil {
		inside, err = r.enter()
	} else {
		in, inside, err = d.greet(in, r.enter)
		out = in
	}
	if err != nil {
		if !errors.Is(err, net.ErrClosed) { // by the door, or the server that stops
			d.log.Warn().Err(err).Str("from", r.from).Msg("a NATS client was turned away")
		}
		r.over()
		return
	}
	r.out = newOutlet(out, r)
	r.in = newIntake(r, in, inside)
	r.heard.Go(func() { r.fromServer(inside) })
	r.fromClient()
}

// fromClient carries what the client says, and ends the relay, unless another goroutine has taken its place.
func (r *relay) fromClient() {
	if !r.in.hear() {
		return
	}
	r.heard.Wait()
	r.end()
	r.out.close()
	r.over()
}

// over is the end of the relay's last goroutine.
func (r *relay) over() {
	r.end()
	r.door.forget(r)
	r.door.running.Done()
}

// enter connects to the server.
func (r *relay) enter() (net.Conn, error) {
	inside, err := r.door.inside()
	if err != nil {
		return nil, net.ErrClosed // the server stops
	}
	if !r.join(inside) {
		inside.Close()
		return nil, net.ErrClosed
	}
	if r.door.secure {
		return newSecured(inside, r.from, r.door.log), nil
	}
	return inside, nil
}

// join makes inside a part of what end closes; not after end.
func (r *relay) join(inside net.Conn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.inside = inside
	return !r.ended
}

// end closes both connections; what runs for them ends soon.
func (r *relay) end() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended {
		return
	}
	r.ended = true
	r.outside.Close()
	if r.inside != nil {
		r.inside.Close()
	}
	r.replace() // what is served where it was read may not end
}

// lend has the goroutine that hears the client do something in between. It is not back where that took so long that another one has
// taken its place.
func (r *relay) lend(f func()) (back bool) {
	r.mu.Lock()
	if r.ended {
		r.mu.Unlock()
		return true
	}
	r.lends++
	mine := r.lends
	r.lent = true
	r.mu.Unlock()
	runtime.Gosched() // a client that always has more to say would keep the processor for 10 ms
	f()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.lends != mine || !r.lent {
		return false
	}
	r.lent = false
	return true
}

// relieve puts another goroutine in the place of one that is lent since the last look.
func (r *relay) relieve() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.lends == r.looked {
		r.replace()
	}
	r.looked = r.lends
}

// replace puts another goroutine in the place of one that is lent. The caller holds mu.
func (r *relay) replace() {
	if r.lent {
		r.lent = false
		go r.fromClient()
	}
}

// fromServer carries what the server says. When the server ends the connection, the client has a moment to read why: what it has sent
// meanwhile must be read then, as the system would throw away what it has not read yet.
func (r *relay) fromServer(inside net.Conn) {
	defer func() {
		r.out.refuse()
		_ = r.out.conn.SetReadDeadline(time.Now().Add(farewellTime))
		if c, ok := r.out.conn.(interface{ CloseWrite() error }); ok {
			_ = c.CloseWrite()
		}
	}()
	buf := make([]byte, firstBuffer)
	for {
		n, err := inside.Read(buf)
		if n > 0 && r.out.write(buf[:n]) != nil {
			return
		}
		if err != nil {
			return
		}
		buf = grown(buf, n)
	}
}

// write writes to the client; the door looks how long that takes. One goroutine at a time does it.
func (r *relay) write(conn net.Conn, b []byte) error {
	r.writing.Store(int64(time.Since(r.began)))
	defer r.writing.Store(0)
	_, err := conn.Write(b)
	return err
}

// grown is a larger buffer where the last read filled this one.
func grown(buf []byte, n int) []byte {
	if n < len(buf) || n >= lastBuffer {
		return buf
	}
	return make([]byte, 2*len(buf))
}
