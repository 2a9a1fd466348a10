package node_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	"waybill/client"
	"waybill/internal/id"
	"waybill/internal/nodetest"
	"waybill/internal/verify"
	"waybill/subjects"
)

func TestMain(m *testing.M) {
	if child, code := beChild(); child {
		os.Exit(code)
	}
	if err := switchOff(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	flag.Parse()
	if !*faultsAll { // they wait more than they work, but for what the race detector does
		lanes := "6"
		if nodetest.Race {
			lanes = "2"
		}
		if err := flag.Set("test.parallel", lanes); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	}
	goleak.VerifyTestMain(m, lasting...)
}

// lasting are goroutines that etcd's and gRPC's packages start once per process and never end.
var lasting = []goleak.Option{
	goleak.IgnoreTopFunction("gopkg.in/natefinch/lumberjack%2ev2.(*Logger).millRun"),
	goleak.IgnoreTopFunction("go.opencensus.io/stats/view.(*worker).start"),
}

func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func call[Req, Res any](t testing.TB, c *client.Client, e subjects.Endpoint[Req, Res], r Req) *Res {
	t.Helper()
	res, err := client.Call(within(t), c, e, &r)
	if err != nil {
		t.Fatalf("%s: %v", e.Name(), err)
	}
	return res
}

// refused calls an endpoint that must refuse with the code and, where one is named, the field.
func refused[Req, Res any](t testing.TB, c *client.Client, e subjects.Endpoint[Req, Res], r Req, code subjects.Code, field string) *subjects.Error {
	t.Helper()
	res, err := client.Call(within(t), c, e, &r)
	var f *subjects.Error
	if !errors.As(err, &f) {
		t.Fatalf("%s answered %s with error %v, want %s", e.Name(), text(t, res), err, code)
	}
	if f.Code != code || f.Field != field {
		t.Fatalf("%s refused with %v, want %s of field %q", e.Name(), err, code, field)
	}
	return f
}

// eventually waits until f holds. What the site does in the background gives no sign to wait for, so f is asked again and again.
func eventually(t testing.TB, what string, f func() bool) {
	t.Helper()
	if !patiently(10*time.Second, f) {
		t.Fatalf("it did not come to it that %s", what)
	}
}

func patiently(d time.Duration, f func() bool) bool {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(d); !f(); <-tick.C {
		if time.Now().After(end) {
			return false
		}
	}
	return true
}

func text(t testing.TB, v any) string {
	t.Helper()
	b, err := json.Marshal(v, jsontext.Multiline(true), json.Deterministic(true))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func card(o id.Order, token string, lines ...subjects.StockLine) subjects.PlaceRequest {
	return subjects.PlaceRequest{
		OrderID: o, CustomerID: "c-1", Email: "a@example.com", Lines: lines, Fulfilment: subjects.Ship,
		ShipTo:  &subjects.Address{Name: "Ada", Line1: "1 Main St", City: "Berlin", PostalCode: "10115", Country: "DE"},
		Payment: subjects.PlacePayment{Method: subjects.Card, Token: token},
	}
}

func pickup(r subjects.PlaceRequest) subjects.PlaceRequest {
	r.Fulfilment, r.ShipTo = subjects.Pickup, nil
	return r
}

func cash(r subjects.PlaceRequest) subjects.PlaceRequest {
	r.Payment = subjects.PlacePayment{Method: subjects.Cash}
	return r
}

func line(sku id.SKU, n int64) subjects.StockLine { return subjects.StockLine{SKU: sku, Quantity: n} }

// site is a running node and what is to have become of its orders.
type site struct {
	*nodetest.Node
	c     *client.Client
	plain *nats.Conn // of somebody without our client and without credentials

	stopped   bool // before its test's end
	discarded bool // a dead letter was thrown away: nobody can tell any more that it was written

	mu   sync.Mutex
	ends []ending
}

// ending is an order's end: what must still be true of it when all else on the site is done.
type ending struct {
	order id.Order
	sku   id.SKU
	tale  tale
}

// open starts a node. When the test ends, each of its orders must still be as it was told to end, and the whole journal sound.
func open(t testing.TB, options ...nodetest.Option) *site {
	t.Helper()
	n := nodetest.Start(t, options...)
	plain, err := nats.Connect(n.URL(), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(plain.Close)
	s := &site{Node: n, c: n.Client(t), plain: plain}
	t.Cleanup(func() { s.still(t) })
	return s
}

// Stop ends the node within the test.
func (s *site) Stop() {
	s.stopped = true
	s.Node.Stop()
}

func (s *site) still(t testing.TB) {
	if s.stopped {
		return
	}
	src, err := source(&dialed{Client: s.c, nc: s.plain})
	if err != nil {
		t.Fatal(err)
	}
	if s.discarded {
		src.DeadLetters = nil
	}
	report, err := verify.Run(within(t), src, nil)
	if err != nil {
		t.Fatalf("the journal could not be verified: %v", err)
	}
	for _, v := range report.Violations {
		t.Errorf("the journal is not sound: %s", text(t, v))
	}
	for _, e := range s.ends {
		if is := s.tale(t, e.order, e.sku); text(t, is) != text(t, e.tale) {
			t.Errorf("the order %s went on after its end\nit is   %s\nit was  %s", e.order, text(t, is), text(t, e.tale))
		}
	}
}

func (s *site) set(t testing.TB, key, value string) {
	t.Helper()
	call(t, s.c, subjects.ConfigSet, subjects.SetRequest{Key: key, Value: subjects.Raw(value)})
}

// tale is all that a site tells of an order whose goods are of one SKU, ten of which it had.
type tale struct {
	Status    subjects.OrderStatus
	Reason    string // its code
	Payment   subjects.PaymentStatus
	Captured  int64
	Refunded  int64
	OnHand    int64
	Reserved  int64
	Shipments []string // status of each, in the order of their making
	History   []string // kind.event
	Ledger    []string // operation, result, amount
	Told      []string // kind.event and status of each notification, sorted
}

// tale asks every service for its part of the story, and checks that what several of them tell is the same.
func (s *site) tale(t testing.TB, order id.Order, sku id.SKU) tale {
	t.Helper()
	o := call(t, s.c, subjects.OrderGet, subjects.GetOrderRequest{OrderID: order})
	out := tale{Status: o.Status}
	if o.Reason != nil {
		out.Reason = o.Reason.Code
	}
	if o.Payment != nil {
		p := call(t, s.c, subjects.PaymentGet, subjects.PaymentRequest{PaymentID: o.Payment.PaymentID})
		out.Payment, out.Captured, out.Refunded = p.Status, p.Captured.Amount, p.Refunded.Amount
	}
	stock := call(t, s.c, subjects.InventoryGet, subjects.SKURequest{SKU: sku})
	out.OnHand, out.Reserved = stock.OnHand, stock.Reserved
	if stock.Available != stock.OnHand-stock.Reserved || stock.Available < 0 || stock.Reserved < 0 {
		t.Errorf("the stock %+v does not add up", stock)
	}
	for _, sh := range call(t, s.c, subjects.ShippingList, subjects.ListShipmentsRequest{OrderID: order}).Shipments {
		out.Shipments = append(out.Shipments, string(sh.ShipmentID[len(order)+1:])+" "+string(sh.Status))
	}
	slices.Sort(out.Shipments)
	last := uint64(0)
	for _, e := range call(t, s.c, subjects.OrderHistory, subjects.OrderRequest{OrderID: order}).Events {
		kind, event, ok := subjects.ParseType(e.Type)
		if !ok || e.Sequence <= last || len(e.Data) == 0 || e.Time.IsZero() {
			t.Errorf("%s: the event %+v is out of order or not whole", order, e)
		}
		last = e.Sequence
		out.History = append(out.History, string(kind)+"."+event)
	}
	out.History = planned(out.History)
	out.Ledger = s.ledger(t, id.PaymentOf(order))
	for _, n := range call(t, s.c, subjects.NotificationList, subjects.ListNotificationsRequest{OrderID: order}).Notifications {
		out.Told = append(out.Told, n.Event+" "+n.Status)
	}
	slices.Sort(out.Told)
	return out
}

// planned moves the planning of an order's first shipment right behind its confirmation: it comes some time after it, and the
// reply does not wait for it.
func planned(history []string) []string {
	confirmed, first := slices.Index(history, "order.confirmed"), slices.Index(history, "shipment.planned")
	if confirmed < 0 || first < confirmed {
		return history
	}
	return slices.Insert(slices.Delete(history, first, first+1), confirmed+1, "shipment.planned")
}

// ledger is what the gateway's own books have of a payment.
func (s *site) ledger(t testing.TB, payment id.Payment) []string {
	t.Helper()
	var out []string
	for e, err := range s.c.Payments.AllLedger(within(t)) {
		if err != nil {
			t.Fatal(err)
		}
		if e.PaymentID == payment {
			out = append(out, strings.Join([]string{e.Operation, e.Result, e.Amount.String()}, " "))
		}
	}
	return out
}

// end waits until the order's story is the one that is wanted, and has the end of the test look whether it stayed so.
func (s *site) end(t testing.TB, order id.Order, sku id.SKU, want tale) {
	t.Helper()
	s.comes(t, order, sku, want)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ends = append(s.ends, ending{order, sku, want})
}

// comes waits until the order's story is the one that is wanted.
func (s *site) comes(t testing.TB, order id.Order, sku id.SKU, want tale) {
	t.Helper()
	slices.Sort(want.Told)
	var is tale
	if !patiently(10*time.Second, func() bool {
		is = s.tale(t, order, sku)
		return text(t, is) == text(t, want)
	}) {
		t.Fatalf("the story of %s\nis %s\nwant %s", order, text(t, is), text(t, want))
	}
}

// shipment waits until the order's n-th shipment is there.
func (s *site) shipment(t testing.TB, order id.Order, n int) id.Shipment {
	t.Helper()
	sh := id.ShipmentOf(order, n)
	eventually(t, "the shipment "+string(sh)+" is planned", func() bool {
		_, err := s.c.Shipping.Get(within(t), sh)
		return err == nil
	})
	return sh
}

// reaches waits until the order has the status.
func (s *site) reaches(t testing.TB, order id.Order, status subjects.OrderStatus) *subjects.OrderInfo {
	t.Helper()
	var o *subjects.OrderInfo
	eventually(t, "the order "+string(order)+" is "+string(status), func() bool {
		o = call(t, s.c, subjects.OrderGet, subjects.GetOrderRequest{OrderID: order})
		return o.Status == status
	})
	return o
}

// ship asks for one step of a shipment.
func (s *site) ship(t testing.TB, verb subjects.Endpoint[subjects.ShipmentRequest, subjects.ShipmentInfo], sh id.Shipment) *subjects.ShipmentInfo {
	t.Helper()
	return call(t, s.c, verb, subjects.ShipmentRequest{ShipmentID: sh})
}

// ask asks a method with a payload as it is, as a till without our client would.
func (s *site) ask(t testing.TB, method, payload string, headers ...nats.Header) *nats.Msg {
	t.Helper()
	m := &nats.Msg{Subject: "wb." + string(s.Config.Site) + ".rpc." + method, Data: []byte(payload)}
	for _, h := range headers {
		m.Header = h
	}
	reply, err := s.plain.RequestMsgWithContext(within(t), m)
	if err != nil {
		t.Fatalf("%s with %.80s: %v", method, payload, err)
	}
	return reply
}

// list joins lists of events, so that stories can share their beginnings.
func list(parts ...any) []string {
	var out []string
	for _, p := range parts {
		switch p := p.(type) {
		case string:
			out = append(out, p)
		case []string:
			out = append(out, p...)
		}
	}
	return out
}

// story is one order's, with an SKU of its own.
type story func(t *testing.T, s *site, o id.Order, sku id.SKU)

// tell runs stories side by side, each on ten units of its own SKU at 2.50 EUR and 19 % tax: 5.95 EUR for two.
// A test that tells stories is not parallel to others: its stories would wait for their turn behind those, and its node would run
// until then.
func (s *site) tell(t *testing.T, stories map[string]story) {
	t.Helper()
	t.Run("stories", func(t *testing.T) {
		for name, story := range stories {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				slug := strings.ReplaceAll(name, " ", "-")
				sku := id.SKU("sku-" + slug)
				nodetest.Stock(t, s.c, 10, sku)
				story(t, s, id.Order(slug), sku)
			})
		}
	})
}

// place places an order that must have the status in the reply.
func (s *site) place(t testing.TB, r subjects.PlaceRequest, status subjects.OrderStatus) *subjects.OrderInfo {
	t.Helper()
	o := call(t, s.c, subjects.OrderPlace, r)
	if o.Status != status {
		t.Fatalf("placed, and it is %s: %s", o.Status, text(t, o))
	}
	return o
}

// The beginnings of stories.
var (
	held      = []string{"order.placed", "reservation.held", "payment.created", "payment.processing"}
	confirmed = list(held, "payment.authorized", "order.confirmed", "shipment.planned")
	paidCash  = list(held, "payment.captured", "order.confirmed", "shipment.planned")
)

const (
	authorized = "authorize approved 5.95 EUR"
	captured   = "capture approved 5.95 EUR"
	voided     = "void approved 5.95 EUR"
)
