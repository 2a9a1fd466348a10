package shipment

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/go-json-experiment/json"

	"waybill/internal/fault"
	"waybill/internal/money"
	"waybill/internal/timestamp"
)

var update = flag.Bool("update", false, "write the golden files anew")

func at(s string) timestamp.Time {
	t, err := timestamp.Parse("2026-03-01T" + s + "Z")
	if err != nil {
		panic(err)
	}
	return t
}

func eur(n int64) money.Money { return money.Of(n, "EUR") }

// samples holds one event of each type with every field set, as no single event would have them.
var samples = []Event{
	Planned{ShipmentID: "o-1-s1", OrderID: "o-1", Fulfilment: Ship, Lines: []Line{{"espresso", 2, eur(963)}, {"filter", 1, eur(250)}},
		SplitInto: "o-1-s2", SplitFrom: "o-1-s0", Key: "k-1", At: at("10:00:02")},
	Booked{Carrier: "Pigeon", Tracking: "P-17", At: at("10:30:00")},
	Preparing{At: at("10:30:00")},
	BecameReady{At: at("10:45:00")},
	Dispatched{Carrier: "Pigeon", Tracking: "P-17", At: at("11:00:00")},
	DeliveryFailed{Reason: "nobody at home", At: at("12:00:00")},
	Delivered{At: at("12:00:00")},
	Returned{Reason: "nobody ever at home", At: at("18:00:00")},
	Cancelled{Reason: "changed my mind", At: at("10:31:00")},
}

// TestGolden: version 1 of each event, once written, is read and written the same for good.
func TestGolden(t *testing.T) {
	if len(samples) != len(EventTypes) {
		t.Fatalf("%d samples for %d types", len(samples), len(EventTypes))
	}
	for i, e := range samples {
		if e.Type() != EventTypes[i] {
			t.Fatalf("sample %d is of type %s, not %s", i, e.Type(), EventTypes[i])
		}
		got, err := Decode(e.Type(), golden(t, string(e.Type()), e))
		if err != nil || !reflect.DeepEqual(got, e) {
			t.Errorf("%s: decoded %+v, %v, want %+v", e.Type(), got, err, e)
		}
	}
	var s State
	var err error
	for _, e := range []Event{
		Planned{ShipmentID: "o-1-s1", OrderID: "o-1", Fulfilment: Ship, Lines: []Line{{"espresso", 2, eur(963)}}, SplitFrom: "o-1-s0", At: at("10:00:02")},
		Planned{ShipmentID: "o-1-s1", OrderID: "o-1", Fulfilment: Ship, Lines: []Line{{"espresso", 1, eur(482)}}, SplitInto: "o-1-s2", Key: "k-1", At: at("10:00:03")},
		samples[1], samples[4], samples[5],
	} {
		if s, err = Apply(s, e); err != nil {
			t.Fatal(err)
		}
	}
	var back State
	if err := json.Unmarshal(golden(t, "state", s), &back); err != nil || !reflect.DeepEqual(back, s) {
		t.Errorf("state: decoded %+v, %v, want %+v", back, err, s)
	}
}

func golden(t *testing.T, name string, v any) []byte {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join("testdata", name+".v1.json")
	if *update {
		if err := os.WriteFile(file, append(data, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if want = bytes.TrimSpace(want); !bytes.Equal(data, want) {
		t.Errorf("%s is now written\n%s\nand was\n%s", name, data, want)
	}
	return want
}

func TestDecodeUnknown(t *testing.T) {
	if _, err := Decode("teleported", []byte(`{}`)); fault.CodeOf(err) != fault.Unavailable {
		t.Errorf("an unknown type: %v", err)
	}
	if _, err := Decode(TypePlanned, []byte(`{"lines":{}}`)); fault.CodeOf(err) != fault.Internal {
		t.Errorf("broken data: %v", err)
	}
}

// FuzzDecode: whatever stands in the journal, reading and applying it never panics, and what can be read is written and
// read the same again.
func FuzzDecode(f *testing.F) {
	for _, e := range samples {
		data, err := json.Marshal(e)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(e.Type()), data)
	}
	f.Fuzz(func(t *testing.T, typ string, data []byte) {
		e, err := Decode(EventType(typ), data)
		if err != nil {
			return
		}
		for _, from := range append([]Status{""}, Statuses...) {
			n, err := Apply(inStatus(from, Ship), e)
			if err != nil {
				continue
			}
			if n.Status != from && !Allowed(from, n.Status) {
				t.Fatalf("%s took a shipment from %q to %q", typ, from, n.Status)
			}
			if total, err := sum(n.Lines); from != "" && (err != nil || total != n.Amount) {
				t.Fatalf("%s from %q: the lines are %s (%v), the shipment %s", typ, from, total, err, n.Amount)
			}
		}
		again, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		e2, err := Decode(EventType(typ), again)
		if err != nil {
			t.Fatal(err)
		}
		if third, err := json.Marshal(e2); err != nil || !bytes.Equal(again, third) {
			t.Fatalf("written %s, then %s (%v)", again, third, err)
		}
	})
}
