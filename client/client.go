// Package client is the Go client of a Waybill site: what a till, a kiosk or a web shop imports. It calls the site's
// endpoints by NATS request-reply with a deadline, repeats what is safe to repeat, and reads the site's events.
//
// Every call ends when its context does, or after the client's timeout where the context has no deadline. A call that is
// idempotent is repeated, with full jitter and growing pauses, for as long as the deadline allows, when the site answered
// with a retryable code, when nobody answered, or when the connection broke under it. An order that is placed without an id
// is given one first, so that placing is idempotent as well. What can't be repeated safely is asked once.
//
// A Client's calls go over one connection, by TCP, TLS, WebSocket or a Unix socket. Readers of the journal (Events, Replay, Last,
// Watch) and Conn open a second one, when the first of them needs it. Both come back by themselves when they break.
//
// A refusal by the site is an *Error; the lack of an answer is a *NoAnswer, after which the outcome may be unknown. A Client
// is safe for concurrent use.
package client

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"waybill/internal/fault"
	"waybill/internal/poll"
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
	calls   transport
	caller  *rpc.Caller
	streams *streams
	timeout time.Duration
	retry   Retry
	hedge   time.Duration // 0 without hedging
	inbox   string        // prefix of what answers come to
	by      string        // who changes settings
	closed  atomic.Bool
}

// Connect connects to the site's NATS server. It returns once the connection stands, and tries for no longer than ctx and
// the client's timeout allow; after that the connection is made again by itself whenever it breaks. Close it after use.
//
// url is nats:// or tcp://, tls://, ws://, wss:// with a host and a port, or unix:// with the path of a socket; several, separated by
// commas, are tried in turn, as are those that the server tells of. A user and a password, or a token, may stand in it.
// Errors: *NotConnected, with the code unavailable, unauthenticated, invalid_argument or deadline_exceeded.
func Connect(ctx context.Context, url string, opts ...Option) (*Client, error) {
	s := settings{site: subjects.DefaultSite, name: "waybill client", timeout: 10 * time.Second, retry: DefaultRetry, inbox: "_INBOX", poll: poll.Bound}
	for _, o := range opts {
		if err := o(&s); err != nil {
			return nil, &NotConnected{URL: url, err: fault.From(err)}
		}
	}
	if err := s.site.Check(); err != nil {
		return nil, &NotConnected{URL: url, err: fault.From(err)}
	}
	calls, err := s.dial(ctx, url)
	if err != nil {
		return nil, notConnected(url, err)
	}
	c := &Client{
		site: s.site, calls: calls, caller: rpc.NewCaller(calls, s.site), streams: newStreams(url, &s),
		timeout: s.timeout, retry: s.retry, hedge: s.hedge, inbox: s.inbox, by: s.by,
	}
	c.Orders, c.Catalog, c.Inventory, c.Payments = Orders{c}, Catalog{c}, Inventory{c}, Payments{c}
	c.Shipping, c.Notifications, c.Webhooks, c.Config = Shipping{c}, Notifications{c}, Webhooks{c}, Config{c}
	c.Health, c.Dead, c.Customers, c.Journal = Health{c}, Dead{c}, Customers{c}, Journal{c}
	return c, nil
}

// Site is the site that the client talks to.
func (c *Client) Site() subjects.Site { return c.site }

// URL is the address of the server that the client's calls go to at the moment; empty while it is not connected.
func (c *Client) URL() string { return c.calls.Server() }

// Conn is a connection of nats.go to the site, for what the client has no method for, and for JetStream. It is opened when it is
// first asked for. It stays the client's: don't close it. Error: *NotConnected.
func (c *Client) Conn(ctx context.Context) (*nats.Conn, error) {
	nc, _, err := c.streams.open(ctx)
	return nc, err
}

// Drain ends the client when the calls under way have their answers, or with ctx; no call is taken any more. Error: ctx's, where it
// ended first.
func (c *Client) Drain(ctx context.Context) error {
	c.closed.Store(true)
	err := c.calls.Drain(ctx)
	c.Close()
	return err
}

// Close ends the connections. Calls under way end with a *NoAnswer, iterators with an error. Close may be called repeatedly.
func (c *Client) Close() {
	c.closed.Store(true)
	c.calls.Close()
	c.streams.close()
}
