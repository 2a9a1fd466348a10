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
	} {
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
}
