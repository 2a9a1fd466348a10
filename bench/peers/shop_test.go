package main

import (
	"context"
	"errors"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"waybill/bench"
	"waybill/subjects"
)

// The test's program is each of the services, too: the program that runs is started again for them.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "order-service", "rpc-service":
			main()
			return
		case "hold-children":
			holdChildren(os.Args[2])
			return
		}
	}
	os.Exit(m.Run())
}

// TestShop holds the peer to what is asked of Waybill: one order per id, whatever is repeated or races, and no item sold twice.
func TestShop(t *testing.T) {
	dir, err := scratch("")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	s, err := startShop(ctx, dir, 16)
	if errors.Is(err, errNoPostgres) {
		t.Skip("SKIPPED, the peer is not tested: ", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.close(); err != nil {
			t.Error(err)
		}
	})

	// The same order, 32 times at once: one order, and everyone is told it is confirmed.
	same := bench.Order(3)
	var all sync.WaitGroup
	for range 32 {
		all.Go(func() {
			o, err := s.send(ctx, same)
			if err != nil || o.Status != "confirmed" || len(o.Lines) != 2 || o.Total.Amount != 631 || o.PaymentID == "" {
				t.Errorf("got %+v, %v", o, err) // 1 × 1.30 and 2 × 2.00 and 19 % of each
			}
		})
	}
	all.Wait()
	other := *same
	other.CustomerID = "somebody-else"
	if _, err := s.send(ctx, &other); !refusedWith(err, http.StatusConflict) {
		t.Errorf("the id again with another content: %v", err)
	}
	if err := s.check(ctx, 1); err != nil {
		t.Error(err)
	}

	// 64 race for the last 20 of an item, on orders that name their lines in either order.
	err = s.db.with(ctx, func(ctx context.Context, c *pgx.Conn) error {
		_, err := c.Exec(ctx, "UPDATE stock SET on_hand = reserved + 20 WHERE sku = 'item-00'")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	var confirmed atomic.Int64
	for n := range 64 {
		all.Go(func() {
			o := bench.Order(n)
			o.Lines = []subjects.StockLine{{SKU: bench.SKU(0), Quantity: 1}, {SKU: bench.SKU(1), Quantity: 1}}
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
