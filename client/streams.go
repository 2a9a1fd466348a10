package client

import (
	"context"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"waybill/internal/fault"
)

// streams is the connection that reads streams. It is opened when it is first needed: who only calls has none.
type streams struct {
	url    string
	s      *settings
	flight *inFlight

	mu      sync.Mutex
	nc      *nats.Conn // nil until it is needed
	js      jetstream.JetStream
	opening *opening // nil while nobody opens it
	closed  bool
}

// opening is a try to open the connection, for all who need it at the moment.
type opening struct {
	done chan struct{} // closed when err is set
	err  error
}

func newStreams(url string, s *settings) *streams {
	return &streams{url: url, s: s, flight: newInFlight()}
}

// open returns the connection, and makes it first where there is none. Errors: *NotConnected.
func (x *streams) open(ctx context.Context) (*nats.Conn, jetstream.JetStream, error) {
	for tried := false; ; {
		x.mu.Lock()
		nc, js, o := x.nc, x.js, x.opening
		switch {
		case x.closed:
			x.mu.Unlock()
			return nil, nil, &NotConnected{URL: x.url, err: errClosed}
		case nc != nil:
			x.mu.Unlock()
			return nc, js, nil
		case o == nil:
			timeout, err := x.s.left(ctx)
			if err != nil {
				x.mu.Unlock()
				return nil, nil, notConnected(x.url, err)
			}
			o, tried = &opening{done: make(chan struct{})}, true
			x.opening = o
			go x.dial(o, timeout) // nats.go's dial knows no context: it ends with the timeout
		}
		x.mu.Unlock()
		select {
		case <-o.done:
			if o.err != nil && tried { // somebody else's try may have had less time
				return nil, nil, notConnected(x.url, o.err)
			}
		case <-ctx.Done():
			return nil, nil, notConnected(x.url, fault.Wrap(ctx.Err(), fault.DeadlineExceeded, "the time ran out before the connection stood"))
		}
	}
}

var errClosed = fault.New(fault.Unavailable, "the client is closed")

func (x *streams) dial(o *opening, timeout time.Duration) {
	defer close(o.done)
	nc, err := x.s.connect(x.url, timeout, x.flight.disconnected, x.flight.failed)
	var js jetstream.JetStream
	if err == nil {
		if js, err = jetstream.NewWithDomain(nc, string(x.s.site)); err != nil {
			err = fault.Wrap(err, fault.Internal, "JetStream can't be used over this connection")
		}
	}
	x.mu.Lock()
	x.opening = nil
	if err == nil && x.closed {
		err = errClosed
	}
	if err == nil {
		x.nc, x.js = nc, js
	}
	o.err = err
	x.mu.Unlock()
	if err != nil && nc != nil {
		nc.Close()
	}
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
