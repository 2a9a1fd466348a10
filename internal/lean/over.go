package lean

import (
	"context"
	"errors"
	"strings"
	"sync"

	"github.com/nats-io/nats.go"
)

// Over makes a Bus of a nats.go connection, for servers that are reached over TLS, WebSocket or a cluster's addresses. It sends
// nothing before the first request, and ends with the connection. A request that waits while nats.go reconnects goes on waiting.
func Over(nc *nats.Conn) Bus { return &over{nc: nc} }

type over struct {
	nc *nats.Conn

	mu  sync.Mutex
	mux *mux // since the first request
}

// replies subscribes to the replies, once.
func (o *over) replies() (*mux, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.mux != nil {
		return o.mux, nil
	}
	m := newMux(o.nc.NewInbox() + ".")
	sub, err := o.nc.Subscribe(m.prefix+"*", func(reply *nats.Msg) {
		msg := Msg{Data: reply.Data}
		if reply.Header != nil {
			msg.Header = reply.Header
		}
		m.deliver([]byte(reply.Subject), msg)
	})
	if err != nil {
		return nil, err
	}
	sub.SetClosedHandler(func(string) { m.fail(nats.ErrConnectionClosed) })
	o.mux = m
	return m, nil
}

func (o *over) Start(subject string, h Header, data []byte) (*Pending, error) {
	if !validSubject(subject) {
		return nil, nats.ErrBadSubject
	}
	m, err := o.replies()
	if err != nil {
		return nil, err
	}
	p, err := m.begin()
	if err != nil {
		return nil, err
	}
	if err := o.nc.PublishMsg(&nats.Msg{Subject: subject, Reply: p.subject, Header: h.parse(), Data: data}); err != nil {
		m.cancel(p)
		return nil, err
	}
	return p, nil
}

func (o *over) Publish(subject string, h Header, data []byte) error {
	if !validSubject(subject) {
		return nats.ErrBadSubject
	}
	return o.nc.PublishMsg(&nats.Msg{Subject: subject, Header: h.parse(), Data: data})
}

func (o *over) Ask(subject, reply string, data []byte) error {
	if !validSubject(subject) || !validSubject(reply) {
		return nats.ErrBadSubject
	}
	return o.nc.PublishRequest(subject, reply, data)
}

func (o *over) Subscribe(subject, queue string, handle func(Msg)) (stop func() error, err error) {
	if !validSubject(subject) || queue != "" && !validSubject(queue) {
		return nil, nats.ErrBadSubject
	}
	hear := func(m *nats.Msg) {
		msg := Msg{Subject: m.Subject, Reply: m.Reply, Data: m.Data}
		if m.Header != nil {
			msg.Header = m.Header
		}
		handle(msg)
	}
	sub, err := o.nc.QueueSubscribe(subject, queue, hear)
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

func (o *over) Later(subject string, h Header, data []byte) error { return o.Publish(subject, h, data) }

// Flush returns when what came before is handed over, too: nats.go keeps it in a queue for each subscription.
func (o *over) Flush(ctx context.Context) error {
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

func (o *over) Connected() bool { return o.nc.IsConnected() }

func (o *over) MaxPayload() int64 { return o.nc.MaxPayload() }

// validSubject reports whether a subject can stand in a line of the protocol.
func validSubject(s string) bool {
	if s == "" || len(s) > 4096 {
		return false
	}
	return strings.IndexFunc(s, func(r rune) bool { return r <= ' ' || r == 0x7f }) < 0
}
