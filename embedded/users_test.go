package embedded

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"

	"waybill/subjects"
)

// push is a request that makes a push consumer of the stream deliver to the subject.
func push(stream, deliver string, more string) string {
	return fmt.Sprintf(`{"stream_name":%q,"config":{"name":"thief","deliver_subject":%q,"deliver_policy":"all","ack_policy":"none","replay_policy":"instant"%s}}`, stream, deliver, more)
}

type act struct {
	name string
	do   func(a actor) error
}

func publishes(list ...string) (acts []act) {
	for _, s := range list {
		acts = append(acts, act{"publish " + s, func(a actor) error { return a.publish(s, `{"v":1}`) }})
	}
	return acts
}

func asks(body string, list ...string) (acts []act) {
	for _, s := range list {
		acts = append(acts, act{"ask " + s + " " + body, func(a actor) error { return a.api(s, body) }})
	}
	return acts
}

// forbiddenActs is what no client may do, each with the subject that it is done by.
func forbiddenActs(w *world) []act {
	var acts []act
	add := func(a ...act) { acts = append(acts, a...) }
	add(publishes(
		"wb.local.evt.order.o-1", "wb.local.evt.stock.espresso", "wb.local.evt.payment.o-1-pay", "wb.local.evt.leader.inventory",
		"wb.local.dead.notify", "wb.local.dead.x", "wb.local.key.c-1", "wb.local.key.c-2", "wb.local.evt.ledger.o-1-pay", "wb.local.evt.ledger.x",
		"wb.local.int.order.get", "wb.local.int.inventory.reserve", "wb.other.evt.order.o-1", "wb.local", "_WB.order.x", "_WB.order-front.x",
		"_WB.admin.x", "_INBOX.x", "_R_.x", gatePrefix+"CREATE.JOURNAL", "$SYS.REQ.SERVER.PING", "$SYS.ACCOUNT.SITE.CLAIMS.UPDATE", "$KV.bucket.key", "$O.bucket.C.x",
		w.ack, "$JS.ACK.JOURNAL.notify.1.2.2.1700000000000000000.0", "$JS.ACK.local.hash.JOURNAL.notify.1.2.2.1700000000000000000.0",
		"$JS.FC.JOURNAL.notify.x",
	)...)
	// With the domain as without.
	for _, api := range []string{"$JS.API.", "$JS.local.API."} {
		add(asks(`{}`,
			api+"STREAM.DELETE.JOURNAL", api+"STREAM.DELETE.DEAD", api+"STREAM.PURGE.JOURNAL", api+"STREAM.PURGE.DEAD", api+"STREAM.PURGE.KEYS",
			api+"STREAM.INFO.KEYS", api+"CONSUMER.NAMES.KEYS", api+"CONSUMER.LIST.KEYS",
			api+"CONSUMER.DELETE.JOURNAL.notify", api+"CONSUMER.DELETE.JOURNAL.order-process", api+"CONSUMER.DELETE.JOURNAL.shipping-plan",
			api+"CONSUMER.LEADER.STEPDOWN.JOURNAL.notify", api+"STREAM.LEADER.STEPDOWN.JOURNAL", api+"CONSUMER.RESET.JOURNAL.notify",
			api+"META.LEADER.STEPDOWN", api+"ACCOUNT.PURGE.SITE", api+"SERVER.REMOVE",
		)...)
		add(asks(`{"seq":1}`, api+"STREAM.MSG.DELETE.JOURNAL", api+"STREAM.MSG.DELETE.DEAD", api+"STREAM.MSG.DELETE.KEYS",
			api+"STREAM.MSG.GET.KEYS", api+"DIRECT.GET.KEYS")...)
		add(asks(``, api+"DIRECT.GET.KEYS.wb.local.key.c-1")...)
		add(asks(`{"name":"MINE","subjects":["mine.>"]}`, api+"STREAM.CREATE.MINE")...)
		add(asks(`{"name":"KV_mine","subjects":["$KV.mine.>"],"max_msgs_per_subject":1,"allow_rollup_hdrs":true,"deny_delete":true}`, api+"STREAM.CREATE.KV_mine")...)
		add(asks(`{"name":"COPY","mirror":{"name":"KEYS"}}`, api+"STREAM.CREATE.COPY")...)
		add(asks(`{"name":"COPY","sources":[{"name":"KEYS"}]}`, api+"STREAM.CREATE.COPY")...)
		add(asks(`{"name":"JOURNAL","subjects":["wb.local.evt.>"],"max_age":1000000000}`, api+"STREAM.UPDATE.JOURNAL")...)
		add(asks(`{"name":"DEAD","subjects":["wb.local.dead.>","wb.local.rpc.>"]}`, api+"STREAM.UPDATE.DEAD")...)
		add(asks(`{"deliver_subject":"_INBOX.snapshot","no_consumers":false}`, api+"STREAM.SNAPSHOT.JOURNAL")...)
		add(asks(`{"config":{"name":"BACK","subjects":["back.>"]},"state":{}}`, api+"STREAM.RESTORE.BACK")...)
		add(asks(`{"pause_until":"2099-01-01T00:00:00Z"}`, api+"CONSUMER.PAUSE.JOURNAL.notify")...)
		add(asks(`{"group":"g"}`, api+"CONSUMER.UNPIN.JOURNAL.notify")...)
		add(asks(`{"batch":1,"no_wait":true}`, api+"CONSUMER.MSG.NEXT.JOURNAL.notify", api+"CONSUMER.MSG.NEXT.JOURNAL.order-process", api+"CONSUMER.MSG.NEXT.JOURNAL.shipping-plan")...)
		// The durable consumers, by each of the three ways to make or change a consumer.
		change := `{"stream_name":"JOURNAL","config":{"name":"notify","durable_name":"notify","ack_policy":"explicit","max_deliver":1}}`
		add(asks(change, api+"CONSUMER.CREATE.JOURNAL.notify", api+"CONSUMER.DURABLE.CREATE.JOURNAL.notify")...)
		add(asks(`{"stream_name":"JOURNAL","config":{"name":"notify","filter_subject":"wb.local.evt.>","ack_policy":"explicit"}}`, api+"CONSUMER.CREATE.JOURNAL.notify.wb.local.evt.>")...)
		add(asks(`{"stream_name":"JOURNAL","config":{"name":"notify","ack_policy":"explicit","max_deliver":1}}`, api+"CONSUMER.CREATE.JOURNAL")...)
		add(asks(`{"stream_name":"JOURNAL","config":{"NAME":"notify","ack_policy":"explicit","max_deliver":1}}`, api+"CONSUMER.CREATE.JOURNAL")...)
		// Push consumers deliver with the server's rights: to other streams, inboxes, acknowledgements, the API.
		for _, to := range []string{"wb.local.dead.x", "wb.local.key.x", "wb.local.evt.ledger.x", "wb.local.evt.order.x", "wb.local.int.order.get", "wb.local.rpc.order.place",
			"_WB.order.x", "_R_.x", "$JS.API.STREAM.DELETE.DEAD", "$JS.API.CONSUMER.DELETE.JOURNAL.notify", w.ack, "_INBOXES.x", "_INBOX"} {
			add(asks(push("JOURNAL", to, ""), api+"CONSUMER.CREATE.JOURNAL.thief", api+"CONSUMER.CREATE.JOURNAL")...)
			add(asks(push("JOURNAL", to, `,"headers_only":true`), api+"CONSUMER.CREATE.JOURNAL.thief")...)
			add(asks(push("JOURNAL", to, `,"durable_name":"thief"`), api+"CONSUMER.DURABLE.CREATE.JOURNAL.thief")...)
			add(asks(push("DEAD", to, ""), api+"CONSUMER.CREATE.DEAD.thief")...)
			// Two readings of one body: the later key, in other letters.
			add(asks(push("JOURNAL", "_INBOX.ok", fmt.Sprintf(`,"Deliver_Subject":%q`, to)), api+"CONSUMER.CREATE.JOURNAL.thief")...)
		}
		add(asks(push("JOURNAL", "_INBOX.ok", `,"direct":true`), api+"CONSUMER.CREATE.JOURNAL.thief")...)
		add(asks(push("KEYS", "_INBOX.ok", ""), api+"CONSUMER.CREATE.KEYS.thief", api+"CONSUMER.CREATE.JOURNAL.thief")...)
	}
	// The server would publish the trace of a message to wherever the header says.
	for _, to := range []string{"wb.local.evt.order.x", "wb.local.dead.x"} {
		add(act{"trace to " + to, func(a actor) error {
			if err := a.publish("wb.local.rpc.order.get", `{}`, "Nats-Trace-Dest", to); err != nil {
				return err
			}
			return errors.New("refused without a word") // the effect is what counts
		}})
	}
	add(act{"acknowledge by a reply subject", func(a actor) error {
		return a.do(func() error { return a.nc.PublishRequest("$JS.API.STREAM.INFO.JOURNAL", w.ack, nil) })
	}})
	return acts
}

