package embedded

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"waybill/subjects"
)

const site subjects.Site = "local"

// must stops the test at the first error.
func must[T any](t testing.TB, v T, err error) T {
	t.Helper()
	check(t, err)
	return v
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func ctxFor(t testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func testLog(t testing.TB) zerolog.Logger {
	return zerolog.New(zerolog.NewTestWriter(t)).Level(zerolog.ErrorLevel)
}

func secretsIn(t testing.TB, dir string) *Secrets {
	t.Helper()
	s, err := OpenSecrets(filepath.Join(dir, "secrets"))
	return must(t, s, err)
}

// startNATS starts a server in dir; it is stopped when the test ends, if it was not before.
func startNATS(t testing.TB, dir string, change ...func(*NATSConfig)) *NATS {
	t.Helper()
	c := NATSConfig{Site: site, DataDir: filepath.Join(dir, "nats"), Addr: "127.0.0.1:0", Secrets: secretsIn(t, dir), Log: testLog(t)}
	for _, f := range change {
		f(&c)
	}
	n, err := StartNATS(ctxFor(t, 10*time.Second), c)
	check(t, err)
	t.Cleanup(func() { stopNATS(t, n) })
	return n
}

func stopNATS(t testing.TB, n *NATS) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := n.Stop(ctx); err != nil {
		t.Error(err)
	}
}

// as connects within the process.
func as(t testing.TB, n *NATS, user string, opts ...nats.Option) *nats.Conn {
	t.Helper()
	nc, err := n.Connect(user, opts...)
	check(t, err)
	t.Cleanup(nc.Close)
	return nc
}

// anonymous connects over TCP, with nothing but the address.
func anonymous(t testing.TB, n *NATS, opts ...nats.Option) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect(n.URL(), opts...)
	check(t, err)
	t.Cleanup(nc.Close)
	return nc
}

func jsOf(t testing.TB, nc *nats.Conn) jetstream.JetStream {
	t.Helper()
	js, err := jetstream.New(nc)
	return must(t, js, err)
}
