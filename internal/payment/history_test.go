package payment

import (
	"reflect"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"pgregory.net/rapid"

	"waybill/internal/fault"
	"waybill/internal/id"
	"waybill/internal/timestamp"
)

// captureModel is a payment as someone with a pencil would keep it: what was authorized, and each capture's amount.
type captureModel struct {
	authorized, captured int64
	open, done           map[id.Capture]int64
}

func (m *captureModel) note(e Event, amount int64) {
	switch e := e.(type) {
	case Authorized:
		m.authorized = e.Amount.Amount
	case Capturing:
		m.open[e.CaptureID] = e.Amount.Amount
	case CaptureDropped:
		delete(m.open, e.CaptureID)
	case Captured:
		if m.authorized == 0 {
			m.authorized = amount
		}
		delete(m.open, e.CaptureID)
		m.done[e.CaptureID] += e.Amount.Amount
		m.captured += e.Amount.Amount
	}
}

// room reports whether another capture fits in.
func (m *captureModel) room(s State, amount int64) bool {
	limit := m.authorized
	if s.Status == StatusAcceptedOffline {
		limit = s.Amount.Amount
	}
	for _, o := range m.open {
		limit -= o
	}
	return amount <= limit-m.captured
}

func TestHistories(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var s State
		m := captureModel{open: map[id.Capture]int64{}, done: map[id.Capture]int64{}}
		now := at("10:00:00")
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(1, 10_000).Draw(t, "ms")) * time.Millisecond)
			c := drawCommand(t, s, now)
			before := mustJSON(t, s)
			e, err := Decide(s, c)
			if i, ok := c.(CaptureIntent); ok && e != nil && !m.room(s, i.Amount.Amount) {
				t.Fatalf("%+v was accepted by %+v", i, s)
			}
			if e == nil {
				if code := fault.CodeOf(err); code != "" && code != fault.FailedPrecondition && code != fault.NotFound && code != fault.AlreadyExists && code != fault.InvalidArgument {
					t.Fatalf("%T: %v", c, err)
				}
				continue
			}
			n, err := Apply(s, e)
			if err != nil {
				t.Fatalf("what was decided can't be applied: %T to %+v: %v", e, s, err)
			}
			m.note(e, n.Amount.Amount)
			switch {
			case before != mustJSON(t, s):
				t.Fatalf("the state before was written to: %s", before)
			case n.Status != s.Status && !Allowed(s.Status, n.Status):
				t.Fatalf("%T took the payment from %q to %q", e, s.Status, n.Status)
			case s.Status.Final():
				t.Fatalf("%T happened after %s", e, s.Status)
			case broken(n) != "":
				t.Fatalf("%T: %s: %+v", e, broken(n), n)
			case m.captured != n.Captured.Amount || m.authorized != n.Authorized.Amount:
				t.Fatalf("%T: captured %d of %d, the state says %s of %s", e, m.captured, m.authorized, n.Captured, n.Authorized)
			}
			for capture, amount := range m.done {
				if known, _ := n.Capture(capture); known.Amount.Amount != amount || known.Status != CaptureStatusCaptured {
					t.Fatalf("capture %s took %d in all, the state says %+v", capture, amount, known)
				}
			}
			var s2 State
			if err := json.Unmarshal([]byte(before), &s2); err != nil {
				t.Fatal(err)
			}
			e2, err := Decode(e.Type(), []byte(mustJSON(t, e)))
			if err != nil {
				t.Fatal(err)
			}
			if n2, err := Apply(s2, e2); err != nil || !reflect.DeepEqual(n, n2) {
				t.Fatalf("by way of JSON\n%+v, %v\nand not\n%+v", n2, err, n)
			}
			if again, err := Decide(n, c); again != nil || err != nil {
				t.Fatalf("%T again: %v, %v", c, again, err)
			}
			s = n
		}
	})
}

