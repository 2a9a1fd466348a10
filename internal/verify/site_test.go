package verify_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"waybill/client"
	"waybill/configs"
	"waybill/internal/id"
	"waybill/internal/journal"
	"waybill/internal/nodetest"
	"waybill/internal/timestamp"
	"waybill/internal/verify"
	"waybill/subjects"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// Started by packages that etcd imports, for the life of the process.
		goleak.IgnoreTopFunction("gopkg.in/natefinch/lumberjack%2ev2.(*Logger).millRun"),
		goleak.IgnoreTopFunction("go.opencensus.io/stats/view.(*worker).start"))
}

// site is a real node with orders of every outcome, read as anybody may read it.
type site struct {
	t       testing.TB
	ctx     context.Context
	c       *client.Client
	nc      *nats.Conn
	journal *journal.Journal
}

func newSite(t testing.TB) *site {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	n := nodetest.Start(t)
	closed := make(chan struct{})
	nc, err := nats.Connect(n.URL(), nats.ClosedHandler(func(*nats.Conn) { close(closed) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close(); <-closed })
	j, err := journal.Open(nc, journal.Options{Site: n.Config.Site, Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	return &site{t, ctx, n.Client(t), nc, j}
}

// source is what is read of a site over a connection without credentials.
func (s *site) source() verify.Source {
	src := verify.FromJournal(s.journal)
	page := func(cursor string) subjects.Page { return subjects.Page{Limit: 20, Cursor: cursor} }
	src.Messages = journal.OpenStream(s.nc, subjects.StreamJournal, "").Range
	src.Ledger = func(ctx context.Context, cursor string) ([]subjects.LedgerEntry, string, error) {
		r, err := client.Call(ctx, s.c, subjects.PaymentLedger, &subjects.ListRequest{Page: page(cursor)})
		if err != nil {
			return nil, "", err
		}
		return r.Entries, r.NextCursor, nil
	}
	src.Seals = func(ctx context.Context, cursor string) ([]subjects.Seal, string, error) {
		r, err := client.Call(ctx, s.c, subjects.JournalSeals, &subjects.ListRequest{Page: page(cursor)})
		if err != nil {
			return nil, "", err
		}
		return r.Seals, r.NextCursor, nil
	}
	src.DeadLetters = func(ctx context.Context, cursor string) ([]subjects.DeadInfo, string, error) {
		r, err := client.Call(ctx, s.c, subjects.DeadList, &subjects.ListRequest{Page: page(cursor)})
		if err != nil {
			return nil, "", err
		}
		return r.Letters, r.NextCursor, nil
	}
	return src
}

func must[Req, Res any](s *site, e subjects.Endpoint[Req, Res], r Req) *Res {
	s.t.Helper()
	res, err := client.Call(s.ctx, s.c, e, &r)
	if err != nil {
		s.t.Fatalf("%s: %v", e.Name(), err)
	}
	return res
}

func (s *site) place(o id.Order, m subjects.Method, token string, f subjects.Fulfilment, want subjects.OrderStatus,
	lines ...subjects.StockLine) {
	s.t.Helper()
	r := subjects.PlaceRequest{
		OrderID: o, CustomerID: "c-1", Email: "a@example.com", Lines: lines, Fulfilment: f,
		Payment: subjects.PlacePayment{Method: m, Token: token},
	}
	if f == subjects.Ship {
		r.ShipTo = &subjects.Address{Name: "Ada", Line1: "1 Main St", City: "Berlin", PostalCode: "10115", Country: "DE"}
	}
	if got := must(s, subjects.OrderPlace, r); got.Status != want {
		s.t.Fatalf("the order %s is %s, not %s", o, got.Status, want)
	}
}

// await returns once the journal has the event of the aggregate.
func (s *site) await(kind subjects.Kind, name, event string) {
	s.t.Helper()
	there, subject := errors.New("there"), subjects.Event(s.c.Site(), kind, name)
	err := s.journal.Follow(s.ctx, 1, func(batch []journal.Message) error {
		for _, m := range batch {
			if m.Subject == subject && m.Header.Get(subjects.HeaderType) == subjects.TypeOf(kind, event) {
				return there
			}
		}
		return nil
	})
	if !errors.Is(err, there) {
		s.t.Fatalf("%s.%s of %s never came: %v", kind, event, name, err)
	}
}

// ship takes an order's first shipment through the verbs.
func (s *site) ship(o id.Order, verbs ...subjects.Endpoint[subjects.ShipmentRequest, subjects.ShipmentInfo]) {
	s.t.Helper()
	sh := id.ShipmentOf(o, 1)
	s.await(subjects.KindShipment, string(sh), "planned")
	for _, v := range verbs {
		must(s, v, subjects.ShipmentRequest{ShipmentID: sh, Carrier: "post", Tracking: "t-1"})
	}
}

func units(sku id.SKU, n int64) subjects.StockLine { return subjects.StockLine{SKU: sku, Quantity: n} }

// trade places orders of every outcome and takes each as far as its name says.
func (s *site) trade() {
	const ship, pickup = subjects.Ship, subjects.Pickup
	book, dispatch, deliver := subjects.ShippingBook, subjects.ShippingDispatch, subjects.ShippingDeliver
	nodetest.Stock(s.t, s.c, 1_000_000, "espresso", "beans")
	must(s, subjects.InventoryReceive, subjects.ReceiveRequest{SKU: "rare", Quantity: 1, Reference: "opening"})
	must(s, subjects.CatalogPut, subjects.PutItemRequest{SKU: "rare", Name: "Rare", UnitPrice: subjects.Money{Amount: 999, Currency: "EUR"}})
	must(s, subjects.CatalogPut, subjects.PutItemRequest{SKU: "gift", Name: "Gift", UnitPrice: subjects.Money{Currency: "EUR"}})
	must(s, subjects.InventoryReceive, subjects.ReceiveRequest{SKU: "gift", Quantity: 10, Reference: "opening"})
	must(s, subjects.InventoryAdjust, subjects.AdjustRequest{SKU: "beans", Quantity: -3, Reference: "spilled"})
	must(s, subjects.WebhookPut, subjects.PutWebhookRequest{WebhookID: "w-1", URL: "http://127.0.0.1:9/", Events: []string{"*"}})
	must(s, subjects.WebhookDelete, subjects.WebhookRequest{WebhookID: "w-1"})

	s.place("o-done", subjects.Card, "tok_ok", ship, "confirmed", units("espresso", 2), units("beans", 1))
	s.place("o-split", subjects.Card, "tok_ok", ship, "confirmed", units("espresso", 5), units("beans", 3))
	s.place("o-till", subjects.Cash, "", pickup, "confirmed", units("espresso", 1))
	s.place("o-declined", subjects.Card, "tok_declined", ship, "rejected", units("espresso", 1))
	s.place("o-short", subjects.Card, "tok_ok", ship, "rejected", units("rare", 2))
	s.place("o-void", subjects.Card, "tok_ok", ship, "confirmed", units("espresso", 1))
	s.place("o-back", subjects.Cash, "", pickup, "confirmed", units("beans", 1))
	s.place("o-act", subjects.Card, "tok_action_required", ship, "needs_action", units("espresso", 1))
	s.place("o-return", subjects.Card, "tok_ok", ship, "confirmed", units("espresso", 1))
	s.place("o-gift", subjects.Card, "tok_ok", ship, "confirmed", units("gift", 1))
	s.place("o-open", subjects.Card, "tok_ok", ship, "confirmed", units("espresso", 1))
	must(s, subjects.ConfigSet, subjects.SetRequest{Key: configs.PaymentCapture, Value: subjects.Raw(`"` + configs.CaptureOnConfirm + `"`)})
	s.place("o-refund", subjects.Card, "tok_ok", ship, "confirmed", units("espresso", 1))

	s.ship("o-done", book, dispatch, deliver)
	s.await(subjects.KindShipment, "o-split-s1", "planned")
	must(s, subjects.ShippingSplit, subjects.ShipmentRequest{
		ShipmentID: "o-split-s1", Lines: []subjects.StockLine{units("espresso", 2), units("beans", 3)}})
	for _, sh := range []id.Shipment{"o-split-s1", "o-split-s2"} {
		for _, v := range []subjects.Endpoint[subjects.ShipmentRequest, subjects.ShipmentInfo]{book, dispatch, deliver} {
			must(s, v, subjects.ShipmentRequest{ShipmentID: sh, Carrier: "post"})
		}
	}
	s.ship("o-till", subjects.ShippingPrepare, subjects.ShippingReady, deliver)
	for _, o := range []id.Order{"o-void", "o-back", "o-refund"} {
		must(s, subjects.OrderCancel, subjects.CancelRequest{OrderID: o, Reason: "changed my mind"})
	}
	must(s, subjects.PaymentResume, subjects.ResumeRequest{PaymentID: "o-act-pay"})
	s.ship("o-return", book, dispatch, subjects.ShippingFail, subjects.ShippingReturn)
	s.ship("o-gift", book, dispatch, deliver)

	must(s, subjects.InventoryReserve, subjects.ReserveRequest{
		ReservationID: "r-1", Lines: []subjects.StockLine{units("beans", 2)}, TTL: subjects.Duration(time.Minute)})
	must(s, subjects.InventoryExtend, subjects.ReservationRequest{ReservationID: "r-1", TTL: subjects.Duration(2 * time.Minute)})
	must(s, subjects.InventoryCommit, subjects.ReservationRequest{ReservationID: "r-1"})
	must(s, subjects.InventoryRelease, subjects.ReservationRequest{ReservationID: "r-1"})
	must(s, subjects.PaymentAuthorize, subjects.AuthorizeRequest{
		PaymentID: "p-1", OrderID: "nobody", Amount: subjects.Money{Amount: 700, Currency: "EUR"}, Method: subjects.Card, Token: "tok_ok"})
	for _, part := range []id.Capture{"one", "two"} {
		must(s, subjects.PaymentCapture, subjects.CaptureRequest{
			PaymentID: "p-1", CaptureID: part, Amount: subjects.Money{Amount: 300, Currency: "EUR"}})
	}
	must(s, subjects.PaymentRefund, subjects.RefundRequest{
		PaymentID: "p-1", RefundID: "some", Amount: subjects.Money{Amount: 500, Currency: "EUR"}})
	must(s, subjects.PaymentVoid, subjects.PaymentRequest{PaymentID: "p-1"})
}

// settle returns the report of a verification once nothing is left undone, and the last one when that does not come in time.
func (s *site) settle() verify.Report {
	s.t.Helper()
	src := s.source()
	src.Settled = true
	within, cancel := context.WithTimeout(s.ctx, 20*time.Second)
	defer cancel()
	last := uint64(0)
	var report verify.Report
	err := s.journal.Follow(within, 1, func(batch []journal.Message) (err error) {
		if batch[len(batch)-1].Sequence <= last {
			return nil
		}
		if report, err = verify.Run(within, src, nil); err != nil {
			return err
		}
		last = report.Last
		if len(report.Violations) == 0 {
			return context.Canceled
		}
		return nil
	})
	if err != nil && !errors.Is(err, context.Canceled) {
		s.t.Fatal(err)
	}
	return report
}

// capture reads everything into memory.
func (s *site) capture() *world {
	s.t.Helper()
	w := &world{now: timestamp.Of(time.Now()), settled: true}
	if _, err := s.journal.Replay(s.ctx, 1, nil, func(r journal.Record) error { w.records = append(w.records, r); return nil }); err != nil {
		s.t.Fatal(err)
	}
	src := s.source()
	var err error
	if w.messages, err = src.Messages(s.ctx, 1, len(w.records)); err != nil {
		s.t.Fatal(err)
	}
	for cursor, more := "", true; more; more = cursor != "" {
		var page []subjects.LedgerEntry
		if page, cursor, err = src.Ledger(s.ctx, cursor); err != nil {
			s.t.Fatal(err)
		}
		w.ledger = append(w.ledger, page...)
	}
	w.seal()
	return w
}

func TestVerify(t *testing.T) {
	s := newSite(t)
	s.trade()
	report := s.settle()
	for _, v := range report.Violations {
		t.Errorf("%+v", v)
	}
	if report.Orders != 12 || report.Events != report.Last || report.Events < 150 || t.Failed() {
		t.Fatalf("%d events to %d, %d orders", report.Events, report.Last, report.Orders)
	}
	w := s.capture()
	t.Run("damage", func(t *testing.T) { damages(t, w) })
	t.Run("in flight", func(t *testing.T) { inFlight(t, w) })
	t.Run("report", func(t *testing.T) { reports(t, w) })
}
