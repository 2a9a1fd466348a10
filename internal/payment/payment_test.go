package payment

import (
	"slices"
	"strings"
	"testing"

	"waybill/internal/fault"
	"waybill/internal/money"
)

func createCommand() Create {
	return Create{PaymentID: "o-1-pay", OrderID: "o-1", Method: Card, Amount: eur(1000), Token: []byte("token"), TokenHint: "k_ok",
		DueAt: at("10:00:05"), At: at("10:00:00")}
}

// pending says which capture intent inStatus leaves open, under the id "cap", where one can be open.
type pending int

const (
	pendingNone pending = iota
	pendingRest         // all that is left to capture
	pendingPart         // 100 of it
)

// inStatus is a payment of 10.00 EUR that stands in the status; 3.00 of it are captured in partially_captured.
func inStatus(status Status, m Method, p pending) State {
	if status == "" {
		return State{}
	}
	s := State{PaymentID: "o-1-pay", OrderID: "o-1", Method: m, Status: status, Amount: eur(1000), Authorized: eur(0), Captured: eur(0),
		CreatedAt: at("10:00:00"), UpdatedAt: at("10:00:00")}
	switch status {
	case StatusAuthorized, StatusVoided, StatusExpired:
		s.Authorized = eur(1000)
	case StatusPartiallyCaptured:
		s.Authorized, s.Captured = eur(1000), eur(300)
		s.Captures = []CaptureEntry{{"first", eur(300), CaptureStatusCaptured, ""}}
	case StatusCaptured:
		s.Authorized, s.Captured = eur(1000), eur(1000)
		id := CashCapture
		if m == Card {
			id = "first"
		}
		s.Captures = []CaptureEntry{{id, eur(1000), CaptureStatusCaptured, ""}}
	}
	left := s.Capturable()
	switch {
	case p == pendingRest && left.Amount > 0:
		s.Captures = append(s.Captures, CaptureEntry{"cap", left, CaptureStatusPending, ""})
	case p == pendingPart && left.Amount > 0 && status != StatusAcceptedOffline:
		s.Captures = append(s.Captures, CaptureEntry{"cap", eur(100), CaptureStatusPending, ""})
	}
	return s
}

func with(c Command) func(State) Command { return func(State) Command { return c } }

// captureRest settles the intent that inStatus left, or takes all without one.
func captureRest(s State) Command {
	if known, ok := s.Capture("cap"); ok {
		return Capture{CaptureID: "cap", Amount: known.Amount}
	}
	return Capture{CaptureID: "cap", Amount: eur(1000)}
}

