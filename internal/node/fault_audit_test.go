package node_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"waybill/internal/fault"
	"waybill/internal/id"
	"waybill/internal/journal"
	"waybill/internal/verify"
	"waybill/subjects"
)

// source reads a site as anybody may, for its verification.
func source(c *dialed) (verify.Source, error) {
	j, err := journal.Open(c.nc, journal.Options{Site: c.Site()})
	if err != nil {
		return verify.Source{}, err
	}
	s := verify.FromJournal(j)
	s.Messages = journal.OpenStream(c.nc, subjects.StreamJournal, "").Range
	s.Ledger = func(ctx context.Context, cursor string) ([]subjects.LedgerEntry, string, error) {
		page, err := c.Payments.Ledger(ctx, subjects.Page{Limit: subjects.MaxLimit, Cursor: cursor})
		if err != nil {
			return nil, "", err
		}
		return page.Entries, page.NextCursor, nil
	}
	s.Seals = func(ctx context.Context, cursor string) ([]subjects.Seal, string, error) {
		page, err := c.Journal.Seals(ctx, subjects.Page{Limit: subjects.MaxLimit, Cursor: cursor})
		if err != nil {
			return nil, "", err
		}
		return page.Seals, page.NextCursor, nil
	}
	s.DeadLetters = func(ctx context.Context, cursor string) ([]subjects.DeadInfo, string, error) {
		page, err := c.Dead.List(ctx, subjects.Page{Limit: subjects.MaxLimit, Cursor: cursor})
		if err != nil {
			return nil, "", err
		}
		return page.Letters, page.NextCursor, nil
	}
	return s, nil
}

// auditTime is how long the reading of a whole journal may take; a long campaign leaves a long one.
func auditTime() time.Duration {
	if *faultsAll {
		return 5 * time.Minute
	}
	return 30 * time.Second
}

// verified runs a verification and returns what it found, one line each.
func verified(c *dialed, settled bool) ([]string, error) {
	s, err := source(c)
	if err != nil {
		return nil, err
	}
	s.Settled = settled
	ctx, cancel := context.WithTimeout(context.Background(), auditTime())
	defer cancel()
	report, err := verify.Run(ctx, s, nil)
	if err != nil {
		return nil, err
	}
	if report.Events == 0 {
		return nil, fmt.Errorf("the verification has read nothing")
	}
	out := make([]string, len(report.Violations))
	for i, v := range report.Violations {
		out[i] = fmt.Sprintf("%s: %s at %d: %s", v.Rule, v.Subject, v.Sequence, v.Message)
	}
	return out, nil
}

// lastEvent is the sequence of the journal's last event.
func lastEvent(c *dialed) (uint64, error) {
	s, err := source(c)
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return s.Last(ctx)
}

// audit waits until everything on the site has come to an end, and then has nothing to complain of: neither the verification
// nor the look at the site's answers that follows. Nothing that is broken in the journal or the books can mend itself, so
// what was wrong at any moment shows here.
func audit(t testing.TB, c *dialed) {
	t.Helper()
	var last uint64
	quiet := 0
	var unsound error // as the last verification has it
	err := until(30*time.Second, func() error {
		n, err := lastEvent(c)
		if err != nil {
			return err
		}
		if quiet++; n != last {
			last, quiet = n, 0
		}
		if quiet < 10 { // a verification reads everything: not while more is being written
			return cmp.Or(unsound, fmt.Errorf("the journal still grows: it is at %d", n))
		}
		quiet = -20 // nor again at once
		broken, err := verified(c, true)
		if err == nil && len(broken) > 0 {
			err = fmt.Errorf("%d violations:\n%s", len(broken), strings.Join(broken[:min(20, len(broken))], "\n"))
		}
		unsound = err
		return err
	})
	if err != nil {
		t.Errorf("the site is not sound: %v", err)
	}
	if err := untilEvery(200*time.Millisecond, 10*time.Second, func() error { // the lists follow the journal, a second behind or two where the machine is busy
		if wrong := complaints(t, c); len(wrong) > 0 {
			return errors.New(strings.Join(wrong, "\n"))
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
}

// ledgerSums is what the gateway's ledger says of one payment.
type ledgerSums struct {
	authorizations, voids       int
	authorized, taken, returned int64
	captures, refunds           map[string]int
}

// complaints compares what the site answers with the gateway's books and with itself, by rules that owe nothing to the
// verification's.
func complaints(t testing.TB, c *dialed) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), auditTime())
	defer cancel()
	var out []string
	complain := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }

	books := make(map[id.Payment]*ledgerSums)
	for e, err := range c.Payments.AllLedger(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		if e.Result != "approved" {
			continue
		}
		b := books[e.PaymentID]
		if b == nil {
			b = &ledgerSums{captures: map[string]int{}, refunds: map[string]int{}}
			books[e.PaymentID] = b
		}
		switch e.Operation {
		case "authorize":
			b.authorizations, b.authorized = b.authorizations+1, b.authorized+e.Amount.Amount
		case "capture":
			b.captures[e.ID]++
			b.taken += e.Amount.Amount
		case "refund":
			b.refunds[e.ID]++
			b.returned += e.Amount.Amount
		case "void":
			b.voids++
		}
	}
	for p, b := range books {
		if b.authorizations > 1 || b.voids > 1 || b.taken > b.authorized || b.returned > b.taken {
			complain("the books of %s do not add up: %+v", p, *b)
		}
		for _, ids := range []map[string]int{b.captures, b.refunds} {
			for name, n := range ids {
				if n > 1 {
					complain("the gateway did %s of %s %d times", name, p, n)
				}
			}
		}
	}
	reserved, gone := make(map[id.SKU]int64), make(map[id.SKU]int64)
	seen := 0
	for o, err := range c.Orders.All(ctx, subjects.ListOrdersRequest{Page: subjects.Page{Limit: subjects.MaxLimit}}) {
		if err != nil {
			t.Fatal(err)
		}
		now := &o
		if seen++; seen <= 200 { // the lists are a copy of the journal, and as good as that
			if now, err = ask(c, 5*time.Second, subjects.OrderGet, subjects.GetOrderRequest{OrderID: o.OrderID}); err != nil {
				t.Fatal(err)
			}
			if now.Status != o.Status || now.Revision != o.Revision {
				complain("%s is %s at %d, and the lists have it %s at %d", o.OrderID, now.Status, now.Revision, o.Status, o.Revision)
			}
		}
		complainOf(now, books[id.PaymentOf(now.OrderID)], complain)
		left := make(map[id.SKU]int64)
		switch now.Status {
		case "pending", "needs_action", "confirmed", "fulfilling", "cancelling":
			for _, l := range now.Lines {
				left[l.SKU] += l.Quantity
			}
		}
		for _, s := range now.Shipments {
			switch s.Status {
			case "dispatched", "delivered", "delivery_failed", "returned":
				for _, l := range s.Lines {
					gone[l.SKU] += l.Quantity
					left[l.SKU] = max(0, left[l.SKU]-l.Quantity)
				}
			}
		}
		for sku, n := range left {
			reserved[sku] += n
		}
	}
	for s, err := range c.Inventory.All(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		if s.Available != s.OnHand-s.Reserved || s.Available < 0 || s.Reserved < 0 {
			t.Errorf("the stock %+v does not add up", s) // it must at every moment
		}
		if !strings.HasPrefix(string(s.SKU), "own-") && s.Reserved != reserved[s.SKU] { // own-: reserved without an order
			complain("of %s %d are reserved, and the %d orders want %d", s.SKU, s.Reserved, seen, reserved[s.SKU])
		}
	}
	return out
}

