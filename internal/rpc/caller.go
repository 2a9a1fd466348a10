package rpc

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"waybill/internal/fault"
	"waybill/internal/id"
	"waybill/internal/lean"
	"waybill/internal/scope"
	"waybill/subjects"
)

// Caller is the calling side on one connection, for one site. It is safe for concurrent use and has nothing to close.
type Caller struct {
	link  lean.Link
	site  subjects.Site
	known atomic.Pointer[map[name]string] // the subjects of the endpoints that were called
	calls atomic.Uint32                   // numbers the calls, from anywhere: other callers may share the link
}

const maxCall = 1_000_000_000 // a call's number stays below it

// name is an endpoint's.
type name struct {
	service  subjects.Service
	method   string
	internal bool
}

// subjectOf is the endpoint's subject, which is made once.
func subjectOf[Req, Res any](c *Caller, e *subjects.Endpoint[Req, Res]) string {
	n, known := name{e.Service, e.Method, e.Internal}, c.known.Load()
	if known != nil {
		if subject, ok := (*known)[n]; ok {
			return subject
		}
	}
	grown := map[name]string{n: e.Subject(c.site)}
	if known != nil {
		maps.Copy(grown, *known)
	}
	c.known.CompareAndSwap(known, &grown) // who loses makes it again
	return grown[n]
}

// NewCaller makes a Caller; the connection remains its maker's.
func NewCaller(link lean.Link, site subjects.Site) *Caller {
	c := &Caller{link: link, site: site}
	c.calls.Store(rand.Uint32())
	return c
}

// Site is the site that is called.
func (c *Caller) Site() subjects.Site { return c.site }

// Reply is a service's answer as it came.
type Reply struct {
	Data   []byte
	Header lean.Headers
}

// Sequence is the journal sequence that the reply rests on; 0 for none.
func (r *Reply) Sequence() uint64 {
	n, _ := strconv.ParseUint(r.Header.Get(subjects.HeaderSequence), 10, 64)
	return n
}

// Durability is strict or fast; empty for a refusal.
func (r *Reply) Durability() string { return r.Header.Get(subjects.HeaderDurability) }

// CallOption changes one call.
type CallOption func(*callOptions)

type callOptions struct {
	out   *outgoing
	reply *Reply
}

// WithDefer tells the service not to wait for durability: this call is part of a request that waits itself, for the
// sequence that the call notes in its scope.
func WithDefer() CallOption { return WithHeader(subjects.HeaderBarrier, subjects.BarrierDefer) }

// WithIdempotencyKey sends the key under which a repeat of this call is known, 1 to 255 visible ASCII characters.
func WithIdempotencyKey(key string) CallOption { return WithHeader(subjects.HeaderIdempotencyKey, key) }

// WithHeader sends a header, in place of what Call would send under that name.
func WithHeader(name, value string) CallOption {
	return func(o *callOptions) { o.out.set(name, value) }
}

// WithReply stores the reply as it came in r, of a refusal too; r stays as it is where nobody answers.
func WithReply(r *Reply) CallOption { return func(o *callOptions) { o.reply = r } }

// Call asks the endpoint and waits for its reply until ctx ends, or for DefaultTimeout where ctx has no deadline. The
// service is told how long that is, and who caused the call (from the scope in ctx). The sequence that the reply or the
// refusal rests on is noted in that scope. Fields of the reply that Res does not know are ignored.
//
// Errors: the service's refusal is a *fault.Error with its code, message and field; a *NoAnswer where none came; an
// invalid_argument for a request that is too large or can't be encoded, which is not sent.
func Call[Req, Res any](ctx context.Context, c *Caller, e subjects.Endpoint[Req, Res], req *Req, options ...CallOption) (*Res, error) {
	return CallUntil(ctx, c, time.Time{}, e, req, options...)
}

// CallUntil is Call that waits until a time, or until ctx ends before; the zero time makes it Call. It needs no context of its own
// for that.
func CallUntil[Req, Res any](ctx context.Context, c *Caller, until time.Time, e subjects.Endpoint[Req, Res], req *Req, options ...CallOption) (*Res, error) {
	out := takeOutgoing()
	defer out.release()
	if err := encodeTo(&out.body, req); err != nil {
		return nil, fault.Wrap(err, fault.InvalidArgument, "the request to %s.%s can't be written as JSON", e.Service, e.Method)
	}
	if len(options) > 0 {
		out.o.out = out
		for _, option := range options {
			option(&out.o)
		}
	}
	reply, err := c.exchange(ctx, out, until, subjectOf(c, &e), out.body.Bytes())
	if reply != nil && out.o.reply != nil {
		*out.o.reply = Reply{reply.Data, reply.Headers()}
	}
	if err != nil {
		return nil, err
	}
	res := new(Res)
	if err := decodeReply(reply.Data, res); err != nil {
		return nil, fault.Wrap(err, fault.Internal, "the reply of %s.%s can't be read; its program and this one do not fit", e.Service, e.Method)
	}
	return res, nil
}

// CallRaw is Call for a subject and a payload as they are. header may be nil, and is not changed. A refusal is an error
// beside the reply that carried it.
func CallRaw(ctx context.Context, c *Caller, subject string, payload []byte, header nats.Header) (*Reply, error) {
	return CallRawUntil(ctx, c, time.Time{}, subject, payload, header)
}

// CallRawUntil is to CallRaw what CallUntil is to Call.
func CallRawUntil(ctx context.Context, c *Caller, until time.Time, subject string, payload []byte, header nats.Header) (*Reply, error) {
	out := takeOutgoing()
	defer out.release()
	for name, values := range header {
		for _, value := range values {
			out.set(name, value)
		}
	}
	reply, err := c.exchange(ctx, out, until, subject, payload)
	if reply == nil {
		return nil, err
	}
	return &Reply{reply.Data, reply.Headers()}, err
}

