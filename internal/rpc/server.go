// Package rpc is typed request-reply over NATS micro services: Handle puts a function behind an endpoint, Call calls one.
// A request that arrives is answered once, as long as the connection lives, or not run at all where it asked for no reply;
// it is refused at once when the service or the endpoint is full; no handler's panic, payload or header can take the service down; and in
// strict mode no reply leaves before all that it rests on is durable, unless its caller said that it waits itself.
//
// The way of a request, outside in; each layer is a middleware in a file of its own:
//
//	dispatch    on the goroutine that hands the request over: no reply subject, at the limit, the endpoint's share of it or the brake,
//	            stopping; else to a worker, or, where that goroutine waits for the reply and the endpoint is brief, on it
//	└ respond   writes the reply or the error
//	 └ measure  counts, times, observes
//	  └ report  logs what the caller must not see
//	   └ recovered  a panic becomes internal
//	    └ deadline  the context ends when the caller gives up, or has gone (CancelGone)
//	     └ origin   scope: cause, trace, journal sequence
//	      └ gate    the service may refuse, such as when space is low
//	       └ barrier  waits until what the reply rests on is durable
//	        └ encode
//	         └ decode
//	          └ validate
//	           └ the handler
package rpc

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"

	"waybill/internal/fault"
	"waybill/internal/lean"
	"waybill/subjects"
)

// Defaults of Options and of requests without the header.
const (
	DefaultTimeout     = 5 * time.Second // for a request that names no timeout
	DefaultMaxInFlight = 1024            // for Options without MaxInFlight
)

const (
	flushWait = 5 * time.Second // for the server to take (un)subscriptions
	stopGrace = time.Second     // for cancelled handlers to return
)

// Barrier makes the journal durable. Both methods are called from many goroutines at once.
type Barrier interface {
	// Wait returns when everything up to the sequence is durable.
	Wait(ctx context.Context, sequence uint64) error
	// Strict reports whether replies have to wait.
	Strict() bool
}

// Options of a Server. Its functions are called on the way of each request, concurrently: they must neither block nor panic.
type Options struct {
	Site        subjects.Site
	Instance    string // names this process among those that serve the same service
	Version     string // semantic version, such as 1.4.0
	Description string

	Barrier     Barrier    // nil: every reply is fast
	MaxInFlight func() int // live bound on requests at work in this server; nil or a value below 1: DefaultMaxInFlight
	// Brisk are methods whose requests in flight are bounded by what can be served within a time, too, while the service is overloaded.
	Brisk      map[string]time.Duration
	MaxPayload int // bytes of a request's or a reply's body; 0: what the connection allows
	Log        zerolog.Logger

	Observe func(Observation)                                   // optional: told of each answered request
	Refuse  func(service subjects.Service, method string) error // optional: an error is the answer to every request, and to "probe"
}

// Server serves one service's endpoints on one connection, as a NATS micro service and as one member of the service's
// queue group. Its methods are safe for concurrent use.
type Server struct {
	bus     lean.Bus
	service subjects.Service
	opts    Options

	mu        sync.Mutex
	state     state
	endpoints []*endpoint
	mistakes  []error                 // of Handle, returned by Start
	cancel    context.CancelCauseFunc // ends every request's context
	dispatch  func(*endpoint, lean.Msg)
	discovery *discovery
	heard     []func() error // each ends a subscription
	probe     func() error

	limit   limit
	workers *workers
	ignored atomic.Uint64 // messages that asked for no reply
}

type state uint8

const (
	isNew state = iota
	isServing
	isPaused
	isStopped
)

// endpoint is a registered endpoint with its types erased.
type endpoint struct {
	service  subjects.Service
	method   string
	internal bool
	subject  string
	doc      string
	meta     func() (map[string]string, error)

	newRequest func() (*ownContext, any) // a *Req
	handle     func(ctx context.Context, request any) (any, error)

	serve    invoke // the whole onion
	turnAway invoke // its two outermost layers, around the exchange's refusal
	brake    *brake // nil for none
	stats    endpointStats
}

