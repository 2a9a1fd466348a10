package subjects

import (
	"net/mail"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"waybill/internal/fault"
	"waybill/internal/money"
	"waybill/internal/timestamp"
)

// Money is an exact amount in a currency's minor unit.
type Money = money.Money

// Time is a point in time, RFC 3339 in UTC with three decimals.
type Time = timestamp.Time

// Bounds of what a request may hold.
const (
	MaxQuantity    = 1_000_000
	MaxLines       = 200
	MaxTaxRateBP   = 100_000 // ten times the price: beyond any tax, below any overflow
	MaxTTL         = 30 * 24 * time.Hour
	DefaultLimit   = 50
	MaxLimit       = 500
	maxCursor      = 512
	maxName        = 200
	maxReason      = 500
	maxToken       = 128
	maxURL         = 2048
	maxAddressLine = 200
)

// Duration is a length of time as configuration writes it: "15m", "250ms".
type Duration time.Duration

// MarshalText implements encoding.TextMarshaler.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// AppendText implements encoding.TextAppender.
func (d Duration) AppendText(b []byte) ([]byte, error) {
	return append(b, time.Duration(d).String()...), nil
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Duration) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(string(b))
	if err != nil {
		return fault.New(fault.InvalidArgument, "%.40q is not a duration such as 15m or 250ms", string(b))
	}
	if v <= 0 { // zero stands for a duration that is absent: one that is there must not pass for it
		return fault.New(fault.InvalidArgument, "%.40q is not a positive duration such as 15m or 250ms", string(b))
	}
	*d = Duration(v)
	return nil
}

// Page asks for one page of a list. Limit 0 means DefaultLimit; Cursor is a reply's next_cursor, empty for the first page.
type Page struct {
	Limit  int    `json:"limit,omitzero"`
	Cursor string `json:"cursor,omitzero"`
}

// Validate implements the check of a page.
func (p Page) Validate() error {
	if p.Limit < 0 || p.Limit > MaxLimit {
		return fault.Invalid("limit", "limit must be 1 to %d, or absent for %d", MaxLimit, DefaultLimit)
	}
	if len(p.Cursor) > maxCursor {
		return fault.Invalid("cursor", "cursor is not one that a list returned")
	}
	return nil
}

// Size is the limit with its default applied.
func (p Page) Size() int {
	if p.Limit == 0 {
		return DefaultLimit
	}
	return p.Limit
}

// text checks a text for people: valid UTF-8 (which decoding ensured), no control characters, 1 to max characters unless
// optional.
func text(field, s string, max int, optional bool) error {
	switch n := utf8.RuneCountInString(s); {
	case n == 0 && optional:
		return nil
	case strings.TrimSpace(s) == "":
		return fault.Invalid(field, "%s is missing", field)
	case n > max:
		return fault.Invalid(field, "%s is longer than %d characters", field, max)
	case strings.ContainsFunc(s, unicode.IsControl):
		return fault.Invalid(field, "%s holds a control character", field)
	}
	return nil
}

func quantity(field string, n int64) error {
	if n < 1 || n > MaxQuantity {
		return fault.Invalid(field, "%s must be 1 to %d", field, MaxQuantity)
	}
	return nil
}

// amount checks money that a caller names: a known currency and min ≤ amount < 2^53.
func amount(field string, m Money, min int64) error {
	switch {
	case !m.Currency.Known():
		return fault.Invalid(field+".currency", "%s.currency must be an ISO 4217 code such as EUR", field)
	case m.Amount < min || m.Amount > money.Max:
		return fault.Invalid(field+".amount", "%s.amount must be %d to 2^53-1, in the currency's minor unit", field, min)
	}
	return nil
}

func email(field, s string) error {
	if s == "" {
		return nil
	}
	a, err := mail.ParseAddress(s)
	if err != nil || a.Address != s || len(s) > 254 || strings.ContainsFunc(s, unicode.IsControl) {
		return fault.Invalid(field, "%s is not a mail address such as a@example.com", field)
	}
	return nil
}

// token checks a payment token, and refuses what looks like a card number: that must never get into this program.
func token(field, s string) error {
	if s == "" {
		return fault.Invalid(field, "%s is missing", field)
	}
	if len(s) > maxToken {
		return fault.Invalid(field, "%s is longer than %d characters", field, maxToken)
	}
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '_', c == '-', c == '.', c == ':':
		default:
			return fault.Invalid(field, "%s may hold only A-Z, a-z, 0-9, and _ - . :", field)
		}
	}
	if cardNumber(s) {
		return fault.Invalid(field, "%s is a card number; send the gateway's token for it instead", field)
	}
	return nil
}

// cardNumber reports whether s is 12 to 19 digits, hyphens and dots apart, that pass the Luhn check (ISO/IEC 7812-1, annex B).
func cardNumber(s string) bool {
	sum, n := 0, 0
	for i := len(s) - 1; i >= 0; i-- {
		if s[i] == '-' || s[i] == '.' {
			continue
		}
		if s[i] < '0' || s[i] > '9' {
			return false
		}
		d := int(s[i] - '0')
		if n%2 == 1 {
			if d *= 2; d > 9 {
				d -= 9
			}
		}
		sum += d
		n++
	}
	return n >= 12 && n <= 19 && sum%10 == 0
}

func oneOf[T ~string](field string, s T, optional bool, allowed ...T) error {
	if s == "" && optional {
		return nil
	}
	names := make([]string, len(allowed))
	for i, a := range allowed {
		if s == a {
			return nil
		}
		names[i] = string(a)
	}
	return fault.Invalid(field, "%s must be one of %s", field, strings.Join(names, ", "))
}

func at(list string, i int, field string) string { return list + "[" + strconv.Itoa(i) + "]." + field }

// first returns the first error among checks.
func first(checks ...error) error {
	for _, err := range checks {
		if err != nil {
			return err
		}
	}
	return nil
}
