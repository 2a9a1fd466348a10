package money

import (
	"errors"
	"math"
	"math/big"
	"testing"

	"github.com/go-json-experiment/json"
	"pgregory.net/rapid"
)

func TestString(t *testing.T) {
	for _, c := range []struct {
		m    Money
		want string
	}{
		{Of(450, "EUR"), "4.50 EUR"},
		{Of(450, "JPY"), "450 JPY"},
		{Of(450, "KWD"), "0.450 KWD"},
		{Of(0, "EUR"), "0.00 EUR"},
		{Of(0, "JPY"), "0 JPY"},
		{Of(-5, "EUR"), "-0.05 EUR"},
		{Of(-5, "JPY"), "-5 JPY"},
		{Of(-1234, "KWD"), "-1.234 KWD"},
		{Of(Max, "EUR"), "90071992547409.91 EUR"},
		{Of(-Max, "KWD"), "-9007199254740.991 KWD"},
		{Money{}, "0"},
	} {
		if got := c.m.String(); got != c.want {
			t.Errorf("%#v is %q, not %q", c.m, got, c.want)
		}
	}
}

func TestParse(t *testing.T) {
	for in, want := range map[string]Money{
		"4.50 EUR":              Of(450, "EUR"),
		"4.5 EUR":               Of(450, "EUR"),
		"4 EUR":                 Of(400, "EUR"),
		" 4 EUR ":               Of(400, "EUR"),
		"-0.05 EUR":             Of(-5, "EUR"),
		"450 JPY":               Of(450, "JPY"),
		"0.45 KWD":              Of(450, "KWD"),
		"0.001 KWD":             Of(1, "KWD"),
		"90071992547409.91 EUR": Of(Max, "EUR"),
	} {
		if got, err := Parse(in); err != nil || got != want {
			t.Errorf("%q is %#v, %v, not %#v", in, got, err, want)
		}
	}
	for _, in := range []string{"", "EUR", "4.50", "4.50EUR", "4.505 EUR", "4.5 JPY", "4. EUR", ".5 EUR", "4,50 EUR", "1e3 EUR", "--4 EUR", "+4 EUR",
		"4.-5 EUR", "4.50 eur", "4.50 XXX", "4.50 EUR EUR", "0x4 EUR", "٤ EUR", "- EUR"} {
		if got, err := Parse(in); err == nil {
			t.Errorf("%q is %s", in, got)
		}
	}
	for _, in := range []string{"90071992547409.92 EUR", "9007199254740992 JPY", "99999999999999999999 EUR"} {
		if got, err := Parse(in); !errors.Is(err, ErrOverflow) {
			t.Errorf("%q is %s, %v", in, got, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"4.50 EUR", "-0.05 EUR", "450 JPY", "0.450 KWD", "90071992547409.91 EUR", "-0 JPY", "", "1 "} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		m, err := Parse(s)
		if err != nil {
			return
		}
		if !m.Valid() {
			t.Fatalf("%q became %#v", s, m)
		}
		if again, err := Parse(m.String()); err != nil || again != m {
			t.Fatalf("%q became %#v, written %q, read %#v, %v", s, m, m, again, err)
		}
	})
}

func TestTax(t *testing.T) {
	for _, c := range []struct {
		amount, bp, want int64
	}{
		{1000, 1900, 190}, {999, 1900, 190}, {50, 100, 1}, {49, 100, 0}, {150, 100, 2}, {250, 100, 3}, // a half goes away from zero
		{-50, 100, -1}, {-49, 100, 0}, {-150, 100, -2}, {-999, 1900, -190},
		{0, 1900, 0}, {1000, 0, 0}, {1, 5000, 1}, {-1, 5000, -1}, {1, 4999, 0}, {-1, 4999, 0},
		{50, -100, -1}, {-50, -100, 1}, {Max, 10_000, Max}, {-Max, 10_000, -Max},
	} {
		if got, err := Of(c.amount, "EUR").Tax(c.bp); err != nil || got != Of(c.want, "EUR") {
			t.Errorf("%d at %d is %s, %v, not %d", c.amount, c.bp, got, err, c.want)
		}
	}
	for _, c := range [][2]int64{{Max, 10_001}, {-Max, 10_001}, {Max, math.MaxInt64}, {Max, math.MinInt64}} {
		if got, err := Of(c[0], "EUR").Tax(c[1]); !errors.Is(err, ErrOverflow) {
			t.Errorf("%d at %d is %s, %v", c[0], c[1], got, err)
		}
	}
}

