// Package embedded runs the NATS server and etcd inside this process: start with a reason where one fails, users and what
// each may do, the streams, the durability barrier, the data directory's lock and secrets, and the stop.
//
// Guarantees: nothing here ends the process, whatever fails; nothing outlives the stop of what started it; nobody but the
// services' own users can write an event, by whatever way (users.go and gate.go say how).
package embedded

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"

	"waybill/internal/fault"
	"waybill/internal/lean"
	"waybill/subjects"
)

// NATSConfig says how the server is to run.
type NATSConfig struct {
	Site       subjects.Site
	DataDir    string // the store's directory, DATA/nats; made if need be
	Addr       string // host:port of the listener; port 0 is any free one
	Secrets    *Secrets
	MaxPayload int32 // bytes of a message's headers and body; 0 is 1 MiB
	Log        zerolog.Logger
	TLS        *tls.Config // nil: none
	// RequireCredentials turns anonymous clients away. They are turned away from a listener that is not on loopback in any case.
	RequireCredentials bool

	Socket string // path of a Unix socket to listen on, too; empty: none
	// SocketOptional has the server start without the socket, and a warning, where that can't be opened.
	SocketOptional bool
	WSAddr         string        // host:port to listen on for WebSockets, too; port 0 is any free one; empty: none
	WSOrigins      []string      // of the web pages that may connect there, beside those of that address itself
	Poll           time.Duration // for which reads of clients on this machine look for data before they wait; 0: not at all
	// StockTCP leaves the TCP clients to the server's own listener. For measurements.
	StockTCP bool
}

const (
	defaultMaxPayload = 1 << 20
	maxConnections    = 8192            // more than all doors let in
	stopTimeout       = 5 * time.Second // of the gate, when the caller's context sets no earlier end
)

// NATS is a running server. Its methods are safe for concurrent use.
type NATS struct {
	server   *server.Server
	secrets  *Secrets
	insiders insiders
	log      *natsLog
	gate     *gate
	local    *locals
	doors    []*door // opened last, closed first
	tcp      *door   // of the doors; nil where the server itself listens, for measurements
	socket   string
	ws       *door // of the doors; nil without WebSocket
	scheme   string
	stopped  chan struct{}
	stop     chan struct{} // holds the right to stop
}

// StartNATS starts the server: first the store, then the services' access, then the listener, so that whoever gets through
// to it finds everything in place. It returns when all of it is ready. Its error is one line that says what to do: a port
// that is taken, a directory that can't be written, a store that can't be read; then nothing is left running.
// A store that takes longer to recover than ctx gives is an error, too; what was begun is then stopped aside, when it can be.
func StartNATS(ctx context.Context, c NATSConfig) (_ *NATS, err error) {
	if err := c.Site.Check(); err != nil {
		return nil, err
	}
	host, port, err := splitAddr(c.Addr)
	if err != nil {
		return nil, err
	}
	if err := CheckListener(c.Addr, c.TLS != nil, c.RequireCredentials); err != nil {
		return nil, err
	}
	if c.WSAddr != "" {
		if err := CheckListener(c.WSAddr, c.TLS != nil, c.RequireCredentials); err != nil {
			return nil, err
		}
	}
	if err := makeDir(c.DataDir); err != nil {
		return nil, err
	}
	if err := writable(c.DataDir); err != nil {
		return nil, err
	}
	if err := dropUnreadable(c.DataDir, c.Log); err != nil {
		return nil, err
	}
	tcp, err := c.listenTCP(ctx)
	if err != nil {
		return nil, err
	}
	if tcp != nil {
		port = tcp.Addr().(*net.TCPAddr).Port // which the server tells its clients
		defer func() {
			if err != nil {
				tcp.Close()
			}
		}()
	}
	opts, err := c.options(host, port)
	if err != nil {
		return nil, err
	}
	gateKey, err := opts.addGate(c.Site)
	if err != nil {
		return nil, err
	}
	srv, err := server.NewServer(&opts.Options)
	if err != nil {
		return nil, fault.Wrap(err, fault.InvalidArgument, "the NATS server refuses its configuration")
	}
	n := &NATS{server: srv, secrets: c.Secrets, insiders: opts.insiders, log: newNATSLog(c.Log), scheme: "nats",
		stopped: make(chan struct{}), stop: make(chan struct{}, 1)}
	if c.TLS != nil {
		n.scheme = "tls"
	}
	srv.SetLoggerV2(n.log, false, false, false)
	if err := n.start(ctx, c, tcp, gateKey); err != nil {
		return nil, err
	}
	for _, t := range n.log.started() {
		c.Log.Warn().Str("nats", t).Msg("the NATS server complained while it started")
	}
	return n, nil
}

