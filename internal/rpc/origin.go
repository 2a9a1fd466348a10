package rpc

import (
	"context"

	"waybill/internal/fault"
	"waybill/internal/id"
	"waybill/subjects"
)

// origin gives the request its scope: who caused it, the trace that it belongs to, and what it will have touched. An id
// that is no id and a traceparent that is none are not the caller's fault worth refusing: new ones take their place, once somebody
// asks for them.
func origin(next invoke) invoke {
	return func(ctx context.Context, x *exchange) error {
		cause, trace := x.incoming.Get(subjects.HeaderRequestID), x.incoming.Get(subjects.HeaderTraceparent)
		if !id.Valid(cause, id.MaxDerived) {
			cause = ""
		}
		if !validTraceparent(trace) {
			trace = ""
		}
		x.scope = x.own.carrier.Begin(ctx, cause, trace, id.New)
		x.scope.Within = x.incoming.Within()
		x.scope.Inner = x.incoming.Get(subjects.HeaderBarrier) == subjects.BarrierDefer
		ctx = &x.own.carrier
		defer func() { x.outside = x.scope.Outside() }()
		if key := x.incoming.Get(subjects.HeaderIdempotencyKey); key != "" {
			if !validKey(key) {
				return fault.New(fault.InvalidArgument, "the header %s must be 1 to %d visible ASCII characters",
					subjects.HeaderIdempotencyKey, maxKey)
			}
			ctx = context.WithValue(ctx, keyOfIdempotency{}, key)
		}
		return next(ctx, x)
	}
}

type keyOfIdempotency struct{}

// IdempotencyKey is the Idempotency-Key that came with the request at work in ctx, 1 to 255 visible ASCII characters;
// empty where none did. It is not handed on to inner calls.
func IdempotencyKey(ctx context.Context) string {
	key, _ := ctx.Value(keyOfIdempotency{}).(string)
	return key
}

const maxKey = 255

func validKey(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return len(s) >= 1 && len(s) <= maxKey
}

// validTraceparent reports whether s is a W3C trace context of the form 00-<32 hex>-<16 hex>-<2 hex>: lower case, neither
// id all zeros, and not the forbidden version ff.
func validTraceparent(s string) bool {
	if len(s) != 55 || s[2] != '-' || s[35] != '-' || s[52] != '-' {
		return false
	}
	for _, part := range [...]string{s[:2], s[3:35], s[36:52], s[53:]} {
		for i := 0; i < len(part); i++ {
			if c := part[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
				return false
			}
		}
	}
	const zeros = "00000000000000000000000000000000"
	return s[:2] != "ff" && s[3:35] != zeros && s[36:52] != zeros[:16]
}
