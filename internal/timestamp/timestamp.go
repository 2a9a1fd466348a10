// Package timestamp holds the one form in which a point in time is written: RFC 3339 in UTC with exactly three decimals,
// so that times sort as text.
package timestamp

import (
	"fmt"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// Layout is the only layout in which a Time is written.
const Layout = "2006-01-02T15:04:05.000Z"

// Time is a point in time to the millisecond, in UTC. The zero Time means "none" and is left out of JSON by omitzero.
type Time struct{ t time.Time }

// Of truncates t to the millisecond.
func Of(t time.Time) Time {
	if t.IsZero() {
		return Time{}
	}
	return Time{t.UTC().Truncate(time.Millisecond)}
}

// Parse reads any RFC 3339 time and truncates it to the millisecond.
func Parse(s string) (Time, error) {
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return Time{}, fmt.Errorf("%q is not an RFC 3339 time such as 2026-01-02T15:04:05.000Z", s)
	}
	if y := t.UTC().Year(); y < 1 || y > 9999 {
		return Time{}, fmt.Errorf("%q lies outside the years 1 to 9999", s)
	}
	return Of(t), nil
}

// OfMillis is the time that Millis gives the number of.
func OfMillis(n uint64) Time { return Of(time.UnixMilli(yearOne + int64(n))) }

// Millis is the time as a number, the milliseconds since the year 1: 0 for the zero Time.
func (t Time) Millis() uint64 { return uint64(t.t.UnixMilli() - yearOne) }

// yearOne is the zero Time in milliseconds as Unix counts them.
var yearOne = time.Time{}.UnixMilli()

// Std is the time as the standard library knows it.
func (t Time) Std() time.Time { return t.t }

// IsZero reports whether t is no time at all.
func (t Time) IsZero() bool { return t.t.IsZero() }

// Add returns t+d.
func (t Time) Add(d time.Duration) Time { return Of(t.t.Add(d)) }

// Sub returns the duration t-o.
func (t Time) Sub(o Time) time.Duration { return t.t.Sub(o.t) }

// Before reports whether t is earlier than o.
func (t Time) Before(o Time) bool { return t.t.Before(o.t) }

// String is the contract's form; empty for the zero Time.
func (t Time) String() string {
	if t.IsZero() {
		return ""
	}
	return t.t.Format(Layout)
}

// MarshalText implements encoding.TextMarshaler.
func (t Time) MarshalText() ([]byte, error) {
	if t.IsZero() {
		return []byte{}, nil
	}
	return t.t.AppendFormat(make([]byte, 0, len(Layout)), Layout), nil
}

// MarshalJSONTo implements json.MarshalerTo: MarshalText without memory of its own.
func (t Time) MarshalJSONTo(e *jsontext.Encoder) error {
	b := append(e.AvailableBuffer(), '"')
	if !t.IsZero() {
		b = t.t.AppendFormat(b, Layout)
	}
	return e.WriteValue(append(b, '"'))
}

// UnmarshalText implements encoding.TextUnmarshaler; an empty text is the zero Time.
func (t *Time) UnmarshalText(b []byte) error {
	if len(b) == 0 {
		*t = Time{}
		return nil
	}
	p, err := Parse(string(b))
	if err != nil {
		return err
	}
	*t = p
	return nil
}
