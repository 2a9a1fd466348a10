package order

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

// samples holds one event of each type with every field set.
var samples = []Event{
	Placed{OrderID: "o-1", CustomerID: "c-1", Lines: []Line{{"espresso", "Espresso", 2, eur(450), 700, eur(900)}}, Subtotal: eur(900),
		Tax: eur(63), Total: eur(963), Fulfilment: Ship, Method: Card, Sealed: []byte("sealed"), Token: []byte("token"), RequestHash: "abc",
		PaymentID: "o-1-pay", ReservationID: "o-1-res", DueAt: at("10:00:02"), ExpiresAt: at("10:15:00"), At: at("10:00:00")},
	Confirmed{At: at("10:00:01")},
	Rejected{Reason: Reason{ReasonOutOfStock, "not enough stock: espresso"}, At: at("10:00:01")},
	NeedsAction{Reason: Reason{"payment_action", "confirm in the app"}, DueAt: at("10:00:05"), ExpiresAt: at("10:20:00"), At: at("10:00:01")},
	Resumed{Status: StatusPending, DueAt: at("10:01:02"), At: at("10:01:00")},
	Fulfilling{At: at("11:00:00")},
	Completed{At: at("12:00:00")},
	Cancelling{Reason: "changed my mind", DueAt: at("10:30:02"), At: at("10:30:00")},
	Cancelled{At: at("10:30:01")},
	Expired{Reason: Reason{"expired", "not paid in time"}, At: at("10:20:00")},
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
		data := golden(t, string(e.Type()), e)
		got, err := Decode(e.Type(), data)
		if err != nil || !reflect.DeepEqual(got, e) {
			t.Errorf("%s: decoded %+v, %v, want %+v", e.Type(), got, err, e)
		}
	}
	s, err := Apply(State{}, samples[0])
	if err == nil {
		s, err = Apply(s, samples[3])
	}
	if err != nil {
		t.Fatal(err)
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
	if _, err := Decode(TypePlaced, []byte(`{"order_id":1}`)); fault.CodeOf(err) != fault.Internal {
		t.Errorf("broken data: %v", err)
	}
	if _, err := Decode(TypeConfirmed, []byte(`{"at":"2026-03-01T10:00:00.000Z","by":"a later program"}`)); err != nil {
		t.Errorf("a field of a later program: %v", err)
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
			if n, err := Apply(inStatus(from), e); err == nil && !Allowed(from, n.Status) {
				t.Fatalf("%s took an order from %q to %q", typ, from, n.Status)
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
