package payment

import (
	"strings"
	"testing"

	"waybill/internal/fault"
	"waybill/internal/money"
)

// refundIn is the refunds of a payment one of which, r-1 over 2.50 EUR, stands in the status.
func refundIn(status RefundStatus) RefundState {
	if status == "" {
		return RefundState{}
	}
	s := RefundState{PaymentID: "o-1-pay", Refunded: eur(0), Refunds: []Refund{{RefundID: "r-1", Amount: eur(250), Status: status}}}
	if status == RefundStatusSettled {
		s.Refunded = eur(250)
	}
	return s
}

// refundCells is read as cells is: ∅ and the statuses of RefundStatuses, in that order.
var refundCells = []struct {
	command RefundCommand
	event   RefundEventType
	to      RefundStatus
	cells   string // ∅ pending settled failed reversed
}{
	{StartRefund{PaymentID: "o-1-pay", RefundID: "r-1", Amount: eur(250)}, TypeRefundPending, RefundStatusPending, "+ = = = ="},
	{StartRefund{PaymentID: "o-1-pay", RefundID: "r-1", Amount: eur(251)}, TypeRefundPending, RefundStatusPending, "+ ! ! ! !"},
	{SettleRefund{RefundID: "r-1"}, TypeRefundSettled, RefundStatusSettled, "? + = - -"},
	{FailRefund{RefundID: "r-1", Code: "closed"}, TypeRefundFailed, RefundStatusFailed, "? + - = -"},
	{ReverseRefund{RefundID: "r-1"}, TypeRefundReversed, RefundStatusReversed, "? - + - ="},
}

func TestRefundCells(t *testing.T) {
	all := append([]RefundStatus{""}, RefundStatuses...)
	reached := map[[2]RefundStatus]bool{}
	for _, row := range refundCells {
		marks := strings.Fields(row.cells)
		if len(marks) != len(all) {
			t.Fatalf("%T has %d cells, not %d", row.command, len(marks), len(all))
		}
		for i, from := range all {
			s := refundIn(from)
			e, err := DecideRefund(s, eur(1000), row.command)
			wantCode := map[string]fault.Code{"-": fault.FailedPrecondition, "?": fault.NotFound, "!": fault.AlreadyExists}[marks[i]]
			switch {
			case fault.CodeOf(err) != wantCode:
				t.Errorf("%T from %q: %v, want code %q", row.command, from, err, wantCode)
			case marks[i] == "-" && (!strings.Contains(err.Error(), string(from)) || !strings.Contains(err.Error(), string(row.to))):
				t.Errorf("%T from %q: %q does not name both statuses", row.command, from, err)
			case marks[i] != "+" && e != nil, marks[i] == "+" && (e == nil || e.Type() != row.event):
				t.Errorf("%T from %q: event %v, want %s %s", row.command, from, e, marks[i], row.event)
			case marks[i] == "+":
				n, err := ApplyRefund(s, e)
				if r, _ := n.Refund("r-1"); err != nil || r.Status != row.to {
					t.Errorf("%T from %q: %q, %v, want %q", row.command, from, r.Status, err, row.to)
				}
				reached[[2]RefundStatus{from, row.to}] = true
			}
		}
	}
	for _, from := range all {
		for _, to := range all {
			if RefundAllowed(from, to) != reached[[2]RefundStatus{from, to}] {
				t.Errorf("%q to %q: the table says %v, the commands %v", from, to, RefundAllowed(from, to), reached[[2]RefundStatus{from, to}])
			}
		}
		for i, e := range refundSamples {
			to := RefundStatuses[i]
			if _, err := ApplyRefund(refundIn(from), e); (err == nil) != RefundAllowed(from, to) {
				t.Errorf("%s from %q: %v, want possible %v", e.Type(), from, err, RefundAllowed(from, to))
			}
		}
	}
}

func TestRefundRefuses(t *testing.T) {
	s := refundIn(RefundStatusSettled)
	for name, c := range map[string]struct {
		command StartRefund
		code    fault.Code
	}{
		"more than is left": {StartRefund{RefundID: "r-2", Amount: eur(751)}, fault.FailedPrecondition},
		"nothing":           {StartRefund{RefundID: "r-2", Amount: eur(0)}, fault.InvalidArgument},
		"another currency":  {StartRefund{RefundID: "r-2", Amount: money.Of(1, "USD")}, fault.InvalidArgument},
		"a bad id":          {StartRefund{RefundID: "r 2", Amount: eur(1)}, fault.InvalidArgument},
		"another payment":   {StartRefund{PaymentID: "o-2-pay", RefundID: "r-2", Amount: eur(1)}, fault.Internal},
	} {
		if e, err := DecideRefund(s, eur(1000), c.command); e != nil || fault.CodeOf(err) != c.code {
			t.Errorf("%s: %v, %v, want %q", name, e, err, c.code)
		}
	}
	if e, err := DecideRefund(s, eur(1000), StartRefund{RefundID: "r-2", Amount: eur(750)}); err != nil || e.(RefundPending).PaymentID != "o-1-pay" {
		t.Errorf("all that is left: %v, %v", e, err)
	}
	if e, err := DecideRefund(RefundState{}, eur(1000), StartRefund{RefundID: "r-1", Amount: eur(1)}); e != nil || fault.CodeOf(err) != fault.InvalidArgument {
		t.Errorf("of no payment: %v, %v", e, err)
	}
	if e, err := DecideRefund(s, eur(1000), nil); e != nil || err == nil {
		t.Error("no command at all was decided")
	}
	if _, err := ApplyRefund(s, nil); err == nil {
		t.Error("no event at all was applied")
	}
	for i := range MaxRefunds {
		s.Refunds = append(s.Refunds, Refund{RefundID: "x", Amount: eur(int64(i)), Status: RefundStatusFailed})
	}
	if _, err := DecideRefund(s, eur(1000), StartRefund{RefundID: "r-2", Amount: eur(1)}); fault.CodeOf(err) != fault.ResourceExhausted {
		t.Errorf("one more than the most: %v", err)
	}
}

func TestRefundDue(t *testing.T) {
	s := RefundState{}
	for _, e := range []RefundEvent{
		RefundPending{PaymentID: "o-1-pay", RefundID: "r-1", Amount: eur(1), DueAt: at("11:00:09"), At: at("11:00:00")},
		RefundPending{PaymentID: "o-1-pay", RefundID: "r-2", Amount: eur(2), DueAt: at("11:00:05"), At: at("11:00:01")},
	} {
		var err error
		if s, err = ApplyRefund(s, e); err != nil {
			t.Fatal(err)
		}
	}
	if s.DueAt != at("11:00:05") {
		t.Errorf("two pending, due at %s", s.DueAt)
	}
	s, err := ApplyRefund(s, RefundSettled{RefundID: "r-2", Amount: eur(2), At: at("11:00:03")})
	if err != nil || s.DueAt != at("11:00:09") || s.Refunded != eur(2) {
		t.Errorf("one pending: %+v, %v", s, err)
	}
	if s, err = ApplyRefund(s, RefundFailed{RefundID: "r-1", At: at("11:00:04")}); err != nil || !s.DueAt.IsZero() {
		t.Errorf("none pending: %+v, %v", s, err)
	}
}