func drawCommand(t *rapid.T, s State, now timestamp.Time) Command {
	due := now.Add(5 * time.Second)
	capture := id.Capture(rapid.SampledFrom([]string{"a", "b", "c", "d"}).Draw(t, "capture"))
	amount := eur(rapid.OneOf(rapid.Int64Range(0, 4), rapid.Just(s.Amount.Amount), rapid.Just(s.Capturable().Amount)).Draw(t, "amount"))
	if known, ok := s.Capture(capture); ok && rapid.Bool().Draw(t, "same") {
		amount = known.Amount
	}
	if s.Status == "" {
		return Create{PaymentID: "o-1-pay", OrderID: "o-1", Method: rapid.SampledFrom([]Method{Card, Card, Cash}).Draw(t, "method"),
			Amount: eur(rapid.Int64Range(0, 6).Draw(t, "total")), Token: []byte("token"), DueAt: due, At: now}
	}
	switch rapid.IntRange(0, 16).Draw(t, "command") {
	case 0:
		return Create{PaymentID: "o-1-pay", OrderID: "o-1", Method: s.Method, Amount: amount, At: now}
	case 1, 2:
		return Process{Token: []byte("new"), TokenHint: "new", DueAt: due, At: now}
	case 3, 4:
		return Authorize{At: now}
	case 5:
		return Decline{Code: "declined", At: now}
	case 6:
		return RequireAction{Action: "call", DueAt: due, At: now}
	case 7:
		return MarkUnknown{DueAt: due, At: now}
	case 8, 9:
		return CaptureIntent{CaptureID: capture, Amount: amount, DueAt: due, At: now}
	case 10, 11:
		return Capture{CaptureID: capture, Amount: amount, At: now}
	case 12:
		return CaptureFailed{CaptureID: capture, Code: "closed", At: now}
	case 13:
		return CaptureCash{At: now}
	case 14:
		return rapid.SampledFrom([]Command{VoidIntent{DueAt: due, At: now}, Void{At: now}}).Draw(t, "void")
	case 15:
		return rapid.SampledFrom([]Command{AcceptOffline{DueAt: due, At: now}, DeclineAfterAcceptance{Code: "declined", At: now}}).Draw(t, "offline")
	}
	return Expire{At: now}
}

// TestRefundHistories: whoever refunds what and in which order, what is refunded or about to be stays within what is captured.
func TestRefundHistories(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		captured := eur(rapid.Int64Range(0, 10).Draw(t, "captured"))
		var s RefundState
		status, amounts := map[id.Refund]RefundStatus{}, map[id.Refund]int64{}
		now := at("11:00:00")
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			now = now.Add(time.Second)
			refund := id.Refund(rapid.SampledFrom([]string{"a", "b", "c", "d"}).Draw(t, "refund"))
			c := []RefundCommand{
				StartRefund{PaymentID: "o-1-pay", RefundID: refund, Amount: eur(rapid.Int64Range(0, 5).Draw(t, "amount")), DueAt: now.Add(time.Second), At: now},
				SettleRefund{RefundID: refund, At: now}, FailRefund{RefundID: refund, Code: "closed", At: now}, ReverseRefund{RefundID: refund, At: now},
			}[rapid.IntRange(0, 3).Draw(t, "command")]
			before := mustJSON(t, s)
			e, err := DecideRefund(s, captured, c)
			if err != nil && e != nil {
				t.Fatalf("%T is refused and decided: %v", c, err)
			}
			if e == nil {
				continue
			}
			n, err := ApplyRefund(s, e)
			if err != nil {
				t.Fatalf("what was decided can't be applied: %v", err)
			}
			if p, ok := e.(RefundPending); ok {
				amounts[refund] = p.Amount.Amount
			}
			to := RefundStatus(e.Type())
			if !RefundAllowed(status[refund], to) {
				t.Fatalf("%s went from %q to %q", refund, status[refund], to)
			}
			status[refund] = to
			var settled, taken int64
			for r, st := range status {
				switch st {
				case RefundStatusSettled:
					settled += amounts[r]
					taken += amounts[r]
				case RefundStatusPending:
					taken += amounts[r]
				}
			}
			if taken > captured.Amount || n.Refunded.Amount != settled || n.Refundable(captured).Amount != captured.Amount-taken {
				t.Fatalf("of %s captured %d are refunded, %d with the pending ones; the state says %+v", captured, settled, taken, n)
			}
			if mustJSON(t, s) != before {
				t.Fatalf("the state before was written to: %s", before)
			}
			e2, err := DecodeRefund(e.Type(), []byte(mustJSON(t, e)))
			if err != nil {
				t.Fatal(err)
			}
			var s2 RefundState
			if err := json.Unmarshal([]byte(before), &s2); err != nil {
				t.Fatal(err)
			}
			if n2, err := ApplyRefund(s2, e2); err != nil || !reflect.DeepEqual(n, n2) {
				t.Fatalf("by way of JSON\n%+v, %v\nand not\n%+v", n2, err, n)
			}
			if again, err := DecideRefund(n, captured, c); again != nil || err != nil {
				t.Fatalf("%T again: %v, %v", c, again, err)
			}
			s = n
		}
	})
}

func mustJSON(t *rapid.T, v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
