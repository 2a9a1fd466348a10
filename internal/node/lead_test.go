package node

import (
	"context"
	"fmt"
	"net/url"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"waybill/internal/journal"
	"waybill/internal/journal/journaltest"
	"waybill/internal/registry/etcdtest"
	"waybill/subjects"
)

// TestCutOffStrikesNobody has two NATS servers that are one, with the store and a leader at the first and a candidate at the second. Once the
// network between them is cut the candidate's server knows of nobody who leads: the candidate must not take the leader for gone.
// When it really is, it does.
func TestCutOffStrikesNobody(t *testing.T) {
	t.Parallel()
	run := func(o *server.Options) (*server.Server, *nats.Conn) {
		t.Helper()
		o.Host, o.Port, o.NoSigs, o.NoLog = "127.0.0.1", -1, true, true
		s, err := server.NewServer(o)
		if err != nil {
			t.Fatal(err)
		}
		s.Start()
		t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
		if !s.ReadyForConnections(10 * time.Second) {
			t.Fatal("a server does not start")
		}
		closed := make(chan struct{})
		nc, err := nats.Connect(s.ClientURL(), nats.ClosedHandler(func(*nats.Conn) { close(closed) }))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { nc.Close(); <-closed })
		return s, nc
	}
	first, there := run(&server.Options{
		ServerName: "first", JetStream: true, StoreDir: t.TempDir(), JetStreamDomain: string(journaltest.Site),
		LeafNode: server.LeafNodeOpts{Host: "127.0.0.1", Port: -1},
	})
	js, err := jetstream.New(there)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(t.Context(), journaltest.Journal()); err != nil {
		t.Fatal(err)
	}
	varz, err := first.Varz(nil)
	if err != nil {
		t.Fatal(err)
	}
	way := etcdtest.NewSluice(t, fmt.Sprintf("127.0.0.1:%d", varz.LeafNode.Port))
	leaf := &url.URL{Scheme: "nats", Host: way.Addr}
	second, here := run(&server.Options{
		ServerName: "second", LeafNode: server.LeafNodeOpts{ReconnectInterval: 100 * time.Millisecond, Remotes: []*server.RemoteLeafOpts{{URLs: []*url.URL{leaf}}}},
	})

	end, err := (&roles{there, journaltest.Site, "leader"}).announce(subjects.RoleInventory)
	if err != nil {
		t.Fatal(err)
	}
	j, err := journal.Open(here, journal.Options{Site: journaltest.Site, Domain: string(journaltest.Site)})
	if err != nil {
		t.Fatal(err)
	}
	candidate := &services{n: &life{models: &models{journal: j}}, roles: &roles{here, journaltest.Site, "candidate"}}
	becomes := func(what string, ok func(context.Context) bool) {
		t.Helper()
		for until := time.Now().Add(20 * time.Second); !ok(t.Context()); time.Sleep(10 * time.Millisecond) {
			if time.Now().After(until) {
				t.Fatal(what, " did not come to be")
			}
		}
	}
	becomes("that the candidate hears the leader", func(ctx context.Context) bool {
		return candidate.roles.ask(ctx, subjects.RoleInventory) == nil && candidate.storeAnswers(ctx)
	})

	way.Shut()
	links, err := second.Leafz(nil)
	if err != nil || len(links.Leafs) != 1 {
		t.Fatalf("%+v, %v", links, err)
	}
	if err := second.DisconnectClientByID(links.Leafs[0].ID); err != nil {
		t.Fatal(err)
	}
	becomes("that the candidate's server knows of no leader", func(ctx context.Context) bool { return candidate.roles.gone(ctx, subjects.RoleInventory) })
	for range 3 { // as often as it is asked before a leader is struck out
		if candidate.leaderGone(t.Context(), subjects.RoleInventory) {
			t.Error("who is cut off takes the leader for gone")
		}
	}

	way.Open()
	becomes("that the leader is heard again", func(ctx context.Context) bool { return candidate.roles.ask(ctx, subjects.RoleInventory) == nil })
	end()
	becomes("that the leader is gone", func(ctx context.Context) bool { return candidate.leaderGone(ctx, subjects.RoleInventory) })
}