// start returns when the server is ready, or is stopped again, or ctx has ended. A start can't be interrupted, and a server that
// is stopped while it starts may wait for ever for a connection that it took meanwhile: so what was given up goes on to its
// end aside, and is stopped there. Where that takes long, it is not waited for.
func (n *NATS) start(ctx context.Context, c NATSConfig, tcp net.Listener, gateKey nats.Option) error {
	var givenUp atomic.Bool
	ready := make(chan error, 1)
	go func() {
		err := n.startSteps(ctx, c, tcp, gateKey, &givenUp)
		if err != nil {
			n.shutdown()
		}
		ready <- err
	}()
	select {
	case err := <-ready:
		return err
	case <-ctx.Done():
		givenUp.Store(true)
		go func() {
			if err := <-ready; err == nil {
				n.shutdown()
			}
		}()
		select {
		case <-n.stopped:
		case <-time.After(stopTimeout):
		}
		return fault.Wrap(ctx.Err(), fault.DeadlineExceeded, "the NATS server was not ready in time; a large store may need longer")
	}
}

func (n *NATS) startSteps(ctx context.Context, c NATSConfig, tcp net.Listener, gateKey nats.Option, givenUp *atomic.Bool) error {
	n.server.Start()
	if n.log.failed() || !n.server.JetStreamEnabled() {
		return n.storeError(c, nil)
	}
	acc, err := n.server.LookupAccount(accountSite)
	if err == nil {
		err = acc.EnableJetStream(nil, nil)
	}
	if err != nil {
		return n.storeError(c, err)
	}
	if err := mapDomain(c.Site, acc); err != nil {
		return fault.Wrap(err, fault.Internal, "the site's name can't be mapped to the store's interface")
	}
	if n.gate, err = openGate(n.inProcess, gateKey, c.Site, c.Log); err != nil {
		return err
	}
	if n.local, err = newLocals(n.server, c.Site, c.Secrets, c.MaxPayload); err != nil {
		return err
	}
	if givenUp.Load() {
		return errGivenUp // before anybody from outside can connect
	}
	return n.listen(ctx, c, tcp)
}

var errGivenUp = errors.New("the start was given up")

func (n *NATS) storeError(c NATSConfig, err error) error {
	return fault.Wrap(err, fault.FailedPrecondition, "the NATS store in %s can't be opened (%s): check its owner and free space, "+
		"use the program that wrote it, or restore a backup", c.DataDir, n.log.why())
}

func (n *NATS) listenError(addr string) error {
	l, err := net.Listen("tcp", addr)
	if err == nil {
		l.Close()
		return fault.New(fault.Unavailable, "the NATS server can't listen on %s (%s): start again, or choose another --nats-addr", addr, n.log.why())
	}
	return portError(err, "NATS", addr, "--nats-addr")
}

// portError is the sentence for a listener that could not open.
func portError(err error, what, addr, flag string) error {
	_, port, _ := net.SplitHostPort(addr)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fault.Wrap(err, fault.Unavailable, "port %s is taken by another program, so %s can't listen on %s: stop that one, or choose another %s (port 0 is any free one)",
			port, what, addr, flag)
	case errors.Is(err, os.ErrPermission):
		return fault.Wrap(err, fault.PermissionDenied, "this user may not listen on port %s, so %s can't listen on %s: choose another %s above 1023", port, what, addr, flag)
	default:
		return fault.Wrap(err, fault.Unavailable, "%s can't listen on %s: choose another %s", what, addr, flag)
	}
}

// options are the server's, with users and accounts. The listener is opened by hand, last.
func (c NATSConfig) options(host string, port int) (*options, error) {
	if port == 0 {
		port = server.RANDOM_PORT
	}
	if c.MaxPayload == 0 {
		c.MaxPayload = defaultMaxPayload
	}
	o := &options{Options: server.Options{
		ServerName: serverNames + string(c.Site),
		Host:       host,
		Port:       port,
		DontListen: true,
		NoSigs:     true, // signals are the program's
		NoLog:      true, // the logger is set by hand

		MaxConn:       maxConnections,
		MaxPayload:    c.MaxPayload,
		MaxPending:    64 << 20,
		WriteDeadline: 5 * time.Second,
		PingInterval:  2 * time.Second, // a process that hangs is out of its queue groups after three of these, as its leases are
		MaxPingsOut:   2,
		AuthTimeout:   5,

		JetStream:              true,
		JetStreamDomain:        string(c.Site),
		StoreDir:               c.DataDir,
		JetStreamMaxMemory:     256 << 20,
		JetStreamMaxStore:      1 << 50, // the streams and the mark for free space bound it, not a guess at the start
		DisableJetStreamBanner: true,
	}}
	if c.TLS != nil && c.StockTCP { // otherwise TLS is the doors'
		o.TLSConfig = c.TLS
		o.TLS = true
		o.TLSTimeout = 5
	}
	anonymous := !c.RequireCredentials && loopback(host)
	return o, o.addUsers(c.Site, c.Secrets, anonymous)
}

// URL is where clients connect: nats://host:port, or tls://host:port.
func (n *NATS) URL() string { return n.scheme + "://" + n.Addr() }

