package node_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"waybill/client"
	"waybill/internal/fault"
	"waybill/internal/id"
	"waybill/internal/lean"
	"waybill/internal/rpc"
	"waybill/subjects"
)

var (
	faultsAll  = flag.Bool("faults.all", false, "kill at every point of the order process, and for longer under load")
	faultsSeed = flag.Uint64("faults.seed", 0, "the seed of the faults; 0 picks one, which is printed")
)

// dialed is one connection of a customer's: the client, and beside it the bare way for what the client does not offer.
type dialed struct {
	*client.Client
	nc     *nats.Conn
	caller *rpc.Caller
}

// dial connects as anybody's till would.
func dial(ctx context.Context, url string) (*dialed, error) {
	c, err := client.Connect(ctx, url)
	if err != nil {
		return nil, err
	}
	nc, err := nats.Connect(url)
	if err != nil {
		c.Close()
		return nil, err
	}
	return &dialed{c, nc, rpc.NewCaller(lean.Over(nc), c.Site())}, nil
}

func (d *dialed) close() {
	d.nc.Close()
	d.Close()
}

// mustDial is dial for the length of a test.
func mustDial(t testing.TB, url string) *dialed {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	d, err := dial(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.close)
	return d
}

// ask calls once, without the client's repetitions, and waits for d at most. The site answers shortly before that.
func ask[Req, Res any](c *dialed, d time.Duration, e subjects.Endpoint[Req, Res], r Req) (*Res, error) {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	return rpc.Call(ctx, c.caller, e, &r)
}

// answer is what a call that runs beside the test came to.
type answer[Res any] struct {
	res *Res
	err error
}

// String tells the answer in a test's complaint.
func (a answer[Res]) String() string {
	if a.err != nil {
		return "the error " + a.err.Error()
	}
	return fmt.Sprintf("%+v", *a.res)
}

// begin calls beside the test; the answer comes on the channel, at the latest after d.
func begin[Req, Res any](c *dialed, d time.Duration, e subjects.Endpoint[Req, Res], r Req) <-chan answer[Res] {
	out := make(chan answer[Res], 1)
	go func() {
		res, err := ask(c, d, e, r)
		out <- answer[Res]{res, err}
	}()
	return out
}

// until asks f every few milliseconds for d at most; f's last error says what is still missing.
func until(d time.Duration, f func() error) error { return untilEvery(10*time.Millisecond, d, f) }

// untilEvery is until with another time between two questions, for one that is much work.
func untilEvery(pause, d time.Duration, f func() error) error {
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for end := time.Now().Add(d); ; <-tick.C {
		err := f()
		if err == nil || time.Now().After(end) {
			return err
		}
	}
}

