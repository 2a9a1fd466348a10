package node_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/rs/zerolog"

	"waybill/configs"
	"waybill/internal/id"
	"waybill/internal/node"
	"waybill/internal/nodetest"
	"waybill/subjects"
)

func verbose(c *configs.Config) { c.LogLevel = "trace" }

// lockedBuffer is a log that is read while it is written.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) holds(text string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return bytes.Contains(l.b.Bytes(), []byte(text))
}

// TestRestart stops a node in the midst of its work and starts it again on its data.
func TestRestart(t *testing.T) {
	t.Parallel()
	first := open(t)
	first.quick(t)
	nodetest.Stock(t, first.c, 10, "ristretto", "lungo", "mocha", "doppio", "macchiato")
	first.place(t, card("shipped", "tok_ok", line("ristretto", 2)), "confirmed")
	first.dispatch(t, "shipped")
	first.place(t, card("confirmed", "tok_ok", line("lungo", 2)), "confirmed")
	first.shipment(t, "confirmed", 1)
	first.needsAction(t, "acts", "mocha")
	silent := card("silent", "tok_timeout", line("doppio", 2))
	first.place(t, silent, "pending")
	call(t, first.c, subjects.InventoryReserve, subjects.ReserveRequest{ReservationID: "basket", TTL: subjects.Duration(700 * time.Millisecond), Lines: []subjects.StockLine{line("macchiato", 3)}})
	call(t, first.c, subjects.InventoryReserve, subjects.ReserveRequest{ReservationID: "firm", Lines: []subjects.StockLine{line("macchiato", 1)}})
	before := map[id.Order]string{}
	for _, o := range []id.Order{"shipped", "confirmed", "acts"} {
		eventually(t, "the notifications of "+string(o)+" are told", func() bool {
			told := first.tale(t, o, "lungo").Told
			return len(told) > 0 && !strings.Contains(strings.Join(told, " "), "queued")
		})
		before[o] = text(t, call(t, first.c, subjects.OrderGet, subjects.GetOrderRequest{OrderID: o})) + text(t, first.tale(t, o, "lungo"))
	}
	settings := text(t, call(t, first.c, subjects.ConfigGet, subjects.KeyRequest{Key: "order.retry_interval"}))
	start := time.Now()
	first.Stop()
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("the stop took %v", took)
	}

	s := open(t, nodetest.InDir(first.Config.Data))
	for o, was := range before {
		if is := text(t, call(t, s.c, subjects.OrderGet, subjects.GetOrderRequest{OrderID: o})) + text(t, s.tale(t, o, "lungo")); is != was {
			t.Errorf("after the restart %s is\n%s\nbefore\n%s", o, is, was)
		}
	}
	if is := text(t, call(t, s.c, subjects.ConfigGet, subjects.KeyRequest{Key: "order.retry_interval"})); is != settings {
		t.Errorf("after the restart the setting is %s, before %s", is, settings)
	}
	s.end(t, "silent", "doppio", tale{
		Status: "confirmed", Payment: "authorized", OnHand: 10, Reserved: 2, Shipments: []string{"s1 pending"},
		History: list(held, "payment.unknown", "payment.authorized", "order.confirmed", "shipment.planned"), Ledger: []string{authorized}, Told: []string{"order.confirmed delivered"},
	})
	eventually(t, "the basket's time is up", func() bool {
		return call(t, s.c, subjects.InventoryGet, subjects.SKURequest{SKU: "macchiato"}).Reserved == 1
	})
	// A repeat is still a repeat, and everything goes on from where it was.
	if again := s.place(t, silent, "confirmed"); again.OrderID != "silent" {
		t.Errorf("placed again: %s", text(t, again))
	}
	call(t, s.c, subjects.PaymentResume, subjects.ResumeRequest{PaymentID: id.PaymentOf("acts")}) // with the token that was sealed before
	s.end(t, "acts", "mocha", resumed)
	s.ship(t, subjects.ShippingDeliver, id.ShipmentOf("shipped", 1))
	s.end(t, "shipped", "ristretto", tale{
		Status: "completed", Payment: "captured", Captured: 595, OnHand: 8, Shipments: []string{"s1 delivered"},
		History: list(dispatched, "shipment.delivered", "order.completed"), Ledger: []string{authorized, captured}, Told: toldShip,
	})
	s.cancel(t, "confirmed")
	s.reaches(t, "confirmed", "cancelled")
}

