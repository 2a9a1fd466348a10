package node_test

import (
	"testing"
	"time"

	"waybill/internal/id"
	"waybill/internal/inventory"
	"waybill/internal/journal"
	"waybill/internal/nodetest"
	"waybill/internal/timestamp"
	"waybill/subjects"
)

// Each test here watches one guard: it fails at once where that is switched off, which TestProofWithoutGuard sees to.

// TestAskedAgain asks again for what was done, after the world has changed so that doing it again would come to something else.
func TestAskedAgain(t *testing.T) {
	t.Parallel()
	c := mustDial(t, nodetest.Start(t).URL())

	t.Run("order", func(t *testing.T) {
		r := card("again", "tok_ok", line("scarce", 2))
		nodetest.Stock(t, c.Client, 1, "scarce")
		place(t, c, r, "rejected")
		if _, err := ask(c, 5*time.Second, subjects.InventoryReceive, subjects.ReceiveRequest{SKU: "scarce", Quantity: 9, Reference: "more"}); err != nil {
			t.Fatal(err)
		}
		if o, err := ask(c, 10*time.Second, subjects.OrderPlace, r); err != nil || o.Status != "rejected" {
			t.Errorf("the order was rejected, and again it is %+v, %v", o, err)
		}
		if s := stockOf(t, c, "scarce"); s.OnHand != 10 || s.Reserved != 0 {
			t.Errorf("a rejected order holds stock: %+v", s)
		}
		if n, _ := approved(t, c, id.PaymentOf("again"), "authorize"); n != 0 {
			t.Errorf("a rejected order was authorized %d times", n)
		}
	})

	t.Run("payment", func(t *testing.T) {
		nodetest.Stock(t, c.Client, 10, "paid")
		place(t, c, card("paid", "tok_ok", line("paid", 1)), "confirmed")
		p, err := ask(c, 5*time.Second, subjects.PaymentAuthorize, subjects.AuthorizeRequest{
			PaymentID: id.PaymentOf("paid"), OrderID: "paid", Amount: subjects.Money{Amount: 298, Currency: "EUR"},
			Method: subjects.Card, Token: "tok_ok",
		})
		if err != nil || p.Status != "authorized" {
			t.Errorf("the payment was authorized, and again it is %+v, %v", p, err)
		}
		if n, _ := approved(t, c, id.PaymentOf("paid"), "authorize"); n != 1 {
			t.Errorf("the gateway authorized %d times", n)
		}
	})

	t.Run("reservation", func(t *testing.T) {
		nodetest.Stock(t, c.Client, 10, "own-late")
		hold := subjects.ReserveRequest{ReservationID: "own-late", Lines: []subjects.StockLine{line("own-late", 3)}}
		if _, err := ask(c, 5*time.Second, subjects.InventoryReserve, hold); err != nil {
			t.Fatal(err)
		}
		if _, err := ask(c, 5*time.Second, subjects.InventoryRelease, subjects.ReservationRequest{ReservationID: "own-late"}); err != nil {
			t.Fatal(err)
		}
		if r, err := ask(c, 5*time.Second, subjects.InventoryReserve, hold); err != nil || r.Status != inventory.StatusReleased {
			t.Errorf("the reservation was released, and again it is %+v, %v", r, err)
		}
		if s := stockOf(t, c, "own-late"); s.Reserved != 0 {
			t.Errorf("what was released is held again: %+v", s)
		}
	})
}

// TestCancelOvertakesConfirm has a cancellation come to its end while the placing of the order is about to confirm it.
func TestCancelOvertakesConfirm(t *testing.T) {
	t.Parallel()
	g, _, c := gated(t)
	nodetest.Stock(t, c.Client, 10, "tea")
	trap := g.set(t, "call payment.authorize")
	placed := begin(c, 20*time.Second, subjects.OrderPlace, card("overtaken", "tok_ok", line("tea", 3)))
	trap.wait(t)
	if o, err := ask(c, 10*time.Second, subjects.OrderCancel, subjects.CancelRequest{OrderID: "overtaken"}); err != nil || o.Status != "cancelled" {
		t.Fatalf("cancel: %+v, %v", o, err)
	}
	trap.release()
	switch a := got(t, placed); {
	case a.err == nil && a.res.Status == "confirmed":
		t.Fatal("the order that was cancelled is confirmed")
	case a.err != nil || a.res.Status != "cancelled":
		t.Fatalf("place: %v", a)
	}
	becomes(t, c, "overtaken", "cancelled")
	audit(t, c)
}

