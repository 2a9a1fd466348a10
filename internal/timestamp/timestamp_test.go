package timestamp

import (
	"cmp"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"pgregory.net/rapid"
)

func TestParse(t *testing.T) {
	for in, want := range map[string]string{
		"2026-01-02T15:04:05.000Z":            "2026-01-02T15:04:05.000Z",
		"2026-01-02T15:04:05Z":                "2026-01-02T15:04:05.000Z",
		"2026-01-02T15:04:05.999999Z":         "2026-01-02T15:04:05.999Z",
		"2026-01-02T15:04:05.1+02:00":         "2026-01-02T13:04:05.100Z",
		"1969-12-31T23:59:59.999999999Z":      "1969-12-31T23:59:59.999Z",
		"9999-12-31T23:59:59.999Z":            "9999-12-31T23:59:59.999Z",
		"0001-01-01T00:00:00.001Z":            "0001-01-01T00:00:00.001Z",
		"2024-02-29T00:00:00.000000001-11:30": "2024-02-29T11:30:00.000Z",
	} {
		if got, err := Parse(in); err != nil || got.String() != want {
			t.Errorf("%q is %q, %v, not %q", in, got, err, want)
		}
	}
	for _, in := range []string{"", "now", "2026-01-02", "2026-01-02T15:04:05", "2026-02-30T00:00:00Z", "2026-01-02 15:04:05Z",
		"0000-12-31T23:59:59Z", "9999-12-31T23:59:59-01:00"} {
		if got, err := Parse(in); err == nil {
			t.Errorf("%q is %q", in, got)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"2026-01-02T15:04:05.000Z", "2026-01-02T15:04:05.1+02:00", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59.9999Z",
		"0001-01-01T00:00:00.0004Z", "2026-01-02T5:04:05Z", "2026-01-02T15:04:05,1Z", "2026-01-02T15:04:05+24:00", "2026-01-02T15:04:60Z",
		"2026-01-02T15:04:05.1234567891234Z", "0000-12-31T23:59:59-01:00", "10000-01-01T00:00:00Z", "2026-01-02t15:04:05z", "soon", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := Parse(s)
		var read Time
		if refused := read.UnmarshalText([]byte(s)); s != "" && ((refused != nil) != (err != nil) || read != got) {
			t.Fatalf("%q is parsed as %q, %v, and read as %q, %v", s, got, err, read, refused)
		}
		if err != nil || got.IsZero() {
			return
		}
		if got.String() != got.Std().Format(Layout) {
			t.Fatalf("%q is written %q, not %q", s, got, got.Std().Format(Layout))
		}
		if text := got.String(); len(text) != len(Layout) {
			t.Fatalf("%q is written %q", s, text)
		} else if again, err := Parse(text); err != nil || again != got {
			t.Fatalf("%q is written %q and read %q, %v", s, text, again, err)
		}
	})
}

// TestSortsAsText is what the one form is for.
func TestSortsAsText(t *testing.T) {
	ms := rapid.Int64Range(-62_135_596_799_999, 253_402_300_799_999) // the years 1 to 9999
	rapid.Check(t, func(t *rapid.T) {
		a, b := Of(time.UnixMilli(ms.Draw(t, "a"))), Of(time.UnixMilli(ms.Draw(t, "b")))
		if byTime, byText := a.Std().Compare(b.Std()), cmp.Compare(a.String(), b.String()); byTime != byText {
			t.Fatalf("%s and %s: %d by time, %d by text", a, b, byTime, byText)
		}
		if a.Before(b) != (b.Sub(a) > 0) {
			// Sub saturates for spans over 290 years, which keeps the sign.
			t.Fatalf("%s before %s: %v, apart %s", a, b, a.Before(b), b.Sub(a))
		}
	})
}

func TestJSON(t *testing.T) {
	type doc struct {
		At  Time `json:"at"`
		Due Time `json:"due,omitzero"`
	}
	d := doc{At: Of(time.Date(2026, 1, 2, 16, 4, 5, 6_999_999, time.FixedZone("CET", 3600)))}
	b, err := json.Marshal(d)
	if err != nil || string(b) != `{"at":"2026-01-02T15:04:05.006Z"}` {
		t.Fatalf("%s, %v", b, err)
	}
	var back doc
	if err := json.Unmarshal(b, &back); err != nil || back != d {
		t.Errorf("%+v, %v", back, err)
	}
	if err := json.Unmarshal([]byte(`{"at":""}`), &back); err != nil || !back.At.IsZero() {
		t.Errorf("an empty text is %+v, %v", back, err)
	}
	if b, err := json.Marshal(doc{}); err != nil || string(b) != `{"at":""}` {
		t.Errorf("no time is %s, %v", b, err)
	}
	if err := json.Unmarshal([]byte(`{"at":"soon"}`), &back); err == nil {
		t.Error("soon was read as a time")
	}
}

func TestZeroAndArithmetic(t *testing.T) {
	if !Of(time.Time{}).IsZero() || (Time{}).String() != "" {
		t.Error("the zero Time is none")
	}
	a := Of(time.Now())
	if b := a.Add(1500 * time.Microsecond); b.Sub(a) != time.Millisecond || !a.Before(b) || b.Before(a) || a.Before(a) {
		t.Errorf("%s + 1.5 ms = %s", a, b)
	}
	if a != Of(a.Std()) || a.Std().Location() != time.UTC {
		t.Errorf("%s does not survive the way to the standard library and back", a)
	}
}

func BenchmarkText(b *testing.B) {
	at := Of(time.Date(2026, 1, 2, 15, 4, 5, 6_000_000, time.UTC))
	text := []byte(at.String())
	b.Run("append", func(b *testing.B) {
		b.ReportAllocs()
		buffer := make([]byte, 0, 64)
		for b.Loop() {
			if _, err := at.AppendText(buffer); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("read", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := at.UnmarshalText(text); err != nil {
				b.Fatal(err)
			}
		}
	})
}
