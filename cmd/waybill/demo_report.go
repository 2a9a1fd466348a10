package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"waybill/internal/id"
	"waybill/internal/verify"
	"waybill/subjects"
)

// demoReport is what came of the demonstration.
type demoReport struct {
	OK         bool          `json:"ok"`
	TookMS     float64       `json:"took_ms"`
	StartMS    float64       `json:"start_ms"` // until the site took orders
	Durability string        `json:"durability"`
	Orders     []demoOrder   `json:"orders"`
	Stages     []demoStage   `json:"stages"`    // of an order without hindrance, on average
	RepeatUS   int64         `json:"repeat_us"` // median of asking for a finished order again
	Totals     demoTotals    `json:"totals"`
	Verify     verify.Report `json:"verify"`
	Problems   []string      `json:"problems"`
}

// demoOrder is one scene as it went.
type demoOrder struct {
	OrderID  id.Order                `json:"order_id"`
	Title    string                  `json:"title"`
	Answer   subjects.OrderStatus    `json:"answer"`
	AnswerMS float64                 `json:"answer_ms"`
	Expected subjects.OrderStatus    `json:"expected"`
	Status   subjects.OrderStatus    `json:"status"`
	Reason   string                  `json:"reason,omitzero"`
	Total    subjects.Money          `json:"total"`
	Problem  string                  `json:"problem,omitzero"`
	Events   []subjects.HistoryEvent `json:"events"`

	info *subjects.OrderInfo
}

// demoStage is a part of an order's way.
type demoStage struct {
	Name string  `json:"name"`
	MS   float64 `json:"ms"`
}

// demoTotals are the books in sum. Card money must agree between the orders and the gateway's ledger to the cent.
type demoTotals struct {
	Orders         int            `json:"orders"`
	Events         uint64         `json:"events"`
	Captured       subjects.Money `json:"captured"`
	CapturedByCard subjects.Money `json:"captured_by_card"`
	RefundedByCard subjects.Money `json:"refunded_by_card"`
	LedgerCaptured subjects.Money `json:"ledger_captured"`
	LedgerRefunded subjects.Money `json:"ledger_refunded"`
	LedgerEntries  int            `json:"ledger_entries"`
}

// samples is how many undisturbed orders are measured, and how often a finished one is asked for again.
const samples = 60

// measure places orders one after the other and says where their time went. An event's time is cut to the millisecond, which
// makes it half of one too early on average: enough samples even that out.
func (d *demo) measure(ctx context.Context) error {
	names := []string{"check, price, record the order", "reserve the stock", "authorize the payment", "confirm", "make it durable, answer"}
	sums := make([]time.Duration, len(names))
	for i := range samples {
		r := pickedUp(fmt.Sprintf("sample-%d", i+1), "olga", "tok_ok", line("espresso", 1))
		begun := time.Now()
		o, err := d.c.Orders.Place(ctx, r)
		if err != nil {
			return err
		}
		answered := time.Now()
		if o.Status != "confirmed" {
			return fmt.Errorf("the order %s ended as %s, not confirmed", o.OrderID, o.Status)
		}
		d.samples = append(d.samples, o)
		h, err := d.c.Orders.History(ctx, o.OrderID)
		if err != nil {
			return err
		}
		at := begun
		for n, event := range []string{"order.placed", "reservation.held", "payment.authorized", "order.confirmed"} {
			t := timeOf(h, event)
			if t.After(at) {
				sums[n] += t.Sub(at)
				at = t
			}
		}
		sums[len(sums)-1] += max(0, answered.Sub(at))
	}
	const half = time.Millisecond / 2
	sums[0] += samples * half
	sums[len(sums)-1] = max(0, sums[len(sums)-1]-samples*half)
	for i, name := range names {
		d.report.Stages = append(d.report.Stages, demoStage{name, milliseconds(sums[i] / samples)})
	}
	return d.measureRepeats(ctx)
}

