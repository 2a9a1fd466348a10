package client

import (
	"context"
	"sync"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"waybill/internal/fault"
)

// streams is the connection that reads streams. It is opened when it is first needed: who only calls has none.
type streams struct {
	url    string
	s      *settings
	flight *inFlight

	mu     sync.Mutex
	nc     *nats.Conn // nil until it is needed
	js     jetstream.JetStream
	closed bool
}

func newStreams(url string, s *settings) *streams {
	return &streams{url: url, s: s, flight: newInFlight()}
}

// open returns the connection, and makes it first where there is none. Errors: *NotConnected.
func (x *streams) open(ctx context.Context) (*nats.Conn, jetstream.JetStream, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.closed {
		return nil, nil, &NotConnected{URL: x.url, err: fault.New(fault.Unavailable, "the client is closed")}
	}
	if x.nc != nil {
		return x.nc, x.js, nil
	}
	timeout, err := x.s.left(ctx)
	if err != nil {
		return nil, nil, notConnected(x.url, err)
	}
	nc, err := x.s.connect(x.url, timeout, x.flight.disconnected, x.flight.failed)
	if err != nil {
		return nil, nil, notConnected(x.url, err)
	}
	js, err := jetstream.NewWithDomain(nc, string(x.s.site))
	if err != nil {
		nc.Close()
		return nil, nil, notConnected(x.url, fault.Wrap(err, fault.Internal, "JetStream can't be used over this connection"))
	}
	x.nc, x.js = nc, js
	return nc, js, nil
}

func (x *streams) close() {
	x.mu.Lock()
	x.closed = true
	nc := x.nc
	x.mu.Unlock()
	if nc != nil {
		nc.Close()
	}
	x.flight.disconnected()
}
