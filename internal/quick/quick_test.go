package quick

import (
	"bytes"
	"errors"
	"fmt"
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

func (g gone) IsZero() bool { return g.N == 7 }

// word is text of its own: a letter before what it holds. It refuses to be empty, and can't write a blank.
type word struct{ s string }

func (w word) AppendText(b []byte) ([]byte, error) {
	if w.s == " " {
		return b, errors.New("a blank")
	}
	return append(append(b, 'w'), w.s...), nil
}

func (w *word) UnmarshalText(b []byte) error {
	rest, ok := bytes.CutPrefix(b, []byte{'w'})
	if !ok {
		return errors.New("no word")
	}
	w.s = string(rest)
	return nil
}

type (
	sku    string
	nibble uint8
)

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
	SKU   sku `json:"sku"`
	Count int `json:"count,omitzero"`
}

// event has what a thing has not.
type event struct {
	At     word            `json:"at"`
	Due    word            `json:"due,omitzero"`
	Dues   []word          `json:"dues,omitempty"`
	Sealed []byte          `json:"sealed,omitempty"`
	Token  []byte          `json:"token"`
	Bits   []nibble        `json:"bits,omitzero"`
	Why    *inner          `json:"why,omitzero"`
	Null   *inner          `json:"null"`
	Gone   *gone           `json:"gone,omitzero"`
	Ask    *word           `json:"ask,omitzero"`
	Active *bool           `json:"active,omitzero"`
	Sums   map[sku]inner   `json:"sums,omitempty"`
	Words  map[string]word `json:"words"`
}

var things = []thing{
	{},
	{Name: "a", Plain: "z", Words: []string{}, Gone: gone{7}, own: 3, Hidden: "h"},
	{Name: "Käse", Tag: "\u2028", Inner: inner{SKU: "𝄞"}, Words: []string{"ü", "\ufffd", "\u0080", "日本語 and more", strings.Repeat("ä", 50)}, Plain: "\U0010ffff"},
	{Name: "espresso 1kg", Tag: "x", Small: -128, Big: -1 << 53, Narrow: 65535, Wide: 1 << 59, Yes: true, Inner: inner{"beans", -3},
		Gone: gone{-7}, Words: []string{"", "EUR", "EUR", strings.Repeat("long ", 50)}, Parts: []inner{{"a", 0}, {"b", 12}}, Plain: "~ !#[]^`{|}"},
}

var events = []event{
	{},
	{At: word{"ü"}, Ask: &word{"a日"}, Sums: map[sku]inner{"ä": {SKU: "a"}, "z": {}, "\ue000": {}, "𝄞": {}}, Words: map[string]word{"ö": {"ü"}, "o": {}}},
	{At: word{"a"}, Token: []byte{}, Bits: []nibble{}, Gone: &gone{7}, Ask: &word{}, Words: map[string]word{}, Sums: map[sku]inner{}},
	{At: word{"a"}, Due: word{"b"}, Dues: []word{{"c"}, {""}}, Sealed: []byte("sealed"), Token: []byte{0xff, 0xfe}, Bits: []nibble{1, 255}, Why: &inner{"beans", 1},
		Null: &inner{}, Gone: &gone{1}, Ask: &word{"d"}, Active: new(bool), Sums: map[sku]inner{"b": {"b", 1}, "a": {"a", 2}, "": {}, "B": {}}, Words: map[string]word{"c": {"c"}}},
}

// same fails where Read or ReadKnown takes what the codec refuses, or makes something else of it. It reports whether Read takes it.
func same[T any](t *testing.T, data []byte) bool {
	t.Helper()
	compare[T](t, data, ReadKnown)
	return compare[T](t, data, Read, json.RejectUnknownMembers(true))
}