func TestClientMayNot(t *testing.T) {
	w := newWorld(t)
	a := actor{anonymous(t, w.n, quiet)}
	before := w.snapshot(t)
	acts := forbiddenActs(w)
	names := map[string]bool{}
	for _, act := range acts {
		names[act.name] = true
		if err := act.do(a); err == nil {
			t.Errorf("%s: not refused", act.name)
		}
		if after := w.snapshot(t); after != before {
			t.Fatalf("%s: changed\n%s\nto\n%s", act.name, before, after)
		}
	}
	if len(names) != len(acts) || len(acts) < 50 {
		t.Errorf("%d acts, %d distinct", len(acts), len(names))
	}
	t.Logf("%d acts were refused", len(acts))
	for _, stream := range []string{"JOURNAL", "DEAD", "KEYS"} {
		for name := range must(t, w.stream(t, stream), nil).ConsumerNames(t.Context()).Name() {
			if name == "thief" {
				t.Errorf("the stream %s has a thief", stream)
			}
		}
	}
	// The proof that the snapshot sees what it should.
	_, err := jsOf(t, as(t, w.n, "order")).Publish(t.Context(), "wb.local.evt.order.o-1", []byte("{}"))
	check(t, err)
	if w.snapshot(t) == before {
		t.Error("the snapshot does not see an event")
	}
}