// NewServer prepares a server; nothing is served before Start. Error: invalid_argument for options that can't work.
func NewServer(bus lean.Bus, service subjects.Service, o Options) (*Server, error) {
	if err := o.Site.Check(); err != nil {
		return nil, err
	}
	if bus == nil {
		return nil, fault.New(fault.InvalidArgument, "the service %s needs a connection", service)
	}
	if o.Instance == "" || o.MaxPayload < 0 {
		return nil, fault.New(fault.InvalidArgument, "the service %s needs an instance name and a payload limit of 0 or more", service)
	}
	return &Server{bus: bus, service: service, opts: o, limit: newLimit(), workers: newWorkers()}, nil
}

// Handle puts h behind the endpoint. It must be called before Start, once per endpoint; Start reports where it was not.
// h runs concurrently with itself and must return soon after its context ends. Its request is its own; its reply must
// not change after it has returned. The error that it returns is shown to the caller as fault.From sees it.
func Handle[Req, Res any](s *Server, e subjects.Endpoint[Req, Res], h func(ctx context.Context, req *Req) (*Res, error)) {
	s.add(&endpoint{
		service:    e.Service,
		method:     e.Method,
		internal:   e.Internal,
		subject:    e.Subject(s.opts.Site),
		doc:        e.Doc,
		meta:       func() (map[string]string, error) { return metadata[Req, Res](e.Doc, e.Internal, e.Idempotent) },
		newRequest: newRequest[Req],
		handle: func(ctx context.Context, request any) (any, error) {
			res, err := h(ctx, request.(*Req))
			if err != nil {
				return nil, err
			}
			if res == nil {
				return nil, errNoReply
			}
			return res, nil
		},
	})
}

var errNoReply = errors.New("the handler returned neither a reply nor an error")

func (s *Server) add(e *endpoint) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.state != isNew:
		s.mistakes = append(s.mistakes, fmt.Errorf("%s.%s was handled after the start", e.service, e.method))
	case e.service != s.service:
		s.mistakes = append(s.mistakes, fmt.Errorf("%s.%s was handled by the service %s", e.service, e.method, s.service))
	case s.has(e.subject):
		s.mistakes = append(s.mistakes, fmt.Errorf("%s.%s was handled twice", e.service, e.method))
	default:
		s.assemble(e)
		if target := s.opts.Brisk[e.method]; target > 0 && !e.internal {
			e.brake = newBrake(target)
		}
		s.endpoints = append(s.endpoints, e)
	}
}

func (s *Server) has(subject string) bool {
	for _, e := range s.endpoints {
		if e.subject == subject {
			return true
		}
	}
	return false
}

// assemble builds the endpoint's onion.
func (s *Server) assemble(e *endpoint) {
	outer := []middleware{respond(s.bus, s.replyLimit, s.opts.Log), measure(s.opts.Observe)}
	e.turnAway = onion(func(_ context.Context, x *exchange) error { return x.refusal }, outer...)
	e.serve = onion(call, append(outer,
		report(s.opts.Log),
		recovered,
		deadline,
		origin,
		gate(s.opts.Refuse),
		barrier(s.opts.Barrier),
		encode(s.replyLimit),
		decode(s.requestLimit),
		validate,
	)...)
}

// Start begins to serve; when it returns, requests from every connection of the site arrive. Error: what Handle was
// told wrongly, a second start, a version that is not semantic, or a connection that can't subscribe.
func (s *Server) Start() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state != isNew {
		return fmt.Errorf("the service %s was started before", s.service)
	}
	if len(s.mistakes) > 0 {
		return fmt.Errorf("the service %s is wired wrongly: %w", s.service, errors.Join(s.mistakes...))
	}
	// A request has no parent in this process: here its context begins. The one root of them all ends when Stop gives up waiting.
	ctx, cancel := context.WithCancelCause(context.Background())
	s.cancel = cancel
	s.dispatch = func(e *endpoint, m lean.Msg) { s.arrive(ctx, e, m) }
	var err error
	if s.discovery, err = s.newDiscovery(); err != nil {
		cancel(err)
		return fmt.Errorf("starting the service %s: %w", s.service, err)
	}
	if err := s.answerProbes(ctx); err != nil {
		cancel(err)
		return err
	}
	if err := s.join(); err != nil {
		cancel(err)
		return errors.Join(err, s.probe())
	}
	s.state = isServing
	return nil
}

