package rpc

import (
	"context"
	"fmt"
	"runtime/debug"
)

// panicked is a handler's panic, as the log sees it.
type panicked struct {
	value any
	stack []byte
}

func (p *panicked) Error() string { return fmt.Sprintf("panic: %v", p.value) }

// recovered turns a panic further in into an internal error: the service lives on.
func recovered(next invoke) invoke {
	return func(ctx context.Context, x *exchange) (err error) {
		defer func() {
			if v := recover(); v != nil {
				err = &panicked{v, debug.Stack()} // no code: internal to the caller, all of it to the log
			}
		}()
		return next(ctx, x)
	}
}
