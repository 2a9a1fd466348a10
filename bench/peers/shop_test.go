package main

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go"

	"waybill/bench"
	"waybill/subjects"
)

// The test's program is each of the services, too: the program that runs is started again for them.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "order-service", "stream-service", "rpc-service":
			main()
			return
		case "hold-children":
			holdChildren(os.Args[2])
			return
		}
	}
	os.Exit(m.Run())
}

// orderShop is a peer that takes orders.
type orderShop interface {
	side
	send(ctx context.Context, order *subjects.PlaceRequest) (*orderReply, error)
}

// Both peers are held to what is asked of Waybill: one order per id, whatever is repeated or races, and no item sold twice.
func TestShop(t *testing.T) {
	s, err := startShop(t.Context(), mustScratch(t), 16)
	if errors.Is(err, errNoPostgres) {
		t.Skip("SKIPPED, the peer is not tested: ", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	testShop(t, s, func(ctx context.Context, sku string, onHand int64) error {
		return s.db.with(ctx, func(ctx context.Context, c *pgx.Conn) error {
			_, err := c.Exec(ctx, "INSERT INTO catalog VALUES ($1, 'Last', 100, 'EUR', 1900)", sku)
			if err != nil {
				return err
			}
			_, err = c.Exec(ctx, "INSERT INTO stock (sku, on_hand) VALUES ($1, $2)", sku, onHand)
			return err
		})
	})
}

func TestStreamShop(t *testing.T) {
	dir := mustScratch(t)
	s, err := startStreamShop(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	testShop(t, s, func(ctx context.Context, sku string, onHand int64) error {
		last := item{OnHand: onHand}
		last.SKU, last.Name, last.UnitPrice, last.TaxRateBP = sku, "Last", money{100, "EUR"}, 1900
		return s.ask(ctx, putSubject, &last, &last)
	})

	// Started again it has the stock that it had, read from the stream.
	again, err := startChild(filepath.Join(dir, "again.log"), "stream-service", "-dir", filepath.Join(dir, "jetstream"))
	if err != nil {
		t.Fatal(err)
	}
	defer mustEnd(t, again.stop)
	nc, err := nats.Connect(again.at)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	s = &streamShop{service: again, nc: nc}
	o := bench.Order(0)
	o.Lines = []subjects.StockLine{{SKU: lastSKU, Quantity: 1}}
	if _, err := s.send(t.Context(), o); !refusedWith(err, http.StatusUnprocessableEntity) {
		t.Errorf("what was sold out is sold after a restart: %v", err)
	}
	o = bench.Order(0)
	if _, err := s.send(t.Context(), o); err != nil {
		t.Error(err)
	}
}

func mustScratch(t *testing.T) string {
	t.Helper()
	dir, err := scratch("")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

const lastSKU = "last-item"

// testShop ends the shop, too. put puts a new item.
func testShop(t *testing.T, s orderShop, put func(ctx context.Context, sku string, onHand int64) error) {
	defer mustEnd(t, s.close)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()

	// The same order, 32 times at once: one order, and everyone is told it is confirmed, or that it is not yet.
	same := bench.Order(3)
	var all sync.WaitGroup
	var told atomic.Int64
	right := func(o *orderReply) bool {
		return o.Status == "confirmed" && len(o.Lines) == 2 && o.Total.Amount == 631 && o.PaymentID != "" // 1 × 1.30 and 2 × 2.00 and 19 % of each
	}
	for range 32 {
		all.Go(func() {
			switch o, err := s.send(ctx, same); {
			case err == nil && right(o):
				told.Add(1)
			case !refusedWith(err, http.StatusServiceUnavailable):
				t.Errorf("got %+v, %v", o, err)
			}
		})
	}
	all.Wait()
	if o, err := s.send(ctx, same); err != nil || !right(o) || told.Load() == 0 {
		t.Errorf("got %+v, %v, and %d before were told so", o, err, told.Load())
	}
	other := *same
	other.CustomerID = "somebody-else"
	if _, err := s.send(ctx, &other); !refusedWith(err, http.StatusConflict) {
		t.Errorf("the id again with another content: %v", err)
	}
	poor := bench.Order(3)
	poor.Payment.Token = "tok_declined"
	if _, err := s.send(ctx, poor); !refusedWith(err, http.StatusPaymentRequired) {
		t.Errorf("without money: %v", err)
	}
	if err := s.check(ctx, 1); err != nil {
		t.Error(err)
	}

	// 64 race for the last 20 of an item, on orders that name their lines in either order.
	if err := put(ctx, lastSKU, 20); err != nil {
		t.Fatal(err)
	}
	var confirmed atomic.Int64
	for n := range 64 {
		all.Go(func() {
			o := bench.Order(n)
			o.Lines = []subjects.StockLine{{SKU: lastSKU, Quantity: 1}, {SKU: bench.SKU(1), Quantity: 1}}
			if n%2 == 1 {
				o.Lines[0], o.Lines[1] = o.Lines[1], o.Lines[0]
			}
			switch _, err := s.send(ctx, o); {
			case err == nil:
				confirmed.Add(1)
			case !refusedWith(err, http.StatusUnprocessableEntity):
				t.Error(err)
			}
		})
	}
	all.Wait()
	if confirmed.Load() != 20 {
		t.Errorf("%d were confirmed of the last 20", confirmed.Load())
	}
	if err := s.check(ctx, 21); err != nil {
		t.Error(err)
	}
	if s.check(ctx, 22) == nil {
		t.Error("the check finds nothing where an order is missing")
	}
}

func refusedWith(err error, status int) bool {
	var f *failure
	return errors.As(err, &f) && f.status == status
}
