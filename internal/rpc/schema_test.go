package rpc

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"waybill/internal/id"
	"waybill/internal/money"
	"waybill/internal/timestamp"
)

type tree struct {
	Name     string `json:"name"`
	Children []tree `json:"children,omitempty"`
}

type shapes struct {
	Order   id.Order       `json:"order_id"`
	Payment id.Payment     `json:"payment_id,omitempty"`
	Price   money.Money    `json:"price"`
	At      timestamp.Time `json:"at,omitzero"`
	Blob    []byte         `json:"blob,omitempty"`
	Trees   []tree         `json:"trees,omitempty"`
	Any     any            `json:"any,omitempty"`
}

func TestSchemas(t *testing.T) {
	text, err := Schema[shapes](false)
	if err != nil {
		t.Fatal(err)
	}
	var s struct {
		Type       string
		Required   []string
		Properties map[string]any
		Defs       map[string]any `json:"$defs"`
		Extra      *bool          `json:"additionalProperties"`
	}
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		t.Fatal(err)
	}
	if s.Type != "object" || !reflect.DeepEqual(s.Required, []string{"order_id", "price"}) || s.Extra == nil || *s.Extra {
		t.Errorf("got %s", text)
	}
	for field, want := range map[string]map[string]any{
		"order_id":   {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,48}$"},
		"payment_id": {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$"},
		"at":         {"type": "string", "format": "date-time"},
		"blob":       {"type": "string", "contentEncoding": "base64"},
		"price":      {"$ref": "#/$defs/money.Money"},
		"trees":      {"type": "array", "items": map[string]any{"$ref": "#/$defs/rpc.tree"}},
	} {
		if !reflect.DeepEqual(s.Properties[field], any(want)) {
			t.Errorf("%s is %v, want %v", field, s.Properties[field], want)
		}
	}
	if s.Properties["any"] != true {
		t.Errorf("any is %v", s.Properties["any"])
	}
	for _, d := range []string{"money.Money", "rpc.tree"} {
		if s.Defs[d] == nil {
			t.Errorf("%s is not defined in %s", d, text)
		}
	}
	recursive, err := Schema[tree](true)
	if err != nil || !strings.Contains(recursive, `"$ref":"#/$defs/rpc.tree"`) || !strings.Contains(recursive, `"$defs":{"rpc.tree":`) {
		t.Errorf("a type that contains itself: %s, %v", recursive, err)
	}
	if _, err := Schema[struct{ C chan int }](false); err == nil {
		t.Error("a channel has a schema")
	}
}

// A node makes the schemas of some 60 endpoints at its start.
func TestSchemasAreCheap(t *testing.T) {
	start := time.Now()
	const n = 120
	for range n {
		if _, err := reflectSchema(reflect.TypeFor[shapes](), false); err != nil {
			t.Fatal(err)
		}
	}
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("%d schemas took %v", n, took)
	} else {
		t.Logf("%d schemas took %v", n, took)
	}
}
