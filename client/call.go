package client

import (
	"context"
	"errors"
	"strings"

	"github.com/nats-io/nats.go"

	"waybill/internal/fault"
	"waybill/internal/id"
	"waybill/internal/rpc"
	"waybill/subjects"
)

// Call asks any endpoint of the subjects package. The services' methods are made of it. It is repeated as the package
// comment says where the endpoint is idempotent and the request carries its id.
func Call[Req, Res any](ctx context.Context, c *Client, e subjects.Endpoint[Req, Res], req *Req) (*Res, error) {
	return call(ctx, c, e, req, e.Idempotent && repeatable(req))
}

func call[Req, Res any](ctx context.Context, c *Client, e subjects.Endpoint[Req, Res], req *Req, again bool, o ...rpc.CallOption) (*Res, error) {
	ctx, cancel := c.bounded(ctx)
	defer cancel()
	var res *Res
	err := c.try(ctx, e.Subject(c.site), again, func(ctx context.Context) (err error) {
		res, err = rpc.Call(ctx, c.caller, e, req, o...)
		return err
	})
	if err != nil {
		return nil, err
	}
	return res, nil
}

// Reply is what a method answered, as it came.
type Reply = rpc.Reply

// Raw asks the method "service.method" with a JSON object and returns its reply as it is. It asks once: it can't know what
// is safe to repeat.
func (c *Client) Raw(ctx context.Context, method string, request []byte) (*Reply, error) {
	service, name, ok := strings.Cut(method, ".")
	if !ok || !id.Valid(service, id.MaxChosen) || !id.Valid(name, id.MaxChosen) {
		return nil, fault.New(fault.InvalidArgument, "%.60q is not a method such as order.get", method)
	}
	ctx, cancel := c.bounded(ctx)
	defer cancel()
	subject := subjects.RPC(c.site, subjects.Service(service), name)
	var reply *Reply
	err := c.try(ctx, subject, false, func(ctx context.Context) (err error) {
		reply, err = rpc.CallRaw(ctx, c.caller, subject, request, nats.Header{})
		return err
	})
	if err != nil {
		return nil, err
	}
	return reply, nil
}

// bounded gives ctx the client's timeout where it has no deadline.
func (c *Client) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, c.timeout)
}

// try makes attempts until one succeeds, one fails for good, or there is no time for another. It returns the last attempt's
// error, which says more than that the time ran out.
func (c *Client) try(ctx context.Context, subject string, again bool, call func(context.Context) error) error {
	for n := 0; ; n++ {
		err := c.attempt(ctx, subject, call)
		if err == nil || !again || !worthRetrying(err) || c.nc.IsClosed() || !c.retry.pause(ctx, n) {
			return err
		}
	}
}

func (c *Client) attempt(ctx context.Context, subject string, call func(context.Context) error) error {
	inner, leave := c.flight.enter(ctx, `"`+subject+`"`)
	defer leave()
	err := call(inner)
	if err == nil || ctx.Err() != nil {
		return err
	}
	// Who ended the attempt knows more than the call itself, which only saw its context end.
	var denied *Error
	if cause := context.Cause(inner); cause != nil && errors.As(cause, &denied) {
		return denied
	}
	return err
}