// join subscribes as a micro service does. The caller holds mu.
func (s *Server) join() error {
	err := s.discoverable(s.discovery)
	for _, e := range s.endpoints {
		if err == nil {
			err = s.hear(e.subject, string(s.service), func(m lean.Msg) { s.dispatch(e, m) })
		}
	}
	if err == nil {
		ctx, cancel := context.WithTimeout(context.Background(), flushWait) // nobody waits for a start for longer
		defer cancel()
		err = s.bus.Flush(ctx)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("starting the service %s: %w", s.service, err), s.deafen())
	}
	return nil
}

func (s *Server) hear(subject, queue string, handle func(lean.Msg)) error {
	stop, err := s.bus.Subscribe(subject, queue, handle)
	if err != nil {
		return fmt.Errorf("endpoint %s: %w", subject, err)
	}
	s.heard = append(s.heard, stop)
	return nil
}

// deafen ends the subscriptions that join made.
func (s *Server) deafen() error {
	var errs []error
	for _, stop := range s.heard {
		if err := stop(); err != nil && !errors.Is(err, nats.ErrConnectionClosed) {
			errs = append(errs, err)
		}
	}
	s.heard = nil
	return errors.Join(errs...)
}

// name is the endpoint's name within the micro service.
func (e *endpoint) name() string {
	if e.internal {
		return "int-" + e.method
	}
	return e.method
}

// Pause leaves the queue group: new requests go to the service's other instances, or find no responders; those that
// arrived are finished, and discovery ($SRV) does not see the server. It is for a service that others do better at the moment.
// Without effect unless the server is serving. Error: unavailable while the connection is broken, as what is unsubscribed then may
// come back with it; who is not connected gets no requests anyhow.
func (s *Server) Pause() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state != isServing {
		return nil
	}
	if !s.bus.Connected() {
		return fault.New(fault.Unavailable, "the service %s is not connected, and can't leave its queue group now", s.service)
	}
	if err := s.deafen(); err != nil {
		return errors.Join(err, s.join()) // as before
	}
	s.state = isPaused
	return nil
}

// Resume joins the queue group again after Pause. Without effect unless the server is paused.
func (s *Server) Resume() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state != isPaused {
		return nil
	}
	if err := s.join(); err != nil {
		return err
	}
	s.state = isServing
	return nil
}

// Stop drains: it unsubscribes, lets what is in flight finish until ctx ends, and then cancels it. What arrives in the last
// moment is answered unavailable. Its goroutines are gone when it returns nil; the connection stays open. Error: handlers
// that did not return within a second of being cancelled, or a failure to unsubscribe. Later calls return nil.
func (s *Server) Stop(ctx context.Context) error {
	s.mu.Lock()
	was := s.state
	s.state = isStopped
	s.mu.Unlock()
	if was != isServing && was != isPaused {
		return nil
	}
	_ = s.probe() // its error is a connection that has ended
	leave := s.leave(ctx)
	s.limit.close()
	drained := awaitIdle(&s.limit, ctx.Done())
	s.cancel(fault.New(fault.Unavailable, "the service %s stopped before this request was done; ask again with the same id", s.service))
	if !drained {
		grace := time.NewTimer(stopGrace)
		defer grace.Stop()
		drained = awaitIdle(&s.limit, grace.C)
	}
	s.workers.stop(drained)
	if !drained {
		return errors.Join(leave, fmt.Errorf("stopping the service %s: %d requests did not end", s.service, s.limit.count()))
	}
	return leave
}

// leave unsubscribes, where that was not done before, and waits until the NATS server has taken note of it. What was sent to this
// server before has been taken in by then.
func (s *Server) leave(ctx context.Context) error {
	err := s.deafen()
	ctx, cancel := context.WithTimeout(ctx, flushWait)
	defer cancel()
	if failed := s.bus.Flush(ctx); failed != nil && ctx.Err() == nil && !errors.Is(failed, nats.ErrConnectionClosed) {
		err = errors.Join(err, failed)
	}
	if err != nil {
		return fmt.Errorf("stopping the service %s: %w", s.service, err)
	}
	return nil
}

// replyHeaderRoom is what the connection's limit keeps for a reply's headers.
const replyHeaderRoom = 2048

func (s *Server) requestLimit() int {
	if s.opts.MaxPayload > 0 {
		return s.opts.MaxPayload
	}
	return int(s.bus.MaxPayload())
}

func (s *Server) replyLimit() int {
	return min(s.requestLimit(), int(s.bus.MaxPayload())-replyHeaderRoom)
}