func compare[T any](t *testing.T, data []byte, read func([]byte, any) bool, options ...json.Options) bool {
	t.Helper()
	var got, want, zero T
	if !read(data, &got) {
		if !reflect.DeepEqual(got, zero) {
			t.Fatalf("%q is not taken, and leaves %+v", data, got)
		}
		return false
	}
	if err := json.Unmarshal(data, &want, options...); err != nil {
		t.Fatalf("took %q: %v", data, err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("%q is %+v, and by the codec %+v", data, got, want)
	}
	return true
}

func TestReadsWhatTheCodecWrites(t *testing.T) {
	for _, v := range things {
		written(t, v)
	}
	for _, v := range events {
		written(t, v)
	}
}

func written[T any](t *testing.T, v T) {
	t.Helper()
	want, err := json.Marshal(&v, json.Deterministic(true))
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range []any{v, &v} {
		got, ok := Append([]byte("before"), v)
		if !ok || string(got) != "before"+string(want) {
			t.Errorf("%+v is written as %s, and by the codec as %s", v, got, want)
		}
	}
	if !same[T](t, want) {
		t.Errorf("%s is not taken", want)
	}
}

// What differs from plain JSON by a byte is taken only where the codec makes the same of it.
func TestNeighbours(t *testing.T) {
	for _, v := range things {
		neighbours(t, v)
	}
	for _, v := range events {
		neighbours(t, v)
	}
}

func neighbours[T any](t *testing.T, v T) {
	t.Helper()
	text, err := json.Marshal(&v, json.Deterministic(true))
	if err != nil {
		t.Fatal(err)
	}
	taken := 0
	try := func(parts ...string) {
		data := []byte(strings.Join(parts, ""))
		if same[T](t, data) {
			taken++
		}
		skipped(t, data)
	}
	s := string(text)
	for i := range len(s) {
		try(s[:i], s[i+1:])
		if same[T](t, text[:i]) { // what lies behind it is no part of it
			t.Errorf("%s is taken for the whole", text[:i])
		}
		for _, c := range []string{"0", "1", "9", "-", "+", ".", "e", `"`, `\`, "\n", " ", "{", "}", "[", "]", ",", ":", "n", "t", "\x00", "\x1f", "\x7f", "\x80", "é", "\xc3", "日", "\xed\xa0\x80", "null", `""`, "00", "=", "\r"} {
			try(s[:i], c, s[i:])
			try(s[:i], c, s[i+1:])
		}
	}
	if try(s, " "); taken == 0 {
		t.Errorf("none of %s's neighbours is taken", s)
	}
}

// skipped fails where Skip goes past what the codec refuses. It reports whether Skip takes the whole.
func skipped(t *testing.T, data []byte) bool {
	t.Helper()
	if n := Skip(data); n == 0 || n < len(data) {
		return false
	}
	if !jsontext.Value(data).IsValid() {
		t.Fatalf("went past %q", data)
	}
	return true
}

func TestSkip(t *testing.T) {
	for text, want := range map[string]int{
		`{"a":{"a":1,"b":[-0,"x",true,false,null,{}]},"b":""},`: 52, `12}`: 2, `1.5`: 1, `"a" `: 3, `[]`: 2,
		``: 0, ` 1`: 0, `{"a":1,"a":2}`: 0, `{"a":{"b":1,"c":2,"b":3}}`: 0, `[{"a":1,"a":1}]`: 0, `{"a":1,}`: 0, `[1,]`: 0, `01`: 0, `-`: 0, `"\u0061"`: 0,
		`"ü"`: 4, "{\"ü\":\"\u2028\",\"u\":\"𝄞\"}": 23, `{"ü":1,"ü":2}`: 0, "\"\xff\"": 0, "\"\xc3\"": 0, "\"ü\xed\xa0\x80\"": 0, "\"ü\n\"": 0, `"ü`: 0, `"ü\n"`: 0, "\"\ufffd\"": 5,
		strings.Repeat("[", 31) + strings.Repeat("]", 31): 62, strings.Repeat("[", 33) + strings.Repeat("]", 33): 0, strings.Repeat("[", 1<<20): 0,
	} {
		if got := Skip([]byte(text)); got != want {
			t.Errorf("%.60q: %d, want %d", text, got, want)
		}
	}
	for _, names := range []int{64, 65} {
		members := make([]string, names)
		for i := range members {
			members[i] = fmt.Sprintf(`"n%d":1`, i)
		}
		text := "{" + strings.Join(members, ",") + "}"
		if got := skipped(t, []byte(text)); got != (names == 64) {
			t.Errorf("%d members: %v", names, got)
		}
	}
}

// Members that are not known, and in another order, are read past where the codec does so.
func TestReadKnown(t *testing.T) {
	for text, want := range map[string]bool{
		`{}`: true, `{"more":{"a":[1]},"name":"a"}`: true, `{"inner":{"count":1,"more":"x","sku":"a"},"name":"a"}`: true, `{"Plain":"a","more":null}`: true,
		`{"NAME":"a"}`: true, `{"nam":1,"names":2}`: true, `{"parts":[{"x":1,"sku":"a"}]}`: true,
		`{"more":1,"more":2}`: false, `{"name":"a","more":1,"name":"b"}`: false, `{"more":1.5}`: false, `{"more":"ü"}`: true, `{"möre":1}`: true, `{"möre":1,"möre":1}`: false, "{\"more\":\"\xff\"}": false, `{"more":"\n"}`: false, `{"more":1} `: false,
		`{"more":{"x":1,"x":1}}`: false, `{"name":1}`: false, `[]`: false, `1`: false,
	} {
		if got := compare[thing](t, []byte(text), ReadKnown); got != want {
			t.Errorf("%s: %v", text, got)
		}
	}
}

// What is not plain is left to the codec, though it may be good.
func TestLeavesToTheCodec(t *testing.T) {
	for _, text := range []string{
		``, `null`, `[]`, `{} `, ` {}`, `{}{}`, `{"wide":18446744073709551615}`, `{"wide":1234567890123456789}`, `{"wide":-0}`, `{"big":-0}`, `{"big":01}`, `{"big":1.0}`, `{"big":1e2}`,
		`{"big":"1"}`, `{"small":128}`, `{"small":-129}`, `{"narrow":65536}`, `{"name":null}`, `{"name":"\u0061"}`, "{\"name\":\"ü\xff\"}", `{"name":"ü\n"}`, "{\"name\":\"ü\x7f\"}", "{\"name\":\"\xed\xa0\x80\"}", `{"name":"a","name":"b"}`,
		`{"tag":"b","name":"a"}`, `{"NAME":"a"}`, `{"other":1}`, `{"Hidden":"a"}`, `{"own":1}`, `{"words":null}`, `{"words":["a",]}`, `{"inner":{"sku":"a",}}`, `{"yes":tru}`,
	} {
		if same[thing](t, []byte(text)) {
			t.Errorf("%s is taken", text)
		}
	}
	for _, text := range []string{
		`{"at":""}`, `{"at":null}`, `{"at":"x"}`, `{"at":1}`, `{"token":null}`, `{"token":"a"}`, `{"token":"a==="}`, `{"token":"AA"}`, `{"token":"A-__"}`, `{"token":"AAAA\n"}`,
		`{"token":[1]}`, `{"bits":"AA=="}`, `{"bits":[256]}`, `{"why":nul}`, `{"why":{"sku":null}}`, `{"sums":null}`, `{"sums":{"a":{"sku":"a"},"a":{"sku":"b"}}}`,
		`{"sums":{"a":null}}`, "{\"sums\":{\"\xfc\":{\"sku\":\"a\"}}}", `{"token":"ü"}`, `{"at":"ü"}`, `{"sums":{"a":{}},}`, `{"sums":{"a":{},}}`, `{"ask":"x"}`, `{"active":1}`,
	} {
		if same[event](t, []byte(text)) {
			t.Errorf("%s is taken", text)
		}
	}
	for _, v := range []thing{{Name: `a"b`}, {Name: `\`}, {Name: "ü\n"}, {Name: "ü\x7f"}, {Name: "\xff"}, {Name: "ü\xc3"}, {Name: "\xed\xa0\x80"}, {Name: "a\nb"}, {Words: []string{"\x7f"}}, {Parts: []inner{{SKU: "\x00"}}}} {
		if b, ok := Append([]byte("before"), &v); ok || string(b) != "before" {
			t.Errorf("%+v is written as %s", v, b)
		}
	}
	for _, v := range []event{{At: word{"\xff"}}, {At: word{"ü\""}}, {At: word{`"`}}, {At: word{" "}}, {Sums: map[sku]inner{"\xfc": {}}}, {Sums: map[sku]inner{"a": {SKU: "\n"}}}, {Why: &inner{SKU: `"`}}} {
		if b, ok := Append([]byte("before"), v); ok || string(b) != "before" {
			t.Errorf("%+v is written as %s", v, b)
		}
	}
}

// tagged is a struct with one text of that tag.
func tagged(tag string) any {
	return reflect.New(reflect.StructOf([]reflect.StructField{{Name: "A", Type: reflect.TypeFor[string](), Tag: reflect.StructTag(`json:"` + tag + `"`)}})).Interface()
}

// far says what its zero is where it has an address.
type far struct{ N int }

func (f *far) IsZero() bool { return f.N == 7 }

// mute can't be read, and deaf not be written; loud wants an address, and keyed is a name.
type (
	mute  struct{}
	deaf  struct{}
	loud  struct{}
	keyed string
)

func (mute) AppendText(b []byte) ([]byte, error)  { return b, nil }
func (*deaf) UnmarshalText([]byte) error          { return nil }
func (*loud) AppendText(b []byte) ([]byte, error) { return b, nil }
func (*loud) UnmarshalText([]byte) error          { return nil }
func (k keyed) MarshalText() ([]byte, error)      { return []byte(k), nil }

// A type that is not plain is left to the codec, whole.
func TestTypes(t *testing.T) {
	type self struct {
		Next []self `json:"next"`
	}
	type chain struct{ Next *chain }
	type tree struct{ Parts map[string]tree }
	type mail struct{ inner }
	twice := reflect.StructOf([]reflect.StructField{
		{Name: "A", Type: reflect.TypeFor[string](), Tag: `json:"a"`}, {Name: "B", Type: reflect.TypeFor[string](), Tag: `json:"a"`},
	})
	for _, v := range []any{
		&struct{ At time.Time }{}, &struct{ For time.Duration }{}, &struct{ F float64 }{}, &struct{ P **int }{}, &struct{ P *time.Duration }{},
		&struct{ M map[int]int }{}, &struct{ M map[keyed]int }{}, &struct{ M map[string]any }{}, &struct{ W mute }{}, &struct{ W deaf }{}, &struct{ W loud }{},
		&struct{ A any }{}, &struct{ A [2]int }{}, &struct{ V jsontext.Value }{}, &self{}, &chain{}, &tree{}, &mail{}, new([]int), new(map[string]int), new(string), new(*thing),
		nil, (*thing)(nil), &word{}, word{},
		&struct {
			F far `json:",omitzero"`
		}{},
		&struct {
			P *int `json:",omitempty"`
		}{},
		&struct {
			W word `json:",omitempty"`
		}{},
		&struct {
			N int `json:",string"`
		}{},
		&struct {
			N string `json:"a,case:ignore"`
		}{},
		&struct {
			N []byte `json:"a,format:hex"`
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
	if Read([]byte("{}"), thing{}) {
		t.Error("what has no address is read")
	}
}

// Write and Unmarshal are the codec's, whatever the value.
func TestAsTheCodec(t *testing.T) {
	for _, v := range []any{things[3], &events[3], thing{Name: "ü\n"}, map[string]int{"b": 1, "a": 2}, []byte("a"), struct{ F float64 }{1.5}, struct{ F func() }{}} {
		var got, want bytes.Buffer
		errGot, errWant := Write(&got, v, json.Deterministic(true)), json.MarshalWrite(&want, v, json.Deterministic(true))
		if got.String() != want.String() || fmt.Sprint(errGot) != fmt.Sprint(errWant) {
			t.Errorf("%+v is written as %s, %v, and by the codec as %s, %v", v, &got, errGot, &want, errWant)
		}
	}
	for _, text := range []string{`{"name":"a"}`, `{"more":1,"name":"a"}`, `{"name":"\u00fc","more":1.5}`, `{"name":1}`, `{"name":"a","name":"b"}`, ``, `null`, `{"name":"\xff"}`, `{} {}`} {
		var got, want thing
		errGot, errWant := Unmarshal([]byte(text), &got), json.Unmarshal([]byte(text), &want)
		if !reflect.DeepEqual(got, want) || fmt.Sprint(errGot) != fmt.Sprint(errWant) {
			t.Errorf("%s is %+v, %v, and by the codec %+v, %v", text, got, errGot, want, errWant)
		}
	}
}

func FuzzRead(f *testing.F) {
	for _, v := range things {
		b, _ := json.Marshal(&v)
		f.Add(b)
	}
	for _, v := range events {
		b, _ := json.Marshal(&v)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		same[thing](t, data)
		same[event](t, data)
		skipped(t, data)
	})
}

func FuzzAppend(f *testing.F) {
	f.Add("a", int64(math.MinInt64), uint64(math.MaxUint64), true)
	f.Add("a\"\x7f", int64(-1), uint64(7), false)
	f.Add("a\u00fc\u2028\U0001d11e", int64(0), uint64(0), false)
	f.Add("\u00fc\xc3", int64(0), uint64(0), false)
	f.Fuzz(func(t *testing.T, s string, i int64, u uint64, yes bool) {
		v := thing{Name: s, Tag: s, Small: int8(i), Big: i, Narrow: uint16(u), Wide: u, Yes: yes, Gone: gone{int(i % 8)}, Words: []string{s}, Parts: []inner{{sku(s), int(i)}}}
		whole[thing](t, &v)
		whole[event](t, &event{At: word{s}, Dues: []word{{s}}, Sealed: []byte(s), Token: []byte(s), Bits: []nibble{nibble(u)}, Why: &inner{sku(s), int(i)}, Gone: &gone{int(i % 8)},
			Ask: &word{s}, Active: &yes, Sums: map[sku]inner{sku(s): {sku(s), int(i)}, "b": {}}, Words: map[string]word{s: {s}, "": {s}}})
	})
}

// whole fails where v is written in other bytes than the codec's, or read as something else.
func whole[T any](t *testing.T, v *T) {
	t.Helper()
	got, ok := Append(nil, v)
	if !ok {
		return
	}
	if want, err := json.Marshal(v, json.Deterministic(true)); err != nil || string(got) != string(want) {
		t.Fatalf("%+v is written as %s, and by the codec as %s, %v", v, got, want, err)
	}
	same[T](t, got)
}
