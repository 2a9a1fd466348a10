package lean

import (
	"bufio"
	"context"
	crand "crypto/rand"
	"crypto/tls"
	"fmt"
	"hash/maphash"
	"maps"
	"math/rand/v2"
	"net"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"

	"waybill/internal/sleep"
)

// Options of a Conn.
type Options struct {
	Name string // shown by the server
	// Servers are the URLs of the server, or of some of a cluster's, separated by commas and tried in turn: nats:// or tcp://,
	// tls://, ws://, wss://, and unix:// with the path of a socket. Those that a server tells of are tried too, but none beyond 32.
	Servers string
	// Dial makes the connections in place of Servers.
	Dial  func(ctx context.Context) (net.Conn, error)
	Login Login
	// TLS secures every connection; without it, tls:// and wss:// are secured, and what the server wants so, by the system's
	// certificates.
	TLS *tls.Config
	// Wrap, which may be nil, wraps each socket that Servers led to, before anything else, such as TLS, lies on it.
	Wrap func(net.Conn) net.Conn
	// Inbox is the prefix of the reply subjects, without a dot at its end; the user must be allowed to subscribe to all below it.
	Inbox string
	// Local, which may be nil, delivers requests to other connections of this process, and theirs to this one. May says which of them
	// the user may send: the server is not asked.
	Local *Local
	May   func(subject string) bool
	// Once has a connection that is broken stay so. Otherwise it is dialled again until Close.
	Once bool
	// Lost is told each time the connection breaks, but not of Close. It must return soon. May be nil.
	Lost func(error)
	Log  zerolog.Logger
}

const (
	dialTimeout  = 5 * time.Second
	pingInterval = 3 * time.Second
	maxUnheard   = 2 // pings without an answer, after which the connection counts as broken
	shortestWait = 20 * time.Millisecond
	longestWait  = time.Second
	refusedWait  = 30 * time.Second // the longest after the server has refused who connects
)

// Conn is a connection to a NATS server. Its methods are safe for concurrent use. Requests that wait when it breaks fail; it comes
// back by itself, to the next of its servers, and with it the subscriptions. A server that is about to stop closes the connection,
// which goes on elsewhere then. Where it is refused for who connects, every request says so, and it is tried again with growing
// pauses: a new file of credentials, or a change at the server, may mend it.
//
// Nothing is kept for who reads too slowly: a request has one reply, with a place of its own, and a subscription's function holds
// up the reading of the connection until it returns. What waits to be sent is bounded; Start and Publish fail beyond that, and wait
// for a socket that is full for 50 ms at most.
type Conn struct {
	o      Options
	cancel context.CancelFunc // ends the dialling
	done   chan struct{}      // closed when its goroutine has ended

	current  atomic.Pointer[session] // nil while it is broken
	refused  atomic.Pointer[error]   // why the last try to come back ended, where the server refused who connects
	closed   atomic.Bool
	draining atomic.Bool
	payload  atomic.Int64
	sessions atomic.Uint64

	mu      sync.Mutex
	servers []address             // the next to be tried is the first
	subs    map[int]*subscription // that the next session begins with
	nextID  int
}

var _ Bus = (*Conn)(nil)

const repliesID = 1 // the subscription of the replies

// Dial connects. ctx bounds that alone. Errors: the dial's, the server's refusal (Unauthorized tells that of who connects), ctx's.
func Dial(ctx context.Context, o Options) (*Conn, error) {
	c := &Conn{o: o, done: make(chan struct{}), subs: make(map[int]*subscription), nextID: repliesID, servers: []address{{scheme: "nats"}}}
	if o.Dial == nil {
		var err error
		if c.servers, err = addresses(o.Servers); err != nil {
			return nil, err
		}
	}
	s, err := c.connect(ctx)
	if err != nil {
		return nil, err
	}
	running, cancel := context.WithCancel(context.WithoutCancel(ctx)) // until Close
	c.cancel = cancel
	go c.run(running, s)
	return c, nil
}

