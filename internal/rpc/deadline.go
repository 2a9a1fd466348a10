package rpc

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"waybill/internal/fault"
	"waybill/internal/lean"
	"waybill/internal/scope"
	"waybill/subjects"
)

// maxTimeout is the longest that a caller may say it waits.
const maxTimeout = time.Hour

// deadline ends the context when the caller gives up: after Waybill-Timeout, or DefaultTimeout without it, counted from
// the request's arrival.
func deadline(next invoke) invoke {
	return func(ctx context.Context, x *exchange) error {
		d, err := timeoutOf(x.incoming)
		if err != nil {
			return err
		}
		x.own, x.request = x.endpoint.newRequest()
		bounded := &x.own.bounded
		bounded.Context, bounded.until, bounded.arrived = ctx, x.arrived.Add(d), x.arrived
		bounded.reply, bounded.abandon, bounded.gone = x.incoming.Reply, x.worker.cancel, &x.endpoint.stats.gone
		x.worker.at.Store(bounded)
		defer func() {
			bounded.end()
			x.worker.at.Store(nil)
		}()
		ctx = bounded
		err = next(ctx, x)
		if err != nil && ctx.Err() != nil && errors.Is(err, ctx.Err()) {
			return ended(ctx, err)
		}
		return err
	}
}

// ownContext is what makes a request's context its own. Unlike the exchange it is not used again: what a handler leaves running
// may hold it.
type ownContext struct {
	bounded boundedContext
	carrier scope.Carrier // of origin
}

// newRequest makes an empty *Req and its context, in one piece of memory: both last as long as the handler and what it leaves running.
func newRequest[Req any]() (*ownContext, any) {
	both := new(struct {
		own     ownContext
		request Req
	})
	return &both.own, &both.request
}

// boundedContext is context.WithDeadline for those who may never look: its timer runs once somebody waits for the end.
type boundedContext struct {
	context.Context // the parent, which is the worker's
	until           time.Time
	arrived         time.Time
	reply           string                  // where the answer is to go
	abandon         context.CancelCauseFunc // ends the parent
	gone            *atomic.Uint64          // counts those that are given up
	unheard         time.Time               // the first look since which nobody listens there; zero where somebody does; of who looks alone

	mu     sync.Mutex
	inner  context.Context // nil until somebody waits
	cancel context.CancelFunc
	over   bool
}

func (c *boundedContext) Deadline() (time.Time, bool) { return c.until, true }

func (c *boundedContext) Done() <-chan struct{} { return c.waited().Done() }

func (c *boundedContext) Err() error {
	if !time.Now().Before(c.until) {
		return c.waited().Err()
	}
	if inner := c.looked(); inner != nil {
		return inner.Err()
	}
	return c.Context.Err()
}

// Value finds what context looks for in a parent that ends, once it has asked for Done.
func (c *boundedContext) Value(key any) any {
	if inner := c.looked(); inner != nil {
		return inner.Value(key)
	}
	return c.Context.Value(key)
}

// looked is the context with its timer where there is one, or where it has ended; nil else.
func (c *boundedContext) looked() context.Context {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over {
		return c.timed()
	}
	return c.inner
}

// waited is the context with its timer.
func (c *boundedContext) waited() context.Context {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.timed()
}

// timed makes the context with its timer, once. The caller holds mu.
func (c *boundedContext) timed() context.Context {
	if c.inner == nil {
		c.inner, c.cancel = context.WithDeadline(c.Context, c.until)
		if c.over {
			c.cancel()
		}
	}
	return c.inner
}

// end ends it, also for who looks later.
func (c *boundedContext) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over = true; c.cancel != nil {
		c.cancel()
	}
}

// ended is the error of a request whose context ended: the cause's own, where it was not the time that ran out.
func ended(ctx context.Context, err error) error {
	var why *fault.Error
	if errors.As(context.Cause(ctx), &why) {
		return fault.Wrap(err, why.Code, "%s", why.Message)
	}
	return err
}

// timeoutOf reads Waybill-Timeout: whole milliseconds, 1 to 3,600,000.
func timeoutOf(m lean.Msg) (time.Duration, error) {
	if ms, ok := m.Number(subjects.HeaderTimeout); ok && ms >= 1 && ms <= int(maxTimeout/time.Millisecond) {
		return time.Duration(ms) * time.Millisecond, nil
	}
	text := m.Get(subjects.HeaderTimeout)
	if text == "" {
		return DefaultTimeout, nil
	}
	return 0, fault.New(fault.InvalidArgument, "the header %s must be a whole number of milliseconds from 1 to %d, not %.40q",
		subjects.HeaderTimeout, maxTimeout/time.Millisecond, text)
}
