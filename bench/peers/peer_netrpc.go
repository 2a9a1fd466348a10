package main

import (
	"context"
	"errors"
	"net"
	"net/rpc"
	"sync"

	"waybill/subjects"
)

// netRPC is the standard library's net/rpc with gob over TCP. Its documentation (https://pkg.go.dev/net/rpc) lets many use one client
// at once. A call has no deadline: net/rpc knows none.
type netRPC struct{}

func (netRPC) name() string { return "net-rpc" }
func (netRPC) about() string {
	return "net/rpc with gob over TCP, one connection for all callers, no deadline"
}

func (netRPC) start(context.Context, string) (service, error) {
	s := rpc.NewServer()
	if err := s.RegisterName("Payments", gobService{}); err != nil {
		return nil, err
	}
	l, err := listen()
	if err != nil {
		return nil, err
	}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() { s.ServeConn(c) }) // until the caller hangs up
		}
	})
	return running{l.Addr().String(), func() error {
		err := l.Close()
		all.Wait()
		return err
	}}, nil
}

type gobService struct{}

// Authorize has the form that net/rpc asks for.
func (gobService) Authorize(r *subjects.AuthorizeRequest, p *subjects.PaymentInfo) error {
	if err := check(r); err != nil {
		return err
	}
	*p = *authorized(r)
	return nil
}

func (netRPC) dial(ctx context.Context, address string, _ int) (caller, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	return gobCaller{rpc.NewClient(conn), context.AfterFunc(ctx, func() { conn.Close() })}, nil
}

type gobCaller struct {
	c    *rpc.Client
	free func() bool // of dial's context
}

func (c gobCaller) call(_ context.Context, _ int, r *subjects.AuthorizeRequest) error {
	var p subjects.PaymentInfo
	err := c.c.Call("Payments.Authorize", r, &p)
	var refused rpc.ServerError
	if errors.As(err, &refused) {
		return errors.Join(errRefused, err)
	}
	if err != nil {
		return err
	}
	return answers(r, string(p.PaymentID), string(p.Status), p.Authorized.Amount)
}

func (c gobCaller) close() error { c.free(); return c.c.Close() }
