package order

import (
	"strings"
	"testing"

	"waybill/internal/fault"
	"waybill/internal/money"
	"waybill/internal/timestamp"
)

func placeCommand() Place {
	return Place{OrderID: "o-1", CustomerID: "c-1", Lines: []Line{{SKU: "espresso", Name: "Espresso", Quantity: 2, UnitPrice: eur(450), TaxRateBP: 700}},
		Fulfilment: Ship, Method: Card, Sealed: []byte("sealed"), Token: []byte("token"), RequestHash: "abc", PaymentID: "o-1-pay",
		ReservationID: "o-1-res", DueAt: at("10:00:02"), ExpiresAt: at("10:15:00"), At: at("10:00:00")}
}

// inStatus is an order that stands in the status; in the open ones it has expired, so that Expire depends on the table alone.
func inStatus(status Status) State {
	if status == "" {
		return State{}
	}
	s := State{OrderID: "o-1", Status: status, RequestHash: "abc", CreatedAt: at("10:00:00"), UpdatedAt: at("10:00:00")}
	if status.open() {
		s.Token, s.ExpiresAt = []byte("token"), at("10:15:00")
	}
	return s
}

// cells is the machine, cell by cell: for each command and each status (∅ and those of Statuses, in that order) whether its
// event follows (+), it has already happened (=), it is refused as failed_precondition (-), the order is not found (?), or the
// id is taken (!).
var cells = []struct {
	command Command
	event   EventType
	to      Status
	cells   string // ∅ pending confirmed needs_action fulfilling completed cancelling cancelled rejected expired
}{
	{placeCommand(), TypePlaced, StatusPending, "+ = = = = = = = = ="},
	{func() Place { p := placeCommand(); p.RequestHash = "other"; return p }(), TypePlaced, StatusPending, "+ ! ! ! ! ! ! ! ! !"},
	{Confirm{At: at("11:00:00")}, TypeConfirmed, StatusConfirmed, "? + = + - - - - - -"},
	{Reject{At: at("11:00:00")}, TypeRejected, StatusRejected, "? + - - - - - - = -"},
	{NeedAction{At: at("11:00:00")}, TypeNeedsAction, StatusNeedsAction, "? + + = + - - - - -"},
	{Resume{To: StatusPending}, TypeResumed, StatusPending, "? = - + - - - - - -"},
	{Resume{To: StatusConfirmed}, TypeResumed, StatusConfirmed, "? - = + - - - - - -"},
	{Resume{To: StatusFulfilling}, TypeResumed, StatusFulfilling, "? - - + = - - - - -"},
	{Fulfil{At: at("11:00:00")}, TypeFulfilling, StatusFulfilling, "? - + + = - - - - -"},
	{Reopen{At: at("11:00:00")}, TypeFulfilling, StatusFulfilling, "? - - - = - + - - -"},
	{Complete{At: at("11:00:00")}, TypeCompleted, StatusCompleted, "? - - + + = - - - -"},
	{Cancel{At: at("11:00:00")}, TypeCancelling, StatusCancelling, "? + + + - - = - - -"},
	{FinishCancel{At: at("11:00:00")}, TypeCancelled, StatusCancelled, "? - - - - - + = - -"},
	{Expire{At: at("11:00:00")}, TypeExpired, StatusExpired, "? + - + - - - - - ="},
}

func TestCells(t *testing.T) {
	all := append([]Status{""}, Statuses...)
	reached := map[[2]Status]bool{}
	for _, row := range cells {
		marks := strings.Fields(row.cells)
		if len(marks) != len(all) {
			t.Fatalf("%T has %d cells, not %d", row.command, len(marks), len(all))
		}
		for i, from := range all {
			s := inStatus(from)
			e, err := Decide(s, row.command)
			wantCode := map[string]fault.Code{"-": fault.FailedPrecondition, "?": fault.NotFound, "!": fault.AlreadyExists}[marks[i]]
			switch {
			case fault.CodeOf(err) != wantCode:
				t.Errorf("%T %+v from %q: %v, want code %q", row.command, row.command, from, err, wantCode)
			case marks[i] == "-" && (!strings.Contains(err.Error(), string(from)) || !strings.Contains(err.Error(), string(row.to))):
				t.Errorf("%T from %q: %q does not name both statuses", row.command, from, err)
			case marks[i] != "+" && e != nil, marks[i] == "+" && (e == nil || e.Type() != row.event):
				t.Errorf("%T from %q: event %v, want %s %s", row.command, from, e, marks[i], row.event)
			case marks[i] == "+":
				n, err := Apply(s, e)
				if err != nil || n.Status != row.to {
					t.Errorf("%T from %q: %q, %v, want %q", row.command, from, n.Status, err, row.to)
				}
				reached[[2]Status{from, row.to}] = true
			}
		}
	}
	for _, from := range all {
		for _, to := range all {
			if Allowed(from, to) != reached[[2]Status{from, to}] {
				t.Errorf("%q to %q: the table says %v, the commands %v", from, to, Allowed(from, to), reached[[2]Status{from, to}])
			}
		}
	}
}

