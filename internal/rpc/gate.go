package rpc

import (
	"context"

	"waybill/subjects"
)

// gate asks the service whether it takes requests at all, before any work is done for this one.
func gate(refuse func(subjects.Service, string) error) middleware {
	return func(next invoke) invoke {
		if refuse == nil {
			return next
		}
		return func(ctx context.Context, x *exchange) error {
			if err := refuse(x.endpoint.service, x.endpoint.method); err != nil {
				return err
			}
			return next(ctx, x)
		}
	}
}
