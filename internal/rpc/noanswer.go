package rpc

import (
	"context"
	"errors"

	"github.com/nats-io/nats.go"

	"waybill/internal/fault"
)

// NoAnswer is the error of a call that nobody answered, in contrast to a refusal, which is the peer's own *fault.Error.
// It unwraps to a *fault.Error of code unavailable or deadline_exceeded (invalid_argument for a subject that is none),
// and through it to the cause.
type NoAnswer struct {
	// Sent reports whether the request may have reached a service, so that its outcome is unknown.
	Sent  bool
	fault *fault.Error
}

// Error is the fault's text.
func (n *NoAnswer) Error() string { return n.fault.Error() }

// Unwrap returns the fault.
func (n *NoAnswer) Unwrap() error { return n.fault }

// Undecided is err with the code deadline_exceeded where it is a NoAnswer after which the outcome is not known, for whoever goes
// by codes alone. The code is unavailable else where the connection broke.
func Undecided(err error) error {
	var n *NoAnswer
	if errors.As(err, &n) && n.Sent && n.fault.Code == fault.Unavailable {
		return &NoAnswer{true, fault.Wrap(n, fault.DeadlineExceeded, "%s", n.fault.Message)}
	}
	return err
}

// noAnswer explains why a request to subject went unanswered.
func noAnswer(ctx context.Context, subject string, err error) *NoAnswer {
	switch {
	case errors.Is(err, nats.ErrNoResponders):
		return &NoAnswer{false, fault.Wrap(err, fault.Unavailable, "nobody serves %s on this site now; ask again when its service runs", subject)}
	case ctx.Err() != nil, errors.Is(err, nats.ErrTimeout), errors.Is(err, context.DeadlineExceeded):
		return &NoAnswer{true, fault.Wrap(err, fault.DeadlineExceeded,
			"%s did not answer in time; the outcome is unknown, ask again with the same id to learn it", subject)}
	case errors.Is(err, nats.ErrBadSubject):
		return &NoAnswer{false, fault.Wrap(err, fault.InvalidArgument, "%.120q is not a subject", subject)}
	}
	return &NoAnswer{true, fault.Wrap(err, fault.Unavailable, "the connection failed while %s was asked; ask again with the same id", subject)}
}

// notSent is the NoAnswer of a request that never left.
func notSent(err error, code fault.Code, format string, args ...any) *NoAnswer {
	return &NoAnswer{false, fault.Wrap(err, code, format, args...)}
}
