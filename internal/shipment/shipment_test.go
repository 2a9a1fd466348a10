package shipment

import (
	"strings"
	"testing"

	"waybill/internal/fault"
	"waybill/internal/id"
	"waybill/internal/money"
)

func lines() []Line { return []Line{{"a", 3, eur(100)}, {"b", 1, eur(50)}} }

// inStatus is a shipment that stands in the status, whether or not its fulfilment could have brought it there.
func inStatus(status Status, f Fulfilment) State {
	if status == "" {
		return State{}
	}
	s := State{ShipmentID: "s-1", OrderID: "o-1", Status: status, Fulfilment: f, Lines: lines(), Amount: eur(150), CreatedAt: at("10:00:00"), UpdatedAt: at("10:00:00")}
	if status == StatusBooked || status == StatusDispatched || status == StatusDeliveryFailed {
		s.Carrier, s.Tracking = "Pigeon", "P-17"
	}
	return s
}

func planCommand() Plan {
	return Plan{ShipmentID: "s-1", OrderID: "o-1", Fulfilment: Ship, Lines: lines(), At: at("10:00:00")}
}

// cells is the machine, cell by cell: for each command and each status (∅ and those of Statuses, in that order) whether its
// event follows (+), it has already happened (=), it is refused as failed_precondition (-), the shipment is not found (?), or
// the id is taken (!).
var cells = []struct {
	name       string
	fulfilment Fulfilment
	command    Command
	event      EventType
	to         Status
	cells      string // ∅ pending booked preparing ready dispatched delivery_failed delivered returned cancelled
}{
	{"plan", Ship, planCommand(), TypePlanned, StatusPending, "+ = = = = = = = = ="},
	{"plan another", Ship, func() Plan { p := planCommand(); p.Lines = p.Lines[:1]; return p }(), TypePlanned, StatusPending, "+ ! ! ! ! ! ! ! ! !"},
	{"book", Ship, Book{Carrier: "Pigeon", Tracking: "P-17"}, TypeBooked, StatusBooked, "? + = - - - - - - -"},
	{"book another", Ship, Book{Carrier: "Crow"}, TypeBooked, StatusBooked, "? + ! - - - - - - -"},
	{"book a pickup", Pickup, Book{Carrier: "Pigeon", Tracking: "P-17"}, TypeBooked, StatusBooked, "? - = - - - - - - -"},
	{"prepare", Pickup, Prepare{}, TypePreparing, StatusPreparing, "? + - = - - - - - -"},
	{"prepare to ship", Ship, Prepare{}, TypePreparing, StatusPreparing, "? - - = - - - - - -"},
	{"ready", Pickup, Ready{}, TypeReady, StatusReady, "? - - + = - - - - -"},
	{"dispatch", Ship, Dispatch{}, TypeDispatched, StatusDispatched, "? - + - - = + - - -"},
	{"deliver", Ship, Deliver{}, TypeDelivered, StatusDelivered, "? - - - + + - = - -"},
	{"fail", Ship, Fail{Reason: "nobody at home"}, TypeDeliveryFailed, StatusDeliveryFailed, "? - - - - + = - - -"},
	{"return", Ship, Return{Reason: "nobody at home"}, TypeReturned, StatusReturned, "? - - - - - + - = -"},
	{"cancel", Ship, Cancel{Reason: "changed my mind"}, TypeCancelled, StatusCancelled, "? + + + + - - - - ="},
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
			s := inStatus(from, row.fulfilment)
			e, err := Decide(s, row.command)
			wantCode := map[string]fault.Code{"-": fault.FailedPrecondition, "?": fault.NotFound, "!": fault.AlreadyExists}[marks[i]]
			switch {
			case fault.CodeOf(err) != wantCode:
				t.Errorf("%s from %q: %v, want code %q", row.name, from, err, wantCode)
			case marks[i] == "-" && (!strings.Contains(err.Error(), string(from)) || !strings.Contains(err.Error(), string(row.to))):
				t.Errorf("%s from %q: %q does not name both statuses", row.name, from, err)
			case marks[i] != "+" && e != nil, marks[i] == "+" && (e == nil || e.Type() != row.event):
				t.Errorf("%s from %q: event %v, want %s %s", row.name, from, e, marks[i], row.event)
			case marks[i] == "+":
				n, err := Apply(s, e)
				if err != nil || n.Status != row.to {
					t.Errorf("%s from %q: %q, %v, want %q", row.name, from, n.Status, err, row.to)
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
			if from.Final() && Allowed(from, to) {
				t.Errorf("%s is final, and leads to %s", from, to)
			}
		}
		_, _, err := DecideSplit(inStatus(from, Ship), Split{Lines: []Line{{SKU: "a", Quantity: 1}}, NewID: "s-2"})
		want := fault.FailedPrecondition
		switch from {
		case "":
			want = fault.NotFound
		case StatusPending:
			want = ""
		}
		if fault.CodeOf(err) != want {
			t.Errorf("split of %q: %v, want code %q", from, err, want)
		}
	}
}