// TestGivenBack looks at what an order held when it has ended without an outcome.
func TestGivenBack(t *testing.T) {
	t.Parallel()
	c := mustDial(t, nodetest.Start(t).URL())

	t.Run("stock of an order that was declined", func(t *testing.T) {
		nodetest.Stock(t, c.Client, 10, "tea")
		place(t, c, card("declined", "tok_declined", line("tea", 3)), "rejected")
		if s := stockOf(t, c, "tea"); s.Reserved != 0 {
			t.Errorf("the order is rejected and holds stock: %+v", s)
		}
	})

	t.Run("money of an order that was cancelled", func(t *testing.T) {
		nodetest.Stock(t, c.Client, 10, "cake")
		place(t, c, card("cancelled", "tok_ok", line("cake", 3)), "confirmed")
		if o, err := ask(c, 10*time.Second, subjects.OrderCancel, subjects.CancelRequest{OrderID: "cancelled"}); err != nil || o.Status != "cancelled" {
			t.Fatalf("cancel: %+v, %v", o, err)
		}
		if n, _ := approved(t, c, id.PaymentOf("cancelled"), "void"); n != 1 {
			t.Errorf("the order is cancelled, and its authorization was voided %d times", n)
		}
	})
}

// TestDeposedLeaderWrites has another leader claim the stock and sell the last unit of it, of which the one before knows nothing.
func TestDeposedLeaderWrites(t *testing.T) {
	t.Parallel()
	n := nodetest.Start(t)
	c := mustDial(t, n.URL())
	impatient(t, c, "500ms")
	nodetest.Stock(t, c.Client, 1, "own-last")
	sellLast(t, n)

	if o, err := ask(c, 10*time.Second, subjects.OrderPlace, card("late", "tok_ok", line("own-last", 1))); err != nil || o.Status == "confirmed" {
		t.Errorf("place: %+v, %v", o, err)
	}
	broken, err := verified(c, false)
	if err != nil {
		t.Fatal(err)
	}
	if len(broken) > 0 {
		t.Fatalf("the last unit was sold twice: %q", broken)
	}
	becomes(t, c, "late", "rejected")
	audit(t, c)
}

// sellLast claims the stock as another process's leader does, and holds the one unit of "own-last" for good.
func sellLast(t testing.TB, n *nodetest.Node) {
	t.Helper()
	j, err := journal.Open(enter(t, n, string(subjects.Inventory)), journal.Options{Site: n.Config.Site})
	if err != nil {
		t.Fatal(err)
	}
	at := timestamp.Of(time.Now())
	subject := subjects.Event(n.Config.Site, subjects.KindLeader, subjects.RoleInventory)
	before, _, err := j.Load(within(t), subject)
	if err != nil {
		t.Fatal(err)
	}
	body := map[string]any{"role": subjects.RoleInventory, "instance": "another", "at": at}
	claimed, err := j.Append(within(t), journal.Entry{
		Subject: subject, Kind: subjects.KindLeader, Event: "claimed", Data: body, State: body, Previous: before,
	})
	if err != nil {
		t.Fatal(err)
	}
	lines := []inventory.Line{{SKU: "own-last", Quantity: 1}}
	if _, err := j.Append(within(t), journal.Entry{
		Subject: subjects.Event(n.Config.Site, subjects.KindReservation, id.Reservation("own-theirs")),
		Kind:    subjects.KindReservation, Event: string(inventory.TypeHeld),
		Data:  inventory.Held{ReservationID: "own-theirs", Lines: lines, At: at},
		State: inventory.Reservation{ReservationID: "own-theirs", Status: inventory.StatusHeld, Lines: lines, UpdatedAt: at},
		Fence: &journal.Fence{Subject: claimed.Subject, Sequence: claimed.Sequence},
	}); err != nil {
		t.Fatal(err)
	}
}
