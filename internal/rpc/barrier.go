package rpc

import (
	"context"

	"waybill/internal/fault"
	"waybill/internal/scope"
)

// Values of the reply's Waybill-Durability.
const (
	strict = "strict"
	fast   = "fast"
)

// barrier lets a reply out only when everything up to the highest journal sequence that the request touched is durable,
// here or in the services that it called. A refusal waits as well: it shows the state that it was decided on. The caller
// that said it waits itself is not waited for, and is told the sequence.
func barrier(b Barrier) middleware {
	return func(next invoke) invoke {
		return func(ctx context.Context, x *exchange) error {
			err := next(ctx, x)
			x.sequence = scope.From(ctx).Highest()
			if b == nil || !b.Strict() || x.scope.Inner {
				x.durability = fast
				return err
			}
			x.durability = strict
			if x.sequence == 0 || showsNothing(err) {
				return err
			}
			if failed := b.Wait(ctx, x.sequence); failed != nil {
				if ctx.Err() != nil {
					return ended(ctx, fault.Wrap(failed, fault.DeadlineExceeded,
						"the time for this request ran out before its outcome was durable; ask again with the same id to learn it"))
				}
				return fault.Wrap(failed, fault.Unavailable,
					"the journal can't be made durable, so this outcome may not be told; ask again with the same id when the site is ready")
			}
			return err
		}
	}
}

// showsNothing reports whether an error tells its reader nothing of the journal's content.
func showsNothing(err error) bool {
	switch fault.CodeOf(err) {
	case fault.Internal, fault.DeadlineExceeded, fault.Unavailable:
		return true
	}
	return false
}
