package rpc

import (
	"context"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"waybill/internal/fault"
	"waybill/internal/id"
	"waybill/internal/scope"
)

func TestHostileHeaders(t *testing.T) {
	b := newBus(t)
	type seen struct {
		cause, trace, key string
	}
	got := make(chan seen, 1)
	b.serve(silent, func(s *Server) {
		Handle(s, endpointNamed("get"), func(ctx context.Context, a *ask) (*answer, error) {
			cause, trace := scope.From(ctx).Origin()
			got <- seen{cause, trace, IdempotencyKey(ctx)}
			return greet(ctx, a)
		})
	})
	c := NewCaller(b.link(), "local")
	call := func(h nats.Header) (*Reply, error) {
		return CallRaw(within(t), c, endpointNamed("get").Subject("local"), []byte(`{"name":"x"}`), h)
	}
	const trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	if _, err := call(nats.Header{"Waybill-Request-Id": {"r-1"}, "traceparent": {trace}, "Idempotency-Key": {"k 1"[:1] + "!"}}); err != nil {
		t.Fatal(err)
	}
	if s := receive(t, got, "the handler"); s != (seen{"r-1", trace, "k!"}) {
		t.Errorf("got %+v", s)
	}
	for _, value := range []string{"", "a b", strings.Repeat("x", 65), "a.b", "ü", "\x00"} {
		if _, err := call(nats.Header{"Waybill-Request-Id": {value}}); err != nil {
			t.Fatal(err)
		}
		if s := receive(t, got, "the handler"); s.cause == value || !id.Valid(s.cause, id.MaxDerived) {
			t.Errorf("%q: cause is %q", value, s.cause)
		}
	}
	for _, value := range []string{"x", trace + "0", strings.ToUpper(trace), strings.Replace(trace, "0a", "0g", 1), "ff" + trace[2:],
		"00-" + strings.Repeat("0", 32) + trace[35:], trace[:36] + strings.Repeat("0", 16) + trace[52:], strings.Replace(trace, "-01", "_01", 1)} {
		if _, err := call(nats.Header{"traceparent": {value}}); err != nil {
			t.Fatal(err)
		}
		if s := receive(t, got, "the handler"); s.trace == value || !validTraceparent(s.trace) {
			t.Errorf("%q was taken for a trace", value)
		}
	}
	for name, values := range map[string][]string{
		"Waybill-Timeout": {"0", "-1", "+5", "1.5", "3600001", "99999999999999999999", "5s", "x"},
		"Idempotency-Key": {"a b", "ü", strings.Repeat("k", 256)},
	} {
		for _, value := range values {
			_, err := call(nats.Header{name: {value}})
			if f := refused(t, err, fault.InvalidArgument, ""); !strings.Contains(f.Message, name) {
				t.Errorf("%s %q: %s", name, value, f.Message)
			}
		}
	}
}
