package rpc

import (
	"context"
	"fmt"

	"waybill/internal/fault"
)

// decode reads the payload, strictly and never beyond the limit in bytes.
func decode(limit func() int) middleware {
	return func(next invoke) invoke {
		return func(ctx context.Context, x *exchange) error {
			if most := limit(); len(x.incoming.Data) > most {
				return fault.New(fault.InvalidArgument, "the payload of %d bytes is over the limit of %d", len(x.incoming.Data), most)
			}
			if err := Decode(x.incoming.Data, x.request); err != nil {
				return err
			}
			return next(ctx, x)
		}
	}
}

// encode writes the handler's reply, bounded in bytes.
func encode(limit func() int) middleware {
	return func(next invoke) invoke {
		return func(ctx context.Context, x *exchange) error {
			if err := next(ctx, x); err != nil {
				return err
			}
			if err := encodeTo(&x.body, x.response); err != nil {
				return fmt.Errorf("encoding the reply: %w", err)
			}
			if most := limit(); x.body.Len() > most {
				return fault.New(fault.FailedPrecondition,
					"the reply of %d bytes is over the limit of %d; ask for less at once, with a smaller limit", x.body.Len(), most)
			}
			return nil
		}
	}
}
