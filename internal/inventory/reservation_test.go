package inventory

import (
	"strings"
	"testing"

	"waybill/internal/fault"
	"waybill/internal/id"
)

// bookIn is a book with 10 each of a and b, and the reservation r-1 of 2 a and 1 b in the status; one that has ended is
// what the journal has of it. In partially_consumed one a has left with s-1.
func bookIn(t testing.TB, status Status) (*Book, *Reservation) {
	t.Helper()
	lines := []Line{{"a", 2}, {"b", 1}}
	history := []Event{Received{SKU: "a", Quantity: 10, Reference: "in"}, Received{SKU: "b", Quantity: 10, Reference: "in"}}
	if status != "" {
		history = append(history, Held{ReservationID: "r-1", Lines: lines, ExpiresAt: at("10:15:00"), At: at("10:00:00")})
	}
	switch status {
	case StatusCommitted:
		history = append(history, Committed{ReservationID: "r-1"})
	case StatusPartiallyConsumed:
		history = append(history, Consumed{ReservationID: "r-1", ShipmentID: "s-1", Lines: []Line{{"a", 1}}})
	case StatusConsumed:
		history = append(history, Consumed{ReservationID: "r-1", ShipmentID: "s-1", Lines: lines})
	case StatusReleased:
		history = append(history, Released{ReservationID: "r-1", Lines: lines})
	case StatusExpired:
		history = append(history, Expired{ReservationID: "r-1", Lines: lines})
	}
	b := NewBook()
	var last any
	for _, e := range history {
		var err error
		if last, err = b.After(e); err != nil {
			t.Fatal(err)
		}
		if err := b.Apply(e); err != nil {
			t.Fatal(err)
		}
	}
	if r, ok := last.(Reservation); ok && !r.Status.Live() {
		return b, &r
	}
	return b, nil
}

func twoAndOne() []Line { return []Line{{"b", 1}, {"a", 1}, {"a", 1}} }

// left is what the reservation r-1 still holds, or what it would if it did.
func left(b *Book) []Line {
	if r, ok := b.Reservation("r-1"); ok {
		return r.Left()
	}
	return twoAndOne()
}

func with(c Command) func(*Book) Command { return func(*Book) Command { return c } }