func TestAddAndSub(t *testing.T) {
	for _, c := range []struct {
		a, b, sum Money
		err       error
	}{
		{Of(1, "EUR"), Of(2, "EUR"), Of(3, "EUR"), nil},
		{Money{}, Of(2, "EUR"), Of(2, "EUR"), nil},
		{Of(2, "EUR"), Money{}, Of(2, "EUR"), nil},
		{Money{}, Money{}, Money{}, nil},
		{Zero("EUR"), Of(2, "USD"), Money{}, ErrCurrency},
		{Of(1, "EUR"), Of(1, "USD"), Money{}, ErrCurrency},
		{Of(Max-1, "EUR"), Of(1, "EUR"), Of(Max, "EUR"), nil},
		{Of(Max, "EUR"), Of(1, "EUR"), Money{}, ErrOverflow},
		{Of(-Max, "EUR"), Of(-1, "EUR"), Money{}, ErrOverflow},
		{Of(Max, "EUR"), Of(-Max, "EUR"), Of(0, "EUR"), nil},
		{Of(math.MaxInt64, "EUR"), Of(math.MaxInt64, "EUR"), Money{}, ErrOverflow},
		{Of(math.MinInt64, "EUR"), Of(math.MinInt64, "EUR"), Money{}, ErrOverflow},
		{Money{}, Of(Max+1, "EUR"), Money{}, ErrOverflow},
	} {
		got, err := c.a.Add(c.b)
		if !errors.Is(err, c.err) || c.err == nil && got != c.sum {
			t.Errorf("%#v + %#v = %#v, %v, not %#v, %v", c.a, c.b, got, err, c.sum, c.err)
		}
	}
	if got, err := Of(Max, "EUR").Sub(Of(Max, "EUR")); err != nil || got != Zero("EUR") {
		t.Errorf("Max - Max = %s, %v", got, err)
	}
	if got, err := Of(-Max, "EUR").Sub(Of(1, "EUR")); !errors.Is(err, ErrOverflow) {
		t.Errorf("-Max - 1 = %s, %v", got, err)
	}
	if got, err := Of(0, "EUR").Sub(Of(math.MinInt64, "EUR")); !errors.Is(err, ErrOverflow) {
		t.Errorf("0 - MinInt64 = %s, %v", got, err)
	}
}

func TestTimesAndShare(t *testing.T) {
	if got, err := Of(450, "EUR").Times(3); err != nil || got != Of(1350, "EUR") {
		t.Errorf("%s, %v", got, err)
	}
	if got, err := Of(1, "EUR").Times(Max); err != nil || got != Of(Max, "EUR") {
		t.Errorf("%s, %v", got, err)
	}
	for _, c := range [][2]int64{{1, Max + 1}, {2, Max}, {Max, Max}, {-2, Max}, {math.MinInt64, math.MinInt64}} {
		if got, err := Of(c[0], "EUR").Times(c[1]); !errors.Is(err, ErrOverflow) {
			t.Errorf("%d · %d = %s, %v", c[0], c[1], got, err)
		}
	}
	for _, c := range [][4]int64{{100, 1, 3, 33}, {100, 2, 3, 66}, {100, 3, 3, 100}, {100, 0, 3, 0}, {-100, 1, 3, -33}, {Max, Max, Max, Max}} {
		if got, err := Of(c[0], "EUR").Share(c[1], c[2]); err != nil || got != Of(c[3], "EUR") {
			t.Errorf("%d of %d of %d is %s, %v", c[1], c[2], c[0], got, err)
		}
	}
	for _, whole := range []int64{0, -1} {
		if got, err := Of(100, "EUR").Share(1, whole); !errors.Is(err, ErrOverflow) {
			t.Errorf("1 of %d is %s, %v", whole, got, err)
		}
	}
}

