package node_test

import (
	"context"
	stdjson "encoding/json" // which micro's types are written for
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/nats-io/nats.go/micro"

	"waybill/client"
	"waybill/configs"
	"waybill/internal/id"
	"waybill/internal/nodetest"
	"waybill/internal/rpc"
	"waybill/subjects"
)

// waitForChange is a client that waits until a setting changes. It is to be killed before.
func waitForChange(url string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c, err := client.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer c.Close()
	return waits(ctx, c)
}

// waits has a slow handler at work until a setting changes.
func waits(ctx context.Context, c *client.Client) error {
	all, err := c.Config.List(ctx)
	if err == nil {
		_, err = client.Call(ctx, c, subjects.ConfigWatch, &subjects.WatchSettingsRequest{AfterRevision: all.Revision})
	}
	return err
}

// counted is what a service tells of an endpoint by $SRV.STATS.
func (s *site) counted(t testing.TB, e subjects.Service, method string) (out rpc.EndpointStats) {
	t.Helper()
	m, err := s.plain.RequestWithContext(within(t), "$SRV.STATS."+string(e), nil)
	if err != nil {
		t.Fatal(err)
	}
	var all micro.Stats
	if err := stdjson.Unmarshal(m.Data, &all); err != nil {
		t.Fatal(err)
	}
	for _, one := range all.Endpoints {
		if one.Name == method {
			if err := json.Unmarshal(one.Data, &out); err != nil {
				t.Fatal(err)
			}
			return out
		}
	}
	t.Fatalf("%s tells nothing of %s", e, method)
	return out
}

// TestGoneCallers: what a client asked for that has died is cancelled within a second, over every way in; what those asked for that
// live is not.
func TestGoneCallers(t *testing.T) {
	t.Parallel()
	s := open(t, nodetest.WithConfig(func(c *configs.Config) { c.NATSWSAddr = "127.0.0.1:0" }))
	at := s.Endpoints()
	watching := func() rpc.EndpointStats { return s.counted(t, subjects.Config, "watch") }
	inFlight := func(n int64) {
		t.Helper()
		eventually(t, "the watchers are there", func() bool { return watching().InFlight == n })
	}
	gone := func(n uint64, inFlight int64, way string) {
		t.Helper()
		if !patiently(time.Second, func() bool { w := watching(); return w.Gone == n && w.InFlight == inFlight }) {
			t.Fatalf("%s: a second after its client has gone: %+v", way, watching())
		}
	}

	ctx := within(t)
	connect := func(url string, over client.Transport) *client.Client {
		c, err := client.Connect(ctx, url, client.WithTransport(over), client.WithRetry(client.NoRetry))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
		return c
	}
	var live sync.WaitGroup
	var lives, dead int64
	for way, url := range map[string]string{"TCP": at.NATS, "Unix socket": "unix://" + at.NATSSocket, "WebSocket": at.NATSWS} {
		for _, over := range []client.Transport{client.Lean, client.NATS} {
			way := way + " over " + string(over)
			stays, dies := connect(url, over), connect(url, over)
			live.Go(func() {
				if err := waits(ctx, stays); err != nil {
					t.Errorf("%s: the client that lives: %v", way, err)
				}
			})
			lives++
			died := make(chan error, 1)
			go func() { died <- waits(ctx, dies) }()
			inFlight(lives + 1)
			dies.Close()
			dead++
			gone(uint64(dead), lives, way)
			if err := <-died; !client.IsNoAnswer(err) {
				t.Errorf("%s: the client that died heard %v", way, err)
			}
		}
	}
	killed := startChild(t, childOrder{Dir: t.TempDir(), Waits: at.NATS})
	inFlight(lives + 1)
	killed.kill()
	gone(uint64(dead+1), lives, "a process that was killed")

	// Those that live have waited for longer than any look by now, and hear of the change.
	s.set(t, "shipping.auto", `"book"`)
	live.Wait()
	inFlight(0)
	if w := watching(); w.Gone != uint64(dead+1) {
		t.Errorf("of those that lived some were cancelled: %+v", w)
	}
}

// TestGoneCallerOfAnOrder: an order whose client dies meanwhile stays pending, and is carried to its end, as after a deadline. The
// requests of the services to each other are not cancelled.
func TestGoneCallerOfAnOrder(t *testing.T) {
	t.Parallel()
	s := open(t)
	nodetest.Stock(t, s.c, 100, "tea")
	s.set(t, "order.pending_grace", `"1s"`)
	placing := func(o id.Order, token string) <-chan error {
		dies, err := client.Connect(within(t), s.URL(), client.WithRetry(client.NoRetry))
		if err != nil {
			t.Fatal(err)
		}
		died := make(chan error, 1)
		go func() {
			r := card(o, token, line("tea", 2))
			_, err := client.Call(within(t), dies, subjects.OrderPlace, &r)
			died <- err
		}()
		eventually(t, "the payment is asked for", func() bool { return s.counted(t, subjects.Payment, "authorize").InFlight > 0 })
		dies.Close()
		return died
	}
	for o, token := range map[id.Order]string{"mute": "tok_timeout", "slow": "tok_slow"} {
		before := s.counted(t, subjects.Order, "place").Gone
		if err := <-placing(o, token); !client.IsNoAnswer(err) {
			t.Errorf("%s: the client that died heard %v", o, err)
		}
		if o == "mute" && !patiently(time.Second, func() bool { return s.counted(t, subjects.Order, "place").Gone == before+1 }) {
			t.Errorf("%s: its request goes on: %+v", o, s.counted(t, subjects.Order, "place"))
		}
		if !patiently(30*time.Second, func() bool {
			info, err := client.Call(within(t), s.c, subjects.OrderGet, &subjects.GetOrderRequest{OrderID: o})
			if err != nil {
				var f *subjects.Error
				if !errors.As(err, &f) || f.Code != subjects.NotFound {
					t.Fatal(err)
				}
				return false
			}
			return info.Status == "confirmed"
		}) {
			t.Errorf("%s: it was not confirmed", o)
		}
	}
	if p := s.counted(t, subjects.Payment, "authorize"); p.Gone != 0 {
		t.Errorf("requests of the order service were cancelled: %+v", p)
	}
	if stock := call(t, s.c, subjects.InventoryGet, subjects.SKURequest{SKU: "tea"}); stock.Reserved != 4 || stock.OnHand != 100 {
		t.Errorf("the stock is %s", text(t, stock))
	}
}
