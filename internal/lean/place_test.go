package lean

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
	"github.com/rs/zerolog"
)

// place is a real server that listens in every way.
type place struct {
	t       testing.TB
	o       server.Options
	client  *tls.Config // nil without TLS
	mu      sync.Mutex
	server  *server.Server
	sockets string // directory of the Unix socket
}

// newPlace starts one, on loopback.
func newPlace(t testing.TB, secure bool, change ...func(*server.Options)) *place {
	t.Helper()
	p := &place{t: t, o: server.Options{Host: "127.0.0.1", Port: -1, NoSigs: true, NoLog: true, MaxPayload: 64 << 10, ServerName: "place"}}
	p.o.Websocket = server.WebsocketOpts{Host: "127.0.0.1", Port: -1, NoTLS: !secure}
	if secure {
		var config *tls.Config
		config, p.client = certificates(t)
		p.o.TLSConfig, p.o.TLSTimeout, p.o.Websocket.TLSConfig = config, 5, config
	}
	for _, f := range change {
		f(&p.o)
	}
	p.start()
	t.Cleanup(p.stop)
	p.listenUnix()
	return p
}

func (p *place) start() {
	p.t.Helper()
	o := p.o
	s, err := server.NewServer(&o)
	if err != nil {
		p.t.Fatal(err)
	}
	s.Start()
	if !s.ReadyForConnections(10 * time.Second) {
		p.t.Fatal("the server is not ready")
	}
	p.o.Port, p.o.Websocket.Port = o.Port, o.Websocket.Port // the same again at the next start
	p.mu.Lock()
	p.server = s
	p.mu.Unlock()
}

func (p *place) now() *server.Server {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.server
}

func (p *place) stop() { s := p.now(); s.Shutdown(); s.WaitForShutdown() }

func (p *place) restart() { p.stop(); p.start() }

// InProcessConn is for nats.go.
func (p *place) InProcessConn() (net.Conn, error) { return p.now().InProcessConn() }

func (p *place) socket() string { return filepath.Join(p.sockets, "nats.sock") }

// listenUnix relays a Unix socket to the server.
func (p *place) listenUnix() {
	p.t.Helper()
	var err error
	if p.sockets, err = os.MkdirTemp("", "lean"); err != nil { // t.TempDir is too long for a socket's name
		p.t.Fatal(err)
	}
	l, err := net.Listen("unix", p.socket())
	if err != nil {
		p.t.Fatal(err)
	}
	var all sync.WaitGroup
	p.t.Cleanup(func() { l.Close(); all.Wait(); os.RemoveAll(p.sockets) })
	all.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", p.now().Addr().String())
			if err != nil {
				in.Close()
				continue
			}
			copied := func(to, from net.Conn) { _, _ = io.Copy(to, from); to.Close(); from.Close() }
			all.Go(func() { copied(in, out) })
			all.Go(func() { copied(out, in) })
		}
	})
}

// unixDialer has nats.go go over the socket.
type unixDialer string

func (d unixDialer) InProcessConn() (net.Conn, error) { return net.Dial("unix", string(d)) }

func certificates(t testing.TB) (serverSide, clientSide *tls.Config) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, MinVersion: tls.VersionTLS12},
		&tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
}

// transports are the ways to a place, by what the URL begins with; "process" is without one.
var transports = []string{"process", "tcp", "tls", "ws", "wss", "unix"}

func isSecure(transport string) bool { return transport == "tls" || transport == "wss" }

func (p *place) url(transport string) string {
	switch transport {
	case "unix":
		return "unix://" + p.socket()
	case "ws", "wss":
		return transport + "://" + net.JoinHostPort("127.0.0.1", portOf(p.o.Websocket.Port))
	case "process":
		return ""
	}
	return strings.Replace(transport, "tcp", "nats", 1) + "://" + net.JoinHostPort("127.0.0.1", portOf(p.o.Port))
}

func portOf(n int) string { return big.NewInt(int64(n)).String() }

// lean connects this package's client.
func (p *place) lean(transport string, l Login, change ...func(*Options)) (*Conn, error) {
	o := Options{Name: "lean", Inbox: "_INBOX.lean", Log: zerolog.Nop(), Servers: p.url(transport), Login: l, TLS: p.client}
	if transport == "process" {
		o.Dial = func(context.Context) (net.Conn, error) { return p.InProcessConn() }
	}
	for _, f := range change {
		f(&o)
	}
	ctx, cancel := context.WithTimeout(p.t.Context(), 10*time.Second)
	defer cancel()
	return Dial(ctx, o)
}

