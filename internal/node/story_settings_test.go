package node_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"waybill/client"
	"waybill/configs"
	"waybill/internal/id"
	"waybill/internal/node"
	"waybill/internal/nodetest"
	"waybill/internal/registry/etcdtest"
	"waybill/subjects"
)

// logs is a log that a test can read.
type logs struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

// take returns what was logged since the last time.
func (l *logs) take() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.text.Reset()
	return l.text.String()
}

// TestSettingsAct changes settings of a running node, and looks at what they are for.
func TestSettingsAct(t *testing.T) {
	t.Parallel()
	p := &pager{broken: map[id.Order]bool{"patient": true, "hasty": true}}
	log := &logs{}
	s := open(t, nodetest.WithLog(log), nodetest.Option(func(o *node.Options) { o.Channel = p }))
	nodetest.Stock(t, s.c, 100, "espresso")
	for _, part := range []struct {
		name string
		test func(*testing.T)
	}{
		{"log levels", func(t *testing.T) { logLevels(t, s, log) }},
		{"requests in flight", func(t *testing.T) { inFlightOfAService(t, s) }},
		{"retries", func(t *testing.T) { retries(t, s) }},
		{"no gateway", func(t *testing.T) { noGateway(t, s) }},
		{"the gateway's key", func(t *testing.T) { gatewayKey(t, s, log) }},
		{"who set it", func(t *testing.T) { whoSetIt(t, s) }},
	} {
		t.Run(part.name, part.test)
	}
}

func logLevels(t *testing.T, s *site, log *logs) {
	for i, step := range []struct {
		key, value     string
		order, payment bool // whose changes of state, which are at debug, are logged
	}{
		{"log.level.order", `"debug"`, true, false},
		{"log.level", `"debug"`, true, true},
		{"log.level.order", `"info"`, false, true}, // what nodes are started with by default is a level like any other
		{"log.level", `"inherit"`, false, false},   // the node's own is error
	} {
		s.set(t, step.key, step.value)
		log.take()
		s.place(t, card(id.Order("logged-"+strconv.Itoa(i)), "tok_ok", line("espresso", 1)), "confirmed")
		text := log.take()
		for service, want := range map[string]bool{"order": step.order, "payment": step.payment} {
			if is := strings.Contains(text, `"service":"`+service+`","event"`); is != want {
				t.Errorf("after %s = %s: %s logs %v, want %v: %s", step.key, step.value, service, is, want, text)
			}
		}
	}
	s.set(t, "log.level.order", `"inherit"`)
}

// inFlightOfAService: one request at a time leaves no room for who waits for a change.
func inFlightOfAService(t *testing.T, s *site) {
	s.set(t, "rpc.max_in_flight.config", `1`)
	once := client.NoRetry
	c, err := client.Connect(within(t), s.URL(), client.WithRetry(once))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	refused(t, c, subjects.ConfigWatch, subjects.WatchSettingsRequest{}, subjects.ResourceExhausted, "")
	call(t, s.c, subjects.ConfigGet, subjects.KeyRequest{Key: "log.level"})
	var full sync.WaitGroup
	var mu sync.Mutex
	turnedAway := 0
	for range 200 {
		full.Go(func() {
			_, err := client.Call(within(t), c, subjects.ConfigList, &subjects.Empty{})
			var f *subjects.Error
			if errors.As(err, &f) && f.Code == subjects.ResourceExhausted {
				mu.Lock()
				turnedAway++
				mu.Unlock()
			}
		})
	}
	full.Wait()
	if turnedAway == 0 {
		t.Error("200 requests at once were served one at a time, and none was turned away")
	}
	s.set(t, "rpc.max_in_flight.config", `0`)
	for range 50 {
		full.Go(func() {
			if _, err := client.Call(within(t), c, subjects.ConfigGet, &subjects.KeyRequest{Key: "log.level"}); err != nil {
				t.Errorf("with the bound of all services again: %v", err)
			}
		})
	}
	full.Wait()
}