// cells is the machine, cell by cell: for each command and each status (∅ and those of Statuses, in that order) whether its
// event follows (+), it has already happened (=), it is refused as failed_precondition (-), the payment is not found (?), or
// the id is taken (!). An empty to is an event that leaves the status.
var cells = []struct {
	name    string
	method  Method
	pending pending
	command func(State) Command
	event   EventType
	to      Status
	//         ∅ created processing authorized partially_captured captured requires_action unknown failed voided expired accepted_offline declined_a_a
	cells string
}{
	{"create", Card, pendingNone, with(createCommand()), TypeCreated, StatusCreated, "+ = = = = = = = = = = = ="},
	{"create another", Card, pendingNone, func(State) Command { c := createCommand(); c.Amount = eur(999); return c }, TypeCreated, StatusCreated, "+ ! ! ! ! ! ! ! ! ! ! ! !"},
	{"process", Card, pendingNone, with(Process{}), TypeProcessing, StatusProcessing, "? + = - - - + - - - - - -"},
	{"authorize", Card, pendingNone, with(Authorize{}), TypeAuthorized, StatusAuthorized, "? - + = - - - + - - - - -"},
	{"decline", Card, pendingNone, with(Decline{Code: "declined"}), TypeFailed, StatusFailed, "? - + - - - - + = - - - -"},
	{"require action", Card, pendingNone, with(RequireAction{Action: "call"}), TypeRequiresAction, StatusRequiresAction, "? - + - - - = - - - - - -"},
	{"mark unknown", Card, pendingNone, with(MarkUnknown{}), TypeUnknown, StatusUnknown, "? - + - - - - = - - - - -"},
	{"intend a part", Card, pendingNone, with(CaptureIntent{CaptureID: "new", Amount: eur(100)}), TypeCapturing, "", "? - - + + - - - - - - - -"},
	{"intend all", Card, pendingNone, with(CaptureIntent{CaptureID: "new", Amount: eur(1000)}), TypeCapturing, "", "? - - + - - - - - - - + -"},
	{"intend beside all", Card, pendingRest, with(CaptureIntent{CaptureID: "new", Amount: eur(1)}), TypeCapturing, "", "? - - - - - - - - - - - -"},
	{"capture all", Card, pendingRest, captureRest, TypeCaptured, StatusCaptured, "? - - + + - - + - - - + -"},
	{"capture a part", Card, pendingPart, with(Capture{CaptureID: "cap", Amount: eur(100)}), TypeCaptured, StatusPartiallyCaptured, "? - - + + - - - - - - - -"},
	{"capture unintended", Card, pendingRest, with(Capture{CaptureID: "none", Amount: eur(100)}), TypeCaptured, StatusPartiallyCaptured, "? - - - - - - - - - - - -"},
	{"capture failed", Card, pendingRest, with(CaptureFailed{CaptureID: "cap"}), TypeCaptureFailed, "", "? - - + + - - - - - - + -"},
	{"cash", Cash, pendingNone, with(CaptureCash{}), TypeCaptured, StatusCaptured, "? - + - - = - + - - - - -"},
	{"cash by card", Card, pendingNone, with(CaptureCash{}), TypeCaptured, "", "? - - - - - - - - - - - -"},
	{"intend to void", Card, pendingNone, with(VoidIntent{}), TypeVoiding, "", "? - - + + - + + - = - - -"},
	{"intend to void, capturing", Card, pendingRest, with(VoidIntent{}), TypeVoiding, "", "? - - - - - + + - = - - -"},
	{"void", Card, pendingNone, with(Void{}), TypeVoided, StatusVoided, "? - - + + - + + - = - - -"},
	{"void, capturing", Card, pendingPart, with(Void{}), TypeVoided, "", "? - - - - - + + - = - - -"},
	{"expire", Card, pendingNone, with(Expire{}), TypeExpired, StatusExpired, "? - - + - - - - - - = - -"},
	{"expire, capturing", Card, pendingPart, with(Expire{}), TypeExpired, "", "? - - - - - - - - - = - -"},
	{"accept offline", Card, pendingNone, with(AcceptOffline{}), TypeAcceptedOffline, StatusAcceptedOffline, "? + - - - - - - - - - = -"},
	{"decline after", Card, pendingNone, with(DeclineAfterAcceptance{}), TypeDeclinedAfterAcceptance, StatusDeclinedAfterAcceptance, "? - - - - - - - - - - + ="},
	{"decline after, capturing", Card, pendingRest, with(DeclineAfterAcceptance{}), TypeDeclinedAfterAcceptance, "", "? - - - - - - - - - - - ="},
}

