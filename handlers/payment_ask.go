package handlers

import (
	"context"
	"time"

	"waybill/configs"
	"waybill/internal/scope"
)

// ask puts a question to the gateway that rests on the journal up to a sequence, and returns its answer once it may be written down.
// A gateway outside hears of it when all of that is durable. One with its books in the journal writes behind the question, and its entry
// is durable before the answer is written down, so that a later one is never kept without an earlier.
//
// Where the process that holds the store writes all of them, what its caller makes of the answer too (scope.Within), the order of the
// journal does as much, without a wait: its connections end with the life of the store. Those of another process outlive it, and would
// write the later of them to a store that has lost the earlier.
//
// The gateway may take as long as the setting says, and as ctx leaves, so that its answer can still be passed on.
func ask[A any](ctx context.Context, p *Payments, point string, sequence uint64, question func(context.Context) (A, error)) (A, error) {
	var none A
	s, inside := scope.From(ctx), !p.gateway.Outside()
	ordered := inside && s != nil && s.Within
	if !ordered {
		if err := p.barrier.Wait(ctx, sequence); err != nil {
			return none, err
		}
	}
	asking, cancel := context.WithTimeout(ctx, p.live.Duration(configs.PaymentGatewayTimeout))
	defer cancel()
	began := time.Now()
	answer, err := question(asking)
	scope.WaitedOutside(ctx, time.Since(began))
	if err == nil && inside && !ordered {
		err = p.barrier.Wait(asking, s.Highest())
	}
	p.hook.at(point)
	if err != nil {
		return none, err
	}
	return answer, nil
}
