package bench_test

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"waybill/bench"
	"waybill/client"
	"waybill/internal/id"
	"waybill/subjects"
)

var growth = flag.Int("growth", 0, "orders with which TestGrowth fills the large site; 112000 make a million events; 0 skips it")

// site is a node in a process of its own, as an operator runs it.
type site struct {
	c    *client.Client
	dir  string
	pid  int
	took time.Duration // from the start of the process until it took orders

	process *os.Process
	ended   chan struct{}
	said    *bytes.Buffer // by the process; to be read when it has ended
}

func startSite(t *testing.T, program, dir string, more ...string) *site {
	t.Helper()
	cmd := exec.Command(program, append([]string{"serve", "--data", dir, "--nats-addr", "127.0.0.1:0", "--http-addr", "127.0.0.1:0",
		"--etcd-addr", "127.0.0.1:0", "--durability", "fast", "--log-level", "error"}, more...)...)
	var said bytes.Buffer
	cmd.Stderr, cmd.Stdout = &said, &said
	file := filepath.Join(dir, "endpoints.json")
	os.Remove(file) // one that was killed has left it
	began := time.Now()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { cmd.Wait(); close(ended) }()
	t.Cleanup(func() {
		cmd.Process.Signal(os.Interrupt)
		<-ended
	})
	for deadline := time.Now().Add(60 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if text, err := os.ReadFile(file); err == nil {
			var e struct {
				NATS string `json:"nats"`
			}
			if err := json.Unmarshal(text, &e); err != nil {
				t.Fatal(err)
			}
			took := time.Since(began)
			c, err := client.Connect(t.Context(), e.NATS, client.WithTimeout(20*time.Second))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(c.Close)
			return &site{c: c, dir: dir, pid: cmd.Process.Pid, took: took, process: cmd.Process, ended: ended, said: &said}
		}
		select {
		case <-ended:
			t.Fatalf("the node ended: %s", said.String())
		default:
		}
		if time.Now().After(deadline) {
			t.Fatalf("the node is not ready: %s", said.String())
		}
	}
}

// end ends the process by the signal and waits until it has ended.
func (s *site) end(t *testing.T, signal os.Signal) {
	t.Helper()
	s.c.Close()
	if err := s.process.Signal(signal); err != nil {
		t.Fatal(err)
	}
	select {
	case <-s.ended:
	case <-time.After(30 * time.Second):
		t.Fatalf("the node does not end on %v", signal)
	}
}

// resident is the memory of the site's process and of etcd's, its child, in bytes: what each has of its own, and once the pages of
// the program, which both have mapped, as other sites of the test have.
func (s *site) resident(t *testing.T) int64 {
	t.Helper()
	pids := strconv.Itoa(s.pid)
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", s.pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range tasks {
		if text, err := os.ReadFile(file); err == nil { // else the thread has ended
			pids += " " + string(text)
		}
	}
	if len(strings.Fields(pids)) < 2 {
		t.Fatal("etcd's process is not to be found")
	}
	var own, program int64
	for _, pid := range strings.Fields(pids) {
		text, err := os.ReadFile("/proc/" + pid + "/smaps_rollup")
		if err != nil {
			t.Fatal(err)
		}
		kb := func(name string) (n int64) {
			_, rest, _ := strings.Cut(string(text), "\n"+name)
			if _, err := fmt.Sscanf(rest, ": %d kB", &n); err != nil {
				t.Fatalf("no %s of %s: %v", name, pid, err)
			}
			return n << 10
		}
		anonymous := kb("Anonymous")
		own += anonymous
		program = max(program, kb("Rss")-anonymous)
	}
	return own + program
}

// method is a request that is measured. Each call of make returns a fresh one on this site.
type method struct {
	name string
	call func(ctx context.Context, s *site, n int) error
}

func of[Req, Res any](e subjects.Endpoint[Req, Res], request func(s *site, n int) Req) method {
	return method{e.Name(), func(ctx context.Context, s *site, n int) error {
		r := request(s, n)
		_, err := client.Call(ctx, s.c, e, &r)
		return err
	}}
}

