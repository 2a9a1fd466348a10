package quick

import (
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// gone is zero where it says so.
type gone struct {
	N int `json:"n"`
}

func (g *gone) IsZero() bool { return g.N == 7 }

// thing has all that is plain.
type thing struct {
	Name   string   `json:"name"`
	Tag    string   `json:"tag,omitempty"`
	Small  int8     `json:"small"`
	Big    int64    `json:"big,omitzero"`
	Narrow uint16   `json:"narrow,omitempty"`
	Wide   uint64   `json:"wide"`
	Yes    bool     `json:"yes,omitempty"`
	Inner  inner    `json:"inner"`
	Gone   gone     `json:"gone,omitzero"`
	Words  []string `json:"words"`
	Parts  []inner  `json:"parts,omitempty"`
	Hidden string   `json:"-"`
	own    int
	Plain  string
}

type inner struct {
	SKU   string `json:"sku"`
	Count int    `json:"count,omitzero"`
}

var things = []thing{
	{},
	{Name: "a", Plain: "z", Words: []string{}, Gone: gone{7}, own: 3, Hidden: "h"},
	{Name: "espresso 1kg", Tag: "x", Small: -128, Big: -1 << 53, Narrow: 65535, Wide: 1 << 59, Yes: true, Inner: inner{"beans", -3},
		Gone: gone{-7}, Words: []string{"", "EUR", "EUR", strings.Repeat("long ", 50)}, Parts: []inner{{"a", 0}, {"b", 12}}, Plain: "~ !#[]^`{|}"},
}

// same fails where Read takes what the codec refuses, or makes something else of it.
func same[T any](t *testing.T, data []byte) bool {
	t.Helper()
	var got, want, zero T
	if !Read(data, &got) {
		if !reflect.DeepEqual(got, zero) {
			t.Fatalf("%q is not taken, and leaves %+v", data, got)
		}
		return false
	}
	if err := json.Unmarshal(data, &want, json.RejectUnknownMembers(true)); err != nil {
		t.Fatalf("took %q: %v", data, err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("%q is %+v, and by the codec %+v", data, got, want)
	}
	return true
}

func TestReadsWhatTheCodecWrites(t *testing.T) {
	for _, v := range things {
		want, err := json.Marshal(&v)
		if err != nil {
			t.Fatal(err)
		}
		got, ok := Append([]byte("before"), &v)
		if !ok || string(got) != "before"+string(want) {
			t.Errorf("%+v is written as %s, and by the codec as %s", v, got, want)
		}
		if !same[thing](t, want) {
			t.Errorf("%s is not taken", want)
		}
	}
}

// What differs from plain JSON by a byte is taken only where the codec makes the same of it.
func TestNeighbours(t *testing.T) {
	for _, v := range things {
		text, err := json.Marshal(&v)
		if err != nil {
			t.Fatal(err)
		}
		taken := 0
		try := func(parts ...string) {
			if same[thing](t, []byte(strings.Join(parts, ""))) {
				taken++
			}
		}
		s := string(text)
		for i := range len(s) {
			try(s[:i], s[i+1:])
			if same[thing](t, text[:i]) { // what lies behind it is no part of it
				t.Errorf("%s is taken for the whole", text[:i])
			}
			for _, c := range []string{"0", "1", "9", "-", "+", ".", "e", `"`, `\`, "\n", " ", "{", "}", "[", "]", ",", ":", "n", "t", "\x00", "\x1f", "\x7f", "\x80", "é", "null", `""`, "00"} {
				try(s[:i], c, s[i:])
				try(s[:i], c, s[i+1:])
			}
		}
		if try(s, " "); taken == 0 {
			t.Errorf("none of %s's neighbours is taken", s)
		}
	}
}

// What is not plain is left to the codec, though it may be good.
func TestLeavesToTheCodec(t *testing.T) {
	for _, text := range []string{
		``, `null`, `[]`, `{} `, ` {}`, `{}{}`, `{"wide":18446744073709551615}`, `{"wide":1234567890123456789}`, `{"wide":-0}`, `{"big":-0}`, `{"big":01}`, `{"big":1.0}`, `{"big":1e2}`,
		`{"big":"1"}`, `{"small":128}`, `{"small":-129}`, `{"narrow":65536}`, `{"name":null}`, `{"name":"\u0061"}`, `{"name":"ü"}`, `{"name":"a","name":"b"}`,
		`{"tag":"b","name":"a"}`, `{"NAME":"a"}`, `{"other":1}`, `{"Hidden":"a"}`, `{"own":1}`, `{"words":null}`, `{"words":["a",]}`, `{"inner":{"sku":"a",}}`, `{"yes":tru}`,
	} {
		if same[thing](t, []byte(text)) {
			t.Errorf("%s is taken", text)
		}
	}
	for _, v := range []thing{{Name: `a"b`}, {Name: `\`}, {Name: "ü"}, {Name: "\xff"}, {Name: "a\nb"}, {Words: []string{"\x7f"}}, {Parts: []inner{{SKU: "\x00"}}}} {
		if b, ok := Append([]byte("before"), &v); ok || string(b) != "before" {
			t.Errorf("%+v is written as %s", v, b)
		}
	}
}

// tagged is a struct with one text of that tag.
func tagged(tag string) any {
	return reflect.New(reflect.StructOf([]reflect.StructField{{Name: "A", Type: reflect.TypeFor[string](), Tag: reflect.StructTag(`json:"` + tag + `"`)}})).Interface()
}

// A type that is not plain is left to the codec, whole.
func TestTypes(t *testing.T) {
	type self struct {
		Next []self `json:"next"`
	}
	type mail struct{ inner }
	twice := reflect.StructOf([]reflect.StructField{
		{Name: "A", Type: reflect.TypeFor[string](), Tag: `json:"a"`}, {Name: "B", Type: reflect.TypeFor[string](), Tag: `json:"a"`},
	})
	n := 1
	for _, v := range []any{
		&struct{ At time.Time }{}, &struct{ For time.Duration }{}, &struct{ B []byte }{}, &struct{ F float64 }{}, &struct{ P *int }{&n}, &struct{ M map[string]int }{},
		&struct{ A any }{}, &struct{ A [2]int }{}, &struct{ V jsontext.Value }{}, &self{}, &mail{}, new([]int), new(string), new(*thing), thing{}, nil, (*thing)(nil),
		&struct {
			N int `json:",string"`
		}{},
		&struct {
			N string `json:"a,case:ignore"`
		}{},
		&struct {
			N string `json:"'a b'"`
		}{},
		&struct {
			N inner `json:"n,omitempty"`
		}{},
		reflect.New(twice).Interface(), &struct{ own int }{}, tagged("a,"), tagged("a,,omitzero"), tagged("a,omitzero,omitzero"), tagged("a,omitempty,omitempty"),
	} {
		if b, ok := Append(nil, v); ok {
			t.Errorf("%T is written as %s", v, b)
		}
		if Read([]byte("{}"), v) {
			t.Errorf("%T is read", v)
		}
	}
}

func FuzzRead(f *testing.F) {
	for _, v := range things {
		b, _ := json.Marshal(&v)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, data []byte) { same[thing](t, data) })
}

func FuzzAppend(f *testing.F) {
	f.Add("a", int64(math.MinInt64), uint64(math.MaxUint64), true)
	f.Add("a\"\x7f", int64(-1), uint64(7), false)
	f.Fuzz(func(t *testing.T, s string, i int64, u uint64, yes bool) {
		v := thing{Name: s, Tag: s, Small: int8(i), Big: i, Narrow: uint16(u), Wide: u, Yes: yes, Gone: gone{int(i % 8)}, Words: []string{s}, Parts: []inner{{s, int(i)}}}
		got, ok := Append(nil, &v)
		if !ok {
			return
		}
		if want, err := json.Marshal(&v); err != nil || string(got) != string(want) {
			t.Fatalf("%+v is written as %s, and by the codec as %s, %v", v, got, want, err)
		}
		same[thing](t, got)
	})
}