// becomes waits until the order has one of the statuses.
func becomes(t testing.TB, c *dialed, o id.Order, statuses ...subjects.OrderStatus) *subjects.OrderInfo {
	t.Helper()
	var info *subjects.OrderInfo
	err := until(30*time.Second, func() (err error) {
		if info, err = ask(c, 5*time.Second, subjects.OrderGet, subjects.GetOrderRequest{OrderID: o}); err != nil {
			return err
		}
		if !slices.Contains(statuses, info.Status) {
			return fmt.Errorf("the order %s is %s, want one of %v", o, info.Status, statuses)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return info
}

// shipped waits until the order's first shipment is planned.
func shipped(t testing.TB, c *dialed, o id.Order) id.Shipment {
	t.Helper()
	sh := id.ShipmentOf(o, 1)
	if err := until(10*time.Second, func() error {
		_, err := ask(c, 5*time.Second, subjects.ShippingGet, subjects.ShipmentRequest{ShipmentID: sh})
		return err
	}); err != nil {
		t.Fatalf("%s: %v", sh, err)
	}
	return sh
}

// booked places an order that is to be shipped and books its shipment.
func booked(t testing.TB, c *dialed, r subjects.PlaceRequest) id.Shipment {
	t.Helper()
	place(t, c, r, "confirmed")
	sh := shipped(t, c, r.OrderID)
	if _, err := ask(c, 5*time.Second, subjects.ShippingBook, subjects.ShipmentRequest{ShipmentID: sh, Carrier: "van"}); err != nil {
		t.Fatal(err)
	}
	return sh
}

func place(t testing.TB, c *dialed, r subjects.PlaceRequest, want subjects.OrderStatus) {
	t.Helper()
	o, err := ask(c, 10*time.Second, subjects.OrderPlace, r)
	if err != nil {
		t.Fatalf("order.place %s: %v", r.OrderID, err)
	}
	if o.Status != want {
		t.Fatalf("order.place %s: %s, want %s", r.OrderID, o.Status, want)
	}
}

func setting(t testing.TB, c *dialed, key, value string) {
	t.Helper()
	if _, err := ask(c, 5*time.Second, subjects.ConfigSet, subjects.SetRequest{Key: key, Value: subjects.Raw(value)}); err != nil {
		t.Fatalf("config.set %s: %v", key, err)
	}
}

// impatient makes the background process take over soon.
func impatient(t testing.TB, c *dialed, gateway string) {
	t.Helper()
	setting(t, c, "payment.gateway_timeout", `"`+gateway+`"`)
	setting(t, c, "order.pending_grace", `"100ms"`)
	setting(t, c, "order.retry_interval", `"100ms"`)
}

// isRefused reports whether the error is the site's refusal with that code.
func isRefused(err error, code fault.Code) bool {
	var silent *rpc.NoAnswer
	return err != nil && !errors.As(err, &silent) && fault.CodeOf(err) == code
}

// gates stop the work of a node at chosen points. A node's hook is their pass method.
type gates struct {
	mu    sync.Mutex
	traps []*trap
}

// trap catches the next that passes its point, and keeps it until it is released.
type trap struct {
	point  string
	caught chan struct{}
	free   chan struct{}
	once   sync.Once
}

// longestCatch is how long a trap keeps anyone: a test that fails must not hold up the node's end.
const longestCatch = 30 * time.Second

func (g *gates) pass(point string) {
	g.mu.Lock()
	i := slices.IndexFunc(g.traps, func(t *trap) bool { return t.point == point })
	if i < 0 {
		g.mu.Unlock()
		return
	}
	trap := g.traps[i]
	g.traps = slices.Delete(g.traps, i, i+1)
	g.mu.Unlock()
	close(trap.caught)
	timer := time.NewTimer(longestCatch)
	defer timer.Stop()
	select {
	case <-trap.free:
	case <-timer.C:
	}
}

// set sets a trap at a point, until the test ends.
func (g *gates) set(t testing.TB, point string) *trap {
	t.Helper()
	mine := &trap{point: point, caught: make(chan struct{}), free: make(chan struct{})}
	g.mu.Lock()
	g.traps = append(g.traps, mine)
	g.mu.Unlock()
	t.Cleanup(func() { g.take(mine) })
	return mine
}

// take takes a trap away, and lets go whom it caught.
func (g *gates) take(tr *trap) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.traps = slices.DeleteFunc(g.traps, func(other *trap) bool { return other == tr })
	tr.release()
}

// wait returns once somebody is caught.
func (tr *trap) wait(t testing.TB) {
	t.Helper()
	timer := time.NewTimer(10 * time.Second)
	defer timer.Stop()
	select {
	case <-tr.caught:
	case <-timer.C:
		t.Fatalf("nobody came by %q", tr.point)
	}
}

func (tr *trap) release() { tr.once.Do(func() { close(tr.free) }) }

// got waits for the answer of a call that was begun.
func got[Res any](t testing.TB, c <-chan answer[Res]) answer[Res] {
	t.Helper()
	timer := time.NewTimer(30 * time.Second)
	defer timer.Stop()
	select {
	case a := <-c:
		return a
	case <-timer.C:
		t.Fatal("no answer came")
		return answer[Res]{}
	}
}
