package quick

import (
	"reflect"
	"strconv"
)

// Append appends the struct that v points at as JSON, and is true. Where that would not be plain it is false, and b is as it was.
func Append(b []byte, v any) ([]byte, bool) {
	at := reflect.ValueOf(v)
	if at.Kind() != reflect.Pointer || at.IsNil() {
		return b, false
	}
	s := shapeOf(at.Type().Elem())
	if s == nil {
		return b, false
	}
	out, ok := s.write(b, at.Elem())
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
	if f.asksZero {
		return v.Addr().Interface().(zeroer).IsZero()
	}
	return v.IsZero()
}

func writeString(b []byte, s string) ([]byte, bool) {
	for i := range len(s) {
		if !letters[s[i]] {
			return b, false
		}
	}
	return append(append(append(b, '"'), s...), '"'), true
}