// natsGo connects nats.go, with the same rights.
func (p *place) natsGo(transport string, l Login, creds string) (*NATS, func(), error) {
	var b *NATS
	ready := make(chan struct{})
	options := []nats.Option{
		nats.Name("nats.go"), nats.MaxReconnects(-1), nats.ReconnectWait(10 * time.Millisecond), nats.Secure(p.client),
		nats.DisconnectErrHandler(func(*nats.Conn, error) { <-ready; b.Disconnected() }),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { <-ready; b.Failed(err) }),
	}
	if p.client == nil {
		options = append(options, func(o *nats.Options) error { o.Secure = false; return nil })
	}
	switch {
	case creds != "":
		options = append(options, nats.UserCredentials(creds))
	case l.Key != "":
		options = append(options, nats.Nkey(l.Key, l.Sign))
	case l.User != "":
		options = append(options, nats.UserInfo(l.User, l.Password))
	case l.Token != "":
		options = append(options, nats.Token(l.Token))
	}
	url := p.url(transport)
	switch transport {
	case "process":
		options = append(options, nats.InProcessServer(p))
	case "unix":
		url, options = "nats://localhost", append(options, nats.InProcessServer(unixDialer(p.socket())))
	}
	nc, err := nats.Connect(url, options...)
	if err != nil {
		return nil, nil, err
	}
	b = Over(nc)
	close(ready)
	return b, nc.Close, nil
}

// logins are the ways to say who connects: what the server is told, and what the client says.
func logins(t testing.TB) map[string]struct {
	server func(*server.Options)
	login  Login
	creds  string
} {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	user, err := nkeys.CreateUser()
	must(err)
	pub, err := user.PublicKey()
	must(err)

	operator, err := nkeys.CreateOperator()
	must(err)
	account, err := nkeys.CreateAccount()
	must(err)
	operatorKey, err := operator.PublicKey()
	must(err)
	accountKey, err := account.PublicKey()
	must(err)
	accountJWT, err := jwt.NewAccountClaims(accountKey).Encode(operator)
	must(err)
	userJWT, err := jwt.NewUserClaims(pub).Encode(account)
	must(err)
	seed, err := user.Seed()
	must(err)
	content, err := jwt.FormatUserConfig(userJWT, seed)
	must(err)
	creds := filepath.Join(t.TempDir(), "user.creds")
	must(os.WriteFile(creds, content, 0o600))
	byCreds, err := Credentials(creds)
	must(err)
	resolver := &server.MemAccResolver{}
	must(resolver.Store(accountKey, accountJWT))

	return map[string]struct {
		server func(*server.Options)
		login  Login
		creds  string
	}{
		"anonymous": {func(*server.Options) {}, Login{}, ""},
		"nkey":      {func(o *server.Options) { o.Nkeys = []*server.NkeyUser{{Nkey: pub}} }, Login{Key: pub, Sign: user.Sign}, ""},
		"user":      {func(o *server.Options) { o.Username, o.Password = "ann", "secret" }, Login{User: "ann", Password: "secret"}, ""},
		"token":     {func(o *server.Options) { o.Authorization = "s3cret" }, Login{Token: "s3cret"}, ""},
		"creds": {func(o *server.Options) {
			o.TrustedKeys, o.AccountResolver = []string{operatorKey}, resolver
		}, byCreds, creds},
	}
}

// buses connects both clients.
func (p *place) buses(t *testing.T, transport string, l Login, creds string) map[string]Bus {
	t.Helper()
	mine, err := p.lean(transport, l)
	if err != nil {
		t.Fatalf("lean: %v", err)
	}
	t.Cleanup(mine.Close)
	theirs, stop, err := p.natsGo(transport, l, creds)
	if err != nil {
		t.Fatalf("nats.go: %v", err)
	}
	t.Cleanup(stop)
	return map[string]Bus{"lean": mine, "nats.go": theirs}
}

// eventually waits for a connection to be back.
func eventually(t testing.TB, what string, do func(context.Context) error) {
	t.Helper()
	for ctx := within(t); ; {
		err := do(ctx)
		if err == nil {
			return
		}
		if ctx.Err() != nil {
			t.Fatalf("%s: %v", what, errors.Join(err, ctx.Err()))
		}
		time.Sleep(5 * time.Millisecond)
	}
}
