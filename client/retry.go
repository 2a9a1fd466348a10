package client

import (
	"context"
	"math/rand/v2"
	"time"

	"waybill/internal/fault"
	"waybill/internal/sleep"
	"waybill/subjects"
)

// Retry says how often and after which pauses an idempotent call is made again. The n-th pause is a random time between 0
// and Base·2ⁿ, at most Max: full jitter spreads the callers of a site that comes back.
type Retry struct {
	Attempts int           // tries in all; 0 is as many as the deadline allows, 1 is no repetition
	Base     time.Duration // bounds the first pause
	Max      time.Duration // bounds every pause
}

// DefaultRetry tries for as long as the deadline allows.
var DefaultRetry = Retry{Base: 20 * time.Millisecond, Max: time.Second}

// NoRetry makes every call once.
var NoRetry = Retry{Attempts: 1}

// pause waits before the n-th repetition (counted from 0). It is false, at once, where there is to be none: the tries are
// used up, or ctx ends before the pause would.
func (r Retry) pause(ctx context.Context, n int) bool { return r.pauseUntil(ctx, time.Time{}, n) }

// pauseUntil is pause with a time, unless it is zero, that bounds it like a deadline of ctx.
func (r Retry) pauseUntil(ctx context.Context, until time.Time, n int) bool {
	if r.Attempts > 0 && n+1 >= r.Attempts {
		return false
	}
	bound := r.Max
	if b := r.Base << min(n, 20); b < bound {
		bound = b
	}
	var wait time.Duration
	if bound > 0 {
		wait = rand.N(bound)
	}
	if deadline, ok := ctx.Deadline(); ok {
		until = deadline
	}
	if !until.IsZero() && time.Until(until) <= wait {
		return false
	}
	return sleep.For(ctx, wait)
}

// worthRetrying reports whether a repetition of an idempotent call may go better.
func worthRetrying(err error) bool {
	code := fault.CodeOf(err)
	return code.Retryable() || code == fault.DeadlineExceeded && IsNoAnswer(err)
}

// repeatable reports whether a request of an idempotent endpoint carries what makes it so.
func repeatable(req any) bool {
	switch r := req.(type) {
	case *subjects.PlaceRequest:
		return r.OrderID != ""
	case *subjects.PutWebhookRequest:
		return r.Secret != "" // a secret that the site made stands only in its first answer
	}
	return true
}
