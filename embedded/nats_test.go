package embedded

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"waybill/internal/fault"
	"waybill/subjects"
)

func TestNATSStartStop(t *testing.T) {
	dir := t.TempDir()
	begin := time.Now()
	n := startNATS(t, dir)
	t.Logf("started in %v", time.Since(begin))
	check(t, n.Healthy())
	if !strings.HasPrefix(n.URL(), "nats://127.0.0.1:") || strings.HasSuffix(n.URL(), ":0") || n.URL() != "nats://"+n.Addr() {
		t.Errorf("URL %s, address %s", n.URL(), n.Addr())
	}
	nc := anonymous(t, n)
	if nc.ConnectedServerId() != n.ServerID() || nc.ConnectedServerName() != "waybill-local" {
		t.Errorf("server %s %s", nc.ConnectedServerId(), nc.ConnectedServerName())
	}
	if nc.MaxPayload() != defaultMaxPayload {
		t.Errorf("max payload %d", nc.MaxPayload())
	}
	if info, err := os.Stat(filepath.Join(dir, "nats")); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("mode %v %v", info.Mode(), err)
	}
	ctx := ctxFor(t, 10*time.Second)
	check(t, EnsureStreams(ctx, jsOf(t, as(t, n, UserAdmin)), site, 1))
	check(t, n.Healthy())
	begin = time.Now()
	check(t, n.Stop(ctx))
	t.Logf("stopped in %v", time.Since(begin))
	refused(t, n.Healthy(), fault.Unavailable, "stopped")
	check(t, n.Stop(ctx))
	if _, err := net.DialTimeout("tcp", n.Addr(), time.Second); n.Addr() != "" && err == nil {
		t.Error("the listener is open")
	}
}

// What was acknowledged is there after a restart, with the same sequence, and so are the durable consumers.
func TestNATSRestart(t *testing.T) {
	dir := t.TempDir()
	ctx := ctxFor(t, 20*time.Second)
	n := startNATS(t, dir)
	admin := jsOf(t, as(t, n, UserAdmin))
	check(t, EnsureStreams(ctx, admin, site, 1))
	_, err := admin.CreateConsumer(ctx, "JOURNAL", jetstream.ConsumerConfig{Durable: string(subjects.DurableNotify), AckPolicy: jetstream.AckExplicitPolicy})
	check(t, err)
	order := jsOf(t, as(t, n, "order"))
	for i := range 100 {
		a, err := order.Publish(ctx, "wb.local.evt.order.o-1", []byte{byte('0' + i%10)}, jetstream.WithExpectLastSequencePerSubject(uint64(i)))
		if err != nil || a.Sequence != uint64(i+1) || a.Domain != string(site) {
			t.Fatalf("%+v %v", a, err)
		}
	}
	check(t, n.Stop(ctx))

	n = startNATS(t, dir)
	check(t, n.Healthy())
	admin = jsOf(t, as(t, n, UserAdmin))
	check(t, EnsureStreams(ctx, admin, site, 1))
	s, err := admin.Stream(ctx, "JOURNAL")
	check(t, err)
	if st := s.CachedInfo().State; st.Msgs != 100 || st.LastSeq != 100 {
		t.Errorf("%+v", st)
	}
	m, err := s.GetLastMsgForSubject(ctx, "wb.local.evt.order.o-1")
	if err != nil || m.Sequence != 100 || string(m.Data) != "9" {
		t.Errorf("%+v %v", m, err)
	}
	_, err = s.Consumer(ctx, string(subjects.DurableNotify))
	check(t, err)
	if _, err := os.Stat(n.StoreDir("JOURNAL")); err != nil {
		t.Error(err)
	}
}

