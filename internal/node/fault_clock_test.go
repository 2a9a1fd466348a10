package node_test

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"waybill/internal/id"
	"waybill/internal/nodetest"
	"waybill/internal/rpc"
	"waybill/subjects"
)

// wrongClock is a clock that can be set.
type wrongClock struct{ ahead atomic.Int64 }

func (c *wrongClock) now() time.Time       { return time.Now().Add(time.Duration(c.ahead.Load())) }
func (c *wrongClock) set(by time.Duration) { c.ahead.Store(int64(by)) }

const month = 30 * 24 * time.Hour

// TestFaultClockJumps sets the clock a month back and a month ahead while orders are open, under a running node and between two
// of its lives, as a device does whose clock has no battery. What was confirmed stays so, orders flow at any time, nothing ends
// before its time by the site's clock has come, and everything ends after it: late rather than never.
func TestFaultClockJumps(t *testing.T) {
	t.Parallel()
	var clock wrongClock
	var asked atomic.Int64 // how often the background process has taken up a payment
	dir := t.TempDir()
	var n *nodetest.Node
	var c *dialed
	begin := func() {
		n = nodetest.Start(t, nodetest.InDir(dir), nodetest.WithClock(clock.now), nodetest.WithHook(func(point string) {
			if point == "gateway query" {
				asked.Add(1)
			}
		}))
		c = mustDial(t, n.URL())
	}
	begin()
	nodetest.Stock(t, c.Client, 1000, "tea", "own-held")
	impatient(t, c, "300ms")
	own := []subjects.StockLine{line("own-held", 2)}
	reserve(t, c, "own-1", own, time.Hour)
	place(t, c, card("kept", "tok_ok", line("tea", 2)), "confirmed")
	place(t, c, card("away", "tok_unavailable", line("tea", 3)), "pending")
	place(t, c, card("act", "tok_action_required", line("tea", 4)), "needs_action")

	number := 0
	// sound says what must hold whatever the clock shows: orders flow, also those that the gateway answers late, and what was
	// confirmed is still so.
	sound := func(when string, open subjects.OrderStatus, held int64) {
		t.Helper()
		number++
		place(t, c, card(id.Order(fmt.Sprintf("new-%d", number)), "tok_ok", line("tea", 1)), "confirmed")
		mute := id.Order(fmt.Sprintf("mute-%d", number))
		place(t, c, card(mute, "tok_timeout", line("tea", 1)), "pending")
		becomes(t, c, mute, "confirmed")
		becomes(t, c, "kept", "confirmed")
		if open == "" {
			becomes(t, c, "away", "expired")
			becomes(t, c, "act", "expired")
		} else {
			for o, want := range map[id.Order]subjects.OrderStatus{"away": open, "act": "needs_action"} {
				if is, err := ask(c, 5*time.Second, subjects.OrderGet, subjects.GetOrderRequest{OrderID: o}); err != nil || is.Status != want {
					t.Errorf("%s: %s is %v, %v; want %s", when, o, is, err, want)
				}
			}
		}
		if err := until(10*time.Second, func() error {
			if s := stockOf(t, c, "own-held"); s.Reserved != held {
				return fmt.Errorf("%s: of own-held %d are reserved, want %d", when, s.Reserved, held)
			}
			return nil
		}); err != nil {
			t.Error(err)
		}
		broken, err := verified(c, false)
		if err != nil || len(broken) > 0 {
			t.Errorf("%s: the verification finds %v, %v", when, broken, err)
		}
	}
	again := func(by time.Duration) {
		n.Stop()
		clock.set(by)
		begin()
	}

	clock.set(-month)
	sound("a month back", "pending", 2)
	again(-month)
	sound("started a month back", "pending", 2)
	clock.set(0)
	sound("right again", "pending", 2)
	clock.set(month)
	sound("a month ahead", "", 0)
	again(0)
	sound("started with the right clock", "", 0)

	// What the background process has tried at a time that is now far ahead is tried again all the same.
	setting(t, c, "order.pending_timeout", `"720h"`)
	place(t, c, card("long", "tok_unavailable", line("tea", 1)), "pending")
	clock.set(month - 24*time.Hour)
	place(t, c, card("wakes", "tok_ok", line("tea", 1)), "confirmed") // the work list has changed
	more(t, &asked, "ahead")
	clock.set(0)
	place(t, c, card("wakes-too", "tok_ok", line("tea", 1)), "confirmed")
	more(t, &asked, "right again")
	if _, err := ask(c, 5*time.Second, subjects.OrderCancel, subjects.CancelRequest{OrderID: "long"}); err != nil {
		t.Error(err)
	}
	becomes(t, c, "long", "cancelled")
	audit(t, c)
}

// more waits until the counter has grown by three.
func more(t testing.TB, n *atomic.Int64, when string) {
	t.Helper()
	before := n.Load()
	if err := until(20*time.Second, func() error {
		if now := n.Load(); now < before+3 {
			return fmt.Errorf("%s: the background process has asked the gateway %d times more, want 3", when, now-before)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
}

func reserve(t testing.TB, c *dialed, r id.Reservation, lines []subjects.StockLine, ttl time.Duration) {
	t.Helper()
	if _, err := rpc.Call(within(t), c.caller, subjects.InventoryReserve, &subjects.ReserveRequest{
		ReservationID: r, Lines: lines, TTL: subjects.Duration(ttl),
	}); err != nil {
		t.Fatal(err)
	}
}
