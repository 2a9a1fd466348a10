package lean

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"github.com/nats-io/nats.go"
)

// NATS is a Bus over a connection of nats.go.
type NATS struct {
	nc *nats.Conn

	draining atomic.Bool
	hearing  hearing

	mu  sync.Mutex
	mux *mux // since the first request
}

var _ Bus = (*NATS)(nil)

// Over makes a Bus of a nats.go connection. It sends nothing before the first request, and ends with the connection. A request that
// waits while nats.go reconnects goes on waiting, unless the connection's owner calls Disconnected.
func Over(nc *nats.Conn) *NATS { return &NATS{nc: nc} }

// Disconnected ends the requests that wait with nats.ErrDisconnected. It is for nats.go's handler of that.
func (o *NATS) Disconnected() {
	o.hearing.again()
	if m := o.asked(); m != nil {
		m.interrupt(nats.ErrDisconnected)
	}
}

// Failed takes the connection's asynchronous errors: it ends the requests that the server did not let through, and all where the
// server does not let the replies be heard. It is for nats.go's handler of errors.
func (o *NATS) Failed(err error) {
	m := o.asked()
	if m == nil {
		return
	}
	if subject := forbidden(err); subject != "" {
		m.refuse(subject, err)
	}
	o.hearing.heed(m, err)
}

// Drain ends the connection when the requests that wait have their replies, or with ctx; none is taken any more. Error: ctx's,
// where it ended first.
func (o *NATS) Drain(ctx context.Context) error {
	defer o.nc.Close()
	o.draining.Store(true)
	m := o.asked()
	if m == nil {
		return nil
	}
	select {
	case <-m.drained():
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Close ends the connection; requests that wait fail.
func (o *NATS) Close() { o.nc.Close() }

// Server is the URL that the connection stands to, without what authorizes; empty while it is broken.
func (o *NATS) Server() string { return o.nc.ConnectedUrlRedacted() }

// asked is the mux; nil where nothing was requested.
func (o *NATS) asked() *mux {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.mux
}

// replies subscribes to the replies, once.
func (o *NATS) replies() (*mux, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.mux != nil {
		return o.mux, nil
	}
	m := newMux(o.nc.NewInbox() + ".")
	sub, err := o.nc.Subscribe(m.prefix+"*", func(reply *nats.Msg) {
		slot, turn, ok := slotOf(reply.Subject, len(m.prefix))
		m.deliver(slot, turn, ok, Msg{Data: reply.Data, parsed: reply.Header})
	})
	if err != nil {
		return nil, err
	}
	sub.SetClosedHandler(func(string) { m.fail(nats.ErrConnectionClosed) })
	o.mux = m
	return m, nil
}

func (o *NATS) Start(subject string, h Header, data []byte) (*Pending, error) {
	if !validSubject(subject) {
		return nil, nats.ErrBadSubject
	}
	switch {
	case o.draining.Load():
		return nil, nats.ErrConnectionDraining
	case o.nc.IsClosed():
		return nil, nats.ErrConnectionClosed
	case !o.nc.IsConnected():
		return nil, nats.ErrDisconnected // nats.go would keep it until it is back
	}
	m, err := o.replies()
	if err != nil {
		return nil, err
	}
	p, reply, err := m.begin(subject, h)
	if err != nil {
		return nil, err
	}
	if o.hearing.instead(m, subject) {
		return p, nil
	}
	if err := o.publish(subject, reply, h, data); err != nil {
		m.cancel(p)
		return nil, err
	}
	return p, nil
}

func (o *NATS) Publish(subject string, h Header, data []byte) error {
	if !validSubject(subject) {
		return nats.ErrBadSubject
	}
	return o.publish(subject, "", h, data)
}

// sent is a message on its way to nats.go, which keeps nothing of it.
type sent struct {
	m      nats.Msg
	values []string
}

var sents = sync.Pool{New: func() any { return &sent{m: nats.Msg{Header: make(nats.Header)}} }}

func (o *NATS) publish(subject, reply string, h Header, data []byte) error {
	s := sents.Get().(*sent)
	defer func() {
		clear(s.m.Header)
		clear(s.values)
		s.m = nats.Msg{Header: s.m.Header}
		sents.Put(s)
	}()
	s.m.Subject, s.m.Reply, s.m.Data = subject, reply, data
	s.values = h.parseInto(s.m.Header, s.values[:0])
	return o.nc.PublishMsg(&s.m)
}

func (o *NATS) Ask(subject, reply string, data []byte) error {
	if !validSubject(subject) || !validSubject(reply) {
		return nats.ErrBadSubject
	}
	return o.nc.PublishRequest(subject, reply, data)
}

func (o *NATS) Subscribe(subject, queue string, handle func(Msg)) (stop func() error, err error) {
	if !validSubject(subject) || queue != "" && !validSubject(queue) {
		return nil, nats.ErrBadSubject
	}
	sub, err := o.nc.QueueSubscribe(subject, queue, func(m *nats.Msg) { handle(Received(m)) })
	if err != nil {
		return nil, err
	}
	return func() error {
		if err := sub.Drain(); !errors.Is(err, nats.ErrConnectionClosed) {
			return err
		}
		return nil
	}, nil
}

func (o *NATS) Later(subject string, h Header, data []byte) error { return o.Publish(subject, h, data) }

// Flush returns when what came before is handed over, too: nats.go keeps it in a queue for each subscription.
func (o *NATS) Flush(ctx context.Context) error {
	if err := o.nc.FlushWithContext(ctx); err != nil {
		return err
	}
	over := make(chan struct{})
	if err := o.nc.Barrier(func() { close(over) }); err != nil {
		return err
	}
	select {
	case <-over:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (o *NATS) Connected() bool { return o.nc.IsConnected() }

func (o *NATS) MaxPayload() int64 { return o.nc.MaxPayload() }

// validSubject reports whether a subject can stand in a line of the protocol.
func validSubject(s string) bool {
	if s == "" || len(s) > 4096 {
		return false
	}
	for i := range len(s) {
		if s[i] <= ' ' || s[i] == 0x7f {
			return false
		}
	}
	return true
}