func TestNATSStartRefused(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	defer taken.Close()
	_, port, _ := net.SplitHostPort(taken.Addr().String())
	file := filepath.Join(t.TempDir(), "file")
	check(t, os.WriteFile(file, nil, 0o600))
	readonly := filepath.Join(t.TempDir(), "readonly")
	check(t, os.Mkdir(readonly, 0o500))
	for name, c := range map[string]struct {
		change func(*NATSConfig)
		code   fault.Code
		says   []string
	}{
		"port taken":      {func(c *NATSConfig) { c.Addr = taken.Addr().String() }, fault.Unavailable, []string{"port " + port + " is taken", "--nats-addr"}},
		"no such address": {func(c *NATSConfig) { c.Addr = "127.0.0.1:99999" }, fault.InvalidArgument, []string{"127.0.0.1:99999"}},
		"open to all":     {func(c *NATSConfig) { c.Addr = "0.0.0.0:0" }, fault.FailedPrecondition, []string{"0.0.0.0:0", "credentials and TLS"}},
		"a file in place": {func(c *NATSConfig) { c.DataDir = file }, fault.FailedPrecondition, []string{file, "is a file", "--data"}},
		"a file above":    {func(c *NATSConfig) { c.DataDir = filepath.Join(file, "nats") }, fault.Unavailable, []string{file, "can't be created"}},
		"bad site":        {func(c *NATSConfig) { c.Site = "A.B" }, fault.InvalidArgument, []string{"site"}},
		"read-only":       {func(c *NATSConfig) { c.DataDir = readonly }, fault.Unavailable, []string{readonly, "can't be written", "--data"}},
	} {
		t.Run(name, func(t *testing.T) {
			if name == "read-only" && os.Getuid() == 0 {
				t.Skip("root can write to a read-only directory: run this test as another user; \"a file in place\" is its stand-in")
			}
			dir := t.TempDir()
			cfg := NATSConfig{Site: site, DataDir: filepath.Join(dir, "nats"), Addr: "127.0.0.1:0", Secrets: secretsIn(t, dir), Log: testLog(t)}
			c.change(&cfg)
			n, err := StartNATS(ctxFor(t, 10*time.Second), cfg)
			if err == nil {
				stopNATS(t, n)
				t.Fatal("started")
			}
			refused(t, err, c.code, c.says...)
		})
	}
}

// A start whose time is over leaves nothing behind (goleak sees to that).
func TestNATSStartInterrupted(t *testing.T) {
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	n, err := StartNATS(ctx, NATSConfig{Site: site, DataDir: filepath.Join(dir, "nats"), Addr: "127.0.0.1:0", Secrets: secretsIn(t, dir), Log: testLog(t)})
	if err == nil { // it was quicker than the look at the context
		stopNATS(t, n)
		return
	}
	refused(t, err, fault.DeadlineExceeded, "not ready in time")
}

func TestNATSRequiresCredentials(t *testing.T) {
	n := startNATS(t, t.TempDir(), func(c *NATSConfig) { c.RequireCredentials = true })
	if nc, err := nats.Connect(n.URL()); !errors.Is(err, nats.ErrAuthorization) {
		nc.Close()
		t.Errorf("anonymous: %v", err)
	}
	other := secretsIn(t, t.TempDir())
	wrong, err := other.Option("order")
	check(t, err)
	if nc, err := nats.Connect(n.URL(), wrong); !errors.Is(err, nats.ErrAuthorization) {
		nc.Close()
		t.Errorf("another site's key: %v", err)
	}
	if nc, err := nats.Connect(n.URL(), nats.UserInfo("admin", "")); !errors.Is(err, nats.ErrAuthorization) {
		nc.Close()
		t.Errorf("a user name: %v", err)
	}
	right, err := n.secrets.Option(UserClient)
	check(t, err)
	nc := anonymous(t, n, right)
	check(t, nc.Flush())
	_, err = n.Connect("nobody")
	refused(t, err, fault.NotFound, "nobody")
}