// Addr is the listener's host:port, with the port that was chosen where 0 was asked for.
func (n *NATS) Addr() string {
	if n.tcp != nil {
		return n.tcp.listener.Addr().String()
	}
	a, ok := n.server.Addr().(*net.TCPAddr)
	if !ok {
		return ""
	}
	return net.JoinHostPort(a.IP.String(), strconv.Itoa(a.Port))
}

const serverNames = "waybill-"

// IsServer reports whether a server's name is one that this package gives.
func IsServer(name string) bool { return strings.HasPrefix(name, serverNames) }

// ServerID is the server's id, new at each start; every client is told it on connecting.
func (n *NATS) ServerID() string { return n.server.ID() }

// Connect connects to the server within the process, as one of Users; a service may publish whatever it likes there. Its replies come
// on _WB.<user>.>, where nobody else listens. The connection comes back by itself, for as long as the server runs. Further options
// override these.
func (n *NATS) Connect(user string, opts ...nats.Option) (*nats.Conn, error) {
	pub, kp, err := n.key(user)
	if err != nil {
		return nil, err
	}
	return n.inProcess(user, append([]nats.Option{nats.Nkey(pub, kp.Sign)}, opts...)...)
}

func (n *NATS) inProcess(user string, opts ...nats.Option) (*nats.Conn, error) {
	log := n.log.log
	all := append([]nats.Option{
		nats.InProcessServer(n.server),
		nats.Name("waybill-" + user),
		nats.CustomInboxPrefix(inboxPrefix(user)),
		nats.Timeout(5 * time.Second),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(100 * time.Millisecond),
		nats.ReconnectJitter(20*time.Millisecond, 20*time.Millisecond),
		nats.ErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) {
			e := log.Warn().Err(err).Str("user", user)
			if sub != nil {
				e = e.Str("subject", sub.Subject)
			}
			e.Msg("a NATS connection within the process reported an error")
		}),
	}, opts...)
	nc, err := nats.Connect("", all...)
	if err != nil {
		return nil, fault.Wrap(err, fault.Unavailable, "the user %s can't connect to the NATS server within the process", user)
	}
	return nc, nil
}

// Link connects as Connect does, for requests alone. With once it stays broken when it breaks; lost, which may be nil, is told of
// that. It must be closed before the server stops.
func (n *NATS) Link(user string, once bool, lost func(error)) (*lean.Conn, error) {
	pub, kp, err := n.key(user)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout) // of the dial alone
	defer cancel()
	o := lean.Options{
		Name: "waybill-" + user + "-link", Login: lean.Login{Key: pub, Sign: kp.Sign}, Inbox: inboxPrefix(user), Once: once, Lost: lost, Log: n.log.log,
		Dial: func(context.Context) (net.Conn, error) { return n.server.InProcessConn() },
	}
	if accountOf(user) == accountClients {
		o.Local, o.May = n.local.Local, newRights(n.local.site, user).may
	}
	c, err := lean.Dial(ctx, o)
	if err != nil {
		return nil, fault.Wrap(err, fault.Unavailable, "the user %s can't connect to the NATS server within the process", user)
	}
	return c, nil
}

// Healthy returns why the server can't do its work, or nil: it is stopped, JetStream is off, a stream was not recovered, or
// the store can't be written since some moment (which only a restart of the server heals). It reads state only, in microseconds.
func (n *NATS) Healthy() error {
	if !n.server.Running() {
		return fault.New(fault.Unavailable, "the NATS server is stopped")
	}
	if !n.server.JetStreamEnabled() {
		return fault.New(fault.Unavailable, "JetStream has been switched off (%s): the server is restarted once the disk is well", n.log.why())
	}
	if e := n.log.lostWrites(); e != "" {
		return fault.New(fault.Unavailable, "the NATS store can't be written (%s): the server is restarted once the disk is well", e)
	}
	if err := n.gate.healthy(); err != nil {
		return err
	}
	if h := n.server.Healthz(nil); h.Error != "" {
		return fault.New(fault.Unavailable, "the NATS server is not healthy: %s", h.Error)
	}
	return nil
}

// Stop closes the listener, every connection and the store, and returns when all of it has ended. Drain services, consumers
// and connections before. Error: deadline_exceeded where ctx ends first; the server goes on stopping, and Stop may be called
// again to wait for it.
func (n *NATS) Stop(ctx context.Context) error {
	select {
	case n.stop <- struct{}{}: // the first one stops, for all
		go n.shutdown()
	default:
	}
	select {
	case <-n.stopped:
		return nil
	case <-ctx.Done():
		return fault.Wrap(ctx.Err(), fault.DeadlineExceeded, "the NATS server has not stopped in time")
	}
}

func (n *NATS) shutdown() {
	for _, d := range n.doors {
		d.close()
	}
	if n.gate != nil {
		n.gate.close()
	}
	n.server.Shutdown()
	n.server.WaitForShutdown()
	close(n.stopped)
}

// StoreDir is where the server keeps the named stream's files.
func (n *NATS) StoreDir(stream string) string {
	return filepath.Join(n.server.StoreDir(), accountSite, "streams", stream)
}