// TestApplyImpossible: every event from every status is possible exactly where some command leads to it.
func TestApplyImpossible(t *testing.T) {
	to := map[EventType]Status{TypeBooked: StatusBooked, TypePreparing: StatusPreparing, TypeReady: StatusReady, TypeDispatched: StatusDispatched,
		TypeDeliveryFailed: StatusDeliveryFailed, TypeDelivered: StatusDelivered, TypeReturned: StatusReturned, TypeCancelled: StatusCancelled}
	for _, f := range []Fulfilment{Ship, Pickup} {
		for _, from := range append([]Status{""}, Statuses...) {
			for _, e := range samples[1:] {
				want := Allowed(from, to[e.Type()]) && (f == Ship || e.Type() != TypeBooked) && (f == Pickup || e.Type() != TypePreparing)
				if _, err := Apply(inStatus(from, f), e); (err == nil) != want || err != nil && fault.CodeOf(err) != fault.Internal {
					t.Errorf("%s from %q: %v, want possible %v", e.Type(), from, err, want)
				}
			}
		}
	}
	pending := inStatus(StatusPending, Ship)
	reduced := func(l ...Line) Planned {
		return Planned{ShipmentID: "s-1", OrderID: "o-1", Fulfilment: Ship, Lines: l, SplitInto: "s-2"}
	}
	if _, err := Apply(pending, reduced(Line{"a", 3, eur(100)})); err != nil {
		t.Errorf("a proper split: %v", err)
	}
	for name, c := range map[string]struct {
		state State
		event Event
	}{
		"no event":             {pending, nil},
		"planned twice":        {pending, Planned{ShipmentID: "s-1", Lines: lines()}},
		"begun by a split":     {State{}, reduced(lines()...)},
		"no lines":             {State{}, Planned{ShipmentID: "s-1"}},
		"two currencies":       {State{}, Planned{ShipmentID: "s-1", Lines: []Line{{"a", 1, eur(1)}, {"b", 1, money.Of(1, "USD")}}}},
		"split when booked":    {inStatus(StatusBooked, Ship), reduced(Line{"a", 3, eur(100)})},
		"nothing split off":    {pending, reduced(lines()...)},
		"nothing left":         {pending, reduced()},
		"units made":           {pending, reduced(Line{"a", 4, eur(100)})},
		"money made":           {pending, reduced(Line{"a", 2, eur(101)})},
		"money kept, no units": {pending, reduced(Line{"a", 3, eur(99)}, Line{"b", 1, eur(50)})},
		"currency changed":     {pending, reduced(Line{"a", 2, money.Of(60, "USD")})},
		"a SKU made":           {pending, reduced(Line{"c", 1, eur(1)})},
		"another's split":      {pending, Planned{ShipmentID: "s-9", Lines: []Line{{"a", 3, eur(100)}}, SplitInto: "s-2"}},
	} {
		if _, err := Apply(c.state, c.event); fault.CodeOf(err) != fault.Internal {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestCarrierAndReason(t *testing.T) {
	s := inStatus(StatusBooked, Ship)
	s = must(t, s, Dispatch{Tracking: "P-18", At: at("11:00:00")})
	if s.Carrier != "Pigeon" || s.Tracking != "P-18" || s.UpdatedAt != at("11:00:00") {
		t.Errorf("dispatched: %+v", s)
	}
	s = must(t, s, Fail{Reason: "nobody at home", At: at("12:00:00")})
	if s.Reason != "nobody at home" {
		t.Errorf("failed: %+v", s)
	}
	if again := must(t, s, Dispatch{Carrier: "Crow", At: at("13:00:00")}); again.Reason != "" || again.Carrier != "Crow" || again.Tracking != "P-18" {
		t.Errorf("sent again: %+v", again)
	}
	if back := must(t, s, Return{Reason: "given up", At: at("13:00:00")}); back.Reason != "given up" || back.Amount != eur(150) {
		t.Errorf("returned: %+v", back)
	}
}

func TestPlanRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Plan)
		field  string
	}{
		"no id":           {func(p *Plan) { p.ShipmentID = "" }, "shipment_id"},
		"no fulfilment":   {func(p *Plan) { p.Fulfilment = "" }, "fulfilment"},
		"no lines":        {func(p *Plan) { p.Lines = nil }, "lines"},
		"too many":        {func(p *Plan) { p.Lines = make([]Line, MaxLines+1) }, "lines"},
		"no quantity":     {func(p *Plan) { p.Lines[1].Quantity = 0 }, "lines[1].quantity"},
		"twice the SKU":   {func(p *Plan) { p.Lines[1].SKU = "a" }, "lines[1].sku"},
		"negative amount": {func(p *Plan) { p.Lines[1].Amount = eur(-1) }, "lines[1].amount"},
		"two currencies":  {func(p *Plan) { p.Lines[1].Amount = money.Of(1, "USD") }, "lines"},
		"too much":        {func(p *Plan) { p.Lines[1].Amount = eur(money.Max) }, "lines"},
	} {
		p := planCommand()
		c.change(&p)
		e, err := Decide(State{}, p)
		if f := fault.From(err); e != nil || f == nil || f.Code != fault.InvalidArgument || f.Field != c.field {
			t.Errorf("%s: %v, %v", name, e, err)
		}
	}
	if _, err := Decide(State{}, nil); err == nil {
		t.Error("no command at all was decided")
	}
}

