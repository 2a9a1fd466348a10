package client

import (
	"context"
	"errors"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"

	"waybill/internal/fault"
	"waybill/internal/lean"
)

// Transport is what carries a client's calls.
type Transport string

// The transports. Both reach the same servers in the same ways.
const (
	Lean Transport = "lean" // a connection made for requests: fewer allocations, less latency
	NATS Transport = "nats" // nats.go, the reference client
)

// transport is a connection for calls.
type transport interface {
	lean.Bus
	Server() string
	Drain(context.Context) error
	Close()
}

// dial connects what carries the calls.
func (s *settings) dial(ctx context.Context, url string) (transport, error) {
	timeout, err := s.left(ctx)
	if err != nil {
		return nil, err
	}
	if s.transport == NATS {
		var bus atomic.Pointer[lean.NATS] // the handlers may run before there is one: nothing waits for a reply then
		broken := func() {
			if b := bus.Load(); b != nil {
				b.Disconnected()
			}
		}
		failed := func(err error) {
			if b := bus.Load(); b != nil {
				b.Failed(err)
			}
		}
		nc, err := s.connect(url, timeout, broken, failed)
		if err != nil {
			return nil, err
		}
		b := lean.Over(nc)
		bus.Store(b)
		return b, nil
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	c, err := lean.Dial(ctx, lean.Options{Name: s.name, Servers: url, Login: s.login, TLS: s.tls(), Wrap: s.socket, Inbox: s.inbox, Log: zerolog.Nop()})
	if err != nil {
		return nil, err
	}
	return c, nil
}

// left is how long connecting may take.
func (s *settings) left(ctx context.Context) (time.Duration, error) {
	timeout := s.timeout
	if deadline, ok := ctx.Deadline(); ok {
		timeout = min(timeout, time.Until(deadline))
	}
	if ctx.Err() != nil || timeout <= 0 {
		return 0, fault.New(fault.DeadlineExceeded, "no time was left to connect")
	}
	return timeout, nil
}

// connect connects nats.go with the same settings. broken is told each time the connection breaks, failed of its asynchronous errors.
func (s *settings) connect(url string, timeout time.Duration, broken func(), failed func(error)) (*nats.Conn, error) {
	options := []nats.Option{
		nats.Name(s.name),
		nats.Timeout(timeout),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(100 * time.Millisecond),
		nats.ReconnectJitter(100*time.Millisecond, 100*time.Millisecond),
		nats.PingInterval(10 * time.Second),
		nats.IgnoreAuthErrorAbort(),
		nats.CustomInboxPrefix(s.inbox),
		nats.DisconnectErrHandler(func(*nats.Conn, error) { broken() }),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { failed(err) }),
	}
	switch {
	case s.login.JWT != nil:
		options = append(options, nats.UserJWT(s.login.JWT, s.login.Sign))
	case s.login.Key != "":
		options = append(options, nats.Nkey(s.login.Key, s.login.Sign))
	}
	if config := s.tls(); config != nil {
		options = append(options, nats.Secure(config))
	}
	paths, user, err := lean.Sockets(url)
	if err != nil {
		return nil, err
	}
	d := dialer{paths, timeout, s.socket}
	switch {
	case len(paths) > 0:
		url, options = "nats://localhost", append(options, nats.InProcessServer(d))
		if password, ok := user.Password(); ok {
			options = append(options, nats.UserInfo(user.Username(), password))
		} else if user != nil {
			options = append(options, nats.Token(user.Username()))
		}
	default:
		options = append(options, nats.SetCustomDialer(d))
	}
	return nats.Connect(url, options...)
}

// dialer dials for nats.go, which knows no Unix sockets: the first of them that takes the connection.
type dialer struct {
	sockets []string
	timeout time.Duration
	wrap    func(net.Conn) net.Conn
}

// InProcessConn implements nats.InProcessConnProvider.
func (d dialer) InProcessConn() (conn net.Conn, err error) {
	for _, path := range d.sockets {
		if conn, err = d.Dial("unix", path); err == nil {
			return conn, nil
		}
	}
	return nil, err
}

// Dial implements nats.CustomDialer.
func (d dialer) Dial(network, address string) (net.Conn, error) {
	conn, err := net.DialTimeout(network, address, d.timeout)
	if err != nil {
		return nil, err
	}
	return d.wrap(conn), nil
}

// notConnected says why there is no connection.
func notConnected(url string, err error) *NotConnected {
	out := &NotConnected{URL: url}
	var known *fault.Error
	var network *net.OpError
	shown := redacted(url)
	switch {
	case errors.As(err, &known):
		out.err = known
	case lean.Unauthorized(err):
		out.err = fault.Wrap(err, fault.Unauthenticated, "%s does not accept these credentials", shown)
	case errors.Is(err, lean.ErrAddress):
		out.err = fault.Wrap(err, fault.InvalidArgument, "%v", err)
	case !errors.As(err, &network) && (errors.Is(err, os.ErrNotExist) || errors.Is(err, os.ErrPermission)):
		out.err = fault.Wrap(err, fault.InvalidArgument, "the credentials can't be read: %v", err)
	default:
		out.err = fault.Wrap(err, fault.Unavailable, "no NATS server can be reached at %s: %v", shown, err)
	}
	return out
}

// redacted is a list of URLs without what authorizes.
func redacted(list string) string {
	all := strings.Split(list, ",")
	for i, one := range all {
		if scheme, rest, ok := strings.Cut(one, "://"); ok {
			all[i] = scheme + "://" + rest[strings.LastIndexByte(rest, '@')+1:]
		} else {
			all[i] = one[strings.LastIndexByte(one, '@')+1:]
		}
	}
	return strings.Join(all, ",")
}