func (w *world) stream(t *testing.T, name string) jetstream.Stream {
	t.Helper()
	s, err := w.admin.Stream(t.Context(), name)
	check(t, err)
	return s
}

// quiet keeps expected refusals out of the test's output.
var quiet = nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {})

// A client chooses where an answer goes, and the server and the services answer with their own rights. No refusal can be
// seen here: what counts is that nothing changes.
func TestClientReplySubject(t *testing.T) {
	w := newWorld(t)
	ctx := ctxFor(t, 30*time.Second)
	nc := anonymous(t, w.n, quiet)
	a := actor{nc}
	serveEcho(t, w, subjects.Order)
	js := jsOf(t, nc)
	for _, name := range []string{"mine", "victim"} {
		_, err := js.CreateConsumer(ctx, "JOURNAL", jetstream.ConsumerConfig{Name: name, HeadersOnly: true, AckPolicy: jetstream.AckExplicitPolicy})
		check(t, err)
	}
	before := w.snapshot(t)
	for _, reply := range []string{
		"wb.local.evt.order.x", "wb.local.dead.x", "wb.local.key.x", "wb.local.evt.ledger.x", "wb.local.evt.order.o-1",
		"$JS.API.STREAM.DELETE.DEAD", "$JS.API.STREAM.PURGE.DEAD", "$JS.API.STREAM.PURGE.KEYS",
		"$JS.API.CONSUMER.DELETE.JOURNAL.notify", "$JS.local.API.CONSUMER.DELETE.JOURNAL.notify", "$JS.API.CONSUMER.DELETE.JOURNAL.victim",
		"$JS.API.CONSUMER.MSG.NEXT.JOURNAL.notify", "$JS.API.CONSUMER.RESET.JOURNAL.notify",
		gatePrefix + "CREATE.JOURNAL.notify",
	} {
		for subject, body := range map[string]string{
			"$JS.API.INFO":                                         "",
			"$JS.API.STREAM.INFO.JOURNAL":                          "",
			"$JS.API.STREAM.MSG.GET.JOURNAL":                       `{"seq":1}`,
			"$JS.API.DIRECT.GET.JOURNAL":                           `{"seq":1}`,
			"$JS.API.DIRECT.GET.JOURNAL.wb.local.evt.order.o-1":    "",
			"$JS.API.DIRECT.GET.JOURNAL.wb.local.evt.order.absent": "",
			"$JS.API.CONSUMER.MSG.NEXT.JOURNAL.mine":               `{"batch":1,"no_wait":true}`,
			"$JS.API.CONSUMER.INFO.JOURNAL.mine":                   "",
			"wb.local.rpc.order.echo":                              "{}",
			"$SRV.PING":                                            "",
		} {
			if err := a.replyTo(ctx, subject, reply, body); err != nil && !errors.Is(err, nats.ErrNoResponders) {
				t.Fatalf("%s with reply %s: %v", subject, reply, err)
			}
			if after := w.snapshot(t); after != before {
				t.Fatalf("%s with reply %s changed\n%s\nto\n%s", subject, reply, before, after)
			}
		}
	}
	if _, err := w.stream(t, "JOURNAL").Consumer(ctx, "victim"); err != nil {
		t.Errorf("a consumer was deleted by an answer: %v", err)
	}
}

