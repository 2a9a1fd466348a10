package rpc

import (
	"context"
	"errors"
	"strconv"
	"time"

	"waybill/internal/fault"
	"waybill/internal/lean"
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
		ctx, cancel := context.WithDeadline(ctx, x.arrived.Add(d))
		defer cancel()
		err = next(ctx, x)
		if err != nil && ctx.Err() != nil && errors.Is(err, ctx.Err()) {
			return ended(ctx, err)
		}
		return err
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
	text := m.Get(subjects.HeaderTimeout)
	if text == "" {
		return DefaultTimeout, nil
	}
	ms, err := strconv.ParseUint(text, 10, 32)
	if d := time.Duration(ms) * time.Millisecond; err == nil && d >= time.Millisecond && d <= maxTimeout {
		return d, nil
	}
	return 0, fault.New(fault.InvalidArgument, "the header %s must be a whole number of milliseconds from 1 to %d, not %.40q",
		subjects.HeaderTimeout, maxTimeout/time.Millisecond, text)
}
