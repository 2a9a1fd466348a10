package order

import (
	"math/big"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"pgregory.net/rapid"

	"waybill/internal/fault"
	"waybill/internal/id"
	"waybill/internal/money"
	"waybill/internal/timestamp"
)

// TestHistories drives random commands against a model that knows the order's status and nothing else, and checks after
// every step what must hold whatever happened.
func TestHistories(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var s State
		now := at("10:00:00")
		steps := rapid.IntRange(1, 30).Draw(t, "steps")
		for range steps {
			now = now.Add(time.Duration(rapid.IntRange(1, 400_000).Draw(t, "ms")) * time.Millisecond)
			c := drawCommand(t, now)
			before := mustJSON(t, s)
			e, err := Decide(s, c)
			if want := model(s, c); want != outcome(e, err) {
				t.Fatalf("%T %+v from %q: %v, %v, want %q", c, c, s.Status, e, err, want)
			}
			if e == nil {
				continue
			}
			n, err := Apply(s, e)
			if err != nil {
				t.Fatalf("what was decided can't be applied: %v", err)
			}
			if after := mustJSON(t, s); before != after {
				t.Fatalf("the state before was written to:\n%s\n%s", before, after)
			}
			checkState(t, s, n)
			checkJournal(t, s, e, n)
			if again, err := Decide(n, c); again != nil || err != nil {
				t.Fatalf("%T again: %v, %v", c, again, err)
			}
			s = n
		}
	})
}

// model answers from the cells alone.
func model(s State, c Command) string {
	all := append([]Status{""}, Statuses...)
	for _, row := range cells {
		if reflect.TypeOf(row.command) != reflect.TypeOf(c) || row.to != c.target() {
			continue
		}
		if p, ok := c.(Place); ok && s.Status != "" {
			if p.RequestHash == s.RequestHash {
				return "="
			}
			return "!"
		}
		mark := string(row.cells[2*slices.Index(all, s.Status)])
		if x, ok := c.(Expire); ok && mark == "+" && (s.ExpiresAt.IsZero() || x.At.Before(s.ExpiresAt)) {
			return "-"
		}
		return mark
	}
	return ""
}

func outcome(e Event, err error) string {
	switch fault.CodeOf(err) {
	case fault.FailedPrecondition:
		return "-"
	case fault.NotFound:
		return "?"
	case fault.AlreadyExists:
		return "!"
	case "":
		if e != nil {
			return "+"
		}
		return "="
	}
	return err.Error()
}

func checkState(t *rapid.T, before, s State) {
	open := s.Status == StatusPending || s.Status == StatusNeedsAction
	if s.Token != nil && !open {
		t.Fatalf("a token is kept in %s", s.Status)
	}
	if !s.DueAt.IsZero() && !open && s.Status != StatusCancelling || !s.ExpiresAt.IsZero() && !open {
		t.Fatalf("a timer is kept in %s: %+v", s.Status, s)
	}
	if before.Status.Final() {
		t.Fatalf("something happened after %s", before.Status)
	}
	if before.Status != "" && (before.CreatedAt != s.CreatedAt || before.Total != s.Total || before.OrderID != s.OrderID || !before.UpdatedAt.Before(s.UpdatedAt)) {
		t.Fatalf("what never changes changed: %+v to %+v", before, s)
	}
	subtotal, tax := new(big.Int), new(big.Int)
	for _, l := range s.Lines {
		line := new(big.Int).Mul(big.NewInt(l.UnitPrice.Amount), big.NewInt(l.Quantity))
		subtotal.Add(subtotal, line)
		// Rounded half away from zero: (2·line·rate + 10000) / 20000, for what is never negative.
		line.Mul(line, big.NewInt(2*l.TaxRateBP)).Add(line, big.NewInt(10_000)).Div(line, big.NewInt(20_000))
		tax.Add(tax, line)
	}
	if subtotal.Int64() != s.Subtotal.Amount || tax.Int64() != s.Tax.Amount || s.Subtotal.Amount+s.Tax.Amount != s.Total.Amount {
		t.Fatalf("%s + %s = %s, by the lines %s + %s", s.Subtotal, s.Tax, s.Total, subtotal, tax)
	}
}

// checkJournal: applying what the journal has of the event to what it has of the state gives what it has of the next one.
func checkJournal(t *rapid.T, s State, e Event, n State) {
	var s2, n2 State
	if err := json.Unmarshal([]byte(mustJSON(t, s)), &s2); err != nil {
		t.Fatal(err)
	}
	e2, err := Decode(e.Type(), []byte(mustJSON(t, e)))
	if err != nil {
		t.Fatal(err)
	}
	applied, err := Apply(s2, e2)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(mustJSON(t, n)), &n2); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(applied, n2) || !reflect.DeepEqual(n, n2) {
		t.Fatalf("by way of JSON\n%+v\nor\n%+v\nand not\n%+v", applied, n2, n)
	}
}

func mustJSON(t *rapid.T, v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func drawCommand(t *rapid.T, now timestamp.Time) Command {
	later := func(label string) timestamp.Time {
		return now.Add(time.Duration(rapid.IntRange(1, 900).Draw(t, label)) * time.Second)
	}
	reason := Reason{rapid.SampledFrom([]string{ReasonOutOfStock, ReasonPaymentDeclined}).Draw(t, "code"), "why"}
	switch rapid.IntRange(0, 10).Draw(t, "command") {
	case 0:
		return drawPlace(t, now, later("due"), later("expires"))
	case 1:
		return Confirm{At: now}
	case 2:
		return Reject{Reason: reason, At: now}
	case 3:
		c := NeedAction{Reason: reason, DueAt: later("due"), At: now}
		if rapid.Bool().Draw(t, "limited") {
			c.ExpiresAt = later("expires")
		}
		return c
	case 4:
		return Resume{To: rapid.SampledFrom([]Status{StatusPending, StatusConfirmed, StatusFulfilling}).Draw(t, "to"), DueAt: later("due"), At: now}
	case 5:
		return Fulfil{At: now}
	case 6:
		return Complete{At: now}
	case 7:
		return Cancel{Reason: "changed my mind", DueAt: later("due"), At: now}
	case 8:
		return FinishCancel{At: now}
	case 9:
		return Reopen{At: now}
	}
	return Expire{Reason: reason, At: now}
}

func drawPlace(t *rapid.T, now, due, expires timestamp.Time) Place {
	p := Place{OrderID: "o-1", CustomerID: "c-1", Fulfilment: Pickup, Method: Cash, PaymentID: "o-1-pay", ReservationID: "o-1-res",
		RequestHash: rapid.SampledFrom([]string{"one", "two"}).Draw(t, "hash"), DueAt: due, ExpiresAt: expires, At: now}
	if rapid.Bool().Draw(t, "card") {
		p.Method, p.Token, p.Sealed = Card, []byte("token"), []byte("sealed")
	}
	for i := range rapid.IntRange(1, 5).Draw(t, "lines") {
		p.Lines = append(p.Lines, Line{SKU: id.SKU(rune('a' + i)), Name: "a thing", Quantity: rapid.Int64Range(1, 1000).Draw(t, "quantity"),
			UnitPrice: money.Of(rapid.Int64Range(0, 1_000_000).Draw(t, "price"), "KWD"), TaxRateBP: rapid.Int64Range(0, 2500).Draw(t, "rate")})
	}
	return p
}
