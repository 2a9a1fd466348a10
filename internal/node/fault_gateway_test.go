package node_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/nats-io/nats.go/jetstream"

	"waybill/internal/id"
	"waybill/internal/journal"
	"waybill/internal/money"
	"waybill/internal/nodetest"
	"waybill/internal/paygate"
	"waybill/internal/sandbox"
	"waybill/subjects"
)

// farBooks are the books of a gateway elsewhere: no cut of the site's power takes anything of them.
type farBooks struct {
	mu      sync.Mutex
	entries []journal.Record
}

func (b *farBooks) copy() *farBooks {
	b.mu.Lock()
	defer b.mu.Unlock()
	return &farBooks{entries: slices.Clone(b.entries)}
}

func (b *farBooks) last(subject string) (journal.Record, bool) {
	for i := len(b.entries) - 1; i >= 0; i-- {
		if b.entries[i].Subject == subject {
			return b.entries[i], true
		}
	}
	return journal.Record{}, false
}

func (b *farBooks) Load(_ context.Context, subject string) (journal.Record, bool, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	r, ok := b.last(subject)
	return r, ok, nil
}

func (b *farBooks) Append(_ context.Context, e journal.Entry) (journal.Record, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if last, _ := b.last(e.Subject); last.Sequence != e.Previous.Sequence {
		return journal.Record{}, journal.ErrConflict
	}
	data, err := json.Marshal(e.Data)
	if err != nil {
		return journal.Record{}, err
	}
	state, err := json.Marshal(e.State)
	r := journal.Record{Sequence: uint64(len(b.entries) + 1), Subject: e.Subject, Data: data, State: state}
	b.entries = append(b.entries, r)
	return r, err
}

func (b *farBooks) Range(_ context.Context, from uint64, limit int) ([]journal.Record, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	from = min(from, uint64(len(b.entries)+1))
	return b.entries[from-1 : min(from-1+uint64(limit), uint64(len(b.entries)))], nil
}

// farGateway is a sandbox outside the site. asked is called with each payment that it is asked about.
type farGateway struct {
	*sandbox.Gateway
	books *farBooks
	asked func(ctx context.Context, what string, p id.Payment)
}

func newFarGateway(books *farBooks) *farGateway {
	return &farGateway{sandbox.New(books, sandbox.Options{Site: "local", Outside: true}), books, func(context.Context, string, id.Payment) {}}
}

func (g *farGateway) Authorize(ctx context.Context, r paygate.AuthorizeRequest) (paygate.AuthorizeResult, error) {
	g.asked(ctx, "authorize", r.PaymentID)
	return g.Gateway.Authorize(ctx, r)
}

func (g *farGateway) Capture(ctx context.Context, p id.Payment, c id.Capture, amount money.Money) (paygate.Result, error) {
	g.asked(ctx, "capture", p)
	return g.Gateway.Capture(ctx, p, c, amount)
}

func (g *farGateway) Void(ctx context.Context, p id.Payment) (paygate.Result, error) {
	g.asked(ctx, "void", p)
	return g.Gateway.Void(ctx, p)
}

func (g *farGateway) Refund(ctx context.Context, p id.Payment, r id.Refund, amount money.Money) (paygate.Result, error) {
	g.asked(ctx, "refund", p)
	return g.Gateway.Refund(ctx, p, r, amount)
}

// TestGatewayOutside: a gateway elsewhere is asked only once the question is durable, whatever it is asked.
func TestGatewayOutside(t *testing.T) {
	t.Parallel()
	var c *dialed
	var stream jetstream.Stream
	var mu sync.Mutex
	asked := map[string]int{}
	g := newFarGateway(&farBooks{})
	g.asked = func(ctx context.Context, what string, p id.Payment) {
		kind := subjects.KindPayment
		if what == "refund" {
			kind = subjects.KindRefund
		}
		health, err := ask(c, 10*time.Second, subjects.HealthList, subjects.Empty{})
		if err != nil {
			t.Error(err)
			return
		}
		last, err := stream.GetLastMsgForSubject(ctx, subjects.Event("local", kind, p))
		if err != nil {
			t.Errorf("%s %s: the question is not in the journal: %v", what, p, err)
		} else if health.Journal.Durable < last.Sequence {
			t.Errorf("%s %s is asked at event %d, and only %d is durable", what, p, last.Sequence, health.Journal.Durable)
		}
		mu.Lock()
		defer mu.Unlock()
		asked[what]++
	}
	slow := func() error { time.Sleep(20 * time.Millisecond); return nil }
	n := nodetest.Start(t, nodetest.WithGateway(g), nodetest.WithSyncFault(slow))
	c = mustDial(t, n.URL())
	nodetest.Stock(t, c.Client, 100, "tea")
	ctx := within(t)
	js, err := jetstream.New(c.nc)
	if err != nil {
		t.Fatal(err)
	}
	if stream, err = js.Stream(ctx, subjects.StreamJournal); err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for i := range 4 {
		all.Go(func() {
			o, err := c.Orders.Place(ctx, card(id.Order(fmt.Sprintf("far%d", i)), "tok_ok", line("tea", 1)))
			if err != nil || o.Status != "confirmed" {
				t.Errorf("%+v %v", o, err)
				return
			}
			if i%2 == 0 {
				if _, err := ask(c, 10*time.Second, subjects.PaymentVoid, subjects.PaymentRequest{PaymentID: id.PaymentOf(o.OrderID)}); err != nil {
					t.Error(err)
				}
				return
			}
			pay := id.PaymentOf(o.OrderID)
			if _, err := ask(c, 10*time.Second, subjects.PaymentCapture, subjects.CaptureRequest{PaymentID: pay, CaptureID: "c-1", Amount: o.Total}); err != nil {
				t.Error(err)
			}
			if _, err := ask(c, 10*time.Second, subjects.PaymentRefund, subjects.RefundRequest{PaymentID: pay, RefundID: "r-1", Amount: o.Total}); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	mu.Lock()
	defer mu.Unlock()
	if fmt.Sprint(asked) != "map[authorize:4 capture:2 refund:2 void:2]" {
		t.Errorf("asked %v", asked)
	}
}

// TestPowerCutGatewayOutside is TestPowerCut with a gateway that goes on elsewhere: of what it did nothing is forgotten.
func TestPowerCutGatewayOutside(t *testing.T) {
	t.Parallel()
	g := newFarGateway(&farBooks{})
	powerCut(t, g)
	if n := len(g.books.entries); n < 60 {
		t.Errorf("the gateway elsewhere was asked for %d payments", n)
	}
}