func retries(t *testing.T, s *site) {
	status := func(o id.Order) (n subjects.NotificationInfo) {
		for _, n := range call(t, s.c, subjects.NotificationList, subjects.ListNotificationsRequest{OrderID: o}).Notifications {
			if n.Event == "order.confirmed" {
				return n
			}
		}
		return n
	}
	s.set(t, "notification.retry_interval", `"1h"`)
	s.place(t, card("patient", "tok_ok", line("espresso", 1)), "confirmed")
	eventually(t, "the first try fails", func() bool { return status("patient").Status == "failed" })
	s.set(t, "notification.retry_interval", `"100ms"`)
	s.set(t, "notification.max_tries", `2`)
	s.place(t, card("hasty", "tok_ok", line("espresso", 1)), "confirmed")
	eventually(t, "the notification is given up", func() bool { return status("hasty").Status == "dead" })
	if n := status("hasty"); n.Tries != 2 {
		t.Errorf("it was given up after %d tries", n.Tries)
	}
	if n := status("patient"); n.Tries != 1 {
		t.Errorf("what waits for an hour was tried %d times", n.Tries)
	}
}

func noGateway(t *testing.T, s *site) {
	s.set(t, "payment.gateway", `"none"`)
	refused(t, s.c, subjects.OrderPlace, card("by-card", "tok_ok", line("espresso", 1)), subjects.FailedPrecondition, "payment.method")
	s.place(t, cash(pickup(card("by-cash", "", line("espresso", 1)))), "confirmed")
	s.set(t, "payment.gateway", `"sandbox"`)
	s.place(t, card("by-card", "tok_ok", line("espresso", 1)), "confirmed")
}