// serveEcho answers wb.local.rpc.<service>.echo with what came.
func serveEcho(t *testing.T, w *world, s subjects.Service) {
	t.Helper()
	nc := as(t, w.n, Front(s), quiet)
	_, err := nc.Subscribe(subjects.RPC(site, s, "echo"), func(m *nats.Msg) { m.Respond(m.Data) })
	check(t, err)
	check(t, nc.Flush())
}

func TestClientMayNotListen(t *testing.T) {
	w := newWorld(t)
	nc := anonymous(t, w.n, quiet)
	a := actor{nc}
	var heard []*nats.Subscription
	for _, s := range []string{">", "*", "wb.>", "wb.local.rpc.>", "wb.local.rpc.order.echo", "wb.local.evt.>", "wb.local.evt.order.o-1", "wb.local.int.>", "wb.local.key.>",
		"wb.local.dead.>", "_WB.>", "_WB.order.>", "_WB.order-front.>", "_WB.gate.>", "_R_.>", gatePrefix + ">", "$SYS.>", "$JS.>", "$JS.API.>", "$JS.EVENT.>", "$SRV.>", "*.>"} {
		for _, queue := range []string{"", "order"} {
			if err := a.do(func() error {
				sub, err := nc.QueueSubscribeSync(s, queue)
				if queue == "" {
					sub, err = nc.SubscribeSync(s)
				}
				heard = append(heard, sub)
				return err
			}); err == nil {
				t.Errorf("subscribe to %s (queue %q): not refused", s, queue)
			}
		}
	}
	// The control: what goes to a client's own inbox is heard.
	own, err := nc.SubscribeSync("_INBOX.own")
	check(t, err)
	serveEcho(t, w, subjects.Order)
	front := as(t, w.n, Front(UserGateway))
	_, err = front.Request("wb.local.rpc.order.echo", []byte("{}"), 5*time.Second)
	check(t, err)
	_, err = jsOf(t, as(t, w.n, "order")).Publish(t.Context(), "wb.local.evt.order.o-1", []byte("{}"))
	check(t, err)
	check(t, nc.PublishRequest("wb.local.rpc.order.echo", "_INBOX.own", []byte("{}")))
	if _, err := own.NextMsg(5 * time.Second); err != nil {
		t.Errorf("own inbox: %v", err)
	}
	check(t, nc.Flush())
	for _, s := range heard {
		if n, _, _ := s.Pending(); n > 0 {
			t.Errorf("heard %d messages on %s", n, s.Subject)
		}
	}
}

func TestClientMay(t *testing.T) {
	w := newWorld(t)
	ctx := ctxFor(t, 30*time.Second)
	serveEcho(t, w, subjects.Order)
	creds, err := w.n.secrets.Option(UserClient)
	check(t, err)
	for how, nc := range map[string]*nats.Conn{
		"anonymous":  anonymous(t, w.n),
		"with nkey":  anonymous(t, w.n, creds),
		"in process": as(t, w.n, UserClient),
	} {
		t.Run(how, func(t *testing.T) {
			m, err := nc.Request("wb.local.rpc.order.echo", []byte(`{"a":1}`), 5*time.Second)
			if err != nil || string(m.Data) != `{"a":1}` {
				t.Fatalf("request: %v", err)
			}
			if _, err := nc.Request("wb.local.rpc.nobody.get", nil, 5*time.Second); !errors.Is(err, nats.ErrNoResponders) {
				t.Errorf("a request that nobody serves: %v", err)
			}
			plain, err := jetstream.New(nc)
			check(t, err)
			domain, err := jetstream.NewWithDomain(nc, string(site))
			check(t, err)
			for name, js := range map[string]jetstream.JetStream{"plain": plain, "domain": domain} {
				t.Run(name, func(t *testing.T) { readAsClient(ctx, t, js) })
			}
			for name, opts := range map[string][]nats.JSOpt{"legacy": nil, "legacy domain": {nats.Domain(string(site))}} {
				t.Run(name, func(t *testing.T) { readAsLegacyClient(t, nc, opts) })
			}
		})
	}
}