// TestApplyImpossible: an event that the table forbids is an error, from whichever status.
func TestApplyImpossible(t *testing.T) {
	target := map[EventType]Status{}
	for _, row := range cells {
		if row.event != TypeResumed {
			target[row.event] = row.to
		}
	}
	for _, from := range append([]Status{""}, Statuses...) {
		for _, e := range samples {
			to := target[e.Type()]
			want := Allowed(from, to)
			switch e.(type) {
			case Placed:
				want = from == ""
			case Resumed:
				want = from == StatusNeedsAction
			}
			_, err := Apply(inStatus(from), e)
			if (err == nil) != want || err != nil && fault.CodeOf(err) != fault.Internal {
				t.Errorf("%s from %q: %v, want possible %v", e.Type(), from, err, want)
			}
		}
	}
	for _, to := range []Status{"", StatusExpired, StatusCompleted, StatusCancelling, "teleported"} {
		if _, err := Apply(inStatus(StatusNeedsAction), Resumed{Status: to}); err == nil {
			t.Errorf("resumed to %q", to)
		}
	}
	if _, err := Apply(State{}, nil); err == nil {
		t.Error("no event at all was applied")
	}
}

func TestFields(t *testing.T) {
	s := must(t, State{}, placeCommand())
	if s.DueAt != at("10:00:02") || s.ExpiresAt != at("10:15:00") || string(s.Token) != "token" {
		t.Errorf("after placing: %+v", s)
	}
	waiting := must(t, s, NeedAction{Reason: Reason{"payment_action", "x"}, DueAt: at("10:01:00"), ExpiresAt: at("10:30:00"), At: at("10:00:03")})
	if waiting.DueAt != at("10:01:00") || waiting.ExpiresAt != at("10:30:00") || string(waiting.Token) != "token" || waiting.Reason.Code != "payment_action" {
		t.Errorf("in needs_action: %+v", waiting)
	}
	resumed := must(t, waiting, Resume{To: StatusPending, DueAt: at("10:02:00"), At: at("10:01:30")})
	if resumed.DueAt != at("10:02:00") || resumed.ExpiresAt != at("10:30:00") || resumed.Reason != nil || string(resumed.Token) != "token" {
		t.Errorf("resumed: %+v", resumed)
	}
	confirmed := must(t, resumed, Confirm{At: at("10:02:00")})
	if !confirmed.DueAt.IsZero() || !confirmed.ExpiresAt.IsZero() || confirmed.Token != nil || confirmed.UpdatedAt != at("10:02:00") || string(confirmed.Sealed) != "sealed" {
		t.Errorf("confirmed: %+v", confirmed)
	}
	cancelling := must(t, confirmed, Cancel{Reason: "changed my mind", DueAt: at("10:03:05"), At: at("10:03:00")})
	if cancelling.DueAt != at("10:03:05") || *cancelling.Reason != (Reason{ReasonCancelled, "changed my mind"}) {
		t.Errorf("cancelling: %+v", cancelling)
	}
	if c := must(t, cancelling, FinishCancel{At: at("10:04:00")}); !c.DueAt.IsZero() || c.Reason == nil || !c.Status.Final() {
		t.Errorf("cancelled: %+v", c)
	}
	if r := must(t, cancelling, Reopen{At: at("10:04:00")}); !r.DueAt.IsZero() || r.Reason != nil || r.Status != StatusFulfilling {
		t.Errorf("reopened: %+v", r)
	}
	if confirmed.CreatedAt != at("10:00:00") {
		t.Errorf("created at %s", confirmed.CreatedAt)
	}
}

func TestExpireBeforeItsTime(t *testing.T) {
	s := must(t, State{}, placeCommand())
	if _, err := Decide(s, Expire{At: at("10:14:59.999")}); fault.CodeOf(err) != fault.FailedPrecondition {
		t.Errorf("before its time: %v", err)
	}
	if e, err := Decide(s, Expire{At: at("10:15:00")}); err != nil || e == nil {
		t.Errorf("at its time: %v, %v", e, err)
	}
	s.ExpiresAt = timestamp.Time{}
	if _, err := Decide(s, Expire{At: at("23:00:00")}); fault.CodeOf(err) != fault.FailedPrecondition {
		t.Errorf("without a time: %v", err)
	}
}

func TestPlaceRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Place)
		code   fault.Code
		field  string
	}{
		"no id":         {func(p *Place) { p.OrderID = "" }, fault.InvalidArgument, "order_id"},
		"a bad id":      {func(p *Place) { p.OrderID = "a.b" }, fault.InvalidArgument, "order_id"},
		"no hash":       {func(p *Place) { p.RequestHash = "" }, fault.Internal, ""},
		"no fulfilment": {func(p *Place) { p.Fulfilment = "" }, fault.InvalidArgument, "fulfilment"},
		"no method":     {func(p *Place) { p.Method = "barter" }, fault.InvalidArgument, "payment.method"},
		"no lines":      {func(p *Place) { p.Lines = nil }, fault.InvalidArgument, "lines"},
	} {
		p := placeCommand()
		c.change(&p)
		e, err := Decide(State{}, p)
		if f := fault.From(err); e != nil || f == nil || f.Code != c.code || f.Field != c.field {
			t.Errorf("%s: %v, %v", name, e, err)
		}
	}
}

func TestResumeNowhere(t *testing.T) {
	for _, to := range []Status{"", StatusCompleted, StatusExpired, StatusCancelling, StatusNeedsAction} {
		if e, err := Decide(inStatus(StatusNeedsAction), Resume{To: to}); e != nil || fault.CodeOf(err) != fault.InvalidArgument {
			t.Errorf("to %q: %v, %v", to, e, err)
		}
	}
	if _, err := Decide(State{}, nil); err == nil {
		t.Error("no command at all was decided")
	}
}

func TestPrice(t *testing.T) {
	lines := []Line{
		{SKU: "a", Quantity: 3, UnitPrice: eur(333), TaxRateBP: 1900}, // 999, tax 189.81 → 190
		{SKU: "b", Quantity: 1, UnitPrice: eur(50), TaxRateBP: 100},   // 50, tax 0.5 → 1
		{SKU: "c", Quantity: 7, UnitPrice: eur(0), TaxRateBP: 1900},
	}
	priced, subtotal, tax, total, err := Price(lines)
	if err != nil || subtotal != eur(1049) || tax != eur(191) || total != eur(1240) {
		t.Fatalf("%s + %s = %s, %v", subtotal, tax, total, err)
	}
	if priced[0].Total != eur(999) || priced[1].Total != eur(50) || lines[0].Total != (money.Money{}) {
		t.Errorf("priced %+v, from %+v", priced, lines)
	}
	if g, err := priced[0].Gross(); err != nil || g != eur(1189) {
		t.Errorf("gross %s, %v", g, err)
	}
}

func TestPriceRefuses(t *testing.T) {
	ok := Line{SKU: "a", Quantity: 1, UnitPrice: eur(100)}
	with := func(change func(*Line)) []Line {
		l := Line{SKU: "b", Quantity: 1, UnitPrice: eur(100)}
		change(&l)
		return []Line{ok, l}
	}
	for name, c := range map[string]struct {
		lines []Line
		code  fault.Code
		field string
	}{
		"nothing":            {nil, fault.InvalidArgument, "lines"},
		"too many lines":     {make([]Line, MaxLines+1), fault.InvalidArgument, "lines"},
		"quantity 0":         {with(func(l *Line) { l.Quantity = 0 }), fault.InvalidArgument, "lines[1].quantity"},
		"too large a number": {with(func(l *Line) { l.Quantity = MaxQuantity + 1 }), fault.InvalidArgument, "lines[1].quantity"},
		"negative tax":       {with(func(l *Line) { l.TaxRateBP = -1 }), fault.InvalidArgument, "lines[1].tax_rate_bp"},
		"negative price":     {with(func(l *Line) { l.UnitPrice = eur(-1) }), fault.FailedPrecondition, "lines[1].sku"},
		"no currency":        {with(func(l *Line) { l.UnitPrice.Currency = "" }), fault.FailedPrecondition, "lines[1].sku"},
		"another currency":   {with(func(l *Line) { l.UnitPrice.Currency = "USD" }), fault.FailedPrecondition, "lines[1].sku"},
		"the same SKU":       {with(func(l *Line) { l.SKU = "a" }), fault.InvalidArgument, "lines[1].sku"},
		"line overflow":      {with(func(l *Line) { l.UnitPrice, l.Quantity = eur(money.Max), 2 }), fault.InvalidArgument, "lines[1].quantity"},
		"sum overflow":       {with(func(l *Line) { l.UnitPrice = eur(money.Max) }), fault.InvalidArgument, "lines[1].quantity"},
		"tax overflow":       {with(func(l *Line) { l.UnitPrice, l.TaxRateBP = eur(money.Max-100), 1 }), fault.InvalidArgument, "lines"},
	} {
		_, _, _, _, err := Price(c.lines)
		if f := fault.From(err); f == nil || f.Code != c.code || f.Field != c.field {
			t.Errorf("%s: %v, want %s at %s", name, err, c.code, c.field)
		}
	}
}

func must(t *testing.T, s State, c Command) State {
	t.Helper()
	e, err := Decide(s, c)
	if err != nil || e == nil {
		t.Fatalf("%T: %v, %v", c, e, err)
	}
	n, err := Apply(s, e)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
