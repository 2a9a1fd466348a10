// Package timestamp holds the one form in which a point in time is written: RFC 3339 in UTC with exactly three decimals,
// so that times sort as text.
package timestamp

import (
	"fmt"
	"time"
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
	if !within(t) {
		return Time{}, fmt.Errorf("%q lies outside the years 1 to 9999", s)
	}
	return Of(t), nil
}

func within(t time.Time) bool {
	y := t.UTC().Year()
	return y >= 1 && y <= 9999
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
	b, _ := t.AppendText(make([]byte, 0, len(Layout)))
	return string(b)
}

// MarshalText implements encoding.TextMarshaler.
func (t Time) MarshalText() ([]byte, error) { return t.AppendText(make([]byte, 0, len(Layout))) }

// AppendText implements encoding.TextAppender: MarshalText without memory of its own.
func (t Time) AppendText(b []byte) ([]byte, error) {
	if t.IsZero() {
		return b, nil
	}
	b = t.t.AppendFormat(b, time.RFC3339) // which the library writes several times as fast as any layout but its own
	ms := t.t.Nanosecond() / int(time.Millisecond)
	return append(b[:len(b)-1], '.', byte('0'+ms/100), byte('0'+ms/10%10), byte('0'+ms%10), 'Z'), nil
}

// UnmarshalText implements encoding.TextUnmarshaler; an empty text is the zero Time.
func (t *Time) UnmarshalText(b []byte) error {
	if len(b) == 0 {
		*t = Time{}
		return nil
	}
	var p time.Time
	if p.UnmarshalText(b) == nil && within(p) { // needs no memory; it refuses some that Parse takes
		*t = Of(p)
		return nil
	}
	r, err := Parse(string(b))
	if err != nil {
		return err
	}
	*t = r
	return nil
}