func readAsClient(ctx context.Context, t *testing.T, js jetstream.JetStream) {
	info, err := js.AccountInfo(ctx)
	if err != nil || info.Domain != string(site) {
		t.Errorf("account info: %+v %v", info, err)
	}
	s, err := js.Stream(ctx, "JOURNAL")
	check(t, err)
	if n := s.CachedInfo().State.Msgs; n != 4 {
		t.Errorf("%d messages", n)
	}
	if m, err := s.GetLastMsgForSubject(ctx, "wb.local.evt.order.o-1"); err != nil || m.Subject != "wb.local.evt.order.o-1" {
		t.Errorf("direct get by subject: %+v %v", m, err)
	}
	if m, err := s.GetMsg(ctx, 1); err != nil || m.Sequence != 1 {
		t.Errorf("direct get by sequence: %+v %v", m, err)
	}
	dead, err := js.Stream(ctx, "DEAD")
	check(t, err)
	if m, err := dead.GetLastMsgForSubject(ctx, "wb.local.dead.notify"); err != nil || m.Sequence != 1 {
		t.Errorf("dead letter: %v %v", m, err)
	}
	var names []string
	for n := range js.StreamNames(ctx).Name() {
		names = append(names, n)
	}
	if len(names) != 3 {
		t.Errorf("streams %v", names)
	}
	oc, err := js.OrderedConsumer(ctx, "JOURNAL", jetstream.OrderedConsumerConfig{FilterSubjects: []string{"wb.local.evt.order.>"}})
	check(t, err)
	it, err := oc.Messages()
	check(t, err)
	for i := range 3 {
		if _, err := it.Next(jetstream.NextContext(ctx)); err != nil {
			t.Fatalf("ordered consumer, message %d: %v", i, err)
		}
	}
	it.Stop()
	// A durable consumer of one's own: made, worked with, removed.
	c, err := js.CreateConsumer(ctx, "JOURNAL", jetstream.ConsumerConfig{Durable: "mine", AckPolicy: jetstream.AckExplicitPolicy})
	check(t, err)
	m, err := c.Next(jetstream.FetchMaxWait(5 * time.Second))
	check(t, err)
	if err := m.DoubleAck(ctx); err != nil {
		t.Errorf("ack: %v", err)
	}
	i, err := c.Info(ctx)
	if err != nil || i.AckFloor.Stream != 1 || i.Config.InactiveThreshold != maxIdle {
		t.Errorf("own durable: %+v %v", i, err)
	}
	check(t, js.DeleteConsumer(ctx, "JOURNAL", "mine"))
}

func readAsLegacyClient(t *testing.T, nc *nats.Conn, opts []nats.JSOpt) {
	js, err := nc.JetStream(append(opts, nats.MaxWait(5*time.Second))...)
	check(t, err)
	for _, o := range [][]nats.SubOpt{{nats.OrderedConsumer()}, {nats.AckExplicit(), nats.DeliverAll()}, {nats.BindStream("JOURNAL"), nats.AckNone(), nats.IdleHeartbeat(time.Second), nats.EnableFlowControl()}} {
		sub, err := js.SubscribeSync("wb.local.evt.order.>", o...)
		check(t, err)
		for i := range 3 {
			if _, err := sub.NextMsg(5 * time.Second); err != nil {
				t.Fatalf("message %d: %v", i, err)
			}
		}
		check(t, sub.Unsubscribe())
	}
	sub, err := js.PullSubscribe("wb.local.evt.order.>", "")
	check(t, err)
	msgs, err := sub.Fetch(3, nats.MaxWait(5*time.Second))
	if err != nil || len(msgs) != 3 {
		t.Fatalf("pull: %d %v", len(msgs), err)
	}
	check(t, msgs[0].AckSync())
	check(t, sub.Unsubscribe())
	if m, err := js.GetLastMsg("JOURNAL", "wb.local.evt.order.o-2", nats.DirectGet()); err != nil || m.Subject != "wb.local.evt.order.o-2" {
		t.Errorf("direct get: %v", err)
	}
	if i, err := js.StreamInfo("JOURNAL"); err != nil || i.State.Msgs != 4 {
		t.Errorf("stream info: %v", err)
	}
}

