package rpc

import (
	"bytes"
	"encoding"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"sync"

	"github.com/go-json-experiment/json"
	"github.com/invopop/jsonschema"

	"waybill/internal/id"
	"waybill/internal/money"
	"waybill/internal/timestamp"
)

var textUnmarshaler = reflect.TypeFor[encoding.TextUnmarshaler]()

// schemas keeps the schemas that were made, by schemaKey: a type is often the reply of several endpoints.
var schemas sync.Map

type schemaKey struct {
	t     reflect.Type
	reply bool
}

// Schema is the JSON Schema (draft 2020-12) of T as a request or as a reply. A request has no fields but those that are
// listed; a reply may gain fields, which its readers ignore. Error: a type that JSON can't hold.
func Schema[T any](reply bool) (string, error) {
	key := schemaKey{reflect.TypeFor[T](), reply}
	if s, ok := schemas.Load(key); ok {
		return s.(string), nil
	}
	s, err := reflectSchema(key.t, reply)
	if err != nil {
		return "", fmt.Errorf("schema of %s: %w", key.t, err)
	}
	schemas.Store(key, s)
	return s, nil
}

// metadata is what an endpoint's micro metadata says of it.
func metadata[Req, Res any](doc string, internal, idempotent bool) (map[string]string, error) {
	request, err := Schema[Req](false)
	if err != nil {
		return nil, err
	}
	response, err := Schema[Res](true)
	if err != nil {
		return nil, err
	}
	return map[string]string{
		"request_schema":  request,
		"response_schema": response,
		"description":     doc,
		"idempotent":      strconv.FormatBool(idempotent),
		"internal":        strconv.FormatBool(internal),
	}, nil
}

func reflectSchema(t reflect.Type, reply bool) (text string, err error) {
	defer func() {
		if p := recover(); p != nil { // the reflector's way to say that it does not know a type
			err = fmt.Errorf("%v", p)
		}
	}()
	r := jsonschema.Reflector{
		Anonymous:                 true,
		ExpandedStruct:            true,
		AllowAdditionalProperties: reply,
		Namer:                     schemaName,
		Mapper:                    mapType,
	}
	b, err := r.ReflectFromType(t).MarshalJSON()
	if err == nil && bytes.Contains(b, []byte(`"#/$defs/`+schemaName(t)+`"`)) {
		// A type that contains itself needs its own definition, which the expanded form takes away.
		r.ExpandedStruct = false
		b, err = r.ReflectFromType(t).MarshalJSON()
	}
	return string(b), err
}

// schemaName is a type's name with its package, because several packages have a Line, in characters fit for a reference.
// A type without a name has none here either, and is written where it stands.
func schemaName(t reflect.Type) string {
	if t.Name() == "" {
		return ""
	}
	return strings.Map(func(r rune) rune {
		if r < 0x80 && (id.Valid(string(r), 1) || r == '.') {
			return r
		}
		return '_'
	}, t.String())
}

var chosen = map[reflect.Type]bool{
	reflect.TypeFor[id.Order]():     true,
	reflect.TypeFor[id.Customer]():  true,
	reflect.TypeFor[id.SKU]():       true,
	reflect.TypeFor[id.Webhook]():   true,
	reflect.TypeFor[id.Reference](): true,
}

// mapType gives the schemas of the types whose JSON is not what their Go shape says; nil for all others.
func mapType(t reflect.Type) *jsonschema.Schema {
	switch {
	case t == reflect.TypeFor[timestamp.Time]():
		return &jsonschema.Schema{Type: "string", Format: "date-time"}
	case t == reflect.TypeFor[money.Currency]():
		return &jsonschema.Schema{Type: "string", Pattern: "^[A-Z]{3}$"}
	case t.PkgPath() == reflect.TypeFor[id.Order]().PkgPath() && t.Kind() == reflect.String:
		most := id.MaxDerived
		if chosen[t] {
			most = id.MaxChosen
		}
		return &jsonschema.Schema{Type: "string", Pattern: fmt.Sprintf("^[A-Za-z0-9_-]{1,%d}$", most)}
	}
	p := reflect.PointerTo(t)
	if p.Implements(reflect.TypeFor[interface{ JSONSchema() *jsonschema.Schema }]()) {
		return nil
	}
	if p.Implements(reflect.TypeFor[json.Unmarshaler]()) || p.Implements(reflect.TypeFor[json.UnmarshalerFrom]()) {
		return &jsonschema.Schema{} // its own business: anything
	}
	if p.Implements(textUnmarshaler) {
		return &jsonschema.Schema{Type: "string"}
	}
	return nil
}
