// Package quick reads and writes plain JSON several times as fast as the codec that knows all of JSON. Plain is what programs of this
// kind say to each other most of the time: an object without white space, its members in the order of the struct's fields, text without
// escapes, whole numbers. Whatever else there is, in the JSON or in the type, it leaves to that codec, so that nobody can tell
// from a value, a byte or an error which of the two was at work. Its functions are safe for concurrent use.
package quick

import (
	"bytes"
	"encoding"
	"reflect"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
)

// Write writes v as json.MarshalWrite does with the options, which must not change the form of what is plain; a map's members are in
// the order of their names in any case. Error: a value that JSON can't hold.
func Write(b *bytes.Buffer, v any, options ...json.Options) error {
	if text, ok := Append(b.AvailableBuffer(), v); ok {
		b.Write(text)
		return nil
	}
	return json.MarshalWrite(b, v, options...)
}

// Unmarshal reads as json.Unmarshal does, members that into does not know included, into a value that must be zero. Errors are the codec's.
func Unmarshal(data []byte, into any) error {
	if Read(data, into) || ReadKnown(data, into) {
		return nil
	}
	return json.Unmarshal(data, into)
}

// The kinds of a shape that are none of a type.
const (
	text  = reflect.Kind(100 + iota) // text of the type's own
	octet                            // bytes, in base64
)

// shape is how a type stands in JSON.
type shape struct {
	kind   reflect.Kind // Bool, Int64, Uint64, String, Struct, Slice, Map or Pointer, text or octet
	fields []field      // of a struct
	elem   *shape       // of a slice, a map or a pointer
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
	if s != nil && s.kind != reflect.Struct {
		s = nil // text
	}
	shapes.Store(t, s)
	return s
}

// The ways for a type to have JSON of its own, and to have text of its own.
var (
	ownJSON = []reflect.Type{
		reflect.TypeFor[json.MarshalerTo](), reflect.TypeFor[json.Marshaler](), reflect.TypeFor[json.UnmarshalerFrom](), reflect.TypeFor[json.Unmarshaler](),
	}
	ownText      = []reflect.Type{textAppender, reflect.TypeFor[encoding.TextMarshaler](), textUnmarshaler}
	textAppender = reflect.TypeFor[encoding.TextAppender]()

	textUnmarshaler = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// hasAny reports whether t, or a pointer to it, is one of the interfaces.
func hasAny(t reflect.Type, ways []reflect.Type) bool {
	for _, way := range ways {
		if reflect.PointerTo(t).Implements(way) { // has t's methods, too
			return true
		}
	}
	return false
}

// makeShape is nil for a type that is not plain, such as one within itself.
func makeShape(t reflect.Type, within []reflect.Type) *shape {
	for _, outer := range within {
		if outer == t {
			return nil
		}
	}
	within = append(within, t)
	switch k := t.Kind(); {
	case k == reflect.Pointer: // its methods are its element's
		return around(k, t.Elem(), within)
	case hasAny(t, ownJSON):
		return nil
	case t.Implements(textAppender) && reflect.PointerTo(t).Implements(textUnmarshaler):
		return &shape{kind: text}
	case hasAny(t, ownText), t == reflect.TypeFor[time.Duration](): // of a duration the codec wants to be told how
		return nil
	case k == reflect.Bool || k == reflect.String:
		return &shape{kind: k}
	case k >= reflect.Int && k <= reflect.Int64:
		return &shape{kind: reflect.Int64}
	case k >= reflect.Uint && k <= reflect.Uint64:
		return &shape{kind: reflect.Uint64}
	case k == reflect.Slice && t.Elem() == reflect.TypeFor[byte]():
		return &shape{kind: octet}
	case k == reflect.Slice:
		return around(k, t.Elem(), within)
	case k == reflect.Map && t.Key().Kind() == reflect.String && !hasAny(t.Key(), ownJSON) && !hasAny(t.Key(), ownText):
		return around(k, t.Elem(), within)
	case k == reflect.Struct:
		return makeStruct(t, within)
	}
	return nil
}

func around(k reflect.Kind, t reflect.Type, within []reflect.Type) *shape {
	elem := makeShape(t, within)
	if elem == nil || k == reflect.Pointer && elem.kind == k { // null is nil of the outer one
		return nil
	}
	return &shape{kind: k, elem: elem}
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
		if out.shape == nil || !validName(name) || names[name] || more && !out.option(f.Type, options) {
			return nil
		}
		names[name] = true
		s.fields = append(s.fields, out)
	}
	if t.NumField() > 0 && !known {
		return nil
	}
	return s
}

// option takes a tag's options, and is false for what is not plain.
func (f *field) option(t reflect.Type, options string) bool {
	asked := false // for omitempty
	for option := range strings.SplitSeq(options, ",") {
		switch {
		case option == "omitzero" && !f.omitZero:
			f.omitZero, f.asksZero = true, t.Implements(reflect.TypeFor[zeroer]())
			if !f.asksZero && reflect.PointerTo(t).Implements(reflect.TypeFor[zeroer]()) {
				return false // a value that is written need not have an address
			}
		case option == "omitempty" && !asked:
			asked = true
			switch f.shape.kind {
			case reflect.String, reflect.Slice, reflect.Map, octet:
				f.omitEmpty = true
			case reflect.Struct, reflect.Pointer, text:
				return false // one is empty when all in it is left out
			}
		default:
			return false
		}
	}
	return true
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

// letters are the bytes of ASCII that stand in a JSON string as they are. Those of other characters do where they are valid UTF-8.
var letters = func() (out [256]bool) {
	for c := ' '; c < 0x7f; c++ {
		out[c] = c != '"' && c != '\\'
	}
	return out
}()
