package client

import (
	"errors"

	"waybill/internal/fault"
	"waybill/internal/rpc"
	"waybill/subjects"
)

// Error is a failure with a code of the contract: what the site answered when it refused. See the subjects package for the
// codes.
type Error = subjects.Error

// NoAnswer is the lack of an answer: nobody serves the method (code unavailable: nothing was done), the time ran out or the
// connection broke (code deadline_exceeded: the outcome is not known; ask again with the same id to learn it). It unwraps to
// an *Error, so look for a *NoAnswer first where the difference matters.
type NoAnswer = rpc.NoAnswer

// NotConnected is returned by Connect; it unwraps to an *Error that says why.
type NotConnected struct {
	URL string
	err *Error
}

// Error says where the connection failed, and why.
func (e *NotConnected) Error() string { return string(e.err.Code) + ": " + e.err.Message }

// Unwrap returns the *Error.
func (e *NotConnected) Unwrap() error { return e.err }

// IsNoAnswer reports whether err means that no answer came, so that a refusal can be told from silence.
func IsNoAnswer(err error) bool {
	var n *NoAnswer
	return errors.As(err, &n)
}

// CodeOf is the code of an error that a call returned: internal for one that carries none, empty for nil.
func CodeOf(err error) subjects.Code { return fault.CodeOf(err) }
