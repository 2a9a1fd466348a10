// Package client is the Go client of a Waybill site: what a till, a kiosk or a web shop imports. It calls the site's
// endpoints by NATS request-reply with a deadline, repeats what is safe to repeat, and reads the site's events.
//
// Every call ends when its context does, or after the client's timeout where the context has no deadline. A call that is
// idempotent is repeated, with full jitter and growing pauses, for as long as the deadline allows, when the site answered
// with a retryable code, when nobody answered, or when the connection broke under it. An order that is placed without an id
// is given one first, so that placing is idempotent as well. What can't be repeated safely is asked once.
//
// A refusal by the site is an *Error; the lack of an answer is a *NoAnswer, after which the outcome may be unknown. A Client
// is safe for concurrent use.
package client

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"waybill/internal/fault"
	"waybill/internal/lean"
	"waybill/internal/rpc"
	"waybill/subjects"
)

// DefaultURL is where a site listens that was told nothing else.
const DefaultURL = nats.DefaultURL

// Client talks to one site over one connection. The fields are the site's services.
type Client struct {
	Orders        Orders
	Catalog       Catalog
	Inventory     Inventory
	Payments      Payments
	Shipping      Shipping
	Notifications Notifications
	Webhooks      Webhooks
	Config        Config
	Health        Health
	Dead          Dead
	Customers     Customers
	Journal       Journal

	site    subjects.Site
	nc      *nats.Conn
	js      jetstream.JetStream
	caller  *rpc.Caller
	timeout time.Duration
	retry   Retry
	flight  *inFlight
	by      string // who changes settings
}

// Connect connects to the site's NATS server. It returns once the connection stands, and tries for no longer than ctx and
// the client's timeout allow; after that the connection is made again by itself whenever it breaks. Close it after use.
// Errors: *NotConnected, with the code unavailable, unauthenticated or invalid_argument.
func Connect(ctx context.Context, url string, opts ...Option) (*Client, error) {
	s := settings{site: subjects.DefaultSite, name: "waybill client", timeout: 10 * time.Second, retry: DefaultRetry}
	for _, o := range opts {
		if err := o(&s); err != nil {
			return nil, &NotConnected{URL: url, err: fault.From(err)}
		}
	}
	if err := s.site.Check(); err != nil {
		return nil, &NotConnected{URL: url, err: fault.From(err)}
	}
	flight := newInFlight()
	nc, err := dial(ctx, url, &s, flight)
	if err != nil {
		return nil, err
	}
	js, err := jetstream.NewWithDomain(nc, string(s.site))
	if err != nil {
		nc.Close()
		return nil, &NotConnected{URL: url, err: fault.Wrap(err, fault.Internal, "JetStream can't be used over this connection")}
	}
	c := &Client{
		site: s.site, nc: nc, js: js, caller: rpc.NewCaller(lean.Over(nc), s.site),
		timeout: s.timeout, retry: s.retry, flight: flight, by: s.by,
	}
	c.Orders, c.Catalog, c.Inventory, c.Payments = Orders{c}, Catalog{c}, Inventory{c}, Payments{c}
	c.Shipping, c.Notifications, c.Webhooks, c.Config = Shipping{c}, Notifications{c}, Webhooks{c}, Config{c}
	c.Health, c.Dead, c.Customers, c.Journal = Health{c}, Dead{c}, Customers{c}, Journal{c}
	return c, nil
}

func dial(ctx context.Context, url string, s *settings, flight *inFlight) (*nats.Conn, error) {
	timeout := s.timeout
	if deadline, ok := ctx.Deadline(); ok {
		timeout = min(timeout, time.Until(deadline))
	}
	if ctx.Err() != nil || timeout <= 0 {
		return nil, &NotConnected{URL: url, err: fault.New(fault.DeadlineExceeded, "no time was left to connect to %s", url)}
	}
	options := append([]nats.Option{
		nats.Name(s.name),
		nats.Timeout(timeout),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(100 * time.Millisecond),
		nats.ReconnectJitter(100*time.Millisecond, 100*time.Millisecond),
		nats.PingInterval(10 * time.Second),
		nats.DisconnectErrHandler(func(*nats.Conn, error) { flight.disconnected() }),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { flight.failed(err) }),
	}, s.nats...)
	nc, err := nats.Connect(url, options...)
	switch {
	case err == nil:
		return nc, nil
	case errors.Is(err, nats.ErrAuthorization), errors.Is(err, nats.ErrAuthExpired), errors.Is(err, nats.ErrAuthRevoked):
		return nil, &NotConnected{URL: url, err: fault.Wrap(err, fault.Unauthenticated, "%s does not accept these credentials", url)}
	case errors.Is(err, os.ErrNotExist), errors.Is(err, os.ErrPermission):
		return nil, &NotConnected{URL: url, err: fault.Wrap(err, fault.InvalidArgument, "the credentials can't be read: %v", err)}
	}
	return nil, &NotConnected{URL: url, err: fault.Wrap(err, fault.Unavailable, "no NATS server can be reached at %s: %v", url, err)}
}

// Site is the site that the client talks to.
func (c *Client) Site() subjects.Site { return c.site }

// URL is the address of the server that the client is connected to at the moment; empty while it is not.
func (c *Client) URL() string { return c.nc.ConnectedUrlRedacted() }

// Conn is the connection itself, for what the client has no method for. It stays the client's: don't close it.
func (c *Client) Conn() *nats.Conn { return c.nc }

// Close ends the connection. Calls under way end with a *NoAnswer, iterators with an error. Close may be called repeatedly.
func (c *Client) Close() {
	c.nc.Close()
	c.flight.disconnected()
}