// exchange completes the headers, sends the request and waits, until a time where that is given. The reply, which is
// good until out is released, is there also when it is a refusal, and nil where none came.
func (c *Caller) exchange(ctx context.Context, out *outgoing, until time.Time, subject string, payload []byte) (*lean.Msg, error) {
	left, timed := DefaultTimeout, true
	if !until.IsZero() {
		left = time.Until(until)
	} else if deadline, ok := ctx.Deadline(); ok {
		left, timed = time.Until(deadline), false
	}
	switch most := c.link.MaxPayload(); {
	case ctx.Err() != nil || left < time.Millisecond:
		return nil, notSent(ctx.Err(), fault.DeadlineExceeded, "no time was left to ask %s; nothing was sent", subject)
	case int64(len(payload)+out.header.Len()+requestHeaderRoom) > most:
		return nil, fault.New(fault.InvalidArgument, "the request of %d bytes is over the limit of %d", len(payload), most-requestHeaderRoom)
	}
	out.complete(scope.From(ctx), min(left, maxTimeout))
	out.header.SetInt(lean.CallHeader, int64(c.calls.Add(1)%maxCall))
	pending, err := c.link.Start(subject, out.header.Header(), payload)
	switch {
	case errors.Is(err, nats.ErrBadSubject):
		return nil, noAnswer(ctx, subject, err)
	case lean.Unauthorized(err):
		return nil, fault.Wrap(err, fault.Unauthenticated, "the NATS server does not accept these credentials any more; nothing was sent to %s", subject)
	case errors.Is(err, nats.ErrMaxPayload):
		return nil, fault.Wrap(err, fault.InvalidArgument, "the request of %d bytes is over the server's limit", len(payload))
	case err != nil:
		return nil, notSent(err, fault.Unavailable, "there is no connection to ask %s; nothing was sent, ask again", subject)
	}
	if timed {
		out.reply, err = pending.WaitFor(ctx, left)
	} else {
		out.reply, err = pending.Wait(ctx)
	}
	switch {
	case errors.Is(err, nats.ErrPermissionViolation):
		return nil, fault.Wrap(err, fault.PermissionDenied, "this user may not do that here: connect with credentials that may")
	case err != nil:
		return nil, noAnswer(ctx, subject, err)
	}
	if n := numberIn(&out.reply, subjects.HeaderSequence, 64); n > 0 {
		scope.Note(ctx, n)
	}
	if ms := numberIn(&out.reply, subjects.HeaderOutside, 31); ms > 0 {
		scope.WaitedOutside(ctx, time.Duration(ms)*time.Millisecond)
	}
	return &out.reply, refusalOf(&out.reply)
}

// numberIn is a reply's header of so many bits; 0 where there is none or it is no number.
func numberIn(m *lean.Msg, name string, bits int) uint64 {
	if n, ok := m.Number(name); ok {
		return uint64(n)
	}
	text := m.Get(name)
	if text == "" {
		return 0 // without strconv, which would make an error of it
	}
	n, err := strconv.ParseUint(text, 10, bits)
	if err != nil {
		return 0
	}
	return n
}

// requestHeaderRoom is what the connection's limit keeps for the headers that a call adds itself.
const requestHeaderRoom = 512

// refusalOf reads a failure's headers and body; nil for a success. A code that this program does not know is internal.
func refusalOf(msg *lean.Msg) error {
	code := msg.Get(subjects.HeaderErrorCode)
	if code == "" {
		return nil
	}
	f := &fault.Error{Code: fault.Code(code), Message: msg.Get(subjects.HeaderError)}
	var w wireError
	if decodeReply(msg.Data, &w) == nil && w.Error.Message != "" { // the body says more than the header, where it can be read
		f.Message, f.Field = w.Error.Message, w.Error.Field
	}
	if !f.Code.Known() {
		return fault.Wrap(f, fault.Internal, "the service answered with the unknown code %.40q", code)
	}
	return f
}

// outgoing is a request's memory, used again when its call returns: the connection copies what it sends.
type outgoing struct {
	header lean.Builder
	own    []string // names of the headers that the caller set itself
	body   bytes.Buffer
	o      callOptions
	reply  lean.Msg
}

var outgoings = sync.Pool{New: func() any { return new(outgoing) }}

func takeOutgoing() *outgoing { return outgoings.Get().(*outgoing) }

func (o *outgoing) release() {
	if o.body.Cap() > keptBuffer {
		return
	}
	o.header.Reset()
	o.own = o.own[:0]
	o.body.Reset()
	o.o, o.reply = callOptions{}, lean.Msg{}
	outgoings.Put(o)
}

func (o *outgoing) set(name, value string) {
	o.own = append(o.own, name)
	o.header.Set(name, value)
}

// complete sets the headers that the caller did not set itself.
func (o *outgoing) complete(s *scope.Scope, left time.Duration) {
	if !slices.Contains(o.own, subjects.HeaderTimeout) {
		o.header.SetInt(subjects.HeaderTimeout, max(1, left.Milliseconds()))
	}
	if s == nil {
		return
	}
	cause, trace := s.Origin()
	if id.Valid(cause, id.MaxDerived) {
		o.add(subjects.HeaderRequestID, cause)
	}
	o.add(subjects.HeaderTraceparent, trace)
}

func (o *outgoing) add(name, value string) {
	if !slices.Contains(o.own, name) {
		o.header.Set(name, value)
	}
}