// cells is the machine of a reservation, cell by cell: for each command and each status (∅ and those of Statuses, in that
// order) whether its event follows (+), it has already happened (=), it is refused as failed_precondition (-), the
// reservation is not found (?), or the id is taken (!). An empty to is an event that leaves the status.
var cells = []struct {
	name    string
	command func(*Book) Command
	event   EventType
	to      Status
	cells   string // ∅ held committed partially_consumed consumed released expired
}{
	{"hold", with(Hold{ReservationID: "r-1", Lines: twoAndOne()}), TypeHeld, StatusHeld, "+ = = = = = ="},
	{"hold others", with(Hold{ReservationID: "r-1", Lines: []Line{{"a", 2}}}), TypeHeld, StatusHeld, "+ ! ! ! ! ! !"},
	{"extend", with(Extend{ReservationID: "r-1", ExpiresAt: at("10:30:00")}), TypeExtended, "", "? + - - - - -"},
	{"commit", with(Commit{ReservationID: "r-1"}), TypeCommitted, StatusCommitted, "? + = - - - -"},
	{"release", with(Release{ReservationID: "r-1"}), TypeReleased, StatusReleased, "? + + + - = ="},
	{"end", with(End{ReservationID: "r-1", Lines: twoAndOne()}), TypeReleased, StatusReleased, "+ + + - - = ="},
	{"expire", with(Expire{ReservationID: "r-1", At: at("10:15:00")}), TypeExpired, StatusExpired, "? + - - - - ="},
	{"consume a part", with(Consume{ReservationID: "r-1", ShipmentID: "s-2", Lines: []Line{{"a", 1}}}), TypeConsumed, StatusPartiallyConsumed, "? + + + - - -"},
	{"consume all", func(b *Book) Command { return Consume{ReservationID: "r-1", ShipmentID: "s-2", Lines: left(b)} }, TypeConsumed, StatusConsumed, "? + + + - - -"},
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
			b, stored := bookIn(t, from)
			e, err := b.Decide(row.command(b), stored)
			wantCode := map[string]fault.Code{"-": fault.FailedPrecondition, "?": fault.NotFound, "!": fault.AlreadyExists}[marks[i]]
			switch {
			case fault.CodeOf(err) != wantCode:
				t.Errorf("%s from %q: %v, want code %q", row.name, from, err, wantCode)
			case marks[i] == "-" && row.event != TypeConsumed && (!strings.Contains(err.Error(), string(from)) || !strings.Contains(err.Error(), string(row.to))):
				t.Errorf("%s from %q: %q does not name both statuses", row.name, from, err)
			case marks[i] != "+" && e != nil, marks[i] == "+" && (e == nil || e.Type() != row.event):
				t.Errorf("%s from %q: event %v, want %s %s", row.name, from, e, marks[i], row.event)
			case marks[i] == "+":
				after, err := b.After(e)
				to := row.to
				if to == "" {
					to = from
				}
				if r, _ := after.(Reservation); err != nil || r.Status != to {
					t.Errorf("%s from %q: %q, %v, want %q", row.name, from, r.Status, err, to)
				}
				if err := b.Apply(e); err != nil {
					t.Errorf("%s from %q: %v", row.name, from, err)
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

// TestApplyImpossible: every event from every status is possible exactly where some command leads to it.
func TestApplyImpossible(t *testing.T) {
	lines := []Line{{"a", 2}, {"b", 1}}
	for _, from := range append([]Status{""}, Statuses...) {
		b, stored := bookIn(t, from)
		r, _ := b.Reservation("r-1")
		if stored != nil {
			r = *stored
		}
		for _, c := range []struct {
			event Event
			ok    bool
		}{
			{Held{ReservationID: "r-1", Lines: lines}, from == ""},
			{Held{ReservationID: "r-1"}, false},
			{Held{ReservationID: "r-1", Lines: []Line{{"b", 1}, {"a", 1}}}, false},
			{Held{ReservationID: "r-1", Lines: []Line{{"a", -1}}}, false},
			{Extended{ReservationID: "r-1", ExpiresAt: at("10:30:00")}, from == StatusHeld},
			{Extended{ReservationID: "r-1", ExpiresAt: at("10:10:00")}, false},
			{Committed{ReservationID: "r-1"}, Allowed(from, StatusCommitted)},
			{Committed{ReservationID: "r-2"}, false},
			{Released{ReservationID: "r-1", Lines: r.Left()}, from.Live()},
			{Released{ReservationID: "r-1", Lines: []Line{{"a", 9}}}, false},
			{Released{ReservationID: "r-1", Lines: lines, BeforeHold: true}, from == ""},
			{Expired{ReservationID: "r-1", Lines: lines}, from == StatusHeld},
			{Expired{ReservationID: "r-1"}, false},
			{Consumed{ReservationID: "r-1", ShipmentID: "s-2", Lines: []Line{{"a", 1}}}, from.Live()},
			{Consumed{ReservationID: "r-1", ShipmentID: "s-2", Lines: []Line{{"a", 3}}}, false},
			{Consumed{ReservationID: "r-1", ShipmentID: "s-2", Lines: []Line{{"c", 1}}}, false},
			{Consumed{ReservationID: "r-1", ShipmentID: "s-2"}, false},
			{Consumed{ReservationID: "r-1", ShipmentID: "s-1", Lines: []Line{{"a", 1}}}, from == StatusHeld || from == StatusCommitted},
			{Received{SKU: "a", Quantity: 1, Reference: "x"}, false},
		} {
			if _, err := Apply(r, c.event); (err == nil) != c.ok || err != nil && fault.CodeOf(err) != fault.Internal {
				t.Errorf("%+v from %q: %v, want possible %v", c.event, from, err, c.ok)
			}
		}
	}
}

func TestConsumeOnce(t *testing.T) {
	for _, from := range []Status{StatusPartiallyConsumed, StatusConsumed} {
		b, stored := bookIn(t, from)
		lines := []Line{{"a", 1}}
		if from == StatusConsumed {
			lines = twoAndOne()
		}
		for name, c := range map[string]struct {
			command Consume
			code    fault.Code
		}{
			"again":       {Consume{ReservationID: "r-1", ShipmentID: "s-1", Lines: lines}, ""},
			"other lines": {Consume{ReservationID: "r-1", ShipmentID: "s-1", Lines: []Line{{"b", 1}}}, fault.AlreadyExists},
			"too much":    {Consume{ReservationID: "r-1", ShipmentID: "s-2", Lines: []Line{{"a", 2}}}, fault.FailedPrecondition},
			"not held":    {Consume{ReservationID: "r-1", ShipmentID: "s-2", Lines: []Line{{"c", 1}}}, fault.FailedPrecondition},
			"no shipment": {Consume{ReservationID: "r-1", Lines: lines}, fault.InvalidArgument},
			"no lines":    {Consume{ReservationID: "r-1", ShipmentID: "s-2"}, fault.InvalidArgument},
		} {
			if e, err := b.Decide(c.command, stored); e != nil || fault.CodeOf(err) != c.code {
				t.Errorf("%s from %s: %v, %v, want %q", name, from, e, err, c.code)
			}
		}
	}
	b, stored := bookIn(t, StatusConsumed)
	if _, err := b.Decide(Release{ReservationID: "r-1"}, stored); err == nil || !strings.Contains(err.Error(), "consumed") {
		t.Errorf("release of a consumed one: %v", err)
	}
}

func TestTimeLimits(t *testing.T) {
	b, _ := bookIn(t, StatusHeld)
	for name, c := range map[string]struct {
		command Command
		code    fault.Code
	}{
		"expire too early":       {Expire{ReservationID: "r-1", At: at("10:14:59.999")}, fault.FailedPrecondition},
		"extend to the same":     {Extend{ReservationID: "r-1", ExpiresAt: at("10:15:00")}, ""},
		"shorten":                {Extend{ReservationID: "r-1", ExpiresAt: at("10:14:00")}, fault.FailedPrecondition},
		"hold of no length":      {Hold{ReservationID: "r-2", Lines: twoAndOne(), ExpiresAt: at("10:00:00"), At: at("10:00:00")}, fault.InvalidArgument},
		"hold of a bad id":       {Hold{ReservationID: "r.2", Lines: twoAndOne()}, fault.InvalidArgument},
		"hold of no lines":       {Hold{ReservationID: "r-2"}, fault.InvalidArgument},
		"end with a bad line":    {End{ReservationID: "r-2", Lines: []Line{{"a", 0}}}, fault.InvalidArgument},
		"end of a bad id":        {End{ReservationID: "r 2"}, fault.InvalidArgument},
		"expire of a bad id":     {Expire{ReservationID: ""}, fault.InvalidArgument},
		"no command at all":      {nil, fault.Internal},
		"release of an unknown":  {Release{ReservationID: "r-2"}, fault.NotFound},
		"consume from an absent": {Consume{ReservationID: "r-2", ShipmentID: "s-1", Lines: twoAndOne()}, fault.NotFound},
	} {
		if e, err := b.Decide(c.command, nil); e != nil || fault.CodeOf(err) != c.code {
			t.Errorf("%s: %v, %v, want %q", name, e, err, c.code)
		}
	}
	e := must(t, b, Extend{ReservationID: "r-1"}, nil)
	if _, _, limited := b.NextExpiry(); limited || !e.(Extended).ExpiresAt.IsZero() {
		t.Errorf("the limit was not taken away: %+v", e)
	}
	if e, err := b.Decide(Extend{ReservationID: "r-1"}, nil); e != nil || err != nil {
		t.Errorf("taken away again: %v, %v", e, err)
	}
	if e, err := b.Decide(Extend{ReservationID: "r-1", ExpiresAt: at("11:00:00")}, nil); e != nil || fault.CodeOf(err) != fault.FailedPrecondition {
		t.Errorf("a limit on one without: %v, %v", e, err)
	}
	if e, err := b.Decide(Expire{ReservationID: "r-1", At: at("23:00:00")}, nil); e != nil || fault.CodeOf(err) != fault.FailedPrecondition {
		t.Errorf("expiry of one without: %v, %v", e, err)
	}
}

// TestEndOutrunsHold: cancelling before the hold has come leaves nothing that the hold could keep.
func TestEndOutrunsHold(t *testing.T) {
	b, _ := bookIn(t, "")
	end := End{ReservationID: "r-1", Lines: twoAndOne(), At: at("10:00:00")}
	e, err := b.Decide(end, nil)
	if err != nil {
		t.Fatal(err)
	}
	after, err := b.After(e)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Apply(e); err != nil {
		t.Fatal(err)
	}
	tombstone := after.(Reservation)
	if _, live := b.Reservation("r-1"); live || tombstone.Status != StatusReleased {
		t.Fatalf("tombstone %+v, live %v", tombstone, live)
	}
	for name, c := range map[string]struct {
		command Command
		code    fault.Code
	}{
		"the late hold": {Hold{ReservationID: "r-1", Lines: twoAndOne()}, ""},
		"another hold":  {Hold{ReservationID: "r-1", Lines: []Line{{"a", 1}}}, fault.AlreadyExists},
		"end again":     {end, ""},
		"commit":        {Commit{ReservationID: "r-1"}, fault.FailedPrecondition},
	} {
		if e, err := b.Decide(c.command, &tombstone); e != nil || fault.CodeOf(err) != c.code {
			t.Errorf("%s: %v, %v, want %q", name, e, err, c.code)
		}
	}
	if s, _ := b.Stock("a"); s.Reserved != 0 {
		t.Errorf("after all that %+v", s)
	}
	if e := must(t, b, End{ReservationID: "r-3"}, nil); len(e.(Released).Lines) != 0 {
		t.Errorf("a tombstone of nothing: %+v", e)
	}
}

// TestStoredMustHaveEnded: a book that lacks what the journal has as live is not to be trusted.
func TestStoredMustHaveEnded(t *testing.T) {
	b, _ := bookIn(t, "")
	for _, stored := range []Reservation{{ReservationID: "r-1", Status: StatusHeld}, {ReservationID: "r-2", Status: StatusReleased}} {
		if e, err := b.Decide(Release{ReservationID: id.Reservation("r-1")}, &stored); e != nil || fault.CodeOf(err) != fault.Internal {
			t.Errorf("%+v: %v, %v", stored, e, err)
		}
	}
}

func must(t *testing.T, b *Book, c Command, stored *Reservation) Event {
	t.Helper()
	e, err := b.Decide(c, stored)
	if err != nil || e == nil {
		t.Fatalf("%T: %v, %v", c, e, err)
	}
	if err := b.Apply(e); err != nil {
		t.Fatal(err)
	}
	return e
}

// TestNoAliasing: two futures of one reservation don't write into each other.
func TestNoAliasing(t *testing.T) {
	b, _ := bookIn(t, StatusPartiallyConsumed)
	r, _ := b.Reservation("r-1")
	r.Consumptions = append(make([]Consumption, 0, 8), r.Consumptions...) // with room to write into
	one, err1 := Apply(r, Consumed{ReservationID: "r-1", ShipmentID: "s-2", Lines: []Line{{"a", 1}}})
	other, err2 := Apply(r, Consumed{ReservationID: "r-1", ShipmentID: "s-3", Lines: []Line{{"b", 1}}})
	if err1 != nil || err2 != nil || one.Consumptions[1].ShipmentID != "s-2" || other.Consumptions[1].ShipmentID != "s-3" {
		t.Errorf("%+v, %v and %+v, %v", one, err1, other, err2)
	}
}