func TestServicesMay(t *testing.T) {
	w := newWorld(t)
	type row struct {
		user    string
		subject string
		ok      bool
	}
	var rows []row
	add := func(user string, ok bool, list ...string) {
		for _, s := range list {
			rows = append(rows, row{user, s, ok})
		}
	}
	// Each kind of event has one writer, and only its user on the streams.
	writers := map[subjects.Kind]subjects.Service{
		subjects.KindCatalog: subjects.Catalog, subjects.KindStock: subjects.Inventory, subjects.KindReservation: subjects.Inventory, subjects.KindLeader: subjects.Inventory,
		subjects.KindPayment: subjects.Payment, subjects.KindRefund: subjects.Payment, subjects.KindLedger: subjects.Payment, subjects.KindOrder: subjects.Order, subjects.KindShipment: subjects.Shipping,
		subjects.KindNotification: subjects.Notification, subjects.KindWebhook: subjects.Webhook,
	}
	if len(writers) != len(subjects.Kinds) {
		t.Fatal("a kind of event has no writer in this test")
	}
	for kind, writer := range writers {
		for _, s := range subjects.Services {
			add(string(s), s == writer, subjects.Event(site, kind, "x"))
			add(Front(s), false, subjects.Event(site, kind, "x"))
		}
		add(UserAdmin, false, subjects.Event(site, kind, "x"))
		add(UserGateway, false, subjects.Event(site, kind, "x"))
		add(Front(UserGateway), false, subjects.Event(site, kind, "x"))
	}
	next := "$JS.API.CONSUMER.MSG.NEXT.JOURNAL."
	for d, owner := range map[subjects.Durable]subjects.Service{
		subjects.DurablePlan: subjects.Shipping, subjects.DurableProcess: subjects.Order, subjects.DurableNotify: subjects.Notification,
		subjects.DurableNotifyShipments: subjects.Notification,
	} {
		for _, s := range subjects.Services {
			ack := "$JS.ACK.JOURNAL." + string(d) + ".1.999.999.1700000000000000000.0"
			add(string(s), s == owner, subjects.DeadLetter(site, d), next+string(d), ack, "$JS.ACK.local.h.JOURNAL."+string(d)+".1.999.999.1700000000000000000.0")
			add(string(s), false, "$JS.API.CONSUMER.DELETE.JOURNAL."+string(d), "$JS.API.CONSUMER.DURABLE.CREATE.JOURNAL."+string(d), "$JS.API.CONSUMER.CREATE.JOURNAL."+string(d))
			add(string(s), true, "$JS.API.CONSUMER.INFO.JOURNAL."+string(d))
		}
	}
	for _, s := range subjects.Services {
		u, f := string(s), Front(s)
		add(u, true, "$JS.API.STREAM.INFO.JOURNAL", "$JS.local.API.STREAM.INFO.JOURNAL", "$JS.API.DIRECT.GET.JOURNAL", "$JS.API.DIRECT.GET.JOURNAL.wb.local.evt.order.o-1",
			"$JS.API.STREAM.MSG.GET.JOURNAL", "$JS.API.CONSUMER.CREATE.JOURNAL.own", "$JS.API.CONSUMER.CREATE.JOURNAL.own.wb.local.evt.>", next+"own", "$JS.FC.JOURNAL.own.x")
		add(u, false, "$JS.API.STREAM.DELETE.JOURNAL", "$JS.API.STREAM.PURGE.JOURNAL", "$JS.API.STREAM.UPDATE.JOURNAL", "$JS.API.STREAM.CREATE.X", "$JS.API.STREAM.MSG.DELETE.JOURNAL",
			"$JS.local.API.STREAM.DELETE.DEAD", "$JS.API.CONSUMER.CREATE.JOURNAL", "_INBOX.x", "wb.local.rpc.order.place", "$SYS.REQ.SERVER.PING", "wb.other.evt.order.x")
		add(f, true, "_INBOX.x", "_WB.order-front.x", "wb.local.int.journal.sync")
		add(f, false, "$JS.API.STREAM.INFO.JOURNAL", "wb.local.rpc.customer.erase", "$SYS.REQ.SERVER.PING", "$JS.ACK.JOURNAL.notify.1.1.1.1.0", "wb.other.int.journal.sync")
		// Keys.
		key := s == subjects.Order || s == subjects.Notification || s == subjects.Customer
		add(u, key || s == subjects.Journal, "$JS.API.DIRECT.GET.KEYS.wb.local.key.c-1")
		add(u, s == subjects.Order, "wb.local.key.c-1")
		add(u, s == subjects.Customer, "$JS.API.STREAM.MSG.DELETE.KEYS")
		add(u, s == subjects.Dead, "$JS.API.STREAM.MSG.DELETE.DEAD")
		add(u, s == subjects.Dead || s == subjects.Journal, "$JS.API.DIRECT.GET.DEAD")
	}
	calls := map[subjects.Service][]subjects.Service{
		subjects.Order:        {subjects.Inventory, subjects.Payment, subjects.Shipping},
		subjects.Shipping:     {subjects.Inventory, subjects.Payment, subjects.Order},
		subjects.Notification: {subjects.Order},
		subjects.Payment:      {subjects.Order}, // tells it that its payment went on
	}
	for _, s := range subjects.Services {
		for _, to := range subjects.Services {
			may := false
			for _, c := range calls[s] {
				may = may || c == to
			}
			add(Front(s), may, subjects.RPC(site, to, "m"))
			add(Front(s), may || to == subjects.Journal || s == subjects.Dead, subjects.Internal(site, to, "m"))
		}
	}
	add(Front(UserGateway), true, "wb.local.rpc.order.place", "$SRV.PING")
	add(Front(UserGateway), false, "wb.local.int.order.get", "$JS.API.STREAM.INFO.JOURNAL", "_INBOX.x")
	add(UserGateway, true, "$JS.API.DIRECT.GET.JOURNAL", "$JS.API.CONSUMER.CREATE.JOURNAL.own")
	add(UserGateway, false, next+"notify", "wb.local.rpc.order.place", "$JS.API.STREAM.PURGE.JOURNAL")
	add(UserAdmin, true, "$JS.API.STREAM.NAMES", "$JS.local.API.STREAM.NAMES", "$JS.API.CONSUMER.LIST.JOURNAL")
	add(UserAdmin, false, "wb.local.rpc.order.place", "_INBOX.x", "wb.local.key.c-1")

	within, outside := map[string]actor{}, map[string]actor{}
	for _, u := range Users() {
		within[u], outside[u] = actor{as(t, w.n, u, quiet)}, actor{overTCP(t, w.n, u)}
	}
	for _, r := range rows {
		insider := slices.Contains(subjects.Services, subjects.Service(r.user))
		if err := within[r.user].publish(r.subject, `{`); (err == nil) != (r.ok || insider) {
			t.Errorf("%s publishes within the process to %s: allowed %v, want %v (%v)", r.user, r.subject, err == nil, r.ok || insider, err)
		}
		if err := outside[r.user].publish(r.subject, `{`); (err == nil) != r.ok {
			t.Errorf("%s publishes to %s: allowed %v, want %v (%v)", r.user, r.subject, err == nil, r.ok, err)
		}
	}
	t.Logf("%d cases", len(rows))
}

