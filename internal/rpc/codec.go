package rpc

import (
	"bytes"
	"errors"
	"reflect"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"waybill/internal/fault"
	"waybill/internal/id"
	"waybill/internal/quick"
)

var strictly = json.RejectUnknownMembers(true)

// Decode reads exactly one JSON object into the struct that into points at, which must be zero. Error: invalid_argument, with the field at
// fault where there is one, for anything else: an empty payload, null or an array at the top, an unknown field, a name
// given twice, a wrong type, a number out of range, invalid UTF-8, trailing data.
func Decode(data []byte, into any) error {
	start := bytes.TrimLeft(data, " \t\r\n")
	switch {
	case len(start) == 0:
		return fault.New(fault.InvalidArgument, "the payload is empty; it must be a JSON object, at least {}")
	case start[0] != '{' && utf8.Valid(data):
		return fault.New(fault.InvalidArgument, "the payload must be one JSON object")
	}
	if quick.Read(data, into) {
		return nil
	}
	if err := json.Unmarshal(data, into, strictly); err != nil {
		return explain(data, err)
	}
	return nil
}

// Encode writes v as JSON: nil slices as [], nil maps as {}, without HTML escapes. Error: a value that JSON can't hold.
func Encode(v any) ([]byte, error) { return json.Marshal(v) }

func encodeTo(b *bytes.Buffer, v any) error { return quick.Write(b, v) }

// decodeReply is Decode for a reply: fields that this program does not know are ignored, and errors are the codec's.
func decodeReply(data []byte, into any) error { return quick.Unmarshal(data, into) }

// explain says in the caller's words what is wrong with the payload.
func explain(data []byte, err error) error {
	if !utf8.Valid(data) {
		return fault.New(fault.InvalidArgument, "the payload is not valid UTF-8")
	}
	var syntactic *jsontext.SyntacticError
	if errors.As(err, &syntactic) {
		field := fieldOf(syntactic.JSONPointer)
		if errors.Is(err, jsontext.ErrDuplicateName) {
			return fault.Invalid(field, "%s is given twice", field)
		}
		return fault.Invalid(field, "the payload is not one valid JSON object: %s, at byte %d", plain(syntactic.Err), syntactic.ByteOffset)
	}
	var semantic *json.SemanticError
	if !errors.As(err, &semantic) {
		return fault.Wrap(err, fault.InvalidArgument, "the payload can't be read")
	}
	field := fieldOf(semantic.JSONPointer)
	var coded *fault.Error
	switch {
	case errors.Is(err, json.ErrUnknownName):
		return fault.Invalid(field, "%s is not a field of this request", field)
	case errors.As(semantic.Err, &coded):
		return fault.Invalid(field, "%s", coded.Message)
	case semantic.GoType != nil && isNumber(semantic.GoType.Kind()) && semantic.JSONKind == jsontext.KindNumber:
		return fault.Invalid(field, "%s must be %s in range, not %.40s", field, wanted(semantic.GoType), semantic.JSONValue)
	case semantic.Err != nil && semantic.JSONKind == jsontext.KindString:
		return fault.Invalid(field, "%s is wrong: %s", field, plain(semantic.Err))
	case semantic.GoType != nil:
		return fault.Invalid(field, "%s must be %s, not %s", field, wanted(semantic.GoType), given(semantic.JSONKind))
	}
	return fault.Invalid(field, "%s can't be read", field)
}

// plain is an error's text without the name of the package that wrote it, bounded.
func plain(err error) string {
	if err == nil {
		return "it can't be read"
	}
	return cut(strings.TrimPrefix(strings.TrimPrefix(err.Error(), "jsontext: "), "json: "), 200)
}

// fieldOf turns a JSON pointer such as /lines/0/sku into lines[0].sku. What is no plain name is quoted: [\"odd name\"].
func fieldOf(p jsontext.Pointer) string {
	var b strings.Builder
	for token := range p.Tokens() {
		switch {
		case isIndex(token):
			b.WriteString("[" + token + "]")
		case !id.Valid(token, id.MaxDerived):
			b.WriteString("[" + strconv.QuoteToASCII(cut(token, id.MaxDerived)) + "]")
		default:
			if b.Len() > 0 {
				b.WriteByte('.')
			}
			b.WriteString(token)
		}
		if b.Len() > maxErrorHeader {
			break
		}
	}
	return b.String()
}

func isIndex(token string) bool {
	_, err := strconv.ParseUint(token, 10, 32)
	return err == nil
}

func isNumber(k reflect.Kind) bool { return k >= reflect.Int && k <= reflect.Float64 }

// wanted names a Go type as a JSON writer would.
func wanted(t reflect.Type) string {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch k := t.Kind(); {
	case k == reflect.Bool:
		return "true or false"
	case k == reflect.Float32 || k == reflect.Float64:
		return "a number"
	case isNumber(k):
		return "a whole number"
	case k == reflect.String, k == reflect.Slice && t.Elem().Kind() == reflect.Uint8:
		return "a string"
	case k == reflect.Slice || k == reflect.Array:
		return "a list"
	case reflect.PointerTo(t).Implements(textUnmarshaler):
		return "a string"
	}
	return "an object"
}

func given(k jsontext.Kind) string {
	switch k {
	case jsontext.KindNull:
		return "null"
	case jsontext.KindTrue, jsontext.KindFalse:
		return "true or false"
	case jsontext.KindString:
		return "a string"
	case jsontext.KindNumber:
		return "a number"
	case jsontext.KindBeginArray:
		return "a list"
	case jsontext.KindBeginObject:
		return "an object"
	}
	return "this"
}