// TestAgainstBig compares every operation with exact arithmetic of unlimited size, over the whole range of int64.
func TestAgainstBig(t *testing.T) {
	limit := big.NewInt(Max)
	amount := rapid.OneOf(rapid.Int64Range(-Max, Max), rapid.Int64Range(-1000, 1000), rapid.SampledFrom([]int64{Max, -Max, Max - 1, 1 - Max, 0}))
	factor := rapid.OneOf(rapid.Int64(), rapid.Int64Range(-30_000, 30_000))
	rapid.Check(t, func(t *rapid.T) {
		a, b, n := amount.Draw(t, "a"), amount.Draw(t, "b"), factor.Draw(t, "n")
		whole := rapid.Int64Range(1, math.MaxInt64).Draw(t, "whole")
		m := Of(a, "EUR")
		product := new(big.Int).Mul(big.NewInt(a), big.NewInt(n))
		// Half away from zero: (2|p| + d) / 2d with the sign of p.
		tax := new(big.Int).Abs(product)
		tax.Mul(tax, big.NewInt(2)).Add(tax, big.NewInt(10_000)).Quo(tax, big.NewInt(20_000))
		if product.Sign() < 0 {
			tax.Neg(tax)
		}
		for name, c := range map[string]struct {
			got  func() (Money, error)
			want *big.Int
		}{
			"add":   {func() (Money, error) { return m.Add(Of(b, "EUR")) }, new(big.Int).Add(big.NewInt(a), big.NewInt(b))},
			"sub":   {func() (Money, error) { return m.Sub(Of(b, "EUR")) }, new(big.Int).Sub(big.NewInt(a), big.NewInt(b))},
			"times": {func() (Money, error) { return m.Times(n) }, product},
			"tax":   {func() (Money, error) { return m.Tax(n) }, tax},
			"share": {func() (Money, error) { return m.Share(n, whole) }, new(big.Int).Quo(product, big.NewInt(whole))},
		} {
			got, err := c.got()
			if fits := new(big.Int).Abs(c.want).Cmp(limit) <= 0; fits != (err == nil) || err != nil && !errors.Is(err, ErrOverflow) {
				t.Fatalf("%s of %d, %d, %d, %d: %v, exactly %s", name, a, b, n, whole, err, c.want)
			} else if fits && got != Of(c.want.Int64(), "EUR") {
				t.Fatalf("%s of %d, %d, %d, %d: %d, exactly %s", name, a, b, n, whole, got.Amount, c.want)
			}
		}
		if again, err := Parse(m.String()); err != nil || again != m {
			t.Fatalf("%d is written %q and read %d, %v", a, m, again.Amount, err)
		}
	})
}

func TestValid(t *testing.T) {
	for m, want := range map[Money]bool{
		Of(1, "EUR"): true, Of(-Max, "JPY"): true, Of(Max+1, "EUR"): false, Of(-Max-1, "EUR"): false, Of(1, "XXX"): false, Of(1, ""): false,
		Of(1, "eur"): false, Of(0, "XAU"): false, Of(math.MinInt64, "EUR"): false,
	} {
		if m.Valid() != want {
			t.Errorf("%#v is valid: %v", m, !want)
		}
	}
	for c, want := range map[Currency]int{"EUR": 2, "JPY": 0, "KWD": 3, "XXX": 0} {
		if c.Decimals() != want {
			t.Errorf("%s has %d decimals", c, c.Decimals())
		}
	}
	if !Of(1, "EUR").Less(Of(2, "EUR")) || Of(2, "EUR").Less(Of(2, "EUR")) || !Of(-1, "EUR").Less(Money{}) {
		t.Error("Less is wrong")
	}
	if !(Money{}).IsZero() || Zero("EUR").IsZero() {
		t.Error("IsZero is wrong")
	}
}

func TestJSON(t *testing.T) {
	b, err := json.Marshal(Of(450, "EUR"))
	if err != nil || string(b) != `{"amount":450,"currency":"EUR"}` {
		t.Errorf("%s, %v", b, err)
	}
	var m Money
	for _, in := range []string{`{"amount":4.5,"currency":"EUR"}`, `{"amount":"450","currency":"EUR"}`, `{"amount":1,"amount":2,"currency":"EUR"}`} {
		if err := json.Unmarshal([]byte(in), &m); err == nil {
			t.Errorf("%s was read as %#v", in, m)
		}
	}
}