// overTCP connects from outside with the user's own key.
func overTCP(t *testing.T, n *NATS, user string) *nats.Conn {
	t.Helper()
	key, err := n.secrets.Option(user)
	check(t, err)
	return anonymous(t, n, key, nats.CustomInboxPrefix(inboxPrefix(user)), quiet)
}

// Nobody who comes with a service's key is taken for this process, by whatever way: not even over a connection in memory, as the doors
// use them for those who come from outside.
func TestOutsiderIsNoInsider(t *testing.T) {
	dir := t.TempDir()
	server, client := certificate(t)
	plain := startNATS(t, dir, withSocket(dir), func(c *NATSConfig) { c.WSAddr = "127.0.0.1:0" })
	secure := startNATS(t, t.TempDir(), func(c *NATSConfig) { c.TLS, c.WSAddr = server, "127.0.0.1:0" })
	for name, way := range map[string]struct {
		n       *NATS
		connect func(key nats.Option) (*nats.Conn, error)
	}{
		"TCP":       {plain, func(key nats.Option) (*nats.Conn, error) { return nats.Connect(plain.URL(), key, quiet) }},
		"socket":    {plain, func(key nats.Option) (*nats.Conn, error) { return overSocket(t, plain, key, quiet) }},
		"WebSocket": {plain, func(key nats.Option) (*nats.Conn, error) { return nats.Connect(plain.WSURL(), key, quiet) }},
		"memory": {plain, func(key nats.Option) (*nats.Conn, error) {
			return nats.Connect("", nats.InProcessServer(plain.server), key, quiet)
		}},
		"TLS": {secure, func(key nats.Option) (*nats.Conn, error) {
			return nats.Connect(secure.URL(), key, quiet, nats.Secure(client))
		}},
		"WebSocket, TLS": {secure, func(key nats.Option) (*nats.Conn, error) {
			return nats.Connect(secure.WSURL(), key, quiet, nats.Secure(client))
		}},
	} {
		for _, s := range subjects.Services {
			key, err := way.n.secrets.Option(string(s))
			check(t, err)
			nc, err := way.connect(key)
			if err != nil {
				t.Fatalf("%s, %s: %v", name, s, err)
			}
			for _, subject := range []string{"wb.other.evt.order.x", "wb.local.int.order.get", "$JS.API.STREAM.DELETE.JOURNAL"} {
				if err := (actor{nc}).publish(subject, `{`); !errors.Is(err, nats.ErrPermissionViolation) {
					t.Errorf("%s: %s publishes to %s: %v", name, s, subject, err)
				}
			}
			nc.Close()
		}
	}
}