func TestCells(t *testing.T) {
	all := append([]Status{""}, Statuses...)
	reached := map[[2]Status]bool{}
	for _, row := range cells {
		marks := strings.Fields(row.cells)
		if len(marks) != len(all) {
			t.Fatalf("%s has %d cells, not %d", row.name, len(marks), len(all))
		}
		for i, from := range all {
			s := inStatus(from, row.method, row.pending)
			e, err := Decide(s, row.command(s))
			wantCode := map[string]fault.Code{"-": fault.FailedPrecondition, "?": fault.NotFound, "!": fault.AlreadyExists}[marks[i]]
			switch {
			case fault.CodeOf(err) != wantCode:
				t.Errorf("%s from %q: %v, want code %q", row.name, from, err, wantCode)
			case marks[i] == "-" && row.to != "" && row.pending == pendingNone &&
				(!strings.Contains(err.Error(), string(from)) || !strings.Contains(err.Error(), string(row.to))):
				t.Errorf("%s from %q: %q does not name both statuses", row.name, from, err)
			case marks[i] != "+" && e != nil, marks[i] == "+" && (e == nil || e.Type() != row.event):
				t.Errorf("%s from %q: event %v, want %s %s", row.name, from, e, marks[i], row.event)
			case marks[i] == "+":
				n, err := Apply(s, e)
				to := row.to
				switch {
				case row.event == TypeVoided:
					to = StatusVoided
				case to == "":
					to = from
				}
				if err != nil || n.Status != to || broken(n) != "" {
					t.Errorf("%s from %q: %q, %v, %s, want %q", row.name, from, n.Status, err, broken(n), to)
				}
				if row.to != "" {
					reached[[2]Status{from, to}] = true
				}
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

// broken says which rule on a payment's sums does not hold; empty where all do.
func broken(s State) string {
	var captured, open int64
	for _, c := range s.Captures {
		switch c.Status {
		case CaptureStatusCaptured:
			captured += c.Amount.Amount
		case CaptureStatusPending:
			open += c.Amount.Amount
		}
	}
	limit := s.Authorized.Amount
	if s.Status == StatusAcceptedOffline {
		limit = s.Amount.Amount
	}
	switch {
	case captured != s.Captured.Amount:
		return "captured is not the sum of the captures"
	case captured < 0 || captured+open > limit || s.Authorized.Amount > s.Amount.Amount:
		return "not 0 ≤ captured ≤ authorized ≤ amount"
	case open > 0 && (s.Voiding || s.Status.Final()):
		return "a capture is open where none may be"
	case s.Status == StatusCaptured && captured != s.Authorized.Amount, s.Status == StatusPartiallyCaptured && captured == s.Authorized.Amount:
		return "the status does not fit the sums"
	case s.Status.Final() && (!s.DueAt.IsZero() || s.Voiding):
		return "a timer or a void is left in a final status"
	case s.Token != nil && !s.Status.unsettled():
		return "a token is left that is good for nothing"
	}
	return ""
}

// TestApplyImpossible: every event from every status is possible exactly where some command leads to it.
func TestApplyImpossible(t *testing.T) {
	for _, from := range append([]Status{""}, Statuses...) {
		for _, e := range samples {
			s := inStatus(from, Card, pendingNone)
			to := map[EventType]Status{TypeCreated: StatusCreated, TypeProcessing: StatusProcessing, TypeAuthorized: StatusAuthorized, TypeVoided: StatusVoided,
				TypeExpired: StatusExpired, TypeFailed: StatusFailed, TypeUnknown: StatusUnknown, TypeRequiresAction: StatusRequiresAction,
				TypeAcceptedOffline: StatusAcceptedOffline, TypeDeclinedAfterAcceptance: StatusDeclinedAfterAcceptance}[e.Type()]
			want := to != "" && Allowed(from, to)
			switch e.Type() {
			case TypeVoiding:
				want = Allowed(from, StatusVoided)
			case TypeCapturing:
				want = slices.Contains([]Status{StatusAuthorized, StatusPartiallyCaptured, StatusAcceptedOffline}, from)
			}
			_, err := Apply(s, e)
			if (err == nil) != want || err != nil && fault.CodeOf(err) != fault.Internal {
				t.Errorf("%s from %q: %v, want possible %v", e.Type(), from, err, want)
			}
		}
	}
	auth := inStatus(StatusAuthorized, Card, pendingPart)
	for name, e := range map[string]Event{
		"none":              nil,
		"another amount":    Captured{CaptureID: "cap", Amount: eur(99)},
		"no intent":         Captured{CaptureID: "new", Amount: eur(100)},
		"too much":          Capturing{CaptureID: "new", Amount: eur(901)},
		"another currency":  Capturing{CaptureID: "new", Amount: money.Of(1, "USD")},
		"a negative one":    Capturing{CaptureID: "new", Amount: eur(-1)},
		"the same again":    Capturing{CaptureID: "cap", Amount: eur(100)},
		"a failure of none": CaptureDropped{CaptureID: "new"},
		"void":              Voided{},
		"voiding":           Voiding{},
		"expired":           Expired{},
	} {
		if _, err := Apply(auth, e); fault.CodeOf(err) != fault.Internal {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Apply(inStatus(StatusProcessing, Card, pendingNone), Authorized{Amount: eur(1001)}); err == nil {
		t.Error("more was authorized than asked for")
	}
}

func TestCaptureIDs(t *testing.T) {
	s := inStatus(StatusAuthorized, Card, pendingNone)
	s = must(t, s, CaptureIntent{CaptureID: "a", Amount: eur(400), DueAt: at("10:00:09"), At: at("10:00:04")})
	s = must(t, s, CaptureIntent{CaptureID: "b", Amount: eur(500), DueAt: at("10:00:10"), At: at("10:00:05")})
	s = must(t, s, CaptureFailed{CaptureID: "b", Code: "closed", At: at("10:00:06")})
	if b, _ := s.Capture("b"); b.Code != "closed" || s.DueAt.IsZero() || s.Capturable() != eur(600) {
		t.Fatalf("after a failed capture: %+v", s)
	}
	s = must(t, s, Capture{CaptureID: "a", Amount: eur(400), At: at("10:00:07")})
	if s.Captured != eur(400) || !s.DueAt.IsZero() || s.Status != StatusPartiallyCaptured {
		t.Fatalf("after a capture: %+v", s)
	}
	for name, c := range map[string]struct {
		command Command
		code    fault.Code
	}{
		"intent again":             {CaptureIntent{CaptureID: "a", Amount: eur(400)}, ""},
		"intent, other amount":     {CaptureIntent{CaptureID: "a", Amount: eur(401)}, fault.AlreadyExists},
		"capture again":            {Capture{CaptureID: "a", Amount: eur(400)}, ""},
		"capture, other amount":    {Capture{CaptureID: "a", Amount: eur(1)}, fault.AlreadyExists},
		"failure of a captured":    {CaptureFailed{CaptureID: "a"}, fault.FailedPrecondition},
		"failed intent again":      {CaptureIntent{CaptureID: "b", Amount: eur(500)}, ""},
		"failed again":             {CaptureFailed{CaptureID: "b"}, ""},
		"capture of a failed":      {Capture{CaptureID: "b", Amount: eur(500)}, fault.FailedPrecondition},
		"more than what is left":   {CaptureIntent{CaptureID: "c", Amount: eur(601)}, fault.FailedPrecondition},
		"nothing":                  {CaptureIntent{CaptureID: "c", Amount: eur(0)}, fault.InvalidArgument},
		"another currency":         {CaptureIntent{CaptureID: "c", Amount: money.Of(1, "USD")}, fault.InvalidArgument},
		"a bad id":                 {CaptureIntent{CaptureID: "a.b", Amount: eur(1)}, fault.InvalidArgument},
		"pending is not another's": {Capture{CaptureID: "c", Amount: eur(600)}, fault.FailedPrecondition},
	} {
		if e, err := Decide(s, c.command); e != nil || fault.CodeOf(err) != c.code {
			t.Errorf("%s: %v, %v, want %q", name, e, err, c.code)
		}
	}
	full := s
	full.Captures = slices.Repeat([]CaptureEntry{{"x", eur(1), CaptureStatusFailed, ""}}, MaxCaptures)
	if _, err := Decide(full, CaptureIntent{CaptureID: "c", Amount: eur(1)}); fault.CodeOf(err) != fault.ResourceExhausted {
		t.Errorf("one more than the most: %v", err)
	}
	s = must(t, s, VoidIntent{DueAt: at("10:00:12"), At: at("10:00:08")})
	if e, err := Decide(s, CaptureIntent{CaptureID: "c", Amount: eur(1)}); e != nil || fault.CodeOf(err) != fault.FailedPrecondition {
		t.Errorf("a capture during a void: %v, %v", e, err)
	}
	s = must(t, s, Void{At: at("10:00:09")})
	if s.Captured != eur(400) || s.Voiding || !s.DueAt.IsZero() {
		t.Errorf("after voiding the rest: %+v", s)
	}
	if e, err := Decide(s, Capture{CaptureID: "a", Amount: eur(400)}); e != nil || err != nil {
		t.Errorf("a repeated capture after a void: %v, %v", e, err)
	}
}

func TestTokens(t *testing.T) {
	s := must(t, State{}, createCommand())
	s = must(t, s, Process{At: at("10:00:01")})
	s = must(t, s, RequireAction{Action: "confirm in the app", DueAt: at("10:15:00"), At: at("10:00:02")})
	if s.Action == "" || string(s.Token) != "token" || s.DueAt != at("10:15:00") {
		t.Fatalf("waiting: %+v", s)
	}
	voiding := must(t, s, VoidIntent{At: at("10:00:03")})
	if e, err := Decide(voiding, Process{Token: []byte("late")}); e != nil || fault.CodeOf(err) != fault.FailedPrecondition {
		t.Errorf("an authorization during a void: %v, %v", e, err)
	}
	s = must(t, s, Process{Token: []byte("other"), TokenHint: "ther", DueAt: at("10:00:09"), At: at("10:00:04")})
	if s.Action != "" || string(s.Token) != "other" || s.TokenHint != "ther" || s.DueAt != at("10:00:09") {
		t.Fatalf("resumed: %+v", s)
	}
	s = must(t, s, Authorize{At: at("10:00:05")})
	if s.Token != nil || s.TokenHint != "ther" || s.Authorized != eur(1000) || !s.DueAt.IsZero() {
		t.Fatalf("authorized: %+v", s)
	}
}

func TestCreateRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Create)
		field  string
	}{
		"no id":             {func(c *Create) { c.PaymentID = "" }, "payment_id"},
		"no method":         {func(c *Create) { c.Method = "barter" }, "method"},
		"a negative amount": {func(c *Create) { c.Amount = eur(-1) }, "amount"},
		"no currency":       {func(c *Create) { c.Amount = money.Money{} }, "amount"},
	} {
		cmd := createCommand()
		c.change(&cmd)
		e, err := Decide(State{}, cmd)
		if f := fault.From(err); e != nil || f == nil || f.Code != fault.InvalidArgument || f.Field != c.field {
			t.Errorf("%s: %v, %v", name, e, err)
		}
	}
	if _, err := Decide(State{}, nil); err == nil {
		t.Error("no command at all was decided")
	}
}

// TestNothing: a payment of nothing is captured once like any other.
func TestNothing(t *testing.T) {
	c := createCommand()
	c.Amount = eur(0)
	s := must(t, must(t, must(t, State{}, c), Process{}), Authorize{})
	s = must(t, s, CaptureIntent{CaptureID: "a", Amount: eur(0)})
	if e, err := Decide(s, CaptureIntent{CaptureID: "b", Amount: eur(0)}); e != nil || fault.CodeOf(err) != fault.FailedPrecondition {
		t.Errorf("a second capture of nothing: %v, %v", e, err)
	}
	if s = must(t, s, Capture{CaptureID: "a", Amount: eur(0)}); s.Status != StatusCaptured {
		t.Errorf("captured: %+v", s)
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

// TestNoAliasing: two futures of one payment don't write into each other.
func TestNoAliasing(t *testing.T) {
	s := inStatus(StatusAuthorized, Card, pendingNone)
	s.Captures = make([]CaptureEntry, 0, 8) // with room to write into
	one, other := must(t, s, CaptureIntent{CaptureID: "a", Amount: eur(1)}), must(t, s, CaptureIntent{CaptureID: "b", Amount: eur(2)})
	if one.Captures[0].CaptureID != "a" || other.Captures[0].CaptureID != "b" {
		t.Errorf("%+v and %+v", one, other)
	}
	r := refundIn(RefundStatusSettled)
	r.Refunds = append(make([]Refund, 0, 8), r.Refunds...)
	first, err1 := ApplyRefund(r, RefundPending{PaymentID: "o-1-pay", RefundID: "r-2", Amount: eur(1)})
	second, err2 := ApplyRefund(r, RefundPending{PaymentID: "o-1-pay", RefundID: "r-3", Amount: eur(2)})
	if err1 != nil || err2 != nil || first.Refunds[1].RefundID != "r-2" || second.Refunds[1].RefundID != "r-3" {
		t.Errorf("%+v, %v and %+v, %v", first, err1, second, err2)
	}
}

// TestDueWhileOpen: a due time stays exactly as long as something is open.
func TestDueWhileOpen(t *testing.T) {
	s := inStatus(StatusUnknown, Card, pendingNone)
	s = must(t, s, VoidIntent{DueAt: at("10:00:09"), At: at("10:00:04")})
	if s = must(t, s, Authorize{At: at("10:00:05")}); s.DueAt != at("10:00:09") || !s.Voiding {
		t.Errorf("authorized while being voided: %+v", s)
	}
	if s = must(t, s, Void{At: at("10:00:06")}); !s.DueAt.IsZero() {
		t.Errorf("voided: %+v", s)
	}
	s = inStatus(StatusAuthorized, Card, pendingNone)
	s = must(t, s, CaptureIntent{CaptureID: "a", Amount: eur(1), DueAt: at("10:00:09")})
	s = must(t, s, CaptureIntent{CaptureID: "b", Amount: eur(2), DueAt: at("10:00:10")})
	if s = must(t, s, Capture{CaptureID: "a", Amount: eur(1)}); s.DueAt != at("10:00:10") {
		t.Errorf("one of two captured: %+v", s)
	}
	if s = must(t, s, Capture{CaptureID: "b", Amount: eur(2)}); !s.DueAt.IsZero() {
		t.Errorf("both captured: %+v", s)
	}
}