// complainOf looks at one order and what the gateway's books have of it, which is nil for nothing.
func complainOf(o *subjects.OrderInfo, b *ledgerSums, complain func(string, ...any)) {
	if b == nil {
		b = &ledgerSums{}
	}
	byCard := o.Payment != nil && o.Payment.Method == subjects.Card && o.Total.Amount > 0
	var paid subjects.PaymentInfo
	if o.Payment != nil {
		paid = *o.Payment
	}
	if byCard && (paid.Captured.Amount != b.taken || paid.Refunded.Amount != b.returned) {
		complain("the payment of %s says %s captured and %s refunded, the gateway's books %d and %d",
			o.OrderID, paid.Captured, paid.Refunded, b.taken, b.returned)
	}
	switch o.Status {
	case "confirmed", "fulfilling":
		if byCard && (b.authorizations != 1 || b.voids > 0) {
			complain("%s is %s and its money is not there: %+v", o.OrderID, o.Status, *b)
		}
	case "completed":
		if paid.Captured.Amount != o.Total.Amount || paid.Captured.Currency != o.Total.Currency {
			complain("%s is completed, costs %s, and %s were captured", o.OrderID, o.Total, paid.Captured)
		}
	case "rejected", "expired", "cancelled":
		if held := b.authorized - b.taken; held > 0 && b.voids == 0 || paid.Captured != paid.Refunded {
			complain("%s is %s and still holds money: %+v, captured %s, refunded %s", o.OrderID, o.Status, *b, paid.Captured, paid.Refunded)
		}
		for _, s := range o.Shipments {
			if s.Status != "cancelled" {
				complain("%s is %s and its shipment %s is %s", o.OrderID, o.Status, s.ShipmentID, s.Status)
			}
		}
	}
	if o.Status != "rejected" && o.Status != "expired" && o.Status != "cancelled" {
		parts := make(map[id.SKU]int64)
		for _, s := range o.Shipments {
			for _, l := range s.Lines {
				parts[l.SKU] += l.Quantity
			}
		}
		for _, l := range o.Lines {
			if len(o.Shipments) > 0 && parts[l.SKU] != l.Quantity {
				complain("%s wants %d of %s and its shipments bring %d", o.OrderID, l.Quantity, l.SKU, parts[l.SKU])
			}
		}
	}
}

// stockOf is the stock of an SKU as the site answers it.
func stockOf(t testing.TB, c *dialed, sku id.SKU) subjects.Stock {
	t.Helper()
	var s *subjects.Stock
	if err := until(10*time.Second, func() (err error) {
		s, err = ask(c, 5*time.Second, subjects.InventoryGet, subjects.SKURequest{SKU: sku})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return *s
}

// approved counts the gateway's approved entries of one operation on a payment.
func approved(t testing.TB, c *dialed, p id.Payment, operation string) (n int, sum int64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for e, err := range c.Payments.AllLedger(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		if e.PaymentID == p && e.Operation == operation && e.Result == "approved" {
			n, sum = n+1, sum+e.Amount.Amount
		}
	}
	return n, sum
}

func wantRefused(t testing.TB, what string, err error, code fault.Code) {
	t.Helper()
	if !isRefused(err, code) {
		t.Errorf("%s: %v, want a refusal with %s", what, err, code)
	}
}