func gatewayKey(t *testing.T, s *site, log *logs) {
	file := filepath.Join(t.TempDir(), "key")
	write := func(key string) {
		t.Helper()
		if err := os.WriteFile(file+".new", []byte(key+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(file+".new", file); err != nil {
			t.Fatal(err)
		}
	}
	for _, key := range []string{"payment.gateway_timeout", "order.retry_interval", "order.pending_grace"} {
		s.set(t, key, `"100ms"`)
	}
	s.set(t, "log.level", `"trace"`)
	log.take()
	name := subjects.Raw(`"file:` + file + `"`)
	refused(t, s.c, subjects.ConfigSet, subjects.SetRequest{Key: "payment.gateway_key", Value: name}, subjects.FailedPrecondition, "value")
	refused(t, s.c, subjects.ConfigSet, subjects.SetRequest{Key: "payment.gateway_key", Value: subjects.Raw(`"test_sesame"`)}, subjects.InvalidArgument, "value")
	write("test_sesame")
	s.set(t, "payment.gateway_key", string(name))
	s.place(t, card("entered", "tok_ok", line("espresso", 1)), "confirmed")
	write("live_sesame")
	s.place(t, card("shut-out", "tok_ok", line("espresso", 1)), "pending")
	write("test_sesame_new")
	eventually(t, "the order is confirmed with the new key", func() bool {
		return call(t, s.c, subjects.OrderGet, subjects.GetOrderRequest{OrderID: "shut-out"}).Status == "confirmed"
	})
	s.set(t, "payment.gateway_key", `""`)
	s.set(t, "log.level", `"inherit"`)
	told := log.take() + text(t, call(t, s.c, subjects.ConfigList, subjects.Empty{})) + text(t, call(t, s.c, subjects.ConfigHistory, subjects.KeyRequest{Key: "payment.gateway_key"}))
	if strings.Contains(told, "sesame") || !strings.Contains(told, "payment.gateway_key") {
		t.Error("the key stands in the log, in the settings or in their history")
	}
}

func whoSetIt(t *testing.T, s *site) {
	ann, err := client.Connect(within(t), s.URL(), client.WithSignature("ann@till"))
	if err != nil {
		t.Fatal(err)
	}
	defer ann.Close()
	first := call(t, s.c, subjects.ConfigSet, subjects.SetRequest{Key: "order.pending_timeout", Value: subjects.Raw(`"10m"`)})
	second, err := ann.Config.SetIf(within(t), "order.pending_timeout", "20m", first.Revision)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ann.Config.SetIf(within(t), "order.pending_timeout", "30m", first.Revision); !errors.Is(err, &subjects.Error{Code: subjects.FailedPrecondition}) {
		t.Errorf("over a change that was not seen: %v", err)
	}
	back, err := ann.Config.Rollback(within(t), "order.pending_timeout", 0)
	if err != nil || string(back.Value) != `"10m"` || first.SetBy != "client" || second.SetBy != "ann@till" || back.SetBy != "ann@till" {
		t.Errorf("rolled back: %s, %v; set by %s, then by %s", text(t, back), err, first.SetBy, second.SetBy)
	}
	var values []string
	for _, r := range call(t, s.c, subjects.ConfigHistory, subjects.KeyRequest{Key: "order.pending_timeout"}).Revisions {
		values = append(values, string(r.Value)+" by "+r.SetBy)
	}
	if want := []string{`"10m" by ann@till`, `"20m" by ann@till`, `"10m" by client`}; !slices.Equal(values, want) {
		t.Errorf("the history is %v, want %v", values, want)
	}
	refused(t, s.c, subjects.ConfigRollback, subjects.RollbackRequest{Key: "order.pending_timeout", Revision: 1}, subjects.NotFound, "revision")
	refused(t, s.c, subjects.ConfigSet, subjects.SetRequest{Key: "log.level", Value: subjects.Raw(`"info"`), By: "a\x1b[31mb"}, subjects.InvalidArgument, "by")
	refused(t, s.c, subjects.ConfigSet, subjects.SetRequest{Key: "log.level", Value: subjects.Raw(`"info"`), By: strings.Repeat("x", 101)}, subjects.InvalidArgument, "by")
}

// TestWatchSettings: who watches hears of each change at once, does not hold up a stop, and goes on after a restart.
func TestWatchSettings(t *testing.T) {
	t.Parallel()
	// The same address again after the restart, so that the client finds its way back.
	dir, address := t.TempDir(), etcdtest.Address(t)
	listen := nodetest.WithConfig(func(c *configs.Config) { c.NATSAddr = address })
	first := open(t, nodetest.InDir(dir), listen)
	ctx, cancel := context.WithCancel(within(t))
	defer cancel()
	c, err := client.Connect(ctx, first.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	type change struct {
		value string
		at    time.Time
	}
	heard := make(chan change, 100)
	ended := make(chan error, 1)
	go func() {
		for st, err := range c.Config.Watch(ctx) {
			if err != nil {
				ended <- err
				return
			}
			heard <- change{st.Key + "=" + string(st.Value), time.Now()}
		}
	}()
	hear := func(want string) time.Time {
		t.Helper()
		select {
		case got := <-heard:
			if got.value != want {
				t.Errorf("heard %s, want %s", got.value, want)
			}
			return got.at
		case err := <-ended:
			t.Fatalf("waiting for %s: %v", want, err)
		case <-ctx.Done():
			t.Fatalf("nothing was heard of %s", want)
		}
		return time.Time{}
	}
	// Where the watch begins is not announced: a first change is repeated until it is heard of.
	began := patiently(10*time.Second, func() bool {
		first.set(t, "shipping.auto", `"book"`)
		first.set(t, "shipping.auto", `"off"`)
		return len(heard) > 0
	})
	if !began {
		t.Fatal("the watch hears nothing")
	}
	first.set(t, "rpc.max_in_flight", `77`)
	set := time.Now()
	for got := range heard {
		if strings.HasPrefix(got.value, "shipping.auto=") {
			continue
		}
		if got.value != "rpc.max_in_flight=77" || got.at.Sub(set) > time.Second {
			t.Errorf("heard of %s after %s", got.value, got.at.Sub(set))
		}
		break
	}
	etcd := first.etcd(t)
	if _, err := etcd.Put(ctx, subjects.ConfigPrefix(first.Config.Site)+"rpc.max_in_flight", "66"); err != nil {
		t.Fatal(err)
	}
	hear("rpc.max_in_flight=66")
	stopping := time.Now()
	first.Stop()
	if took := time.Since(stopping); took > 4*time.Second {
		t.Errorf("a watcher held the stop up for %s", took)
	}
	second := open(t, nodetest.InDir(dir), listen)
	second.set(t, "rpc.max_in_flight", `88`)
	hear("rpc.max_in_flight=88")
	cancel()
	select {
	case err := <-ended:
		if err == nil {
			t.Error("the watch ended without saying why")
		}
	case <-time.After(10 * time.Second):
		t.Error("the watch does not end with its context")
	}
}
