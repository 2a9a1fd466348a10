package lean

import (
	"bytes"
	"context"
	"errors"
	"net"
	"testing"
)

// endsIt is a connection whose context ends once the subscriptions are written.
type endsIt struct {
	net.Conn
	end func()
}

func (c endsIt) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	if bytes.HasPrefix(b, []byte("SUB ")) {
		c.end()
	}
	return n, err
}

// A session whose dialling ended in its last moment is never the current one: who began a request on it would wait in vain.
func TestNoSessionAfterTheEndOfDialling(t *testing.T) {
	s := startServer(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	c := &Conn{servers: []address{{scheme: "nats"}}}
	c.o = Options{Inbox: "_INBOX.test", Dial: func(context.Context) (net.Conn, error) {
		conn, err := s.InProcessConn()
		return endsIt{conn, cancel}, err
	}}
	if _, err := c.connect(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if c.Sessions() != 0 {
		t.Error("it was the current one for a moment")
	}
}
