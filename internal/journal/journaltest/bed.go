// Package journaltest gives tests a real server inside the process with a site's streams, which can be restarted on its store.
package journaltest

import (
	"errors"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"waybill/subjects"
)

// Site is the site of every Bed.
const Site = subjects.Site("local")

// Bed is a running server. Its methods end the test where they fail.
type Bed struct {
	t   testing.TB
	dir string
	now atomic.Pointer[server.Server]
}

// Start runs a server without a listener and without streams until the test ends.
func Start(t testing.TB) *Bed {
	t.Helper()
	b := &Bed{t: t, dir: t.TempDir()}
	b.Run()
	t.Cleanup(b.Stop)
	return b
}

// Dir is where the server keeps its store.
func (b *Bed) Dir() string { return b.dir }

// Run starts the server again after Stop.
func (b *Bed) Run() {
	b.t.Helper()
	s, err := server.NewServer(&server.Options{
		ServerName: "test", DontListen: true, JetStream: true, StoreDir: b.dir, JetStreamDomain: string(Site), NoSigs: true,
	})
	if err != nil {
		b.t.Fatal(err)
	}
	s.Start()
	if !s.ReadyForConnections(10 * time.Second) {
		b.t.Fatal("the server does not start")
	}
	b.now.Store(s)
}

// Stop ends the server; its store stays.
func (b *Bed) Stop() {
	s := b.now.Load()
	s.Shutdown()
	s.WaitForShutdown()
}

// InProcessConn connects to the server that runs now, so that a client finds it again after a restart.
func (b *Bed) InProcessConn() (net.Conn, error) {
	s := b.now.Load()
	if !s.Running() {
		return nil, errors.New("the server is down")
	}
	return s.InProcessConn()
}

// Connect makes a connection that is closed when the test ends.
func (b *Bed) Connect() *nats.Conn { return b.ConnectBy(b) }

// ConnectBy is Connect by way of another provider of connections.
func (b *Bed) ConnectBy(p nats.InProcessConnProvider) *nats.Conn {
	b.t.Helper()
	closed := make(chan struct{})
	nc, err := nats.Connect("", nats.InProcessServer(p), nats.MaxReconnects(-1), nats.ReconnectWait(5*time.Millisecond),
		nats.CustomInboxPrefix("_WB.test"), nats.ClosedHandler(func(*nats.Conn) { close(closed) }))
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { nc.Close(); <-closed })
	return nc
}

// JetStream is the JetStream API over a connection of its own.
func (b *Bed) JetStream() jetstream.JetStream {
	b.t.Helper()
	js, err := jetstream.New(b.Connect())
	if err != nil {
		b.t.Fatal(err)
	}
	return js
}

// Streams creates the streams.
func (b *Bed) Streams(configs ...jetstream.StreamConfig) {
	b.t.Helper()
	js := b.JetStream()
	for _, c := range configs {
		if _, err := js.CreateStream(b.t.Context(), c); err != nil {
			b.t.Fatal(err)
		}
	}
}

// Journal, Dead and Keys are the site's streams as a test needs them.
func Journal() jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name: subjects.StreamJournal, Subjects: []string{subjects.AllEvents(Site)}, AllowDirect: true, AllowAtomicPublish: true,
		DenyDelete: true, DenyPurge: true, Discard: jetstream.DiscardNew, Duplicates: 2 * time.Second,
	}
}

// Dead is the stream of dead letters.
func Dead() jetstream.StreamConfig {
	return jetstream.StreamConfig{Name: subjects.StreamDead, Subjects: []string{subjects.AllDead(Site)}, AllowDirect: true}
}

// Keys is the stream of the customers' keys.
func Keys() jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name: subjects.StreamKeys, Subjects: []string{subjects.AllKeys(Site)}, AllowDirect: true, MaxMsgsPerSubject: 1,
	}
}
