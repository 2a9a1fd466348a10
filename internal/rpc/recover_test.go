package rpc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"waybill/internal/fault"
)

func TestPanicIsInternalAndTheServiceLives(t *testing.T) {
	b := newBus(t)
	var log bytes.Buffer
	s := b.serve(Options{Log: zerolog.New(&log)}, func(s *Server) {
		Handle(s, endpointNamed("get"), func(ctx context.Context, a *ask) (*answer, error) {
			if a.Name == "bomb" {
				panic("secret state")
			}
			return greet(ctx, a)
		})
	})
	c := NewCaller(b.link(), "local")
	_, err := Call(within(t), c, endpointNamed("get"), &ask{Name: "bomb"})
	if f := refused(t, err, fault.Internal, ""); strings.Contains(f.Error(), "secret") {
		t.Errorf("the caller sees %q", f)
	}
	if _, err := Call(within(t), c, endpointNamed("get"), &ask{Name: "x"}); err != nil {
		t.Errorf("after the panic: %v", err)
	}
	stop(t, s)
	if n := strings.Count(log.String(), "secret state"); n != 1 || !strings.Contains(log.String(), "recover_test.go") {
		t.Errorf("the log names the panic %d times, with a stack or not:\n%s", n, log.String())
	}
}

func TestInternalErrorsAreHiddenAndLogged(t *testing.T) {
	b := newBus(t)
	var log bytes.Buffer
	s := b.serve(Options{Log: zerolog.New(&log)}, func(s *Server) {
		Handle(s, endpointNamed("get"), func(context.Context, *ask) (*answer, error) { return nil, errors.New("password is 123") })
		Handle(s, endpointNamed("list"), func(context.Context, *ask) (*answer, error) { return nil, nil })
	})
	c := NewCaller(b.link(), "local")
	for _, method := range []string{"get", "list"} {
		reply, err := CallRaw(within(t), c, endpointNamed(method).Subject("local"), []byte(`{"name":"x"}`), nil)
		refused(t, err, fault.Internal, "")
		if strings.Contains(fmt.Sprint(reply.Header, string(reply.Data)), "123") {
			t.Errorf("the reply tells the cause: %v %s", reply.Header, reply.Data)
		}
	}
	stop(t, s)
	if !strings.Contains(log.String(), "password is 123") || !strings.Contains(log.String(), "neither a reply nor an error") {
		t.Errorf("the log lacks a cause:\n%s", log.String())
	}
}
