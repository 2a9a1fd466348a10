package node

import (
	"context"
	"crypto/tls"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"

	"waybill/configs"
	"waybill/embedded"
	"waybill/internal/fault"
	"waybill/internal/lean"
	"waybill/internal/rpc"
	"waybill/subjects"
)

// store is the site's NATS as this process sees it: its own embedded server, or one that runs elsewhere.
type store struct {
	own     *embedded.NATS // nil where the server runs elsewhere
	url     string
	master  [32]byte // the site's master key
	connect func(user string, more ...nats.Option) (*nats.Conn, error)
	forget  func() // takes back the announcement of an own server
}

// link opens a connection for requests alone beside nc. On a server that runs elsewhere it is nc itself: there nats.go sees to TLS
// and to the addresses of a cluster. With once it does not come back when it breaks, which lost is told of.
func (s *store) link(user string, nc *nats.Conn, once bool, lost func(error)) (link lean.Link, stop func(), err error) {
	if s.own == nil {
		return lean.Over(nc), func() {}, nil
	}
	c, err := s.own.Link(user, once, lost)
	if err != nil {
		return nil, nil, err
	}
	return c, c.Close, nil
}

// bus opens a connection for requests and their answers.
func (s *store) bus(user string) (bus lean.Bus, stop func(), err error) {
	if s.own != nil {
		c, err := s.own.Link(user, false, nil)
		if err != nil {
			return nil, nil, err
		}
		return c, c.Close, nil
	}
	nc, err := s.connect(user)
	if err != nil {
		return nil, nil, err
	}
	return lean.Over(nc), nc.Close, nil
}

// openStore starts the embedded server, or finds the way to the one that is configured.
func openStore(ctx context.Context, c configs.Config, log zerolog.Logger) (*store, error) {
	if c.NATSURL != "" {
		return remoteStore(c, log)
	}
	secrets, err := embedded.OpenSecrets(filepath.Join(c.Data, "secrets"))
	if err != nil {
		return nil, err
	}
	var certificate *tls.Config
	if c.TLSCert != "" {
		pair, err := tls.LoadX509KeyPair(c.TLSCert, c.TLSKey)
		if err != nil {
			return nil, fault.Wrap(err, fault.InvalidArgument, "the certificate %s with the key %s can't be used", c.TLSCert, c.TLSKey)
		}
		certificate = &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
	}
	n, err := embedded.StartNATS(ctx, embedded.NATSConfig{
		Site: c.Site, DataDir: filepath.Join(c.Data, "nats"), Addr: c.NATSAddr, Secrets: secrets, Log: log, TLS: certificate,
		RequireCredentials: certificate != nil && !(embedded.Loopback(c.NATSAddr) && (c.NATSWSAddr == "" || embedded.Loopback(c.NATSWSAddr))),
		Socket:             c.Socket(), SocketOptional: c.NATSSocket == "", WSAddr: c.NATSWSAddr, WSOrigins: c.NATSWSOrigins, Poll: c.Poll(),
	})
	if err != nil {
		return nil, err
	}
	forget, err := embedded.Announce(n.ServerID(), c.Data)
	if err != nil {
		log.Warn().Err(err).Msg("other processes of this site must be told of this one's directory by --join")
		forget = func() {}
	}
	return &store{
		own: n, url: n.URL(), master: secrets.Master, forget: forget,
		connect: n.Connect,
	}, nil
}

