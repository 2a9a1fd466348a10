package rpc

import (
	"context"
	"errors"

	"github.com/rs/zerolog"

	"waybill/internal/fault"
)

// report writes to the log what the caller is not shown: the cause of an internal error, once, as an error, with the
// stack of a panic; any other failure for debugging only, because the caller is told all of it. Payloads are never logged.
func report(log zerolog.Logger) middleware {
	return func(next invoke) invoke {
		return func(ctx context.Context, x *exchange) error {
			err := next(ctx, x)
			if err == nil {
				return nil
			}
			f := fault.From(err)
			event := log.Debug()
			if f.Code == fault.Internal {
				event = log.Error()
			}
			var p *panicked
			if errors.As(err, &p) {
				event = event.Bytes("stack", p.stack)
			}
			if !event.Enabled() {
				return err
			}
			cause := ""
			if x.scope != nil {
				cause, _ = x.scope.Origin()
			}
			event.Str("service", string(x.endpoint.service)).Str("method", x.endpoint.method).Str("request", cause).
				Str("code", string(f.Code)).AnErr("error", err).Msg("request failed")
			return err
		}
	}
}
