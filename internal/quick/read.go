package quick

import (
	"hash/maphash"
	"reflect"
	"sync"
)

// Read reads JSON into the struct that into points at, which must be zero, and is true. Where it is not plain it is false, and into
// is zero again. It keeps nothing of data.
func Read(data []byte, into any) bool {
	at := reflect.ValueOf(into)
	if at.Kind() != reflect.Pointer || at.IsNil() {
		return false
	}
	s := shapeOf(at.Type().Elem())
	if s == nil {
		return false
	}
	r := readers.Get().(*reader)
	r.data, r.at = data, 0
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
	data  []byte
	at    int // a slice that shrinks would be a pointer to write, and the collector would want to know of each
	seed  maphash.Seed
	known [256]string // the last strings, each where its hash says: many come again and again
}

var readers = sync.Pool{New: func() any { return &reader{seed: maphash.MakeSeed()} }}

const maxKnown = 64 // bytes of a string that is kept

func (r *reader) read(s *shape, v reflect.Value) bool {
	switch s.kind {
	case reflect.String:
		text, ok := r.text()
		if ok {
			v.SetString(text)
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
	case reflect.Slice:
		return r.slice(s, v)
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

// byte takes c, where it comes next.
func (r *reader) byte(c byte) bool {
	if r.at == len(r.data) || r.data[r.at] != c {
		return false
	}
	r.at++
	return true
}

// word takes w, where it comes next.
func (r *reader) word(w string) bool {
	if len(r.data)-r.at < len(w) || string(r.data[r.at:r.at+len(w)]) != w {
		return false
	}
	r.at += len(w)
	return true
}

// digits takes a number of at most 18 digits, the first of which is 0 only where it is alone.
func (r *reader) digits() (n int64, ok bool) {
	rest, i := r.data[r.at:], 0
	for ; i < len(rest) && i <= 18; i++ {
		c := rest[i]
		if c < '0' || c > '9' {
			break
		}
		n = n*10 + int64(c-'0')
	}
	if i == 0 || i > 18 || i > 1 && rest[0] == '0' {
		return 0, false
	}
	r.at += i
	return n, true // what follows is not plain unless it ends the member
}

// text takes a string.
func (r *reader) text() (string, bool) {
	if !r.byte('"') {
		return "", false
	}
	rest, i := r.data[r.at:], 0
	for i < len(rest) && letters[rest[i]] {
		i++
	}
	if i == len(rest) || rest[i] != '"' {
		return "", false
	}
	b := rest[:i]
	r.at += i + 1
	if i == 0 || i > maxKnown {
		return string(b), true
	}
	known := &r.known[maphash.Bytes(r.seed, b)%uint64(len(r.known))]
	if *known != string(b) {
		*known = string(b)
	}
	return *known, true
}
