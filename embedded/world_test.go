package embedded

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"waybill/subjects"
)

// world is a site as the permission tests attack it: streams with messages, durable consumers, and an event that the
// notification service has taken and not yet acknowledged.
type world struct {
	n     *NATS
	admin jetstream.JetStream
	conn  *nats.Conn // admin's
	ack   string     // the reply subject with which the notification service would acknowledge
}

func newWorld(t *testing.T) *world {
	t.Helper()
	ctx := ctxFor(t, 20*time.Second)
	w := &world{n: startNATS(t, t.TempDir())}
	w.conn = as(t, w.n, UserAdmin)
	w.admin = jsOf(t, w.conn)
	check(t, EnsureStreams(ctx, w.admin, site, 1))
	for _, d := range subjects.Durables {
		_, err := w.admin.CreateConsumer(ctx, subjects.StreamJournal, jetstream.ConsumerConfig{
			Durable: string(d), AckPolicy: jetstream.AckExplicitPolicy, AckWait: time.Hour, FilterSubject: subjects.EventsOf(site, subjects.KindOrder),
		})
		check(t, err)
	}
	for user, list := range map[subjects.Service][]string{
		subjects.Order:        {"wb.local.evt.order.o-1", "wb.local.evt.order.o-1", "wb.local.evt.order.o-2", "wb.local.key.c-1"},
		subjects.Payment:      {"wb.local.evt.payment.o-1-pay"},
		subjects.Notification: {"wb.local.dead.notify"},
	} {
		js := jsOf(t, as(t, w.n, string(user)))
		for _, s := range list {
			_, err := js.Publish(ctx, s, []byte(`{"v":1,"data":{},"state":{}}`))
			check(t, err)
		}
	}
	c, err := jsOf(t, as(t, w.n, string(subjects.Notification))).Consumer(ctx, subjects.StreamJournal, string(subjects.DurableNotify))
	check(t, err)
	m, err := c.Next(jetstream.FetchMaxWait(5 * time.Second))
	check(t, err)
	w.ack = m.Reply()
	return w
}

// snapshot is everything that a client must not change: the streams, their contents and the durable consumers.
func (w *world) snapshot(t *testing.T) string {
	t.Helper()
	ctx := ctxFor(t, 10*time.Second)
	out := map[string]any{}
	names := w.admin.StreamNames(ctx)
	for name := range names.Name() {
		s, err := w.admin.Stream(ctx, name)
		check(t, err)
		i := s.CachedInfo()
		out[name] = []any{i.Config, i.Created, i.State.Msgs, i.State.Bytes, i.State.FirstSeq, i.State.LastSeq, i.State.NumDeleted}
	}
	check(t, names.Err())
	for _, d := range subjects.Durables {
		c, err := w.admin.Consumer(ctx, subjects.StreamJournal, string(d))
		if err != nil {
			out[string(d)] = err.Error()
			continue
		}
		i := c.CachedInfo()
		out[string(d)] = []any{i.Config, i.Created, i.Delivered, i.AckFloor, i.NumAckPending, i.NumRedelivered, i.NumPending, i.Paused}
	}
	b, err := json.MarshalIndent(out, "", " ")
	check(t, err)
	return string(b)
}

// actor does one thing after the other and tells whether the server refused it.
type actor struct {
	nc *nats.Conn
}

// publish returns the server's refusal. The server's -ERR comes before its PONG, so after a flush there is nothing to wait for.
func (a actor) publish(subject string, body string, headers ...string) error {
	m := &nats.Msg{Subject: subject, Data: []byte(body), Header: nats.Header{}}
	for i := 0; i+1 < len(headers); i += 2 {
		m.Header.Set(headers[i], headers[i+1])
	}
	return a.do(func() error { return a.nc.PublishMsg(m) })
}

func (a actor) do(f func() error) error {
	before := a.nc.LastError()
	if err := errors.Join(f(), a.nc.FlushTimeout(5*time.Second)); err != nil {
		return err
	}
	if after := a.nc.LastError(); after != before {
		return after
	}
	return nil
}

// api asks JetStream and returns its refusal, or the server's, or that nobody answers.
func (a actor) api(subject, body string) error {
	sub, err := a.nc.SubscribeSync(a.nc.NewInbox())
	if err != nil {
		return err
	}
	defer sub.Unsubscribe()
	if err := a.do(func() error { return a.nc.PublishRequest(subject, sub.Subject, []byte(body)) }); err != nil {
		return err
	}
	m, err := sub.NextMsg(2 * time.Second)
	if err != nil {
		return fmt.Errorf("no answer: %w", err)
	}
	if s := m.Header.Get("Status"); s != "" {
		return fmt.Errorf("status %s %s", s, m.Header.Get("Description"))
	}
	var r struct {
		Error *jetstream.APIError `json:"error"`
	}
	if json.Unmarshal(m.Data, &r) == nil && r.Error != nil {
		return r.Error
	}
	return nil
}

// replyTo asks with a reply subject of its choice, and returns when the server has dealt with it: a question of the same
// kind, asked behind it, has its answer.
func (a actor) replyTo(ctx context.Context, subject, reply, body string) error {
	if err := a.do(func() error { return a.nc.PublishRequest(subject, reply, []byte(body)) }); err != nil {
		return err
	}
	_, err := a.nc.RequestWithContext(ctx, subject, []byte(body))
	return err
}
