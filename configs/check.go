package configs

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"waybill/internal/fault"
)

// maxValue bounds a setting's JSON in bytes.
const maxValue = 4096

// Check decides whether value is a good JSON value of this setting and returns it in one canonical spelling (no space
// around it, no needless escapes; a duration stays as it was written). Error: invalid_argument with field "value".
func (s Setting) Check(value []byte) (canonical []byte, err error) {
	v, err := s.parse(value)
	if err != nil {
		return nil, err
	}
	return v.raw, nil
}

// value is a checked value, in its JSON and in its Go form.
type value struct {
	raw      jsontext.Value
	text     string // of a string, a choice or a secret's name
	integer  int64
	duration time.Duration
	boolean  bool
}

func (s Setting) parse(raw []byte) (*value, error) {
	if len(raw) > maxValue {
		return nil, s.refuse("has %d bytes; %d are the most", len(raw), maxValue)
	}
	v := jsontext.Value(slices.Clone(raw))
	if err := v.Compact(); err != nil {
		return nil, s.refuse("is not JSON; it must be %s", s.form())
	}
	switch s.Type {
	case TypeInteger:
		return s.parseInteger(v)
	case TypeBoolean:
		if k := v.Kind(); k != 't' && k != 'f' {
			return nil, s.refuse("must be %s", s.form())
		}
		return &value{raw: v, boolean: v.Kind() == 't'}, nil
	}
	if v.Kind() != '"' {
		return nil, s.refuse("must be %s", s.form())
	}
	var text string
	if err := json.Unmarshal(v, &text); err != nil {
		return nil, s.refuse("is not a JSON string; it must be %s", s.form())
	}
	canonical, err := json.Marshal(text)
	if err != nil {
		return nil, s.refuse("is not valid UTF-8; it must be %s", s.form())
	}
	return s.parseText(text, canonical)
}

func (s Setting) parseInteger(v jsontext.Value) (*value, error) {
	n, err := strconv.ParseInt(string(v), 10, 64)
	if err != nil || v.Kind() != '0' || !within(n, s.Min, s.Max) {
		return nil, s.refuse("must be %s", s.form())
	}
	return &value{raw: jsontext.Value(strconv.AppendInt(nil, n, 10)), integer: n}, nil // "-0" is 0
}

func (s Setting) parseText(text string, raw jsontext.Value) (*value, error) {
	v := &value{raw: raw, text: text}
	var ok bool
	switch s.Type {
	case TypeDuration:
		d, err := ParseDuration(text)
		v.duration, ok = d, err == nil && within(d, s.Min, s.Max)
	case TypeChoice:
		ok = slices.Contains(s.Choices, text)
	case TypeString:
		ok = within(int64(utf8.RuneCountInString(text)), s.Min, s.Max)
	case TypeSecret:
		ok = goodReference(text)
	}
	if !ok {
		return nil, s.refuse("must be %s", s.form())
	}
	return v, nil
}

func (s Setting) refuse(format string, args ...any) error {
	return fault.Invalid("value", "the value of %s %s", s.Key, fmt.Sprintf(format, args...))
}

// form says in words what a good value is.
func (s Setting) form() string {
	switch s.Type {
	case TypeDuration:
		return `a duration such as ` + s.Default + s.bounds(showDuration)
	case TypeInteger:
		return strings.TrimSpace("an integer" + s.bounds(showAny) + " " + s.Unit)
	case TypeBoolean:
		return "true or false"
	case TypeChoice:
		return `one of "` + strings.Join(s.Choices, `", "`) + `"`
	case TypeSecret:
		return secretForm
	}
	return "a string" + s.bounds(func(v any) string { return fmt.Sprint(v, " characters") })
}

// Bounds are Min and Max as JSON; nil for none.
func (s Setting) Bounds() (least, most jsontext.Value) {
	return bound(s.Min), bound(s.Max)
}

func bound(v any) jsontext.Value {
	switch v := v.(type) {
	case time.Duration:
		return jsontext.Value(`"` + FormatDuration(v) + `"`)
	case int64:
		return jsontext.Value(strconv.FormatInt(v, 10))
	}
	return nil
}

func showDuration(v any) string { return FormatDuration(v.(time.Duration)) }

func showAny(v any) string { return fmt.Sprint(v) }

func (s Setting) bounds(show func(any) string) string {
	switch {
	case s.Min != nil && s.Max != nil:
		return " from " + show(s.Min) + " to " + show(s.Max)
	case s.Min != nil:
		return " of at least " + show(s.Min)
	case s.Max != nil:
		return " of at most " + show(s.Max)
	}
	return ""
}

func within[T ~int64](n T, least, most any) bool {
	if l, ok := least.(T); ok && n < l {
		return false
	}
	m, ok := most.(T)
	return !ok || n <= m
}
