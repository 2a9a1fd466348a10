package quick

import (
	"cmp"
	"encoding"
	"encoding/base64"
	"reflect"
	"slices"
	"strconv"
	"unicode/utf8"
)

// Append appends v, a struct or a pointer to one, as JSON, and is true. Where that would not be plain it is false, and b is as it was.
func Append(b []byte, v any) ([]byte, bool) {
	at := reflect.ValueOf(v)
	if at.Kind() == reflect.Pointer {
		at = at.Elem() // no value for nil
	}
	if at.Kind() != reflect.Struct {
		return b, false
	}
	s := shapeOf(at.Type())
	if s == nil {
		return b, false
	}
	out, ok := s.write(b, at)
	if !ok {
		return b, false
	}
	return out, true
}

func (s *shape) write(b []byte, v reflect.Value) (_ []byte, ok bool) {
	switch s.kind {
	case reflect.String:
		return writeString(b, v.String())
	case reflect.Int64:
		return strconv.AppendInt(b, v.Int(), 10), true
	case reflect.Uint64:
		return strconv.AppendUint(b, v.Uint(), 10), true
	case reflect.Bool:
		return strconv.AppendBool(b, v.Bool()), true
	case text:
		return writeText(b, v)
	case octet:
		b = base64.StdEncoding.AppendEncode(append(b, '"'), v.Bytes())
		return append(b, '"'), true
	case reflect.Pointer:
		if v.IsNil() {
			return append(b, "null"...), true
		}
		return s.elem.write(b, v.Elem())
	case reflect.Slice:
		b = append(b, '[')
		for i := range v.Len() {
			if i > 0 {
				b = append(b, ',')
			}
			if b, ok = s.elem.write(b, v.Index(i)); !ok {
				return b, false
			}
		}
		return append(b, ']'), true
	case reflect.Map:
		return s.writeMap(b, v)
	default:
		return s.writeStruct(b, v)
	}
}

func (s *shape) writeStruct(b []byte, v reflect.Value) (_ []byte, ok bool) {
	b = append(b, '{')
	first := true
	for i := range s.fields {
		f := &s.fields[i]
		value := v.Field(f.index)
		if f.omitZero && f.isZero(value) || f.omitEmpty && value.Len() == 0 {
			continue
		}
		if !first {
			b = append(b, ',')
		}
		first = false
		b = append(b, f.name...)
		if b, ok = f.shape.write(b, value); !ok {
			return b, false
		}
	}
	return append(b, '}'), true
}

func (f *field) isZero(v reflect.Value) bool {
	if !f.asksZero {
		return v.IsZero()
	}
	if f.shape.kind == reflect.Pointer {
		return v.IsNil() || v.Interface().(zeroer).IsZero()
	}
	return methods(v).(zeroer).IsZero()
}

// methods is v as one that has the methods of its type, without a copy where v has an address.
func methods(v reflect.Value) any {
	if v.CanAddr() {
		return v.Addr().Interface()
	}
	return v.Interface()
}

// writeMap writes the members in the order of their names.
func (s *shape) writeMap(b []byte, v reflect.Value) (_ []byte, ok bool) {
	names := v.MapKeys()
	slices.SortFunc(names, func(a, b reflect.Value) int { return cmp.Compare(a.String(), b.String()) })
	b = append(b, '{')
	for i, name := range names {
		if i > 0 {
			b = append(b, ',')
		}
		if b, ok = writeString(b, name.String()); !ok {
			return b, false
		}
		if b, ok = s.elem.write(append(b, ':'), v.MapIndex(name)); !ok {
			return b, false
		}
	}
	return append(b, '}'), true
}

func writeString(b []byte, s string) ([]byte, bool) {
	for i := range len(s) {
		if letters[s[i]] {
			continue
		}
		if !plainWide([]byte(s[i:])) {
			return b, false
		}
		break
	}
	return append(append(append(b, '"'), s...), '"'), true
}

func writeText(b []byte, v reflect.Value) ([]byte, bool) {
	b = append(b, '"')
	from := len(b)
	b, err := methods(v).(encoding.TextAppender).AppendText(b)
	if err != nil {
		return b, false
	}
	for i, c := range b[from:] {
		if letters[c] {
			continue
		}
		if !plainWide(b[from+i:]) {
			return b, false
		}
		break
	}
	return append(b, '"'), true
}

// plainWide reports whether a text that has more than ASCII stands in a JSON string as it is.
func plainWide(text []byte) bool {
	for _, c := range text {
		if !letters[c] && c < utf8.RuneSelf {
			return false
		}
	}
	return utf8.Valid(text)
}
