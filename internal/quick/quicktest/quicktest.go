// Package quicktest compares package quick with the codec, on random values of the types that are really used.
package quicktest

import (
	"encoding"
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"waybill/internal/quick"
)

const (
	rounds    = 60 // values of each type
	mutations = 40 // of the JSON of each
)

// Compare writes and reads random values of the types of samples, all of them structs: package quick must make of each, and of its JSON
// with damage, what the codec makes of it, and must not leave the types to the codec.
func Compare(t *testing.T, samples ...any) {
	t.Helper()
	seed := rand.Uint64()
	r := &source{rand.New(rand.NewPCG(seed, 0))}
	for _, sample := range samples {
		typ := reflect.TypeOf(sample)
		if _, ok := quick.Append(nil, reflect.Zero(typ).Interface()); !ok {
			t.Errorf("%s is not plain", typ)
			continue
		}
		plain := 0
		for range rounds {
			v := reflect.New(typ)
			r.fill(v.Elem())
			want, err := json.Marshal(v.Interface(), json.Deterministic(true))
			if err != nil {
				t.Fatalf("seed %d: %+v: %v", seed, v, err)
			}
			for _, v := range []any{v.Interface(), v.Elem().Interface()} {
				got, ok := quick.Append(nil, v)
				if ok && string(got) != string(want) {
					t.Fatalf("seed %d: %+v is written as\n%s, and by the codec as\n%s", seed, v, got, want)
				}
				if ok {
					plain++
				}
			}
			same(t, seed, typ, want)
			for range mutations {
				want = r.damage(want)
				same(t, seed, typ, want)
			}
		}
		if plain < rounds/4 {
			t.Errorf("seed %d: only %d of %d values of %s are plain", seed, plain, 2*rounds, typ)
		}
	}
}

// same fails where text is another value, or another error, than by the codec.
func same(t *testing.T, seed uint64, typ reflect.Type, text []byte) {
	t.Helper()
	got, want := reflect.New(typ), reflect.New(typ)
	errGot, errWant := quick.Unmarshal(text, got.Interface()), json.Unmarshal(text, want.Interface())
	if fmt.Sprint(errGot) != fmt.Sprint(errWant) || !reflect.DeepEqual(got.Interface(), want.Interface()) {
		t.Fatalf("seed %d: %s %q is %+v, %v, and by the codec %+v, %v", seed, typ, text, got, errGot, want, errWant)
	}
	got, want = reflect.New(typ), reflect.New(typ)
	if !quick.Read(text, got.Interface()) {
		return
	}
	if err := json.Unmarshal(text, want.Interface(), json.RejectUnknownMembers(true)); err != nil || !reflect.DeepEqual(got.Interface(), want.Interface()) {
		t.Fatalf("seed %d: %s %q is %+v, and by the codec %+v, %v", seed, typ, text, got, want, err)
	}
	if n := quick.Skip(text); n == len(text) && !jsontext.Value(text).IsValid() {
		t.Fatalf("seed %d: Skip takes %q", seed, text)
	}
}

type source struct{ *rand.Rand }

var (
	words = []string{"", "o-1", "espresso", "Käse, 1 kg", "EUR", "card", "a long text that is more than sixty-four bytes long, which is not kept for another time"}
	odd   = []string{"日本\n", "\"", "\\", "a\nb", "\x7f", "\u2028", "<&>"}
	texts = []string{"2026-01-02T15:04:05.006Z", "0001-01-01T00:00:00.001Z", "9999-12-31T23:59:59.999Z", "2026-01-02T15:04:05.1+02:00", "15m", "250ms"}
)

func (r *source) word() string {
	if r.IntN(40) == 0 {
		return odd[r.IntN(len(odd))]
	}
	return words[r.IntN(len(words))]
}

// fill gives v a random value, often the zero one.
func (r *source) fill(v reflect.Value) {
	if r.IntN(4) == 0 {
		return
	}
	if text, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		for text.UnmarshalText([]byte(texts[r.IntN(len(texts))])) != nil {
		}
		return
	}
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(true)
	case reflect.String:
		v.SetString(r.word())
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(int64(r.Uint64()) >> r.IntN(64))
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(r.Uint64() >> r.IntN(64))
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		r.fill(v.Elem())
	case reflect.Slice:
		n := r.IntN(4)
		v.Set(reflect.MakeSlice(v.Type(), n, n))
		for i := range n {
			r.fill(v.Index(i))
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		for range r.IntN(4) {
			key, elem := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
			key.SetString(r.word())
			r.fill(elem)
			v.SetMapIndex(key, elem)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if f := v.Field(i); f.CanSet() {
				r.fill(f)
			}
		}
	}
}

var pieces = []string{" ", "\n", "0", "1", "-", ".5", "e9", "999999999999999999999", `"`, `\`, `\n`, `\u0061`, "{", "}", "[", "]", ",", ":", "null", "true", "{}", "[]", `""`,
	"\xff", "ü", "\xc3", "\U0001d11e", "\x00", "=", "A", "AAA=", "2026-01-02T15:04:05.006Z", "-01:00", `"more":1,`, `,"more":{"a":1}`, `"v":1,`}

// damage changes a text in one place: a piece is put in, left out, doubled, or changes its place.
func (r *source) damage(text []byte) []byte {
	at, end, to := r.IntN(len(text)+1), r.IntN(len(text)+1), r.IntN(len(text)+1)
	at, end = min(at, end), max(at, end)
	if r.IntN(2) == 0 { // a member, where there is one
		at, end = r.member(text, at)
	}
	piece := string(text[at:end])
	var out string
	switch r.IntN(5) {
	case 0:
		out = string(text[:at]) + string(text[end:])
	case 1:
		out = string(text[:end]) + piece + string(text[end:])
	case 2:
		rest := string(text[:at]) + string(text[end:])
		to = min(to, len(rest))
		out = rest[:to] + piece + rest[to:]
	default:
		out = string(text[:to]) + pieces[r.IntN(len(pieces))] + string(text[to:])
	}
	return []byte(out[:min(len(out), 4096)])
}

// member is where a member, or an element, stands from at on, with the comma before it.
func (r *source) member(text []byte, at int) (from, to int) {
	for from = at; from < len(text) && text[from] != ','; from++ {
	}
	for to = min(from+1, len(text)); to < len(text) && text[to] != ',' && text[to] != '}'; to++ {
	}
	return from, to
}
