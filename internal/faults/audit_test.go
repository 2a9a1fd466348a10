//go:build linux

package faults

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"waybill/client"
	"waybill/internal/id"
	"waybill/internal/journal"
	"waybill/internal/verify"
	"waybill/subjects"
)

// longestEnd is how long after a fault every order has come to an end.
const longestEnd = 60 * time.Second

// audit waits until everything on the site has come to its end, and complains of all that is not as the customers were told or
// as it must always be.
func audit(t testing.TB, c *client.Client, cs *customers) {
	t.Helper()
	for _, wrong := range findings(c, cs) {
		t.Errorf("%s", wrong)
	}
}

// findings is what audit complains of. What is wrong in the journal can't mend itself, so that it is enough to look at the end.
func findings(c *client.Client, cs *customers) (wrong []string) {
	const most = 20
	complain := func(format string, args ...any) {
		if len(wrong) < most {
			wrong = append(wrong, fmt.Sprintf(format, args...))
		}
	}
	var s state
	if err := untilEvery(300*time.Millisecond, longestEnd, func() (err error) { // each look reads the whole journal
		if s, err = look(c); err != nil {
			return err
		}
		return s.unfinished()
	}); err != nil {
		complain("after %v: %v", longestEnd, err)
	}
	for i, v := range s.report.Violations {
		if i == most {
			complain("… %d violations in all", len(s.report.Violations))
			break
		}
		complain("verify: %s: %s at %d: %s", v.Rule, v.Subject, v.Sequence, v.Message)
	}
	cs.mu.Lock()
	wrong = append(wrong, cs.wrong...)
	cs.mu.Unlock()

	asked := cs.orders()
	reserved := map[id.SKU]int64{}
	for name, status := range s.orders {
		o, known := asked[name]
		if !known {
			complain("nobody has asked for %s, which is %s", name, status)
			continue
		}
		if status == "confirmed" {
			for _, l := range o.request.Lines {
				reserved[l.SKU] += l.Quantity
			}
		}
	}
	for name, o := range asked {
		switch now, exists := s.orders[name]; {
		case o.status != "" && !exists:
			complain("%s was told to be %s at %s, and is lost", name, o.status, o.told.Format("15:04:05.000"))
		case done(o.status) && now != o.status:
			complain("%s was told to be %s at %s, and is %s", name, o.status, o.told.Format("15:04:05.000"), now)
		}
	}
	complainOfBooks(c, s, asked, complain)
	complainOfStock(c, reserved, complain)
	return wrong
}

// complainOfBooks compares the payment gateway's books with the orders by a rule of its own, beside the verification's.
func complainOfBooks(c *client.Client, s state, asked map[id.Order]order, complain func(string, ...any)) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	authorized, voided := map[id.Payment]int{}, map[id.Payment]int{}
	for e, err := range c.Payments.AllLedger(ctx) {
		if err != nil {
			complain("the gateway's books: %v", err)
			return
		}
		switch {
		case e.Result == "approved" && e.Operation == "authorize":
			authorized[e.PaymentID]++
		case e.Result == "approved" && e.Operation == "void":
			voided[e.PaymentID]++
		}
	}
	for p, n := range authorized {
		if n > 1 {
			complain("the gateway has authorized %s %d times", p, n)
		}
	}
	for o, status := range s.orders {
		p := id.PaymentOf(o)
		switch held := authorized[p] - voided[p]; {
		case status == "confirmed" && asked[o].request.Payment.Method == subjects.Card && held != 1:
			complain("%s is confirmed, and the gateway has authorized it %d times and voided %d times", o, authorized[p], voided[p])
		case status == "rejected" && held > 0:
			complain("%s is rejected, and its money is still held", o)
		}
	}
}

// complainOfStock compares the stock with what the confirmed orders hold of it.
func complainOfStock(c *client.Client, reserved map[id.SKU]int64, complain func(string, ...any)) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	seen := 0
	for s, err := range c.Inventory.All(ctx) {
		if err != nil {
			complain("the stock: %v", err)
			return
		}
		seen++
		if s.Reserved != reserved[s.SKU] || s.Reserved > s.OnHand || s.Available != s.OnHand-s.Reserved {
			complain("the stock is %+v, and the confirmed orders hold %d of it", s, reserved[s.SKU])
		}
	}
	if seen != 2 {
		complain("the stock has %d items", seen)
	}
}

// state is a site as its journal has it.
type state struct {
	report verify.Report
	orders map[id.Order]subjects.OrderStatus
}

// unfinished says what has not come to its end.
func (s state) unfinished() error {
	open := 0
	for _, status := range s.orders {
		if !done(status) {
			open++
		}
	}
	if n := len(s.report.Violations); open > 0 || n > 0 {
		return fmt.Errorf("%d of %d orders have not come to an end, and there are %d violations", open, len(s.orders), n)
	}
	return nil
}

// look reads a site as anybody may, and has it verified.
func look(c *client.Client) (state, error) {
	s := state{orders: make(map[id.Order]subjects.OrderStatus)}
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	nc, err := c.Conn(ctx)
	if err != nil {
		return s, err
	}
	j, err := journal.Open(nc, journal.Options{Site: c.Site(), Domain: string(c.Site())})
	if err != nil {
		return s, err
	}
	source := verify.FromJournal(j)
	source.Replay = func(ctx context.Context, from uint64, fn func(journal.Record) error) (uint64, error) {
		return j.Replay(ctx, from, nil, func(r journal.Record) error {
			switch kind, event := r.Event(); {
			case kind == subjects.KindOrder && event == "placed":
				s.orders[id.Order(r.CeSubject)] = "pending"
			case kind == subjects.KindOrder:
				s.orders[id.Order(r.CeSubject)] = subjects.OrderStatus(event)
			}
			return fn(r)
		})
	}
	source.Messages = journal.OpenStream(nc, subjects.StreamJournal, string(c.Site())).Range
	source.Ledger = func(ctx context.Context, cursor string) ([]subjects.LedgerEntry, string, error) {
		page, err := c.Payments.Ledger(ctx, subjects.Page{Limit: subjects.MaxLimit, Cursor: cursor})
		if err != nil {
			return nil, "", err
		}
		return page.Entries, page.NextCursor, nil
	}
	source.Seals = func(ctx context.Context, cursor string) ([]subjects.Seal, string, error) {
		page, err := c.Journal.Seals(ctx, subjects.Page{Limit: subjects.MaxLimit, Cursor: cursor})
		if err != nil {
			return nil, "", err
		}
		return page.Seals, page.NextCursor, nil
	}
	source.Settled = true
	if s.report, err = verify.Run(ctx, source, nil); err == nil && s.report.Events == 0 {
		err = errors.New("the journal is empty")
	}
	return s, err
}

// rules are the rules that a state breaks, each with how often.
func (s state) rules() string {
	count := map[string]int{}
	for _, v := range s.report.Violations {
		count[v.Rule]++
	}
	var out []string
	for rule, n := range count {
		out = append(out, fmt.Sprintf("%s %d", rule, n))
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}