func (d *demo) measureRepeats(ctx context.Context) error {
	again := pickedUp("sample-1", "olga", "tok_ok", line("espresso", 1))
	took := make([]time.Duration, samples)
	for i := range took {
		begun := time.Now()
		o, err := d.c.Orders.Place(ctx, again)
		if err != nil {
			return err
		}
		took[i] = time.Since(begun)
		if o.Revision != d.samples[0].Revision {
			return fmt.Errorf("the repeat of %s is another order", o.OrderID)
		}
	}
	slices.Sort(took)
	d.report.RepeatUS = took[samples/2].Microseconds()
	return nil
}

// timeOf is when an event such as order.placed happened; the zero time where it did not.
func timeOf(h *subjects.History, name string) time.Time {
	for _, e := range h.Events {
		if kind, event, ok := subjects.ParseType(e.Type); ok && string(kind)+"."+event == name {
			return e.Time.Std()
		}
	}
	return time.Time{}
}

// total adds up the orders, and the gateway's own books, and reads each scene's history.
func (d *demo) total(ctx context.Context) (err error) {
	t := &d.report.Totals
	infos := slices.Clone(d.samples)
	for i := range d.report.Orders {
		o := &d.report.Orders[i]
		if h, err := d.c.Orders.History(ctx, o.OrderID); err == nil {
			o.Events = h.Events
		} else if o.Problem == "" {
			o.Problem = "its history: " + err.Error()
		}
		if o.info != nil {
			infos = append(infos, o.info)
		}
	}
	for _, o := range infos {
		t.Orders++
		if o.Payment == nil {
			continue
		}
		sum(&t.Captured, o.Payment.Captured, &err)
		if o.Payment.Method == subjects.Card {
			sum(&t.CapturedByCard, o.Payment.Captured, &err)
			sum(&t.RefundedByCard, o.Payment.Refunded, &err)
		}
	}
	for entry, failed := range d.c.Payments.AllLedger(ctx) {
		if failed != nil {
			return failed
		}
		t.LedgerEntries++
		switch {
		case entry.Result != "approved":
		case entry.Operation == "capture":
			sum(&t.LedgerCaptured, entry.Amount, &err)
		case entry.Operation == "refund":
			sum(&t.LedgerRefunded, entry.Amount, &err)
		}
	}
	if err == nil {
		t.Events, err = d.c.Last(ctx)
	}
	return err
}

// sum adds an amount to a total. The first error stays.
func sum(total *subjects.Money, amount subjects.Money, err *error) {
	added, failed := total.Add(amount)
	if failed != nil {
		*err = failed
		return
	}
	*total = added
}

// verify reads the whole journal and checks what must always hold.
func (d *demo) verify(ctx context.Context) (err error) {
	d.report.Verify, err = verifySite(ctx, d.c, false, nil)
	return err
}

// judge says whether all was as it should be.
func (r *demoReport) judge() {
	r.Problems = []string{}
	for _, o := range r.Orders {
		if o.Problem != "" {
			r.Problems = append(r.Problems, string(o.OrderID)+" ("+o.Title+"): "+o.Problem)
		}
		if n := count(o.Events, "order.placed"); n != 1 && o.Problem == "" {
			r.Problems = append(r.Problems, fmt.Sprintf("%s (%s): it was placed %d times", o.OrderID, o.Title, n))
		}
	}
	t := r.Totals
	if t.CapturedByCard.Amount != t.LedgerCaptured.Amount || t.RefundedByCard.Amount != t.LedgerRefunded.Amount {
		r.Problems = append(r.Problems, fmt.Sprintf("the gateway's ledger says captured %s, refunded %s; the orders say %s and %s",
			t.LedgerCaptured, t.LedgerRefunded, t.CapturedByCard, t.RefundedByCard))
	}
	for _, v := range r.Verify.Violations {
		r.Problems = append(r.Problems, violationLine(v))
	}
	r.OK = len(r.Problems) == 0
}

func count(events []subjects.HistoryEvent, name string) (n int) {
	for _, e := range events {
		if kind, event, ok := subjects.ParseType(e.Type); ok && string(kind)+"."+event == name {
			n++
		}
	}
	return n
}