// The insiders' keys are new at each start: no file of the data directory holds them, and none serves at another server.
func TestInsidersKeysStay(t *testing.T) {
	dir := t.TempDir()
	n := startNATS(t, dir)
	before := n.insiders
	stopNATS(t, n)
	n = startNATS(t, dir)
	for _, s := range subjects.Services {
		kept, err := n.secrets.User(string(s))
		check(t, err)
		seen := map[string]bool{}
		for _, kp := range []nkeys.KeyPair{before[string(s)], n.insiders[string(s)], kept} {
			pub, err := kp.PublicKey()
			check(t, err)
			seen[pub] = true
		}
		if len(seen) != 3 {
			t.Errorf("%s has the keys %v", s, seen)
		}
		now, _, err := n.key(string(s))
		check(t, err)
		old, err := before[string(s)].PublicKey()
		check(t, err)
		for _, pub := range []string{now, old} {
			if nc, err := nats.Connect(n.URL(), nats.Nkey(pub, before[string(s)].Sign)); !errors.Is(err, nats.ErrAuthorization) {
				nc.Close()
				t.Errorf("%s enters with the key of another start: %v", s, err)
			}
		}
		seed, err := n.insiders[string(s)].Seed()
		check(t, err)
		check(t, filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
			if err != nil || !e.Type().IsRegular() {
				return err
			}
			content, err := os.ReadFile(path)
			if bytes.Contains(content, seed) || bytes.Contains(content, []byte(now)) {
				t.Errorf("%s holds the key of %s", path, s)
			}
			return err
		}))
	}
}

func TestServicesListen(t *testing.T) {
	w := newWorld(t)
	testServicesListen(t, func(user string) *nats.Conn { return as(t, w.n, user, quiet) })
	testServicesListen(t, func(user string) *nats.Conn { return overTCP(t, w.n, user) })
}

func testServicesListen(t *testing.T, connect func(user string) *nats.Conn) {
	for _, s := range subjects.Services {
		front, store := actor{connect(Front(s))}, actor{connect(string(s))}
		may := func(a actor, who, subject string, want bool) {
			err := a.do(func() error { _, err := a.nc.SubscribeSync(subject); return err })
			if (err == nil) != want {
				t.Errorf("%s listens to %s: allowed %v, want %v (%v)", who, subject, err == nil, want, err)
			}
		}
		for _, to := range subjects.Services {
			for _, space := range []string{"wb.local.rpc.", "wb.local.int."} {
				may(front, Front(s), space+string(to)+".>", s == to)
				may(store, string(s), space+string(to)+".>", false)
			}
			may(front, Front(s), "_WB."+Front(to)+".>", s == to)
			may(store, string(s), "_WB."+string(to)+".>", s == to)
		}
		may(front, Front(s), "$SRV.PING", true)
		may(store, string(s), "wb.local.evt.>", s == subjects.Order)
		may(front, Front(s), "_INBOX.>", false)
		may(store, string(s), "_INBOX.>", false)
		may(store, string(s), ">", false)
	}
	for _, u := range []string{UserAdmin, UserGateway, Front(UserGateway)} {
		a := actor{connect(u)}
		for _, subject := range []string{"wb.local.rpc.>", "wb.local.evt.>", "_INBOX.>", "_WB.order.>", ">"} {
			if err := a.do(func() error { _, err := a.nc.SubscribeSync(subject); return err }); err == nil {
				t.Errorf("%s listens to %s", u, subject)
			}
		}
	}
}

// Whoever has no row in the table may nothing.
func TestUnknownUser(t *testing.T) {
	for _, u := range []string{"", "nobody", "-front", "admin-front", "client-front", "order-front-front"} {
		p := Permissions(site, u)
		if len(p.Publish.Allow)+len(p.Subscribe.Allow) != 0 || strings.Join(p.Publish.Deny, "") != ">" || strings.Join(p.Subscribe.Deny, "") != ">" {
			t.Errorf("%q: %+v %+v", u, p.Publish, p.Subscribe)
		}
	}
}

// BenchmarkPublish measures what the server pays for a message with a new subject, as each event has one, over a connection in memory.
func BenchmarkPublish(b *testing.B) {
	n := startNATS(b, b.TempDir())
	key, err := n.secrets.Option(string(subjects.Order))
	check(b, err)
	kept, err := nats.Connect("", nats.InProcessServer(n.server), key)
	check(b, err)
	defer kept.Close()
	for name, nc := range map[string]*nats.Conn{"insider": as(b, n, string(subjects.Order)), "with its rights looked at": kept} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for i := range b.N {
				check(b, nc.Publish(subjects.Event(site, subjects.KindOrder, strconv.Itoa(i)), nil))
			}
			check(b, nc.Flush())
		})
	}
}