// remoteStore connects to a server that runs elsewhere. The server of another process of this site is known by its name; the
// secrets are then those of that process, which --creds or --join name, or which it has announced to this user. Any other
// server is entered with --creds, or as anybody, and its store is its own business.
func remoteStore(c configs.Config, log zerolog.Logger) (*store, error) {
	probe, err := dial(c, log, "waybill-probe", nil)
	if err != nil && c.Creds == "" {
		return nil, fault.Wrap(err, fault.Unavailable, "no NATS answers at %s: start it first, or name another with --nats-url", c.NATSURL)
	}
	var id, name string
	if probe != nil {
		id, name = probe.ConnectedServerId(), probe.ConnectedServerName()
		probe.Close()
	}
	dir := c.Creds
	if info, err := os.Stat(dir); dir == "" || err != nil || !info.IsDir() {
		dir = ""
		if data, ok := embedded.Find(id); ok {
			dir = filepath.Join(data, "secrets")
		}
	}
	switch {
	case dir != "":
		secrets, err := embedded.OpenSecrets(dir)
		if err != nil {
			return nil, err
		}
		return &store{url: c.NATSURL, master: secrets.Master, forget: func() {}, connect: func(user string, more ...nats.Option) (*nats.Conn, error) {
			key, err := secrets.Option(user)
			if err != nil {
				return nil, err
			}
			return dial(c, log, user, key, more...)
		}}, nil
	case embedded.IsServer(name):
		return nil, fault.New(fault.Unauthenticated,
			"the NATS server at %s is another waybill's, and its secrets are not known here: name its directory with --join DIR, or its secrets with --creds DIR", c.NATSURL)
	}
	// A cluster of the operator's own: the master key of this site is this process's, unless its processes share one.
	secrets, err := embedded.OpenSecrets(filepath.Join(c.Data, "secrets"))
	if err != nil {
		return nil, err
	}
	return &store{url: c.NATSURL, master: secrets.Master, forget: func() {}, connect: func(user string, more ...nats.Option) (*nats.Conn, error) {
		var key nats.Option
		if c.Creds != "" {
			var err error
			if key, err = credentials(c.Creds); err != nil {
				return nil, err
			}
		}
		return dial(c, log, user, key, more...)
	}}, nil
}

// credentials is a file of the operator's: an nkey seed, or a .creds file.
func credentials(path string) (nats.Option, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fault.Wrap(err, fault.Unavailable, "the credentials %s can't be read", path)
	}
	if strings.Contains(string(text), "BEGIN NATS USER JWT") {
		return nats.UserCredentials(path), nil
	}
	key, err := nats.NkeyOptionFromSeed(path)
	if err != nil {
		return nil, fault.Wrap(err, fault.InvalidArgument, "%s holds no nkey seed and is no .creds file", path)
	}
	return key, nil
}

func dial(c configs.Config, log zerolog.Logger, user string, key nats.Option, more ...nats.Option) (*nats.Conn, error) {
	options := []nats.Option{
		nats.Name("waybill-" + user), nats.Timeout(3 * time.Second), nats.MaxReconnects(-1), nats.ReconnectWait(100 * time.Millisecond),
		nats.ReconnectJitter(100*time.Millisecond, 100*time.Millisecond), nats.PingInterval(10 * time.Second),
		nats.ErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) {
			log.Warn().Err(err).Str("user", user).Msg("a NATS connection reported an error")
		}),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				log.Warn().Err(err).Str("user", user).Msg("the connection to NATS was lost; it is tried again")
			}
		}),
	}
	if key != nil {
		options = append(options, key, nats.CustomInboxPrefix("_WB."+user))
	}
	nc, err := nats.Connect(c.NATSURL, append(options, more...)...)
	if err != nil {
		return nil, fault.Wrap(err, fault.Unavailable, "%s can't be entered as %s", c.NATSURL, user)
	}
	return nc, nil
}

// barrier is what makes the journal durable, for the services of this process.
type barrier interface {
	Wait(ctx context.Context, sequence uint64) error
	Sync(ctx context.Context) error
	Durable() uint64
	Note(sequence uint64)
	Strict() bool
	Err() error
}

// remoteBarrier asks the process that holds the store. Waits of this process that come together share one question. While
// nobody answers, it asks by itself now and then: the node is not ready until somebody does.
type remoteBarrier struct {
	calls  *rpc.Caller
	local  *embedded.Barrier // fast: keeps the sequences
	strict bool
	server string // the id of the server that acknowledges what is asked about; another one may not have it
	rounds *rounds
	cancel context.CancelFunc
	done   chan struct{}

	mu  sync.Mutex
	err error // of the last question; nil once somebody has answered
}

