package node_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"waybill/handlers"
	"waybill/internal/id"
	"waybill/internal/node"
	"waybill/internal/nodetest"
	"waybill/subjects"
)

// pager is a channel to customers that can be broken for some orders.
type pager struct {
	mu     sync.Mutex
	broken map[id.Order]bool
	sent   []id.Notification
}

func (*pager) Name() string { return "pager" }

func (p *pager) Send(_ context.Context, m handlers.Message) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.broken[m.OrderID] {
		return errors.New("the pager at 10.0.0.7 is broken")
	}
	p.sent = append(p.sent, m.ID)
	return nil
}

func (p *pager) set(o id.Order, broken bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.broken[o] = broken
}

func (p *pager) count(n id.Notification) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(slices.DeleteFunc(slices.Clone(p.sent), func(s id.Notification) bool { return s != n }))
}

func TestDeadLetters(t *testing.T) {
	t.Parallel()
	p := &pager{broken: map[id.Order]bool{"lost": true, "late": true, "discarded": true}}
	through := nodetest.Option(func(o *node.Options) { o.Channel = p })
	dir := t.TempDir()
	first := open(t, nodetest.InDir(dir), through)
	first.set(t, "notification.retry_interval", `"100ms"`)
	first.Stop()
	s := open(t, nodetest.InDir(dir), through)
	nodetest.Stock(t, s.c, 10, "espresso")
	for _, o := range []id.Order{"lost", "late", "fine", "discarded"} {
		s.place(t, card(o, "tok_ok", line("espresso", 1)), "confirmed")
	}
	notice := func(o id.Order) subjects.NotificationInfo {
		t.Helper()
		for _, n := range call(t, s.c, subjects.NotificationList, subjects.ListNotificationsRequest{OrderID: o}).Notifications {
			if n.Event == "order.confirmed" {
				return n
			}
		}
		return subjects.NotificationInfo{}
	}
	becomes := func(o id.Order, status string) subjects.NotificationInfo {
		t.Helper()
		var n subjects.NotificationInfo
		eventually(t, "the notification of "+string(o)+" is "+status, func() bool { n = notice(o); return n.Status == status })
		return n
	}
	if n := becomes("fine", "delivered"); n.Tries != 1 || n.Channel != "pager" || p.count(n.NotificationID) != 1 {
		t.Errorf("delivered: %s", text(t, n))
	}
	// One that fails for a while is tried again until it goes through.
	if n := becomes("late", "failed"); n.Error == "" || strings.Contains(n.Error, "10.0.0.7") {
		t.Errorf("failed, and its error is %q", n.Error)
	}
	p.set("late", false)
	if n := becomes("late", "delivered"); n.Tries < 2 || p.count(n.NotificationID) != 1 {
		t.Errorf("delivered after a failure: %s", text(t, n))
	}
	// One that fails for good is dead, and a letter tells why.
	for _, o := range []id.Order{"lost", "discarded"} {
		if n := becomes(o, "dead"); n.Tries != 10 || n.Error == "" {
			t.Errorf("given up: %s", text(t, n))
		}
	}
	letter := func(o id.Order) subjects.DeadInfo {
		t.Helper()
		for _, l := range call(t, s.c, subjects.DeadList, subjects.ListRequest{}).Letters {
			if l.Subject == subjects.Event(s.Config.Site, subjects.KindOrder, o) {
				return l
			}
		}
		return subjects.DeadInfo{}
	}
	eventually(t, "two letters are there", func() bool { return letter("lost").ID != 0 && letter("discarded").ID != 0 })
	lost := letter("lost")
	if lost.Consumer != subjects.DurableNotify || !strings.Contains(lost.Reason, "lost-confirmed") || lost.Type != "waybill.order.confirmed.v1" || lost.Sequence == 0 ||
		lost.Tries == 0 || lost.Time.IsZero() {
		t.Errorf("the letter is %s", text(t, lost))
	}
	whole := call(t, s.c, subjects.DeadGet, subjects.DeadRequest{ID: lost.ID})
	if !strings.Contains(string(whole.Data), `"lost"`) {
		t.Errorf("the letter's original is %s", whole.Data)
	}
	s.readDead(t, lost)
	// Sent again while the channel is broken it stays; once it is mended it is delivered and the letter is gone.
	refused(t, s.c, subjects.DeadRedrive, subjects.DeadRequest{ID: lost.ID}, subjects.Unavailable, "")
	if letter("lost").ID != lost.ID {
		t.Error("a letter that could not be handled again is gone")
	}
	p.set("lost", false)
	if got := call(t, s.c, subjects.DeadRedrive, subjects.DeadRequest{ID: lost.ID}); got.ID != lost.ID {
		t.Errorf("sent again: %s", text(t, got))
	}
	if n := becomes("lost", "delivered"); p.count(n.NotificationID) != 1 {
		t.Errorf("it was sent %d times", p.count(n.NotificationID))
	}
	refused(t, s.c, subjects.DeadRedrive, subjects.DeadRequest{ID: lost.ID}, subjects.NotFound, "id")
	refused(t, s.c, subjects.DeadGet, subjects.DeadRequest{ID: lost.ID}, subjects.NotFound, "id")
	s.discarded = true
	call(t, s.c, subjects.DeadDiscard, subjects.DeadRequest{ID: letter("discarded").ID})
	if left := call(t, s.c, subjects.DeadList, subjects.ListRequest{}).Letters; len(left) != 0 {
		t.Errorf("there are still the letters %s", text(t, left))
	}
	// A notification is sent again for who asks, whatever became of it.
	for _, o := range []id.Order{"fine", "discarded"} {
		p.set(o, false)
		n := notice(o)
		before := p.count(n.NotificationID)
		got := call(t, s.c, subjects.NotificationRedeliver, subjects.NotificationRequest{NotificationID: n.NotificationID})
		if got.Status != "delivered" || got.Tries != 1 || p.count(n.NotificationID) != before+1 {
			t.Errorf("sent again: %s", text(t, got))
		}
	}
	refused(t, s.c, subjects.NotificationRedeliver, subjects.NotificationRequest{NotificationID: "none"}, subjects.NotFound, "notification_id")
	if dead := call(t, s.c, subjects.NotificationList, subjects.ListNotificationsRequest{Status: "dead"}).Notifications; len(dead) != 0 {
		t.Errorf("still dead are %s", text(t, dead))
	}
}