// TestLife tells of the directory, the endpoints and the pages by which a node is found and watched.
func TestLife(t *testing.T) {
	s := open(t)
	file := filepath.Join(s.Config.Data, "endpoints.json")
	read := func() (e node.Endpoints, raw map[string]any) {
		t.Helper()
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(content, &e); err != nil {
			t.Fatalf("%v in %s", err, content)
		}
		if err := json.Unmarshal(content, &raw); err != nil {
			t.Fatal(err)
		}
		return e, raw
	}
	e, raw := read()
	if e != s.Endpoints() || e.PID != os.Getpid() || len(raw) != 5 || e.NATSSocket != filepath.Join(s.Config.Data, "nats.sock") || !strings.HasPrefix(e.NATS, "nats://127.0.0.1:") || !strings.HasPrefix(e.HTTP, "http://127.0.0.1:") || !strings.HasPrefix(e.Etcd, "http://127.0.0.1:") {
		t.Errorf("endpoints.json holds %v", raw)
	}
	for path, want := range map[string]int{"/healthz": 200, "/readyz": 200, "/no-such-page": 404} {
		if status, body := page(t, e.HTTP+path); status != want {
			t.Errorf("%s is %d: %s", path, status, body)
		}
	}
	// A second node on the same directory is refused, and leaves the first alone.
	_, err := node.Start(within(t), node.Options{Config: nodetest.Config(s.Config.Data), Version: "0.0.0", Log: zerolog.Nop()})
	if err == nil || !strings.Contains(err.Error(), s.Config.Data) || strings.Contains(err.Error(), "\n") {
		t.Errorf("a second start on the directory: %v; want one line that names it", err)
	}
	if now, _ := read(); now != e {
		t.Errorf("after the second start endpoints.json holds %+v", now)
	}
	nodetest.Stock(t, s.c, 10, "espresso")
	s.place(t, card("life", "tok_ok", line("espresso", 1)), "confirmed")
	start := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	s.stopped = true
	if err := s.Node.Node.Stop(ctx); err != nil || time.Since(start) > 2*time.Second {
		t.Errorf("the stop took %v, error %v", time.Since(start), err)
	}
	if _, err := os.Stat(file); !os.IsNotExist(err) {
		t.Errorf("after the stop endpoints.json is there, error %v", err)
	}
	for _, address := range []string{e.NATS, e.HTTP, e.Etcd} {
		if _, err := http.Get("http" + address[strings.Index(address, ":"):]); err == nil {
			t.Errorf("after the stop somebody listens on %s", address)
		}
	}

	again := open(t, nodetest.InDir(s.Config.Data))
	if now := again.Endpoints(); now.PID != e.PID {
		t.Errorf("the second life's endpoints are %+v", now)
	}
	if got := call(t, again.c, subjects.OrderGet, subjects.GetOrderRequest{OrderID: "life"}); got.Status != "confirmed" {
		t.Errorf("in its second life the order is %s", got.Status)
	}
	if all := call(t, again.c, subjects.HealthList, subjects.Empty{}); len(all.Instances) != len(subjects.Services) {
		t.Errorf("the health of %d instances is listed, of which %d are of this life", len(all.Instances), len(subjects.Services))
	}
}

func page(t testing.TB, url string) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(within(t), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	defer http.DefaultClient.CloseIdleConnections()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(body)
}