// run reads until Close, over one session after another.
func (c *Conn) run(ctx context.Context, s *session) {
	defer close(c.done)
	for s != nil {
		if c.closed.Load() {
			s.conn.Close() // Close may have looked before this session was there
		}
		var beside sync.WaitGroup
		beside.Go(s.flusher)
		beside.Go(s.watch)
		err := s.read()
		c.current.CompareAndSwap(s, nil)
		if c.closed.Load() {
			err = nats.ErrConnectionClosed
		}
		s.fail(err)
		beside.Wait()
		if c.closed.Load() {
			return
		}
		c.o.Log.Warn().Err(err).Str("connection", c.o.Name).Msg("the connection to NATS was lost")
		if c.o.Lost != nil {
			c.o.Lost(err)
		}
		if c.o.Once {
			return
		}
		s = c.again(ctx)
	}
}

// again dials until it succeeds; nil when the connection was closed.
func (c *Conn) again(ctx context.Context) *session {
	defer c.refused.Store(nil)
	for wait := shortestWait; ; {
		if !sleep.For(ctx, wait/2+rand.N(wait)) { // not all clients of a server at once
			return nil
		}
		s, err := c.connect(ctx)
		if err == nil {
			return s
		}
		longest, level := longestWait, zerolog.DebugLevel
		if Unauthorized(err) {
			longest, level = refusedWait, zerolog.WarnLevel
			c.refused.Store(&err)
		} else {
			c.refused.Store(nil)
		}
		wait = min(2*wait, longest)
		c.o.Log.WithLevel(level).Err(err).Str("connection", c.o.Name).Msg("there is no connection to NATS; it is tried again")
	}
}

// connect makes a session with the first of the servers that takes it, with every subscription.
func (c *Conn) connect(ctx context.Context) (*session, error) {
	var failed error
	servers := c.turn()
	for i, a := range servers {
		most := dialTimeout
		if deadline, ok := ctx.Deadline(); ok {
			most = min(most, time.Until(deadline)/time.Duration(len(servers)-i)) // none takes the time of those behind it
		}
		s, err := c.try(ctx, a, most)
		switch {
		case err == nil:
			return s, nil
		case ctx.Err() != nil && failed == nil:
			return nil, err
		case ctx.Err() != nil:
			return nil, failed
		case failed == nil:
			failed = err
		default:
			failed = fmt.Errorf("%w; %w", failed, err)
		}
	}
	return nil, failed
}

// turn are the servers in the order in which they are to be tried: where the connection was comes last.
func (c *Conn) turn() []address {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.servers)
}

// try makes a session with one server.
func (c *Conn) try(ctx context.Context, a address, most time.Duration) (*session, error) {
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	conn, under, err := c.reach(ctx, a)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	s := &session{
		c: c, at: a, conn: conn, under: under, in: bufio.NewReaderSize(conn, readBuffer), kick: make(chan struct{}, 1), quit: make(chan struct{}),
		seed: maphash.MakeSeed(), mux: newMux(c.o.Inbox + "." + crand.Text() + "."),
	}
	if err = c.greet(ctx, s); err == nil {
		err = c.join(s, func() error {
			if stop() {
				return nil
			}
			return ctx.Err()
		})
	}
	if err != nil {
		stop()
		conn.Close()
		return nil, err
	}
	return s, nil
}

// join sends the subscriptions of a new session and makes it the current one, unless stay says that it ends: no request may begin on
// a session that nobody reads.
func (c *Conn) join(s *session, stay func() error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	lines := fmt.Appendf(nil, "SUB %s* %d\r\n", s.mux.prefix, repliesID)
	s.subs = maps.Clone(c.subs)
	for _, sub := range c.subs {
		lines = sub.line(lines)
	}
	if _, err := s.conn.Write(lines); err != nil {
		return err
	}
	if err := stay(); err != nil {
		return err
	}
	if i := slices.Index(c.servers, s.at); i >= 0 {
		c.servers = slices.Concat(c.servers[i+1:], c.servers[:i+1])
	}
	c.sessions.Add(1)
	s.under.bound() // from now on there is a flusher
	c.current.Store(s)
	return nil
}

// Start implements Link.
func (c *Conn) Start(subject string, h Header, data []byte) (*Pending, error) {
	s := c.current.Load()
	if s == nil {
		return nil, c.away()
	}
	if c.draining.Load() {
		return nil, nats.ErrConnectionDraining
	}
	p, reply, err := s.mux.begin(subject, h)
	if err != nil {
		return nil, err
	}
	if s.hearing.instead(s.mux, subject) {
		return p, nil
	}
	if hearer, ok := c.o.Local.find(subject); ok && int64(len(h)+len(data)) <= c.payload.Load() && c.o.May(subject) {
		// Two goroutines that wake each other in turn keep their processor for 10 ms: others have theirs before each request.
		runtime.Gosched()
		hearer.Deliver(reply, slices.Concat(h, data), len(h), s.mux, false)
		return p, nil
	}
	if err := c.send(s, subject, reply, h, data, true); err != nil {
		s.mux.cancel(p)
		return nil, err
	}
	return p, nil
}

