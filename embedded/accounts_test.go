package embedded

import (
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"waybill/subjects"
)

// The API is there with the domain as without, for the services and admin within and outside of the process, and the server looks at
// one mapping for that, however many it makes itself.
func TestDomain(t *testing.T) {
	w := newWorld(t)
	ctx := ctxFor(t, 20*time.Second)
	for account, want := range map[string][]string{accountSite: {"$JS.local.API.>"}, accountClients: nil} {
		info, err := w.n.server.Accountz(&server.AccountzOptions{Account: account})
		check(t, err)
		if got := slices.Collect(maps.Keys(info.Account.Mappings)); !slices.Equal(got, want) {
			t.Errorf("the account %s maps %v, want %v", account, got, want)
		}
	}
	for name, nc := range map[string]*actor{
		"within":  {as(t, w.n, string(subjects.Order))},
		"outside": {overTCP(t, w.n, string(subjects.Order))},
		"client":  {anonymous(t, w.n)},
	} {
		js, err := jetstream.NewWithDomain(nc.nc, string(site))
		check(t, err)
		s, err := js.Stream(ctx, subjects.StreamJournal)
		check(t, err)
		if m, err := s.GetLastMsgForSubject(ctx, "wb.local.evt.order.o-2"); err != nil || m.Subject != "wb.local.evt.order.o-2" {
			t.Errorf("%s: the last message is %+v, %v", name, m, err)
		}
		c, err := s.CreateConsumer(ctx, jetstream.ConsumerConfig{Name: name, AckPolicy: jetstream.AckExplicitPolicy})
		check(t, err)
		m, err := c.Next(jetstream.FetchMaxWait(5 * time.Second))
		check(t, err)
		check(t, m.DoubleAck(ctx))
		if i, err := c.Info(ctx); err != nil || i.AckFloor.Stream != 1 {
			t.Errorf("%s: the consumer is %+v, %v", name, i, err)
		}
		check(t, s.DeleteConsumer(ctx, name))
	}
	for _, subject := range []string{"$JS.local.API.INFO", "$JS.local.API.STREAM.NAMES", "$JS.local.API.CONSUMER.LIST.JOURNAL"} {
		if err := (actor{w.conn}).api(subject, ""); err != nil {
			t.Errorf("%s: %v", subject, err)
		}
	}
}
