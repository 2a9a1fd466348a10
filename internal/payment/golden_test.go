package payment

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
	Created{PaymentID: "o-1-pay", OrderID: "o-1", Method: Card, Amount: eur(1000), Token: []byte("token"), TokenHint: "k_ok",
		DueAt: at("10:00:05"), At: at("10:00:00")},
	Processing{Token: []byte("other"), TokenHint: "ther", DueAt: at("10:00:06"), At: at("10:00:01")},
	Authorized{Amount: eur(1000), At: at("10:00:02")},
	Capturing{CaptureID: "s-1", Amount: eur(400), DueAt: at("10:00:08"), At: at("10:00:03")},
	Captured{CaptureID: "s-1", Amount: eur(400), At: at("10:00:04")},
	CaptureDropped{CaptureID: "s-1", Code: "closed", At: at("10:00:04")},
	Voiding{DueAt: at("10:00:10"), At: at("10:00:05")},
	Voided{At: at("10:00:06")},
	Expired{At: at("12:00:00")},
	Failed{Code: "insufficient_funds", At: at("10:00:02")},
	Unknown{DueAt: at("10:00:12"), At: at("10:00:07")},
	RequiresAction{Action: "confirm in the app", DueAt: at("10:15:00"), At: at("10:00:02")},
	AcceptedOffline{DueAt: at("10:05:00"), At: at("10:00:01")},
	DeclinedAfterAcceptance{Code: "declined", At: at("14:00:00")},
}

var refundSamples = []RefundEvent{
	RefundPending{PaymentID: "o-1-pay", RefundID: "r-1", Amount: eur(250), DueAt: at("11:00:05"), At: at("11:00:00")},
	RefundSettled{RefundID: "r-1", Amount: eur(250), At: at("11:00:01")},
	RefundFailed{RefundID: "r-1", Code: "closed", At: at("11:00:01")},
	RefundReversed{RefundID: "r-1", Amount: eur(250), At: at("13:00:00")},
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
	for _, e := range []Event{samples[0], samples[1], samples[2], samples[3], samples[4], samples[6]} {
		if s, err = Apply(s, e); err != nil {
			t.Fatal(err)
		}
	}
	var back State
	if err := json.Unmarshal(golden(t, "state", s), &back); err != nil || !reflect.DeepEqual(back, s) {
		t.Errorf("state: decoded %+v, %v, want %+v", back, err, s)
	}
}

func TestRefundGolden(t *testing.T) {
	if len(refundSamples) != len(RefundEventTypes) {
		t.Fatalf("%d samples for %d types", len(refundSamples), len(RefundEventTypes))
	}
	var s RefundState
	for i, e := range refundSamples {
		if e.Type() != RefundEventTypes[i] {
			t.Fatalf("sample %d is of type %s, not %s", i, e.Type(), RefundEventTypes[i])
		}
		got, err := DecodeRefund(e.Type(), golden(t, "refund-"+string(e.Type()), e))
		if err != nil || !reflect.DeepEqual(got, e) {
			t.Errorf("%s: decoded %+v, %v, want %+v", e.Type(), got, err, e)
		}
		if e.Type() != TypeRefundFailed {
			if s, err = ApplyRefund(s, e); err != nil {
				t.Fatal(err)
			}
		}
	}
	var back RefundState
	if err := json.Unmarshal(golden(t, "refund-state", s), &back); err != nil || !reflect.DeepEqual(back, s) {
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
	if _, err := DecodeRefund("teleported", []byte(`{}`)); fault.CodeOf(err) != fault.Unavailable {
		t.Errorf("an unknown type: %v", err)
	}
	if _, err := Decode(TypeCreated, []byte(`{"amount":"1.00"}`)); fault.CodeOf(err) != fault.Internal {
		t.Errorf("broken data: %v", err)
	}
	if _, err := DecodeRefund(TypeRefundSettled, []byte(`{"amount":1.5}`)); fault.CodeOf(err) != fault.Internal {
		t.Errorf("broken data: %v", err)
	}
}

// FuzzDecode: whatever stands in the journal, reading and applying it never panics nor breaks a rule on the sums, and what
// can be read is written and read the same again.
func FuzzDecode(f *testing.F) {
	for _, e := range samples {
		data, err := json.Marshal(e)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(e.Type()), data)
	}
	for _, e := range refundSamples {
		data, err := json.Marshal(e)
		if err != nil {
			f.Fatal(err)
		}
		f.Add("refund-"+string(e.Type()), data)
	}
	f.Fuzz(func(t *testing.T, typ string, data []byte) {
		var e any
		if rest, ok := bytes.CutPrefix([]byte(typ), []byte("refund-")); ok {
			r, err := DecodeRefund(RefundEventType(rest), data)
			if err != nil {
				return
			}
			for _, from := range append([]RefundStatus{""}, RefundStatuses...) {
				if n, err := ApplyRefund(refundIn(from), r); err == nil && n.Refunded.Amount < 0 {
					t.Fatalf("%s made the refunded sum %s", typ, n.Refunded)
				}
			}
			e = r
		} else {
			p, err := Decode(EventType(typ), data)
			if err != nil {
				return
			}
			for _, from := range append([]Status{""}, Statuses...) {
				if n, err := Apply(inStatus(from, Card, pendingRest), p); err == nil && from != "" {
					if why := broken(n); why != "" {
						t.Fatalf("%s from %q: %s", typ, from, why)
					}
				}
			}
			e = p
		}
		again, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		e2 := reflect.New(reflect.TypeOf(e))
		if err := json.Unmarshal(again, e2.Interface()); err != nil {
			t.Fatal(err)
		}
		if third, err := json.Marshal(e2.Interface()); err != nil || !bytes.Equal(again, third) {
			t.Fatalf("written %s, then %s (%v)", again, third, err)
		}
	})
}