// Request is Start and Wait.
func (c *Conn) Request(ctx context.Context, subject string, h Header, data []byte) (Msg, error) {
	p, err := c.Start(subject, h, data)
	if err != nil {
		return Msg{}, err
	}
	return p.Wait(ctx)
}

// Publish implements Link. It must not be called by a subscription's function: Later is for that.
func (c *Conn) Publish(subject string, h Header, data []byte) error {
	return c.publish(subject, "", h, data, true)
}

// Ask implements Bus. It must not be called by a subscription's function.
func (c *Conn) Ask(subject, reply string, data []byte) error {
	if reply == "" {
		return nats.ErrBadSubject
	}
	return c.publish(subject, reply, nil, data, true)
}

// Later implements Bus.
func (c *Conn) Later(subject string, h Header, data []byte) error {
	return c.publish(subject, "", h, data, false)
}

func (c *Conn) publish(subject, reply string, h Header, data []byte, now bool) error {
	s := c.current.Load()
	if s == nil {
		return c.away()
	}
	return c.send(s, subject, reply, h, data, now)
}

func (c *Conn) send(s *session, subject, reply string, h Header, data []byte, now bool) error {
	if !validSubject(subject) || reply != "" && !validSubject(reply) {
		return nats.ErrBadSubject
	}
	if int64(len(h)+len(data)) > c.payload.Load() {
		return nats.ErrMaxPayload
	}
	return s.publish(subject, reply, h, data, now)
}

func (c *Conn) away() error {
	if c.closed.Load() {
		return nats.ErrConnectionClosed
	}
	if refused := c.refused.Load(); refused != nil {
		return fmt.Errorf("%w: %w", nats.ErrDisconnected, *refused)
	}
	return nats.ErrDisconnected
}

// Flush implements Bus.
func (c *Conn) Flush(ctx context.Context) error {
	s := c.current.Load()
	if s == nil {
		return c.away()
	}
	pong := make(chan struct{})
	if err := s.ping("", func() { close(pong) }); err != nil {
		return err
	}
	select {
	case <-pong:
		return nil
	case <-s.quit:
		return nats.ErrDisconnected
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Connected implements Link.
func (c *Conn) Connected() bool { return c.current.Load() != nil }

// MaxPayload implements Link.
func (c *Conn) MaxPayload() int64 { return c.payload.Load() }

// Sessions counts the connections that were made, the first included.
func (c *Conn) Sessions() uint64 { return c.sessions.Load() }

// Server is the URL that the connection stands to, without what authorizes; empty while it is broken.
func (c *Conn) Server() string {
	s := c.current.Load()
	if s == nil || c.o.Dial != nil {
		return ""
	}
	return s.at.String()
}

// Drain ends the connection when what is under way is over: nothing new is heard, no request is taken any more, and those that wait
// get their replies, until ctx ends. Meanwhile functions of subscriptions go on to publish. Error: ctx's, where it ended first.
func (c *Conn) Drain(ctx context.Context) error {
	defer c.Close()
	c.draining.Store(true)
	c.mu.Lock()
	subs := slices.Collect(maps.Values(c.subs))
	c.mu.Unlock()
	for _, sub := range subs {
		_ = sub.stop() // its error is a connection that is broken: nothing more comes of it
	}
	s := c.current.Load()
	if s == nil || c.Flush(ctx) != nil { // what came before is handed over
		return ctx.Err()
	}
	select {
	case <-s.mux.drained():
	case <-ctx.Done():
		return ctx.Err()
	}
	_ = c.Flush(ctx) // what was published in answer is sent; its error is a connection that is broken, or ctx's
	return ctx.Err()
}

// Close ends the connection; requests that wait fail. It returns when nothing of it runs any more. Closing twice is fine.
func (c *Conn) Close() {
	c.closed.Store(true)
	c.cancel()
	if s := c.current.Load(); s != nil {
		s.conn.Close()
	}
	<-c.done
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, sub := range c.subs {
		c.o.Local.remove(sub)
	}
}
