// Package fault is the one error of the whole program: a code from a closed list, a sentence that may be shown to a
// caller, the field at fault where there is one, and a cause that only the log sees.
package fault

import (
	"context"
	"errors"
	"fmt"
)

// Code says what kind of failure an Error is. The codes are part of the contract: they travel on the wire as they are.
type Code string

// The codes, with the meaning that callers may rely on.
const (
	InvalidArgument    Code = "invalid_argument"    // the request is wrong whatever the state; repeating it can't help
	NotFound           Code = "not_found"           // what was named does not exist
	AlreadyExists      Code = "already_exists"      // the id was used before for something else
	FailedPrecondition Code = "failed_precondition" // the state does not allow it; something else must happen first
	Aborted            Code = "aborted"             // a race was lost; repeating the request may win it
	ResourceExhausted  Code = "resource_exhausted"  // a bound was reached; repeating later may find room
	Unavailable        Code = "unavailable"         // a part that is needed can't be reached; nothing is known to be wrong with the request
	DeadlineExceeded   Code = "deadline_exceeded"   // the caller's time ran out; the outcome may still come
	Unauthenticated    Code = "unauthenticated"     // who is asking is not known
	PermissionDenied   Code = "permission_denied"   // who is asking is known and may not
	Unimplemented      Code = "unimplemented"       // this program does not do that
	Internal           Code = "internal"            // a fault of this program; the cause stands in its log
)

// Codes lists every code, in the contract's order.
var Codes = []Code{InvalidArgument, NotFound, AlreadyExists, FailedPrecondition, Aborted, ResourceExhausted, Unavailable,
	DeadlineExceeded, Unauthenticated, PermissionDenied, Unimplemented, Internal}

// Retryable reports whether the same request may succeed when it is simply sent again.
func (c Code) Retryable() bool {
	return c == ResourceExhausted || c == Unavailable || c == Aborted
}

// Known reports whether c is one of the contract's codes.
func (c Code) Known() bool {
	for _, k := range Codes {
		if c == k {
			return true
		}
	}
	return false
}

// Error is a failure with a code. Message is safe to show to any caller; the cause is not, and is reached by Unwrap only.
// An Error is immutable: the With methods return copies, so one may be shared between goroutines.
type Error struct {
	Code    Code
	Message string
	Field   string // path of the request's field at fault, such as lines[0].sku; empty where none is
	cause   error
}

// New makes an Error; format and args are those of fmt.Sprintf and must be fit for the caller's eyes.
func New(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// Invalid is New(InvalidArgument) with the field at fault.
func Invalid(field, format string, args ...any) *Error {
	return &Error{Code: InvalidArgument, Message: fmt.Sprintf(format, args...), Field: field}
}

// Wrap makes an Error that hides cause behind a message for the caller.
func Wrap(cause error, code Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...), cause: cause}
}

// WithField returns a copy of e that names the field at fault.
func (e *Error) WithField(field string) *Error {
	c := *e
	c.Field = field
	return &c
}

// Error is the code, the message and, for the log, the cause.
func (e *Error) Error() string {
	s := string(e.Code) + ": " + e.Message
	if e.Field != "" {
		s += " (field " + e.Field + ")"
	}
	if e.cause != nil {
		s += ": " + e.cause.Error()
	}
	return s
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.cause }

// Is makes errors.Is(err, &Error{Code: c}) true for every Error of that code.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Code == e.Code && t.Message == "" && t.Field == ""
}

// From turns any error into an Error. What carries no code is Internal with a safe sentence, except that the end of a
// context is DeadlineExceeded. From(nil) is nil.
func From(err error) *Error {
	if err == nil {
		return nil
	}
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return Wrap(err, DeadlineExceeded, "the time for this request ran out; ask again with the same id to learn its outcome")
	}
	return Wrap(err, Internal, "an internal error occurred; the log of this site says more")
}

// CodeOf is the code of err, Internal for one that carries none, and empty for nil.
func CodeOf(err error) Code {
	if e := From(err); e != nil {
		return e.Code
	}
	return ""
}
