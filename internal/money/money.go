// Package money holds exact amounts: integers in a currency's minor unit, with every overflow an error. Nothing here is
// ever a float.
package money

import (
	"errors"
	"fmt"
	"math/bits"
	"strconv"
	"strings"
)

// Max is the largest magnitude of an amount: 2^53-1, the largest integer that every JSON reader holds exactly.
const Max = 1<<53 - 1

// ErrOverflow is returned when a result's magnitude would be over Max.
var ErrOverflow = errors.New("the amount is too large")

// ErrCurrency is returned when two amounts of different currencies meet.
var ErrCurrency = errors.New("the amounts are of different currencies")

// Currency is an ISO 4217 code, such as EUR.
type Currency string

// Money is an amount in the currency's minor unit: 450 EUR is 4.50 €, 450 JPY is 450 ¥, 450 KWD is 0.450 KD.
// The zero Money is no amount of no currency; adding to it yields the other one.
type Money struct {
	Amount   int64    `json:"amount"`
	Currency Currency `json:"currency"`
}

// Of is a shorthand for tests and examples.
func Of(amount int64, currency Currency) Money { return Money{amount, currency} }

// Zero is nothing of the currency.
func Zero(c Currency) Money { return Money{0, c} }

// Valid reports whether the currency is known and the amount within bounds.
func (m Money) Valid() bool {
	return m.Currency.Known() && m.Amount <= Max && m.Amount >= -Max
}

// IsZero reports whether m is the zero Money: no amount of no currency.
func (m Money) IsZero() bool { return m == Money{} }

// Add returns m+o. Errors: ErrCurrency, ErrOverflow.
func (m Money) Add(o Money) (Money, error) {
	if m.IsZero() {
		return o, o.bounds()
	}
	if o.IsZero() {
		return m, m.bounds()
	}
	if m.Currency != o.Currency {
		return Money{}, ErrCurrency
	}
	// Both are within ±(2^53-1), so the sum can't overflow an int64.
	if err := errors.Join(m.bounds(), o.bounds()); err != nil {
		return Money{}, ErrOverflow
	}
	r := Money{m.Amount + o.Amount, m.Currency}
	return r, r.bounds()
}

// Sub returns m-o. Errors: ErrCurrency, ErrOverflow.
func (m Money) Sub(o Money) (Money, error) {
	return m.Add(Money{-o.Amount, o.Currency})
}

// Times returns m·n. Errors: ErrOverflow.
func (m Money) Times(n int64) (Money, error) {
	v, ok := mulDiv(m.Amount, n, 1, false)
	r := Money{v, m.Currency}
	if !ok {
		return Money{}, ErrOverflow
	}
	return r, r.bounds()
}

// Tax returns m·basisPoints/10000, rounded half away from zero. Errors: ErrOverflow.
func (m Money) Tax(basisPoints int64) (Money, error) {
	v, ok := mulDiv(m.Amount, basisPoints, 10_000, true)
	r := Money{v, m.Currency}
	if !ok {
		return Money{}, ErrOverflow
	}
	return r, r.bounds()
}

// Share returns the part-th of whole of m, rounded toward zero: what is left over stays with the one that takes the rest.
// whole must be positive. Errors: ErrOverflow.
func (m Money) Share(part, whole int64) (Money, error) {
	v, ok := mulDiv(m.Amount, part, whole, false)
	r := Money{v, m.Currency}
	if !ok {
		return Money{}, ErrOverflow
	}
	return r, r.bounds()
}

// Less reports whether m is less than o; both must be of one currency (or zero).
func (m Money) Less(o Money) bool { return m.Amount < o.Amount }

func (m Money) bounds() error {
	if m.Amount > Max || m.Amount < -Max {
		return ErrOverflow
	}
	return nil
}

// mulDiv is a·b/c by way of a 128-bit product, rounded toward zero or half away from it. c must be positive.
func mulDiv(a, b, c int64, round bool) (int64, bool) {
	if c <= 0 {
		return 0, false
	}
	neg := (a < 0) != (b < 0)
	hi, lo := bits.Mul64(abs(a), abs(b))
	if hi >= uint64(c) {
		return 0, false
	}
	q, r := bits.Div64(hi, lo, uint64(c))
	if round && r >= uint64(c)-r {
		q++
	}
	if q > Max {
		return 0, false
	}
	if neg {
		return -int64(q), true
	}
	return int64(q), true
}

func abs(a int64) uint64 {
	if a < 0 {
		return -uint64(a)
	}
	return uint64(a)
}

// String writes the amount in the major unit: 4.50 EUR, 450 JPY, 0.450 KWD.
func (m Money) String() string {
	if m.IsZero() {
		return "0"
	}
	d := m.Currency.Decimals()
	digits := strconv.FormatUint(abs(m.Amount), 10)
	if d > 0 {
		if pad := d + 1 - len(digits); pad > 0 {
			digits = strings.Repeat("0", pad) + digits
		}
		digits = digits[:len(digits)-d] + "." + digits[len(digits)-d:]
	}
	if m.Amount < 0 {
		digits = "-" + digits
	}
	return digits + " " + string(m.Currency)
}

// Parse reads what String writes: a decimal number in the major unit, with no more decimals than the currency has, a space
// and the currency's code.
func Parse(s string) (Money, error) {
	number, code, ok := strings.Cut(strings.TrimSpace(s), " ")
	c := Currency(code)
	if !ok || !c.Known() {
		return Money{}, fmt.Errorf("%q is not an amount such as \"4.50 EUR\"", s)
	}
	neg := strings.HasPrefix(number, "-")
	whole, frac, dot := strings.Cut(strings.TrimPrefix(number, "-"), ".")
	d := c.Decimals()
	if whole == "" || (dot && frac == "") || len(frac) > d || !digitsOnly(whole) || !digitsOnly(frac) {
		return Money{}, fmt.Errorf("%q is not an amount of %s, which has %d decimals", s, c, d)
	}
	v, err := strconv.ParseInt(whole+frac+strings.Repeat("0", d-len(frac)), 10, 64)
	if err != nil || v > Max {
		return Money{}, ErrOverflow
	}
	if neg {
		v = -v
	}
	return Money{v, c}, nil
}

func digitsOnly(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}
