package rpc

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"

	"waybill/internal/fault"
)

func TestErrorsOnTheWire(t *testing.T) {
	b := newBus(t)
	long := "first line\r\nInjected: yes\x00 " + strings.Repeat("ü", 400)
	b.serve(silent, func(s *Server) {
		Handle(s, endpointNamed("get"), func(context.Context, *ask) (*answer, error) {
			return nil, fault.New(fault.Aborted, "%s", long).WithField("lines[2].sku")
		})
		Handle(s, endpointNamed("put"), func(context.Context, *ask) (*answer, error) {
			return nil, fmt.Errorf("deep: %w", fault.New(fault.NotFound, "\xff"))
		})
		Handle(s, endpointNamed("list"), func(context.Context, *ask) (*answer, error) { return nil, &fault.Error{Code: fault.NotFound} })
	})
	c := NewCaller(b.link(), "local")
	reply, err := CallRaw(within(t), c, endpointNamed("get").Subject("local"), []byte(`{"name":"x"}`), nil)
	f := refused(t, err, fault.Aborted, "lines[2].sku")
	if f.Message != long {
		t.Errorf("the message came as %q", f.Message)
	}
	h := reply.Header.Get("Nats-Service-Error")
	if len(h) > 500 || len(h) < 400 || strings.ContainsAny(h, "\r\n\x00") || !strings.HasPrefix(h, "first line") || reply.Header.Get("Injected") != "" {
		t.Errorf("header is %q", h)
	}
	var body struct {
		Error struct {
			Code, Message, Field string
			Retryable            *bool
		}
	}
	if err := json.Unmarshal(reply.Data, &body); err != nil || body.Error.Code != "aborted" || body.Error.Retryable == nil || !*body.Error.Retryable {
		t.Errorf("body is %s (%v)", reply.Data, err)
	}
	reply, err = CallRaw(within(t), c, endpointNamed("put").Subject("local"), []byte(`{"name":"x"}`), nil)
	refused(t, err, fault.NotFound, "")
	if !json.Valid(reply.Data) || strings.Contains(string(reply.Data), "field") || !strings.Contains(string(reply.Data), `"retryable":false`) {
		t.Errorf("body is %s", reply.Data)
	}
	reply, err = CallRaw(within(t), c, endpointNamed("list").Subject("local"), []byte(`{"name":"x"}`), nil)
	refused(t, err, fault.NotFound, "")
	if reply.Header.Get("Nats-Service-Error") == "" {
		t.Error("an error without a message has no header")
	}
}

func TestAnErrorOverTheLimitIsCut(t *testing.T) {
	b := newBus(t, func(o *server.Options) { o.MaxPayload = 8192 })
	b.serve(silent, func(s *Server) {
		Handle(s, endpointNamed("get"), func(context.Context, *ask) (*answer, error) {
			return nil, fault.New(fault.FailedPrecondition, "%s", strings.Repeat("short of x; ", 1000))
		})
	})
	_, err := Call(within(t), NewCaller(b.link(), "local"), endpointNamed("get"), &ask{Name: "x"})
	if f := refused(t, err, fault.FailedPrecondition, ""); len(f.Message) != maxErrorHeader {
		t.Errorf("the message has %d bytes", len(f.Message))
	}
}
