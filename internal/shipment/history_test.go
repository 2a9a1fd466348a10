package shipment

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"pgregory.net/rapid"

	"waybill/internal/id"
	"waybill/internal/timestamp"
)

// TestHistories drives random commands and splits over a growing family of shipments. The model is what was planned: at
// every moment the units and amounts of all shipments together are those.
func TestHistories(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		family := map[id.Shipment]State{}
		now := at("10:00:00")
		plan := drawPlan(t, now)
		e, err := Decide(State{}, plan)
		if err != nil {
			t.Fatal(err)
		}
		family["s-1"] = step(t, State{}, e)
		for i := range rapid.IntRange(1, 40).Draw(t, "steps") {
			now = now.Add(time.Second)
			s := family[rapid.SampledFrom(slices.Sorted(maps.Keys(family))).Draw(t, "shipment")]
			if rapid.Bool().Draw(t, "split") {
				split(t, family, s, i, now)
			} else {
				c := drawCommand(t, now)
				e, err := Decide(s, c)
				if e == nil {
					continue
				}
				n := step(t, s, e)
				if again, err := Decide(n, c); again != nil || err != nil {
					t.Fatalf("%T again: %v, %v", c, again, err)
				}
				if err != nil || !Allowed(s.Status, n.Status) {
					t.Fatalf("%T took the shipment from %q to %q, %v", e, s.Status, n.Status, err)
				}
				family[n.ShipmentID] = n
			}
			conserved(t, family, plan)
		}
	})
}

func split(t *rapid.T, family map[id.Shipment]State, s State, i int, now timestamp.Time) {
	c := Split{NewID: id.Shipment(fmt.Sprintf("s-%d", i+2)), At: now}
	if rapid.Bool().Draw(t, "keyed") {
		c.Key = fmt.Sprintf("key-%d", i)
	}
	for _, l := range s.Lines {
		if n := rapid.Int64Range(0, l.Quantity).Draw(t, "take"); n > 0 {
			c.Lines = append(c.Lines, Line{SKU: l.SKU, Quantity: n})
		}
	}
	pe, ce, err := DecideSplit(s, c)
	if (pe == nil) != (ce == nil) || (pe == nil) != (err != nil) {
		t.Fatalf("%+v of %+v: %v, %v, %v", c, s, pe, ce, err)
	}
	if pe == nil {
		return
	}
	parent, child := step(t, s, pe), step(t, State{}, ce)
	if parent.Status != StatusPending || child.Status != StatusPending || child.Parent != s.ShipmentID || !slices.Contains(parent.Children, child.ShipmentID) {
		t.Fatalf("split into %+v and %+v", parent, child)
	}
	for _, l := range child.Lines {
		whole := s.Lines[slices.IndexFunc(s.Lines, func(w Line) bool { return w.SKU == l.SKU })]
		if share := whole.Amount.Amount * l.Quantity / whole.Quantity; l.Amount.Amount != share {
			t.Fatalf("%d of %+v cost %s, not the share of %d rounded down", l.Quantity, whole, l.Amount, share)
		}
	}
	if c.Key != "" {
		if pe, ce, err := DecideSplit(parent, c); pe != nil || ce != nil || err != nil {
			t.Fatalf("split again: %v, %v, %v", pe, ce, err)
		}
	}
	family[parent.ShipmentID], family[child.ShipmentID] = parent, child
}

// step applies an event, also by way of JSON, and checks that the state before was left alone.
func step(t *rapid.T, s State, e Event) State {
	before := mustJSON(t, s)
	n, err := Apply(s, e)
	if err != nil {
		t.Fatalf("what was decided can't be applied: %v", err)
	}
	if after := mustJSON(t, s); before != after {
		t.Fatalf("the state before was written to:\n%s\n%s", before, after)
	}
	var s2 State
	if err := json.Unmarshal([]byte(before), &s2); err != nil {
		t.Fatal(err)
	}
	e2, err := Decode(e.Type(), []byte(mustJSON(t, e)))
	if err != nil {
		t.Fatal(err)
	}
	n2, err := Apply(s2, e2)
	if err != nil || !reflect.DeepEqual(n, n2) {
		t.Fatalf("by way of JSON\n%+v, %v\nand not\n%+v", n2, err, n)
	}
	var n3 State
	if err := json.Unmarshal([]byte(mustJSON(t, n)), &n3); err != nil || !reflect.DeepEqual(n, n3) {
		t.Fatalf("read back\n%+v, %v\nand not\n%+v", n3, err, n)
	}
	return n
}

func conserved(t *rapid.T, family map[id.Shipment]State, plan Plan) {
	units, amounts := map[id.SKU]int64{}, map[id.SKU]int64{}
	for _, s := range family {
		var total int64
		for _, l := range s.Lines {
			units[l.SKU] += l.Quantity
			amounts[l.SKU] += l.Amount.Amount
			total += l.Amount.Amount
		}
		if s.Amount.Amount != total || len(s.Lines) == 0 {
			t.Fatalf("%s is worth %s, its lines %d", s.ShipmentID, s.Amount, total)
		}
	}
	for _, l := range plan.Lines {
		if units[l.SKU] != l.Quantity || amounts[l.SKU] != l.Amount.Amount {
			t.Fatalf("of %+v the family has %d for %d", l, units[l.SKU], amounts[l.SKU])
		}
	}
}

func mustJSON(t *rapid.T, v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func drawPlan(t *rapid.T, now timestamp.Time) Plan {
	p := Plan{ShipmentID: "s-1", OrderID: "o-1", Fulfilment: rapid.SampledFrom([]Fulfilment{Ship, Pickup}).Draw(t, "fulfilment"), At: now}
	for i := range rapid.IntRange(1, 4).Draw(t, "lines") {
		p.Lines = append(p.Lines, Line{id.SKU(rune('a' + i)), rapid.Int64Range(1, 9).Draw(t, "quantity"), eur(rapid.Int64Range(0, 1000).Draw(t, "amount"))})
	}
	return p
}

func drawCommand(t *rapid.T, now timestamp.Time) Command {
	return rapid.SampledFrom([]Command{
		Book{Carrier: "Pigeon", Tracking: "P-17", At: now}, Prepare{At: now}, Ready{At: now}, Dispatch{At: now}, Deliver{At: now},
		Fail{Reason: "nobody at home", At: now}, Return{Reason: "given up", At: now}, Cancel{Reason: "changed my mind", At: now},
	}).Draw(t, "command")
}
