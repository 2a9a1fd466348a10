package rpc

import (
	"context"
	"encoding/json"
	"strings"
	"sync/atomic"
	"testing"

	"waybill/internal/fault"
	"waybill/subjects"
)

func TestBadPayloads(t *testing.T) {
	b := newBus(t)
	var handled atomic.Int64
	o := silent
	o.MaxPayload = 4096
	b.serve(o, func(s *Server) {
		Handle(s, endpointNamed("get"), func(ctx context.Context, a *ask) (*answer, error) {
			handled.Add(1)
			return greet(ctx, a)
		})
	})
	c := NewCaller(b.link(), "local")
	subject := endpointNamed("get").Subject("local")
	for name, tc := range map[string]struct{ payload, field, says string }{
		"empty":              {"", "", "empty"},
		"blank":              {" \n", "", "empty"},
		"null":               {"null", "", "one JSON object"},
		"array":              {"[]", "", "one JSON object"},
		"string":             {`"x"`, "", "one JSON object"},
		"cut short":          {`{"name":"x"`, "", "not one valid JSON object"},
		"no JSON":            {`{name:1}`, "", "not one valid JSON object"},
		"trailing object":    {`{"name":"x"}{}`, "", "after top-level value"},
		"trailing text":      {`{"name":"x"} x`, "", "after top-level value"},
		"unknown":            {`{"name":"x","nmae":1}`, "nmae", "nmae is not a field"},
		"unknown, deep":      {`{"name":"x","lines":[{"sku":"a"},{"qty":1}]}`, "lines[1].qty", "not a field"},
		"unknown, odd":       {`{"a b\n":1}`, `["a b\n"]`, "not a field"},
		"other case":         {`{"Name":"x"}`, "Name", "not a field"},
		"twice":              {`{"name":"x","name":"y"}`, "name", "name is given twice"},
		"twice, deep":        {`{"lines":[{"sku":"a","sku":"b"}]}`, "lines[0].sku", "given twice"},
		"number for text":    {`{"name":5}`, "name", "name must be a string, not a number"},
		"text for number":    {`{"lines":[{"quantity":"5"}]}`, "lines[0].quantity", "must be a whole number, not a string"},
		"fraction":           {`{"lines":[{"quantity":1.5}]}`, "lines[0].quantity", "whole number in range, not 1.5"},
		"out of range":       {`{"small":300}`, "small", "whole number in range, not 300"},
		"far out of range":   {`{"lines":[{"quantity":99999999999999999999}]}`, "lines[0].quantity", "in range"},
		"object for list":    {`{"lines":{}}`, "lines", "lines must be a list, not an object"},
		"list for object":    {`{"ref":[]}`, "ref", "ref must be an object, not a list"},
		"text for bool":      {`{"yes":"true"}`, "yes", "true or false"},
		"no time":            {`{"when":"tomorrow"}`, "when", "not an RFC 3339 time"},
		"number for time":    {`{"when":5}`, "when", "when must be a string"},
		"no base64":          {`{"blob":"!"}`, "blob", "blob"},
		"invalid UTF-8":      {"{\"name\":\"\xff\"}", "", "UTF-8"},
		"only invalid UTF-8": {"\xff", "", "UTF-8"},
		"lone surrogate":     {`{"name":"\ud800"}`, "name", "surrogate"},
		"too large":          {`{"name":"` + strings.Repeat("x", 4096) + `"}`, "", "over the limit of 4096"},
		"not valid":          {`{}`, "name", "name is missing"},
		"not valid, uncoded": {`{"name":"uncoded"}`, "", "not coded"},
		"too deep":           {`{"name":` + strings.Repeat("[", 2000) + strings.Repeat("]", 2000) + `}`, "name", "string"},
	} {
		t.Run(name, func(t *testing.T) {
			reply, err := CallRaw(within(t), c, subject, []byte(tc.payload), nil)
			f := refused(t, err, fault.InvalidArgument, tc.field)
			if !strings.Contains(f.Message, tc.says) {
				t.Errorf("says %q, which lacks %q", f.Message, tc.says)
			}
			if reply.Header.Get(subjects.HeaderErrorCode) != "invalid_argument" || !json.Valid(reply.Data) {
				t.Errorf("reply is %v %s", reply.Header, reply.Data)
			}
		})
	}
	if n := handled.Load(); n != 0 {
		t.Errorf("the handler ran %d times", n)
	}
}

func TestReplyOverTheLimit(t *testing.T) {
	b := newBus(t)
	b.serve(silent, func(s *Server) {
		Handle(s, endpointNamed("list"), func(context.Context, *ask) (*answer, error) {
			return &answer{Greeting: strings.Repeat("x", 1<<20)}, nil
		})
	})
	_, err := Call(within(t), NewCaller(b.link(), "local"), endpointNamed("list"), &ask{Name: "x"})
	if f := refused(t, err, fault.FailedPrecondition, ""); !strings.Contains(f.Message, "smaller limit") {
		t.Errorf("says %q", f.Message)
	}
}