// On every interface, with TLS and credentials: what a site that other machines reach looks like.
func TestNATSTLS(t *testing.T) {
	cert, pool := selfSigned(t)
	n := startNATS(t, t.TempDir(), func(c *NATSConfig) {
		c.Addr, c.RequireCredentials = "0.0.0.0:0", true
		c.TLS = &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS13}
	})
	_, port, _ := net.SplitHostPort(n.Addr())
	url := "tls://127.0.0.1:" + port
	if !strings.HasPrefix(n.URL(), "tls://") {
		t.Errorf("URL %s", n.URL())
	}
	key, err := n.secrets.Option(UserClient)
	check(t, err)
	trust := nats.Secure(&tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS13})
	nc, err := nats.Connect(url, key, trust)
	check(t, err)
	defer nc.Close()
	if _, err := nc.TLSConnectionState(); err != nil {
		t.Errorf("not encrypted: %v", err)
	}
	if nc, err := nats.Connect(url, trust); !errors.Is(err, nats.ErrAuthorization) {
		nc.Close()
		t.Errorf("anonymous: %v", err)
	}
	check(t, as(t, n, "order").Flush()) // within the process there is nothing to encrypt
}

// certificate is what both ends of TLS need.
func certificate(t testing.TB) (server, client *tls.Config) {
	t.Helper()
	cert, pool := selfSigned(t)
	return &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}, &tls.Config{RootCAs: pool, ServerName: "127.0.0.1", MinVersion: tls.VersionTLS12}
}

func selfSigned(t testing.TB) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(t, err)
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "waybill test"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	check(t, err)
	leaf, err := x509.ParseCertificate(der)
	check(t, err)
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}

// The server tells a failed start and a lost store to its logger alone; the logger has to keep both.
func TestNATSLog(t *testing.T) {
	l := newNATSLog(testLog(t))
	l.Warnf("stream %s is odd", "X")
	if l.why() != "stream X is odd" || l.lostWrites() != "" {
		t.Errorf("%q %q", l.why(), l.lostWrites())
	}
	l.Fatalf("Can't start JetStream:\n %v", "storage directory is not writable")
	l.Fatalf("second")
	if l.why() != "Can't start JetStream: storage directory is not writable" {
		t.Errorf("%q", l.why())
	}
	if got := l.started(); len(got) != 1 {
		t.Errorf("%q", got)
	}
	l.Warnf("later")
	l.Errorf("Critical write error: %v", "input/output error")
	if got := l.started(); got != nil || !strings.Contains(l.lostWrites(), "input/output error") {
		t.Errorf("%q %q", got, l.lostWrites())
	}
}

// Whoever is refused a thousand times must not fill the log with it.
func TestNATSLogSamples(t *testing.T) {
	var out bytes.Buffer
	l := newNATSLog(zerolog.New(&out))
	for range 1000 {
		l.Errorf("127.0.0.1:1 - cid:1 - Publish Violation - Subject %q", "wb.local.evt.x")
		l.Errorf("127.0.0.1:1 - cid:1 - authentication error")
	}
	if n := bytes.Count(out.Bytes(), []byte("\n")); n == 0 || n > 40 {
		t.Errorf("%d lines", n)
	}
}

// A store in place of which the server finds something else is a clear refusal with the server's own reason.
func TestNATSStoreDamaged(t *testing.T) {
	dir := t.TempDir()
	check(t, os.MkdirAll(filepath.Join(dir, "nats"), 0o700))
	check(t, os.WriteFile(filepath.Join(dir, "nats", "jetstream"), []byte("not a directory"), 0o600))
	_, err := StartNATS(ctxFor(t, 10*time.Second), NATSConfig{Site: site, DataDir: filepath.Join(dir, "nats"), Addr: "127.0.0.1:0", Secrets: secretsIn(t, dir), Log: testLog(t)})
	refused(t, err, fault.FailedPrecondition, "storage directory is not a directory", dir)
}

func BenchmarkRequest(b *testing.B) {
	n := startNATS(b, b.TempDir())
	front := as(b, n, Front(subjects.Order))
	_, err := front.Subscribe("wb.local.rpc.order.echo", func(m *nats.Msg) { m.Respond(m.Data) })
	check(b, err)
	check(b, front.Flush())
	payload := make([]byte, 183)
	for name, nc := range map[string]*nats.Conn{"anonymous": anonymous(b, n), "process": as(b, n, Front(UserGateway))} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				_, err := nc.Request("wb.local.rpc.order.echo", payload, 5*time.Second)
				check(b, err)
			}
		})
	}
}
