package journal

import (
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// A body is read as the JSON library reads one into a struct, whatever it is.
func TestDecodeBody(t *testing.T) {
	payload, data, state, err := encodeBody(map[string]int{"b": 2, "a": 1}, count{3})
	if err != nil || string(payload) != `{"v":1,"data":{"a":1,"b":2},"state":{"n":3}}` || string(data) != `{"a":1,"b":2}` || string(state) != `{"n":3}` {
		t.Fatalf("%s %s %s, %v", payload, data, state, err)
	}
	for _, text := range []string{
		string(payload), ` { "state" : [ 1 , 2 ] , "v" : 12 , "more" : {"data":1} , "data" : "x" } `, `{"v":1}`, `{}`, `{"v":1,"data":null,"state":null}`,
		`{"\u0076":1,"data":1,"state":2}`, `{"v":null}`, `{"V":1}`,
		``, ` `, `null`, `[]`, `1`, `{`, `{"v":1`, `{"v":1}}`, `{"v":1} {}`, `{"v":1,"v":2}`, `{"v":"1"}`, `{"v":1.5}`, `{"v":99999999999999999999}`, `{"v":1,}`,
		`{"v":1,"data":{"a":1,"a":2}}`, `{"v":1,"data":{"a":}}`, "{\"v\":1,\"data\":\"\xff\"}", "{\"v\":1,\"\xff\":1}", `{"v":1,"data":01}`, `{v:1}`,
		`{"v":1,"data":` + strings.Repeat("[", 20_000) + strings.Repeat("]", 20_000) + `}`,
		`{"v":1,"data":{"a":1,"a":2},"state":{}}`, `{"v":1,"data":{},"state":{"a":{"b":1,"b":1}}}`, `{"v":1,"data":{},"state":{}}}`, `{"v":1,"data":{},"state":{}} `,
		`{"v":1,"data":{},"state":{},"state":{}}`, `{"v":1,"data":{},"state":{},"more":1}`, `{"v":1,"data":,"state":{}}`, `{"v":1,"data":{},"state":}`, `{"v":1,"data":1.5,"state":-0}`, `{"v":1,"data":"ü","state":"\n"}`,
		"{\"v\":1,\"data\":{},\"state\":\"\xff\"}", `{"v":1,"data":{},"state":01}`, `{"v":2,"data":{},"state":{}}`,
		`{"v":1,"data":{},"state":` + strings.Repeat("[", 20_000) + strings.Repeat("]", 20_000) + `}`,
	} {
		readAsTheLibrary(t, text)
	}
	whole := `{"v":1,"data":{"a":[1,"x"],"b":{"c":null}},"state":{"a":true,"b":""}}`
	for i := range len(whole) {
		for _, c := range []string{"", `"`, `\`, "\x00", "\xff", "ü", " ", "1", "-", ".", "a", "b", "{", "}", "[", "]", ",", ":"} {
			readAsTheLibrary(t, whole[:i]+c+whole[i:])
			readAsTheLibrary(t, whole[:i]+c+whole[i+1:])
		}
		readAsTheLibrary(t, whole[:i])
	}
}

func FuzzDecodeBody(f *testing.F) {
	f.Add(`{"v":1,"data":{"a":[1,"x"],"b":{"c":null}},"state":{"a":true,"b":""}}`)
	f.Fuzz(readAsTheLibrary)
}

func readAsTheLibrary(t *testing.T, text string) {
	t.Helper()
	var want struct {
		V     int            `json:"v"`
		Data  jsontext.Value `json:"data"`
		State jsontext.Value `json:"state"`
	}
	failed := json.Unmarshal([]byte(text), &want)
	got, err := decodeBody([]byte(text))
	// null leaves a struct as it was, and is no body.
	if (err != nil) != (failed != nil || text == `null`) {
		t.Errorf("%.60q: %v, and the library says %v", text, err, failed)
	}
	if err == nil && (got.V != want.V || string(got.Data) != string(want.Data) || string(got.State) != string(want.State)) {
		t.Errorf("%.60q: %d %s %s, want %d %s %s", text, got.V, got.Data, got.State, want.V, want.Data, want.State)
	}
}
