// Package quick reads and writes plain JSON several times as fast as the codec that knows all of JSON. Plain is what programs of this
// kind say to each other most of the time: an object without white space, its members in the order of the struct's fields, text without
// escapes in ASCII, whole numbers. Whatever else there is, in the JSON or in the type, it leaves to that codec, so that nobody can tell
// from a value or an error which of the two was at work. Its functions are safe for concurrent use.
package quick

import (
	"encoding"
	"reflect"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
)

// shape is how a type stands in JSON.
type shape struct {
	kind   reflect.Kind // Bool, Int64, Uint64, String, Struct or Slice
	fields []field      // of a struct
	elem   *shape       // of a slice
}

type field struct {
	index     int
	name      string // with its quotes and the colon
	omitZero  bool
	omitEmpty bool
	asksZero  bool // its type says itself what its zero is
	shape     *shape
}

type zeroer interface{ IsZero() bool }

// shapes are those of the structs that were asked for; nil for a type that is not plain.
var shapes sync.Map // reflect.Type to *shape

func shapeOf(t reflect.Type) *shape {
	if s, ok := shapes.Load(t); ok {
		return s.(*shape)
	}
	var s *shape
	if t.Kind() == reflect.Struct {
		s = makeShape(t, nil)
	}
	shapes.Store(t, s)
	return s
}

// ownWays are the ways for a type to have JSON of its own.
var ownWays = []reflect.Type{
	reflect.TypeFor[json.MarshalerTo](), reflect.TypeFor[json.Marshaler](), reflect.TypeFor[json.UnmarshalerFrom](), reflect.TypeFor[json.Unmarshaler](),
	reflect.TypeFor[encoding.TextAppender](), reflect.TypeFor[encoding.TextMarshaler](), reflect.TypeFor[encoding.TextUnmarshaler](),
}

// makeShape is nil for a type that is not plain, such as one within itself.
func makeShape(t reflect.Type, within []reflect.Type) *shape {
	for _, way := range ownWays {
		if reflect.PointerTo(t).Implements(way) { // has t's methods, too
			return nil
		}
	}
	for _, outer := range within {
		if outer == t {
			return nil
		}
	}
	within = append(within, t)
	switch k := t.Kind(); {
	case t == reflect.TypeFor[time.Duration]():
		return nil // the codec wants to be told how
	case k == reflect.Bool || k == reflect.String:
		return &shape{kind: k}
	case k >= reflect.Int && k <= reflect.Int64:
		return &shape{kind: reflect.Int64}
	case k >= reflect.Uint && k <= reflect.Uint64:
		return &shape{kind: reflect.Uint64}
	case k == reflect.Slice && t.Elem().Kind() != reflect.Uint8: // bytes are text
		if elem := makeShape(t.Elem(), within); elem != nil {
			return &shape{kind: k, elem: elem}
		}
	case k == reflect.Struct:
		return makeStruct(t, within)
	}
	return nil
}

func makeStruct(t reflect.Type, within []reflect.Type) *shape {
	s := &shape{kind: reflect.Struct}
	names := make(map[string]bool)
	known := false // a field that is exported or has a tag
	for i := range t.NumField() {
		f := t.Field(i)
		tag, tagged := f.Tag.Lookup("json")
		known = known || tagged || f.IsExported()
		if tag == "-" {
			continue
		}
		if f.Anonymous || !f.IsExported() && tagged {
			return nil
		}
		if !f.IsExported() {
			continue
		}
		name, options, more := strings.Cut(tag, ",")
		if more && options == "" {
			return nil
		}
		if name == "" {
			name = f.Name
		}
		out := field{index: i, name: `"` + name + `":`, shape: makeShape(f.Type, within)}
		if out.shape == nil || !validName(name) || names[name] {
			return nil
		}
		names[name] = true
		asked := false // for omitempty
		for option := range strings.SplitSeq(options, ",") {
			switch {
			case option == "" && !more:
			case option == "omitzero" && !out.omitZero:
				out.omitZero, out.asksZero = true, reflect.PointerTo(f.Type).Implements(reflect.TypeFor[zeroer]())
			case option == "omitempty" && !asked:
				asked = true
				if out.shape.kind == reflect.Struct {
					return nil // one is empty when all in it is left out
				}
				out.omitEmpty = out.shape.kind == reflect.String || out.shape.kind == reflect.Slice
			default:
				return nil
			}
		}
		s.fields = append(s.fields, out)
	}
	if t.NumField() > 0 && !known {
		return nil
	}
	return s
}

// validName reports whether a name stands in JSON and in a struct's tag as it is.
func validName(name string) bool {
	for _, c := range []byte(name) {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '_' && c != '-' {
			return false
		}
	}
	return name != ""
}

// letters are the bytes that stand in a JSON string as they are.
var letters = func() (out [256]bool) {
	for c := ' '; c < 0x7f; c++ {
		out[c] = c != '"' && c != '\\'
	}
	return out
}()
