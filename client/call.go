package client

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"waybill/internal/fault"
	"waybill/internal/id"
	"waybill/internal/lean"
	"waybill/internal/rpc"
	"waybill/subjects"
)

// Call asks any endpoint of the subjects package. The services' methods are made of it. It is repeated as the package
// comment says where the endpoint is idempotent and the request carries its id.
func Call[Req, Res any](ctx context.Context, c *Client, e subjects.Endpoint[Req, Res], req *Req) (*Res, error) {
	return call(ctx, c, e, req, e.Idempotent && repeatable(req))
}

func call[Req, Res any](ctx context.Context, c *Client, e subjects.Endpoint[Req, Res], req *Req, again bool, o ...rpc.CallOption) (*Res, error) {
	until := c.until(ctx)
	hedge := again && c.hedge > 0
	for n := 0; ; n++ {
		var res *Res
		var err error
		if hedge {
			res, hedge, err = hedgedCall(ctx, c, until, e, req, o...)
		} else {
			res, err = rpc.CallUntil(ctx, c.caller, until, e, req, o...)
		}
		if err == nil {
			return res, nil
		}
		if !again || !worthRetrying(err) || c.closed.Load() || !c.retry.pauseUntil(ctx, until, n) {
			return nil, c.explained(rpc.Undecided(err)) // the last one says more than that the time ran out
		}
	}
}

// hedgedCall is one hedged attempt. The request is encoded before: who made it may use it again while the other question is still
// under way.
func hedgedCall[Req, Res any](ctx context.Context, c *Client, until time.Time, e subjects.Endpoint[Req, Res], req *Req, o ...rpc.CallOption) (*Res, bool, error) {
	text, err := rpc.Encode(req)
	if err != nil {
		res, err := rpc.CallUntil(ctx, c.caller, until, e, req, o...) // it says so
		return res, true, err
	}
	written, encoded := subjects.Endpoint[jsontext.Value, Res](e), jsontext.Value(text)
	return hedged(ctx, c.hedge, func(ctx context.Context) (*Res, error) {
		return rpc.CallUntil(ctx, c.caller, until, written, &encoded, o...)
	})
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
	reply, err := rpc.CallRawUntil(ctx, c.caller, c.until(ctx), subjects.RPC(c.site, subjects.Service(service), name), request, nil)
	if err != nil {
		return nil, c.explained(rpc.Undecided(err))
	}
	return reply, nil
}

// explained says of a refusal that it is the replies which this user may not hear.
func (c *Client) explained(err error) error {
	if !errors.Is(err, lean.ErrUnheard) {
		return err
	}
	return fault.Wrap(err, fault.PermissionDenied, "this user may not hear replies below %s: connect with WithInboxPrefix of what it may", c.inbox)
}

// until is when a call has to be over; the zero time where ctx has a deadline, which says it then.
func (c *Client) until(ctx context.Context) time.Time {
	if _, ok := ctx.Deadline(); ok {
		return time.Time{}
	}
	return time.Now().Add(c.timeout)
}

// bounded gives ctx the client's timeout where it has no deadline.
func (c *Client) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, c.timeout)
}
