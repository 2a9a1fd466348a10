package lean

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"
)

// Options of a Conn.
type Options struct {
	Name string                                      // shown by the server
	Dial func(ctx context.Context) (net.Conn, error) // a new connection to the server
	Key  string                                      // the user's public nkey
	Sign func(nonce []byte) ([]byte, error)          // with the nkey's seed
	// Inbox is the prefix of the reply subjects, without a dot at its end; the user must be allowed to subscribe to all below it.
	Inbox string
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
)

// Conn is a connection to a NATS server. Its methods are safe for concurrent use. Requests that wait when it breaks fail; it comes
// back by itself, and with it the subscriptions.
type Conn struct {
	o      Options
	cancel context.CancelFunc // ends the dialling
	done   chan struct{}      // closed when its goroutine has ended

	current  atomic.Pointer[session] // nil while it is broken
	closed   atomic.Bool
	payload  atomic.Int64
	sessions atomic.Uint64

	mu     sync.Mutex
	subs   map[int]*subscription // that the next session begins with
	nextID int
}

var _ Bus = (*Conn)(nil)

// subscription is what a Conn hears.
type subscription struct {
	c              *Conn
	id             int
	subject, queue string
	handle         func(Msg)
}

const repliesID = 1 // the subscription of the replies

// Dial connects. ctx bounds that alone. Errors: the dial's, the server's refusal, ctx's.
func Dial(ctx context.Context, o Options) (*Conn, error) {
	c := &Conn{o: o, done: make(chan struct{}), subs: make(map[int]*subscription), nextID: repliesID}
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
	for wait := shortestWait; ; wait = min(2*wait, longestWait) {
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil
		}
		s, err := c.connect(ctx)
		if err == nil {
			return s
		}
		c.o.Log.Debug().Err(err).Str("connection", c.o.Name).Msg("NATS can't be reached; it is tried again")
	}
}

// connect makes a session, with every subscription.
func (c *Conn) connect(ctx context.Context) (*session, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	conn, err := c.o.Dial(ctx)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	s := &session{
		c: c, conn: conn, in: bufio.NewReaderSize(conn, readBuffer), kick: make(chan struct{}, 1), quit: make(chan struct{}),
		mux: newMux(c.o.Inbox + "." + rand.Text() + "."),
	}
	if err = c.greet(s); err == nil {
		err = c.join(s)
	}
	if !stop() && err == nil {
		c.current.CompareAndSwap(s, nil)
		err = ctx.Err()
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return s, nil
}

// join sends the subscriptions of a new session and makes it the current one.
func (c *Conn) join(s *session) error {
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
	c.sessions.Add(1)
	c.current.Store(s)
	return nil
}

// info is what of the server's greeting matters here.
type info struct {
	Nonce      string `json:"nonce"`
	MaxPayload int64  `json:"max_payload"`
	Headers    bool   `json:"headers"`
}

// greet reads the server's greeting, says who this is, and waits until the server agrees.
func (c *Conn) greet(s *session) error {
	line, err := s.in.ReadSlice('\n')
	if err != nil {
		return err
	}
	greeting, ok := bytes.CutPrefix(line, []byte("INFO "))
	var i info
	if !ok || json.Unmarshal(greeting, &i) != nil || !i.Headers || i.MaxPayload <= 0 {
		return errors.New("the server did not greet as a NATS server with headers does")
	}
	c.payload.Store(i.MaxPayload)
	hello := struct {
		Verbose      bool   `json:"verbose"`
		Pedantic     bool   `json:"pedantic"`
		NKey         string `json:"nkey"`
		Signature    string `json:"sig"`
		Name         string `json:"name"`
		Lang         string `json:"lang"`
		Version      string `json:"version"`
		Protocol     int    `json:"protocol"`
		Echo         bool   `json:"echo"`
		Headers      bool   `json:"headers"`
		NoResponders bool   `json:"no_responders"`
	}{NKey: c.o.Key, Name: c.o.Name, Lang: "go", Version: "1", Protocol: 1, Echo: true, Headers: true, NoResponders: true}
	if c.o.Sign != nil {
		signature, err := c.o.Sign([]byte(i.Nonce))
		if err != nil {
			return err
		}
		hello.Signature = base64.RawURLEncoding.EncodeToString(signature)
	}
	text, err := json.Marshal(hello)
	if err != nil {
		return err
	}
	if _, err := s.conn.Write(fmt.Appendf(nil, "CONNECT %s\r\nPING\r\n", text)); err != nil {
		return err
	}
	for {
		line, err := s.in.ReadSlice('\n')
		switch {
		case err != nil:
			return err
		case bytes.HasPrefix(line, []byte("PONG")):
			return nil
		case bytes.HasPrefix(line, []byte("-ERR")):
			return refusal(line)
		}
	}
}

func refusal(line []byte) error {
	text := strings.Trim(strings.TrimPrefix(strings.TrimSpace(string(line)), "-ERR"), " '")
	return fmt.Errorf("the NATS server says: %s", text)
}

// Start implements Link.
func (c *Conn) Start(subject string, h Header, data []byte) (*Pending, error) {
	s := c.current.Load()
	if s == nil {
		return nil, c.away()
	}
	p, err := s.mux.begin()
	if err != nil {
		return nil, err
	}
	if err := c.send(s, subject, p.subject, h, data, true); err != nil {
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
	return nats.ErrDisconnected
}

// Subscribe implements Bus. handle is called by the goroutine that reads the connection.
func (c *Conn) Subscribe(subject, queue string, handle func(Msg)) (stop func() error, err error) {
	if !validSubject(subject) || queue != "" && !validSubject(queue) {
		return nil, nats.ErrBadSubject
	}
	c.mu.Lock()
	c.nextID++
	sub := &subscription{c: c, id: c.nextID, subject: subject, queue: queue, handle: handle}
	c.subs[sub.id] = sub
	s := c.current.Load()
	c.mu.Unlock()
	if s == nil {
		return sub.stop, nil // the next session begins with it
	}
	if err := s.hear(sub); err != nil {
		c.mu.Lock()
		delete(c.subs, sub.id)
		c.mu.Unlock()
		return nil, err
	}
	return sub.stop, nil
}

func (sub *subscription) line(b []byte) []byte {
	b = append(append(b, "SUB "...), sub.subject...)
	if sub.queue != "" {
		b = append(append(b, ' '), sub.queue...)
	}
	return fmt.Appendf(b, " %d\r\n", sub.id)
}

// stop ends the subscription. What the server sent before it heard of that is handed over.
func (sub *subscription) stop() error {
	c := sub.c
	c.mu.Lock()
	_, known := c.subs[sub.id]
	delete(c.subs, sub.id)
	s := c.current.Load()
	c.mu.Unlock()
	if s == nil || !known {
		return nil
	}
	return s.forget(sub)
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

// Close ends the connection; requests that wait fail. It returns when nothing of it runs any more. Closing twice is fine.
func (c *Conn) Close() {
	c.closed.Store(true)
	c.cancel()
	if s := c.current.Load(); s != nil {
		s.conn.Close()
	}
	<-c.done
}