// TestGrowth shows that no request's cost grows with the journal: each method's p50 on a site with a thousand events and on one
// with a million, in turn.
func TestGrowth(t *testing.T) {
	if *growth == 0 {
		t.Skip("skipped: it takes minutes; run it with -growth 112000, as make bench-growth does")
	}
	program := filepath.Join(t.TempDir(), "waybill")
	if out, err := exec.Command("go", "build", "-o", program, "../cmd/waybill").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	ctx := t.Context()
	small, large := startSite(t, program, filepath.Join(t.TempDir(), "small")), startSite(t, program, filepath.Join(t.TempDir(), "large"))
	const probe = 100 // orders that the measured requests name, on either site
	for _, s := range []*site{small, large} {
		if err := bench.Prepare(ctx, s.c); err != nil {
			t.Fatal(err)
		}
	}
	fill := func(s *site, orders int) {
		r := bench.Loop(ctx, 32, orders, func(ctx context.Context, n int) error {
			o := bench.Order(n)
			if n < probe {
				o.OrderID, o.CustomerID = probed(n), "probe"
			}
			_, err := client.Call(ctx, s.c, subjects.OrderPlace, o)
			return err
		})
		if r.Errors > 0 {
			t.Fatalf("%d orders failed: %v", r.Errors, r.FirstError)
		}
		t.Logf("%d orders placed at %.0f/s, p99 %v", r.Count, r.Rate(), r.Percentile(0.99))
	}
	fill(small, probe) // with the orders to be cancelled a few thousand events: as good as a thousand, and nothing beside a million
	fill(large, *growth)
	for _, s := range []*site{small, large} {
		r := bench.Loop(ctx, 16, 300, func(ctx context.Context, n int) error { // for order.cancel to take back
			o := bench.Order(n)
			o.OrderID = cancelled(s, n)
			_, err := client.Call(ctx, s.c, subjects.OrderPlace, o)
			return err
		})
		if r.Errors > 0 {
			t.Fatal(r.FirstError)
		}
		settle(t, s)
	}
	t.Logf("memory under load: %d MB with %d orders, %d MB with %d orders", small.resident(t)>>20, probe, large.resident(t)>>20, *growth)
	time.Sleep(170 * time.Second) // at rest: the store lets go of its caches after 10 s, and of its indexes after two minutes
	t.Logf("memory at rest: %d MB with %d orders, %d MB with %d orders", small.resident(t)>>20, probe, large.resident(t)>>20, *growth)
	if mb := large.resident(t) >> 20; *growth >= 100_000 && mb > 250 {
		t.Errorf("the site takes %d MB with %d orders", mb, *growth)
	}

	slow := 0
	for _, m := range methods() {
		const rounds, calls = 20, 15
		var p50 [2][]time.Duration
		for round := range rounds {
			for i, s := range []*site{small, large} {
				r := bench.Loop(ctx, 1, calls, func(ctx context.Context, n int) error { return m.call(ctx, s, round*calls+n) })
				if r.Errors > 0 {
					t.Fatalf("%s: %v", m.name, r.FirstError)
				}
				p50[i] = append(p50[i], r.Percentile(0.5))
			}
		}
		a, b := median(p50[0]), median(p50[1])
		verdict := "flat"
		if b > a*5/4 && b-a > 60*time.Microsecond {
			verdict, slow = "GROWS", slow+1
		}
		t.Logf("%-26s %8v %8v  × %.2f  %s", m.name, a.Round(time.Microsecond), b.Round(time.Microsecond), float64(b)/float64(a), verdict)
	}
	if slow > 0 {
		t.Errorf("%d methods grow with the journal", slow)
	}
}

func probed(n int) id.Order { return id.Order(fmt.Sprintf("probe-%03d", n%100)) }

func median(d []time.Duration) time.Duration {
	slices.Sort(d)
	return d[len(d)/2]
}

// settle waits until the site's background work is done: each order's shipment is planned and its notification delivered.
func settle(t *testing.T, s *site) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); time.Sleep(200 * time.Millisecond) {
		queued, err := client.Call(t.Context(), s.c, subjects.NotificationList, &subjects.ListNotificationsRequest{Page: subjects.Page{Limit: 1}})
		if err != nil {
			t.Fatal(err)
		}
		before := s.last(t)
		time.Sleep(500 * time.Millisecond)
		if len(queued.Notifications) == 1 && s.last(t) == before {
			return
		}
	}
	t.Fatal("the site does not come to rest")
}

