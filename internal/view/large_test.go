package view_test

import (
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"waybill/internal/timestamp"
	"waybill/internal/view"
)

// TestPagesOfManyOrders asks a view of 100,000 orders for pages with every sort of filter and logs how long each took. The
// bounds are wide, as tests share their machine: a plan that reads all the orders for a page misses them by far.
func TestPagesOfManyOrders(t *testing.T) {
	orders := 100_000
	if underRace {
		orders = 5_000 // the race detector makes SQLite some fifteen times slower
	}
	v := open(t, filepath.Join(t.TempDir(), "view.db"))
	w := newWorld()
	var applied time.Duration
	for w.orders < orders {
		for range min(orders, 20_000) {
			w.order(lastStates)
		}
		events := w.take()
		began := time.Now()
		apply(t, v, events, len(events))
		applied += time.Since(began)
	}
	t.Logf("%d events of %d orders applied in %v", w.sequence, orders, applied)

	day := newWorld().clock
	at := func(h time.Duration) timestamp.Time { return timestamp.Of(day.Add(h * time.Hour)) }
	const page, search = 200 * time.Millisecond, 600 * time.Millisecond
	for _, c := range []struct {
		name   string
		filter view.OrderFilter
		bound  time.Duration
	}{
		{"all", view.OrderFilter{}, page},
		{"status common", view.OrderFilter{Status: "completed"}, page},
		{"status rare", view.OrderFilter{Status: "needs_action"}, page},
		{"status of none", view.OrderFilter{Status: "cancelling"}, page},
		{"customer common", view.OrderFilter{CustomerID: "walk-in"}, page},
		{"customer rare", view.OrderFilter{CustomerID: "cust-00001"}, page},
		{"customer common, status rare", view.OrderFilter{CustomerID: "walk-in", Status: "rejected"}, page},
		{"customer and status common", view.OrderFilter{CustomerID: "walk-in", Status: "completed"}, page},
		{"old", view.OrderFilter{Until: at(1)}, page},
		{"middle", view.OrderFilter{Since: at(5), Until: at(10)}, page},
		{"new", view.OrderFilter{Since: at(19)}, page},
		{"middle, status rare", view.OrderFilter{Status: "rejected", Since: at(5), Until: at(10)}, page},
		{"old, customer common", view.OrderFilter{CustomerID: "walk-in", Until: at(1)}, page},
		{"text common", view.OrderFilter{Text: "ESPRESSO"}, search},
		{"text of one", view.OrderFilter{Text: "-000123"}, search},
		{"text of none", view.OrderFilter{Text: "no such thing"}, search},
		{"text of none, status common", view.OrderFilter{Text: "no such thing", Status: "completed"}, search},
		{"text common, status rare", view.OrderFilter{Text: "Espresso", Status: "rejected"}, search},
		{"text of none, customer common", view.OrderFilter{Text: "nothing", CustomerID: "walk-in"}, search},
		{"text of none, middle", view.OrderFilter{Text: "nothing", Since: at(5), Until: at(10)}, search},
	} {
		for _, limit := range []int{50, 500} {
			f := c.filter
			f.Limit = limit
			var times []time.Duration
			n := 0
			for range 20 {
				began := time.Now()
				rows, next, err := v.Orders(t.Context(), f)
				if err != nil {
					t.Fatal(err)
				}
				times = append(times, time.Since(began))
				n += len(rows)
				if f.Cursor = next; next == "" {
					break
				}
			}
			slices.Sort(times)
			middle, slowest := times[len(times)/2], times[len(times)-1]
			t.Logf("%-30s %2d pages of %3d, %5d rows: p50 %7v, slowest %7v", c.name, len(times), limit, n,
				middle.Round(10*time.Microsecond), slowest.Round(10*time.Microsecond))
			if middle > c.bound {
				t.Errorf("%s: a page of %d takes %v, more than %v", c.name, limit, middle, c.bound)
			}
		}
	}
	debug.FreeOSMemory()
	t.Logf("resident memory of the test: %d MB", residentKB(t)>>10)
}

func residentKB(t *testing.T) int {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Log(err) // not Linux
		return 0
	}
	_, rest, _ := strings.Cut(string(b), "VmRSS:")
	n, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		t.Fatal(err)
	}
	return n
}
