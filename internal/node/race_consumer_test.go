package node_test

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"waybill/embedded"
	"waybill/internal/journal"
	"waybill/internal/nodetest"
	"waybill/subjects"
)

// enter connects as one of the site's own users, with the secrets of the node's directory.
func enter(t testing.TB, n *nodetest.Node, user string) *nats.Conn {
	t.Helper()
	secrets, err := embedded.OpenSecrets(filepath.Join(n.Config.Data, "secrets"))
	if err != nil {
		t.Fatal(err)
	}
	key, err := secrets.Option(user)
	if err != nil {
		t.Fatal(err)
	}
	nc, err := nats.Connect(n.URL(), key, nats.CustomInboxPrefix("_WB."+user))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

// consumed waits until a durable consumer has settled all that is in the journal.
func consumed(t testing.TB, n *nodetest.Node, durable subjects.Durable) {
	t.Helper()
	j, err := journal.Open(enter(t, n, string(subjects.Journal)), journal.Options{Site: n.Config.Site})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := until(10*time.Second, func() error {
		lag, err := j.Lag(ctx, durable)
		if err == nil && lag.Pending+uint64(lag.InFlight) > 0 {
			err = fmt.Errorf("%s has %+v before it", durable, lag)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
}