func TestSplit(t *testing.T) {
	s := inStatus(StatusPending, Ship)
	split := Split{Lines: []Line{{SKU: "a", Quantity: 1}, {SKU: "b", Quantity: 1}}, NewID: "s-2", Key: "k-1", At: at("10:05:00")}
	pe, ce, err := DecideSplit(s, split)
	if err != nil {
		t.Fatal(err)
	}
	parent, err := Apply(s, pe)
	if err != nil {
		t.Fatal(err)
	}
	child, err := Apply(State{}, ce)
	if err != nil {
		t.Fatal(err)
	}
	if len(parent.Lines) != 1 || parent.Lines[0] != (Line{"a", 2, eur(67)}) || parent.Amount != eur(67) || parent.Children[0] != "s-2" || parent.Status != StatusPending {
		t.Errorf("parent %+v", parent)
	}
	if len(child.Lines) != 2 || child.Lines[0] != (Line{"a", 1, eur(33)}) || child.Lines[1] != (Line{"b", 1, eur(50)}) || child.Amount != eur(83) ||
		child.Parent != "s-1" || child.ShipmentID != "s-2" || child.OrderID != "o-1" || child.Fulfilment != Ship {
		t.Errorf("child %+v", child)
	}
	if known, ok := parent.Split("k-1"); !ok || known.Child != "s-2" {
		t.Errorf("the split is remembered as %+v, %v", known, ok)
	}
	if e, err := Decide(parent, planCommand()); e != nil || err != nil {
		t.Errorf("planned again after a split: %v, %v", e, err)
	}
	one := func(quantity int64) []Line { return []Line{{SKU: "a", Quantity: quantity}} }
	for name, c := range map[string]struct {
		split Split
		code  fault.Code
	}{
		"again":               {Split{Lines: []Line{{SKU: "b", Quantity: 1}, {SKU: "a", Quantity: 1}}, NewID: "s-3", Key: "k-1"}, ""},
		"other lines":         {Split{Lines: one(1), NewID: "s-3", Key: "k-1"}, fault.AlreadyExists},
		"more lines":          {Split{Lines: []Line{{SKU: "a", Quantity: 1}, {SKU: "b", Quantity: 1}, {SKU: "c", Quantity: 1}}, NewID: "s-3", Key: "k-1"}, fault.AlreadyExists},
		"the child's id":      {Split{Lines: one(1), NewID: "s-2"}, fault.AlreadyExists},
		"its own id":          {Split{Lines: one(1), NewID: "s-1"}, fault.AlreadyExists},
		"no id":               {Split{Lines: one(1)}, fault.InvalidArgument},
		"nothing":             {Split{NewID: "s-3"}, fault.InvalidArgument},
		"a negative quantity": {Split{Lines: one(-1), NewID: "s-3"}, fault.InvalidArgument},
		"all of it":           {Split{Lines: one(2), NewID: "s-3"}, fault.FailedPrecondition},
		"more than there is":  {Split{Lines: []Line{{SKU: "a", Quantity: 2}, {SKU: "a", Quantity: 1}}, NewID: "s-3"}, fault.FailedPrecondition},
		"what is not in it":   {Split{Lines: []Line{{SKU: "c", Quantity: 1}}, NewID: "s-3"}, fault.FailedPrecondition},
	} {
		pe, ce, err := DecideSplit(parent, c.split)
		if pe != nil || ce != nil || fault.CodeOf(err) != c.code {
			t.Errorf("%s: %v, %v, %v, want %q", name, pe, ce, err, c.code)
		}
	}
	for range MaxSplits {
		parent.Children = append(parent.Children, "x")
	}
	if _, _, err := DecideSplit(parent, Split{Lines: one(1), NewID: "s-3"}); fault.CodeOf(err) != fault.ResourceExhausted {
		t.Errorf("one more than the most: %v", err)
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

// TestNoAliasing: two futures of one shipment don't write into each other.
func TestNoAliasing(t *testing.T) {
	s := inStatus(StatusPending, Ship)
	s.Children, s.SplitKeys = make([]id.Shipment, 0, 8), make([]SplitKey, 0, 8) // with room to write into
	split := func(child id.Shipment, key string) State {
		pe, _, err := DecideSplit(s, Split{Lines: []Line{{SKU: "a", Quantity: 1}}, NewID: child, Key: key})
		if err != nil {
			t.Fatal(err)
		}
		n, err := Apply(s, pe)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	one, other := split("s-2", "k-2"), split("s-3", "k-3")
	if one.Children[0] != "s-2" || one.SplitKeys[0].Key != "k-2" || other.Children[0] != "s-3" || other.SplitKeys[0].Key != "k-3" {
		t.Errorf("%+v and %+v", one, other)
	}
}
