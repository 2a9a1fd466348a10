package rpc

import (
	"context"
	"errors"
	"fmt"

	"waybill/internal/fault"
	"waybill/internal/lean"
	"waybill/subjects"
)

// answerProbes subscribes to the subject on which this instance proves that it answers. A probe goes
// through the NATS server, also where requests don't, and then the way of every request: this connection, the limit, a worker and Refuse
// (which hears of the method "probe"). Only the service's statistics and observer don't see it. It is answered from Start to Stop, also
// while the server is paused.
func (s *Server) answerProbes(ctx context.Context) error {
	e := &endpoint{
		service: s.service, method: "probe", internal: true, subject: subjects.Probe(s.opts.Site, s.service, s.opts.Instance),
		newRequest: newRequest[subjects.Empty],
		handle:     func(context.Context, any) (any, error) { return &subjects.Empty{}, nil },
	}
	outer := []middleware{respond(s.bus, s.replyLimit, s.opts.Log), measure(nil)}
	e.turnAway = onion(func(_ context.Context, x *exchange) error { return x.refusal }, outer...)
	e.serve = onion(call, append(outer, report(s.opts.Log), recovered, deadline, origin, gate(s.opts.Refuse), encode(s.replyLimit), decode(s.requestLimit))...)
	stop, err := s.bus.Subscribe(e.subject, "", func(m lean.Msg) { s.arrive(ctx, e, m) })
	if err != nil {
		return fmt.Errorf("starting the service %s: %w", s.service, err)
	}
	s.probe = stop
	return nil
}

// Probe asks one instance of a service whether its endpoints answer. busy says that it does, and is at its limit of requests.
// Errors: those of Call.
func Probe(ctx context.Context, c *Caller, service subjects.Service, instance string) (busy bool, err error) {
	_, err = CallRaw(ctx, c, subjects.Probe(c.site, service, instance), []byte("{}"), nil)
	var silent *NoAnswer
	if err != nil && !errors.As(err, &silent) && fault.CodeOf(err) == fault.ResourceExhausted {
		return true, nil
	}
	return false, err
}
