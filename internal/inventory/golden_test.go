package inventory

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/go-json-experiment/json"

	"waybill/internal/fault"
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

// samples holds one event of each type with every field set.
var samples = []Event{
	Received{SKU: "espresso", Quantity: 10, Reference: "delivery-7", At: at("08:00:00")},
	Adjusted{SKU: "espresso", Quantity: -1, Reference: "broken-1", At: at("08:30:00")},
	Held{ReservationID: "o-1-res", Lines: []Line{{"espresso", 2}, {"filter", 1}}, ExpiresAt: at("10:15:00"), At: at("10:00:00")},
	Extended{ReservationID: "o-1-res", ExpiresAt: at("10:30:00"), At: at("10:01:00")},
	Committed{ReservationID: "o-1-res", At: at("10:02:00")},
	Released{ReservationID: "o-1-res", Lines: []Line{{"espresso", 1}}, BeforeHold: true, At: at("10:03:00")},
	Expired{ReservationID: "o-1-res", Lines: []Line{{"espresso", 2}, {"filter", 1}}, At: at("10:30:00")},
	Consumed{ReservationID: "o-1-res", ShipmentID: "o-1-s1", Lines: []Line{{"espresso", 1}}, At: at("11:00:00")},
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
	var r Reservation
	var err error
	for _, e := range []Event{samples[2], samples[3], samples[7]} {
		if r, err = Apply(r, e); err != nil {
			t.Fatal(err)
		}
	}
	var back Reservation
	if err := json.Unmarshal(golden(t, "reservation", r), &back); err != nil || !reflect.DeepEqual(back, r) {
		t.Errorf("reservation: decoded %+v, %v, want %+v", back, err, r)
	}
	stock := Stock{SKU: "espresso", OnHand: 9, Reserved: 2, Available: 7}
	var backStock Stock
	if err := json.Unmarshal(golden(t, "stock", stock), &backStock); err != nil || backStock != stock {
		t.Errorf("stock: decoded %+v, %v, want %+v", backStock, err, stock)
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
	if _, err := Decode(TypeHeld, []byte(`{"lines":[{"quantity":1.5}]}`)); fault.CodeOf(err) != fault.Internal {
		t.Errorf("broken data: %v", err)
	}
}

// FuzzDecode: whatever stands in the journal, reading and applying it never panics nor breaks a rule on the sums.
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
			b, _ := bookIn(t, from)
			if b.Apply(e) != nil {
				continue
			}
			for _, sku := range b.SKUs() {
				if s, _ := b.Stock(sku); s.Reserved < 0 || s.Available < 0 || s.OnHand > MaxOnHand {
					t.Fatalf("%s from %q: %+v", typ, from, s)
				}
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
