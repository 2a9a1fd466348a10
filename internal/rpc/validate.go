package rpc

import (
	"context"
	"errors"

	"waybill/internal/fault"
)

// validate asks a request that has a method Validate whether it is well formed. An error without a code is the caller's.
func validate(next invoke) invoke {
	return func(ctx context.Context, x *exchange) error {
		if v, ok := x.request.(interface{ Validate() error }); ok {
			if err := v.Validate(); err != nil {
				var coded *fault.Error
				if errors.As(err, &coded) {
					return err
				}
				return fault.New(fault.InvalidArgument, "%s", err.Error())
			}
		}
		return next(ctx, x)
	}
}