const probeInterval = time.Second

func newRemoteBarrier(calls *rpc.Caller, strict bool, server string) (*remoteBarrier, error) {
	local, err := embedded.NewBarrier("", false, nil)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background()) // ended by close
	b := &remoteBarrier{calls: calls, local: local, strict: strict, server: server, cancel: cancel, done: make(chan struct{})}
	b.rounds = newRounds(b.ask)
	if !strict {
		close(b.done)
		return b, nil
	}
	if err := b.Sync(ctx); err != nil {
		b.err = err
	}
	go b.probe(ctx)
	return b, nil
}

// probe asks until somebody answers, and again after each failure.
func (b *remoteBarrier) probe(ctx context.Context) {
	defer close(b.done)
	tick := time.NewTicker(probeInterval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if b.Err() != nil {
				_ = b.Sync(ctx) // keeps its own error
			}
		case <-ctx.Done():
			return
		}
	}
}

func (b *remoteBarrier) close() {
	b.cancel()
	<-b.done
}

func (b *remoteBarrier) ask(ctx context.Context, sequence uint64) (err error) {
	defer func() {
		if err != nil && ctx.Err() != nil {
			return // the caller's time ran out: that says nothing of the store
		}
		b.mu.Lock()
		defer b.mu.Unlock()
		b.err = err
	}()
	answer, err := rpc.Call(ctx, b.calls, subjects.JournalSync, &subjects.SyncRequest{Sequence: sequence, Store: b.server})
	if err != nil {
		return fault.Wrap(err, fault.Unavailable, "no process of this site says that the store is durable: start the one that holds it, or run with --durability fast")
	}
	if !answer.Strict {
		return fault.New(fault.Unavailable, "the process that holds the store runs fast, this one strict: run both the same way")
	}
	b.local.Note(sequence)
	return nil
}

func (b *remoteBarrier) Wait(ctx context.Context, sequence uint64) error {
	if !b.strict {
		return b.local.Wait(ctx, sequence)
	}
	if sequence <= b.local.Durable() {
		return nil
	}
	return b.rounds.wait(ctx, sequence)
}

func (b *remoteBarrier) Sync(ctx context.Context) error {
	if !b.strict {
		return nil
	}
	return b.ask(ctx, 0)
}

func (b *remoteBarrier) Durable() uint64 { return b.local.Durable() }

func (b *remoteBarrier) Note(sequence uint64) {
	if !b.strict {
		b.local.Note(sequence)
	}
}

func (b *remoteBarrier) Strict() bool { return b.strict }

func (b *remoteBarrier) Err() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.err
}

// rounds lets those who wait together ask once: one asks for the highest sequence of its round, the others wait for it, and
// who comes while a question is under way is in the next round.
type rounds struct {
	ask  func(ctx context.Context, sequence uint64) error
	turn chan struct{} // holds the right to ask
	next chan *round   // holds the round that is open
}

type round struct {
	highest uint64
	over    chan struct{}
	err     error
}

func newRounds(ask func(context.Context, uint64) error) *rounds {
	r := &rounds{ask: ask, turn: make(chan struct{}, 1), next: make(chan *round, 1)}
	r.turn <- struct{}{}
	r.next <- &round{over: make(chan struct{})}
	return r
}

func (r *rounds) wait(ctx context.Context, sequence uint64) error {
	mine := <-r.next
	mine.highest = max(mine.highest, sequence)
	r.next <- mine
	select {
	case <-mine.over:
		return mine.err
	case <-ctx.Done():
		return ctx.Err()
	case <-r.turn:
	}
	defer func() { r.turn <- struct{}{} }()
	select {
	case <-mine.over: // it ended while the turn was awaited
		return mine.err
	default:
	}
	asked := <-r.next
	r.next <- &round{over: make(chan struct{})}
	// Others hang on this answer: it does not end with the context of the one who asks.
	asking, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	asked.err = r.ask(asking, asked.highest)
	close(asked.over)
	return asked.err
}