// last is the sequence that the site's read models have come to.
func (s *site) last(t *testing.T) uint64 {
	v, err := client.Call(t.Context(), s.c, subjects.JournalView, &subjects.Empty{})
	if err != nil {
		t.Fatal(err)
	}
	return v.Sequence
}

// methods is every method of the contract that a till, a shop or a warehouse calls, on orders of their own where one changes
// something.
func methods() []method {
	run := id.New()[:8]
	fresh := func(s *site, n int) id.Order { return id.Order(fmt.Sprintf("g-%s-%d-%d", run, s.pid, n)) }
	page := subjects.Page{Limit: 50}
	return []method{
		of(subjects.OrderPlace, func(s *site, n int) subjects.PlaceRequest {
			o := *bench.Order(n)
			o.OrderID = fresh(s, n)
			return o
		}),
		of(subjects.OrderGet, func(_ *site, n int) subjects.GetOrderRequest { return subjects.GetOrderRequest{OrderID: probed(n)} }),
		of(subjects.OrderHistory, func(_ *site, n int) subjects.OrderRequest { return subjects.OrderRequest{OrderID: probed(n)} }),
		of(subjects.OrderList, func(*site, int) subjects.ListOrdersRequest { return subjects.ListOrdersRequest{Page: page} }),
		of(subjects.OrderList, func(*site, int) subjects.ListOrdersRequest {
			return subjects.ListOrdersRequest{Page: page, CustomerID: "probe"}
		}),
		of(subjects.OrderList, func(*site, int) subjects.ListOrdersRequest {
			return subjects.ListOrdersRequest{Page: page, Status: "confirmed"}
		}),
		of(subjects.PaymentGet, func(_ *site, n int) subjects.PaymentRequest {
			return subjects.PaymentRequest{PaymentID: id.PaymentOf(probed(n))}
		}),
		of(subjects.PaymentLedger, func(*site, int) subjects.ListRequest { return subjects.ListRequest{Page: page} }),
		of(subjects.PaymentAuthorize, func(s *site, n int) subjects.AuthorizeRequest {
			return subjects.AuthorizeRequest{PaymentID: id.Payment(fresh(s, n) + "-x"), OrderID: fresh(s, n) + "-x", Amount: subjects.Money{Amount: 100, Currency: "EUR"}, Method: subjects.Card, Token: "tok_ok"}
		}),
		of(subjects.PaymentCapture, func(s *site, n int) subjects.CaptureRequest {
			return subjects.CaptureRequest{PaymentID: id.Payment(fresh(s, n) + "-x"), CaptureID: "c", Amount: subjects.Money{Amount: 60, Currency: "EUR"}}
		}),
		of(subjects.PaymentRefund, func(s *site, n int) subjects.RefundRequest {
			return subjects.RefundRequest{PaymentID: id.Payment(fresh(s, n) + "-x"), RefundID: "r", Amount: subjects.Money{Amount: 10, Currency: "EUR"}}
		}),
		of(subjects.PaymentVoid, func(s *site, n int) subjects.PaymentRequest {
			return subjects.PaymentRequest{PaymentID: id.Payment(fresh(s, n) + "-x")}
		}),
		of(subjects.CatalogPut, func(_ *site, n int) subjects.PutItemRequest {
			return subjects.PutItemRequest{SKU: bench.SKU(n), Name: fmt.Sprintf("Item %d", n), UnitPrice: subjects.Money{Amount: 100, Currency: "EUR"}}
		}),
		of(subjects.CatalogGet, func(_ *site, n int) subjects.SKURequest { return subjects.SKURequest{SKU: bench.SKU(n)} }),
		of(subjects.CatalogList, func(*site, int) subjects.ListRequest { return subjects.ListRequest{Page: page} }),
		of(subjects.InventoryReceive, func(_ *site, n int) subjects.ReceiveRequest {
			return subjects.ReceiveRequest{SKU: bench.SKU(n), Quantity: 1, Reference: id.Reference(fmt.Sprintf("g-%s-%d", run, n))}
		}),
		of(subjects.InventoryAdjust, func(_ *site, n int) subjects.AdjustRequest {
			return subjects.AdjustRequest{SKU: bench.SKU(n), Quantity: -1, Reference: id.Reference(fmt.Sprintf("a-%s-%d", run, n))}
		}),
		of(subjects.InventoryGet, func(_ *site, n int) subjects.SKURequest { return subjects.SKURequest{SKU: bench.SKU(n)} }),
		of(subjects.InventoryList, func(*site, int) subjects.ListRequest { return subjects.ListRequest{Page: page} }),
		of(subjects.InventoryReserve, func(s *site, n int) subjects.ReserveRequest {
			return subjects.ReserveRequest{ReservationID: id.Reservation(fresh(s, n) + "-y"), Lines: []subjects.StockLine{{SKU: bench.SKU(n), Quantity: 2}}, TTL: subjects.Duration(time.Hour)}
		}),
		of(subjects.InventoryExtend, func(s *site, n int) subjects.ReservationRequest {
			return subjects.ReservationRequest{ReservationID: id.Reservation(fresh(s, n) + "-y"), TTL: subjects.Duration(2 * time.Hour)}
		}),
		of(subjects.InventoryCommit, func(s *site, n int) subjects.ReservationRequest {
			return subjects.ReservationRequest{ReservationID: id.Reservation(fresh(s, n) + "-y")}
		}),
		of(subjects.InventoryConsume, func(s *site, n int) subjects.ConsumeRequest {
			return subjects.ConsumeRequest{ReservationID: id.Reservation(fresh(s, n) + "-y"), ShipmentID: "sh", Lines: []subjects.StockLine{{SKU: bench.SKU(n), Quantity: 1}}}
		}),
		of(subjects.InventoryRelease, func(s *site, n int) subjects.ReservationRequest {
			return subjects.ReservationRequest{ReservationID: id.Reservation(fresh(s, n) + "-y")}
		}),
		of(subjects.ShippingList, func(*site, int) subjects.ListShipmentsRequest { return subjects.ListShipmentsRequest{Page: page} }),
		of(subjects.ShippingGet, shipmentOf(fresh)),
		of(subjects.ShippingBook, shipmentOf(fresh)),
		of(subjects.ShippingDispatch, shipmentOf(fresh)),
		of(subjects.ShippingFail, shipmentOf(fresh)),
		of(subjects.ShippingDispatch, shipmentOf(fresh)),
		of(subjects.ShippingDeliver, shipmentOf(fresh)),
		of(subjects.OrderCancel, func(s *site, n int) subjects.CancelRequest { return subjects.CancelRequest{OrderID: cancelled(s, n)} }),
		of(subjects.NotificationList, func(*site, int) subjects.ListNotificationsRequest {
			return subjects.ListNotificationsRequest{Page: page}
		}),
		of(subjects.WebhookPut, func(_ *site, n int) subjects.PutWebhookRequest {
			return subjects.PutWebhookRequest{WebhookID: id.Webhook(fmt.Sprintf("w-%d", n)), URL: "http://localhost/", Events: []string{"order.*"}}
		}),
		of(subjects.WebhookList, func(*site, int) subjects.ListRequest { return subjects.ListRequest{Page: page} }),
		of(subjects.ConfigGet, func(*site, int) subjects.KeyRequest { return subjects.KeyRequest{Key: "payment.capture"} }),
		of(subjects.HealthList, func(*site, int) subjects.Empty { return subjects.Empty{} }),
		of(subjects.DeadList, func(*site, int) subjects.ListRequest { return subjects.ListRequest{Page: page} }),
	}
}

// cancelled is the n-th order that is there to be cancelled: each is an order of the fill that nothing else names.
func cancelled(s *site, n int) id.Order { return id.Order(fmt.Sprintf("cancel-%d-%d", s.pid, n)) }

func shipmentOf(order func(*site, int) id.Order) func(*site, int) subjects.ShipmentRequest {
	return func(s *site, n int) subjects.ShipmentRequest {
		return subjects.ShipmentRequest{ShipmentID: id.ShipmentOf(order(s, n), 1)}
	}
}
