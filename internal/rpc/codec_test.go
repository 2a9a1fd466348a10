package rpc

import (
	"bytes"
	stdjson "encoding/json"
	"errors"
	"reflect"
	"strconv"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/nats-io/nats.go"

	"waybill/internal/fault"
	"waybill/internal/lean"
	"waybill/internal/quick"
	"waybill/subjects"
)

func TestFieldOf(t *testing.T) {
	for pointer, want := range map[jsontext.Pointer]string{
		"":                   "",
		"/name":              "name",
		"/lines/0/sku":       "lines[0].sku",
		"/0/1":               "[0][1]",
		"/a/b/c":             "a.b.c",
		"/unit price":        `["unit price"]`,
		"/a/x.y/b":           `a["x.y"].b`,
		"/a~1b":              `["a/b"]`,
		"/ü":                 `["\u00fc"]`,
		"/99999999999999999": "99999999999999999",
	} {
		if got := fieldOf(pointer); got != want {
			t.Errorf("%q becomes %q, want %q", pointer, got, want)
		}
	}
}

func TestEncode(t *testing.T) {
	b, err := Encode(&answer{Greeting: "<&>"})
	if err != nil || string(b) != `{"greeting":"<&>","lines":[]}` {
		t.Errorf("%s, %v", b, err)
	}
	if _, err := Encode(make(chan int)); err == nil {
		t.Error("a channel was encoded")
	}
}

// What Decode takes is one JSON object by any reader's measure, and comes back the same; what it refuses is invalid_argument
// in words that are fit for the wire.
func FuzzDecode(f *testing.F) {
	for _, seed := range []string{`{}`, `{"name":"x","lines":[{"sku":"a","quantity":2}],"when":"2026-01-02T15:04:05Z","blob":"AAEC","small":-5,"yes":true,"ref":{}}`,
		`null`, `[]`, `{"name":"x","name":"y"}`, `{"a":{"b":[{"c":1}]}}`, `{"name":"\ud800"}`, "{\"\xff\":1}", `{"small":1e400}`, `{"blob":"="}`, `{}{}`, `{"lines":null}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var a ask
		err := Decode(data, &a)
		if err == nil {
			if !stdjson.Valid(data) || !utf8.Valid(data) {
				t.Fatalf("took %q", data)
			}
			again, err := Encode(&a)
			if err != nil {
				t.Fatalf("took %q, which can't be written again: %v", data, err)
			}
			var b ask
			if err := Decode(again, &b); err != nil {
				t.Fatalf("wrote %q, which can't be read: %v", again, err)
			}
			if third, _ := Encode(&b); !bytes.Equal(again, third) {
				t.Fatalf("%q became %q", again, third)
			}
			return
		}
		var coded *fault.Error
		if !errors.As(err, &coded) || coded.Code != fault.InvalidArgument || coded.Message == "" {
			t.Fatalf("%q: %v", data, err)
		}
		var x exchange
		if err := x.fail(coded, 1<<20); err != nil || !stdjson.Valid(x.body.Bytes()) || !utf8.Valid(x.body.Bytes()) {
			t.Fatalf("%q: %v %q", data, err, x.body.Bytes())
		}
		header := x.header.Header()
		for _, name := range []string{subjects.HeaderErrorCode, subjects.HeaderError} {
			v := header.Get(name)
			if v == "" || len(v) > maxErrorHeader || !utf8.ValidString(v) || bytes.ContainsAny([]byte(v), "\r\n\x00") {
				t.Fatalf("%q: header %q", data, v)
			}
		}
	})
}

func FuzzTimeout(f *testing.F) {
	for _, seed := range []string{"", "1", "5000", "3600000", "3600001", "0", "-1", "+1", "1e3", "0x10", "4294967297", "18446744073709551617", "007", "1_000", " 1"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		d, err := timeoutOf(lean.Received(&nats.Msg{Header: nats.Header{"Waybill-Timeout": {text}}}))
		if text == "" { // as good as absent
			if err != nil || d != DefaultTimeout {
				t.Fatalf("%v, %v", d, err)
			}
			return
		}
		n, bad := strconv.ParseInt(text, 10, 64)
		if text[0] < '0' || text[0] > '9' {
			bad = errors.New("no digit")
		}
		if valid := bad == nil && n >= 1 && n <= 3_600_000; valid != (err == nil) {
			t.Fatalf("%q: %v", text, err)
		}
		if err == nil && d != time.Duration(n)*time.Millisecond {
			t.Fatalf("%q is %v", text, d)
		}
		if err != nil && fault.CodeOf(err) != fault.InvalidArgument {
			t.Fatalf("%q: %v", text, err)
		}
	})
}

func TestOneLine(t *testing.T) {
	for in, want := range map[string]string{"a\r\nb": "a  b", " x ": "x", "": "no message", "\n": "no message", "a\u2028b\u0085c": "a b c", "ü": "ü"} {
		if got := oneLine(in); got != want {
			t.Errorf("%q becomes %q, want %q", in, got, want)
		}
	}
	if got := cut("aüb", 2); got != "a" {
		t.Errorf("cut within a character: %q", got)
	}
}

// A call's request and reply are read and written without the codec's help.
func TestACallIsQuick(t *testing.T) {
	request := subjects.AuthorizeRequest{PaymentID: "p", OrderID: "o", Amount: subjects.Money{Amount: 1, Currency: "EUR"}, Method: subjects.Card}
	reply := subjects.PaymentInfo{PaymentID: "p", Amount: request.Amount, DeclineCode: "do_not_honor"}
	refusal := wireError{}
	for _, v := range []any{&request, &reply, &refusal, &subjects.SKURequest{SKU: "espresso"}, &subjects.Item{SKU: "espresso"}} {
		text, ok := quick.Append(nil, v)
		if !ok || !quick.Read(text, reflect.New(reflect.TypeOf(v).Elem()).Interface()) {
			t.Errorf("%T is left to the codec: %s", v, text)
		}
	}
}
