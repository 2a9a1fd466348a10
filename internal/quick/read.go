package quick

import (
	"encoding"
	"encoding/base64"
	"hash/maphash"
	"reflect"
	"sync"
)

// Read reads JSON into the struct that into points at, which must be zero, and is true. Where it is not plain, or has members that the
// struct has not, it is false, and into is zero again. It keeps nothing of data.
func Read(data []byte, into any) bool { return read(data, into, false) }

// ReadKnown is Read for members in any order, and goes past those that the structs do not know.
func ReadKnown(data []byte, into any) bool { return read(data, into, true) }

func read(data []byte, into any, known bool) bool {
	at := reflect.ValueOf(into)
	if at.Kind() != reflect.Pointer || at.IsNil() {
		return false
	}
	s := shapeOf(at.Type().Elem())
	if s == nil {
		return false
	}
	r := readers.Get().(*reader)
	r.data, r.at, r.named, r.known = data, 0, 0, known
	ok := r.read(s, at.Elem()) && r.at == len(data)
	r.data = nil
	readers.Put(r)
	if !ok {
		at.Elem().SetZero()
	}
	return ok
}

// reader reads one value after another.
type reader struct {
	scanner
	known   bool // members come in any order, also some that are not known
	seed    maphash.Seed
	strings [256]string // the last ones, each where its hash says: many come again and again
}

var readers = sync.Pool{New: func() any { return &reader{seed: maphash.MakeSeed()} }}

const maxKept = 64 // bytes of a string that is kept

func (r *reader) read(s *shape, v reflect.Value) bool {
	switch s.kind {
	case reflect.String:
		b, ok := r.quoted()
		if ok {
			v.SetString(r.string(b))
		}
		return ok
	case reflect.Int64:
		negative := r.byte('-')
		n, ok := r.digits()
		if negative {
			ok, n = ok && n != 0, -n // the codec knows what -0 is
		}
		if !ok || v.OverflowInt(n) {
			return false
		}
		v.SetInt(n)
		return true
	case reflect.Uint64:
		n, ok := r.digits()
		if !ok || v.OverflowUint(uint64(n)) {
			return false
		}
		v.SetUint(uint64(n))
		return true
	case reflect.Bool:
		yes := r.word("true")
		v.SetBool(yes)
		return yes || r.word("false")
	case text:
		b, ok := r.quoted()
		return ok && v.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText(b) == nil
	case octet:
		b, ok := r.quoted()
		if !ok {
			return false
		}
		out, err := base64.StdEncoding.AppendDecode([]byte{}, b)
		v.SetBytes(out)
		return err == nil
	case reflect.Pointer:
		if r.word("null") {
			return true
		}
		v.Set(reflect.New(v.Type().Elem()))
		return r.read(s.elem, v.Elem())
	case reflect.Slice:
		return r.slice(s, v)
	case reflect.Map:
		return r.mapping(s, v)
	default:
		return r.object(s, v)
	}
}

// object reads members in the order of the fields, so that none comes twice.
func (r *reader) object(s *shape, v reflect.Value) bool {
	if !r.byte('{') {
		return false
	}
	if r.byte('}') {
		return true
	}
	if r.known {
		return r.members(s, v)
	}
	for i := range s.fields {
		f := &s.fields[i]
		if !r.word(f.name) {
			continue
		}
		if !r.read(f.shape, v.Field(f.index)) {
			return false
		}
		if !r.byte(',') {
			return r.byte('}')
		}
	}
	return false // another name, or these in another order
}

// members reads what it knows in any order.
func (r *reader) members(s *shape, v reflect.Value) bool {
	first := r.named
	for {
		name, ok := r.name(first)
		if !ok || !r.member(s, v, name) {
			return false
		}
		if !r.byte(',') {
			r.named = first
			return r.byte('}')
		}
	}
}

func (r *reader) member(s *shape, v reflect.Value, name []byte) bool {
	for i := range s.fields {
		if f := &s.fields[i]; f.name[1:len(f.name)-2] == string(name) {
			return r.read(f.shape, v.Field(f.index))
		}
	}
	return r.skip(maxDepth)
}

func (r *reader) slice(s *shape, v reflect.Value) bool {
	if !r.byte('[') {
		return false
	}
	if r.byte(']') {
		v.Set(reflect.MakeSlice(v.Type(), 0, 0)) // not nil
		return true
	}
	for n := 0; ; n++ {
		v.Grow(1)
		v.SetLen(n + 1)
		if !r.read(s.elem, v.Index(n)) {
			return false
		}
		if !r.byte(',') {
			return r.byte(']')
		}
	}
}

// mapping reads members of any names, each once.
func (r *reader) mapping(s *shape, v reflect.Value) bool {
	if !r.byte('{') {
		return false
	}
	v.Set(reflect.MakeMap(v.Type()))
	if r.byte('}') {
		return true
	}
	for {
		name, ok := r.quoted()
		if !ok || !r.byte(':') {
			return false
		}
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		key.SetString(r.string(name))
		if v.MapIndex(key).IsValid() || !r.read(s.elem, value) {
			return false
		}
		v.SetMapIndex(key, value)
		if !r.byte(',') {
			return r.byte('}')
		}
	}
}

// string is b as a string, one that was made before where it can be.
func (r *reader) string(b []byte) string {
	if len(b) == 0 || len(b) > maxKept {
		return string(b)
	}
	kept := &r.strings[maphash.Bytes(r.seed, b)%uint64(len(r.strings))]
	if *kept != string(b) {
		*kept = string(b)
	}
	return *kept
}
