package subjects

import "waybill/internal/fault"

// Endpoint is one method of a service with the types of its request and reply. Endpoints are values: the same one serves to
// register the handler, to call it, to describe it and to name its subject.
type Endpoint[Req, Res any] struct {
	Service Service
	Method  string
	// Internal endpoints stand on wb.<site>.int.… and are for the services themselves: clients can't reach them.
	Internal bool
	// Idempotent calls may be repeated when their answer was lost: reads, and writes that carry their own id.
	Idempotent bool
	// Doc is one sentence for people and for micro's metadata.
	Doc string
}

// Subject is where the site's endpoint listens.
func (e Endpoint[Req, Res]) Subject(site Site) string {
	if e.Internal {
		return Internal(site, e.Service, e.Method)
	}
	return RPC(site, e.Service, e.Method)
}

// Name is service.method, as people write it.
func (e Endpoint[Req, Res]) Name() string { return string(e.Service) + "." + e.Method }

// Error is what a refused request answers; see the codes for what each means.
type Error = fault.Error

// Code is an error's code.
type Code = fault.Code

// The error codes of the contract.
const (
	InvalidArgument    = fault.InvalidArgument
	NotFound           = fault.NotFound
	AlreadyExists      = fault.AlreadyExists
	FailedPrecondition = fault.FailedPrecondition
	Aborted            = fault.Aborted
	ResourceExhausted  = fault.ResourceExhausted
	Unavailable        = fault.Unavailable
	DeadlineExceeded   = fault.DeadlineExceeded
	Unauthenticated    = fault.Unauthenticated
	PermissionDenied   = fault.PermissionDenied
	Unimplemented      = fault.Unimplemented
	InternalError      = fault.Internal
)