// readDead reads a dead letter from the stream itself, as anybody may, and finds that nobody may write one.
func (s *site) readDead(t *testing.T, want subjects.DeadInfo) {
	t.Helper()
	js, err := jetstream.New(s.plain)
	if err != nil {
		t.Fatal(err)
	}
	stream, err := js.Stream(within(t), subjects.StreamDead)
	if err != nil {
		t.Fatal(err)
	}
	m, err := stream.GetMsg(within(t), want.ID)
	if err != nil {
		t.Fatal(err)
	}
	if m.Subject != subjects.DeadLetter(s.Config.Site, subjects.DurableNotify) || m.Header.Get(subjects.HeaderType) != want.Type {
		t.Errorf("the stream holds %s with the headers %v", m.Subject, m.Header)
	}
	s.denied(t, &nats.Msg{Subject: subjects.DeadLetter(s.Config.Site, subjects.DurableNotify), Data: []byte(`{}`)})
}

// denied publishes what nobody may publish, and waits for the server to say so.
func (s *site) denied(t testing.TB, m *nats.Msg) {
	t.Helper()
	said := make(chan error, 1)
	nc, err := nats.Connect(s.URL(), nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
		select {
		case said <- err:
		default:
		}
	}))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if err := nc.PublishMsg(m); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-said:
		if !errors.Is(err, nats.ErrPermissionViolation) {
			t.Errorf("publishing to %s: %v, want a permission violation", m.Subject, err)
		}
	case <-within(t).Done():
		t.Errorf("publishing to %s was not refused", m.Subject)
	}
}
