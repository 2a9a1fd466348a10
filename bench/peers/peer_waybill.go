package main

import (
	"context"
	"errors"
	"path/filepath"
	"strings"

	"github.com/rs/zerolog"

	"waybill/client"
	"waybill/embedded"
	"waybill/internal/fault"
	"waybill/internal/lean"
	"waybill/internal/poll"
	"waybill/internal/rpc"
	"waybill/subjects"
)

// waybill is the payment service as a node has it: the embedded NATS server with its accounts, users and JetStream, and an
// rpc.Server on a lean connection within the process. The handler takes the place of the one that writes to the journal; the
// rest of the way of a request is the node's. connect is the callers' way to it.
type waybill struct {
	transport string
	how       string
	poll      bool                                                                    // the node's end of it polls
	connect   func(ctx context.Context, n *embedded.NATS, url string) (caller, error) // n is nil in another process

	nats *embedded.NATS
}

func (p *waybill) name() string { return "waybill-" + p.transport }
func (p *waybill) about() string {
	return "Waybill's payment.authorize, asked over " + p.how + ", one connection for all callers"
}

func (p *waybill) start(ctx context.Context, dir string) (_ service, err error) {
	secrets, err := embedded.OpenSecrets(filepath.Join(dir, "secrets"))
	if err != nil {
		return nil, err
	}
	log := zerolog.Nop()
	config := embedded.NATSConfig{
		Site: subjects.DefaultSite, DataDir: filepath.Join(dir, "nats"), Addr: "127.0.0.1:0", Socket: filepath.Join(dir, "socket"), Secrets: secrets, Log: log,
	}
	if p.poll {
		config.Poll = poll.Bound
	}
	n, err := embedded.StartNATS(ctx, config)
	if err != nil {
		return nil, err
	}
	stopNATS := func() error { return n.Stop(context.WithoutCancel(ctx)) }
	link, err := n.Link(embedded.Front(subjects.Payment), false, nil)
	if err != nil {
		return nil, errors.Join(err, stopNATS())
	}
	s, err := rpc.NewServer(link, subjects.Payment, rpc.Options{Site: subjects.DefaultSite, Instance: "peer", Version: "1.0.0", Log: log})
	if err == nil {
		rpc.Handle(s, subjects.PaymentAuthorize, func(_ context.Context, r *subjects.AuthorizeRequest) (*subjects.PaymentInfo, error) {
			if err := payable(r.Amount); err != nil { // the server has validated it
				return nil, err
			}
			return authorized(r), nil
		})
		err = s.Start()
	}
	if err != nil {
		link.Close()
		return nil, errors.Join(err, stopNATS())
	}
	p.nats = n
	url := n.URL()
	if strings.HasPrefix(p.transport, "unix") {
		url = "unix://" + n.Socket()
	}
	return running{url, func() error {
		err := s.Stop(context.WithoutCancel(ctx))
		link.Close()
		return errors.Join(err, stopNATS())
	}}, nil
}

func (p *waybill) dial(ctx context.Context, address string, _ int) (caller, error) {
	return p.connect(ctx, p.nats, address)
}

// byClient is how a till asks.
func byClient(o ...client.Option) func(context.Context, *embedded.NATS, string) (caller, error) {
	return func(ctx context.Context, _ *embedded.NATS, url string) (caller, error) {
		c, err := client.Connect(ctx, url, append(o, client.WithTimeout(callTimeout))...)
		if err != nil {
			return nil, err
		}
		return clientCaller{c}, nil
	}
}

var parked = client.WithPolling(0)

type clientCaller struct{ c *client.Client }

func (c clientCaller) call(ctx context.Context, _ int, r *subjects.AuthorizeRequest) error {
	p, err := client.Call(ctx, c.c, subjects.PaymentAuthorize, r)
	return waybillAnswer(r, p, err)
}

func (c clientCaller) close() error { c.c.Close(); return nil }

func waybillAnswer(r *subjects.AuthorizeRequest, p *subjects.PaymentInfo, err error) error {
	if fault.CodeOf(err) == fault.InvalidArgument {
		return errors.Join(errRefused, err)
	}
	if err != nil {
		return err
	}
	return answers(r, string(p.PaymentID), string(p.Status), p.Authorized.Amount)
}

// withinProcess is how a node's order service asks.
func withinProcess(_ context.Context, n *embedded.NATS, _ string) (caller, error) {
	link, err := n.Link(embedded.Front(subjects.Order), false, nil)
	if err != nil {
		return nil, err
	}
	return newLeanCaller(link), nil
}

type leanCaller struct {
	link  *lean.Conn
	calls *rpc.Caller
}

func newLeanCaller(link *lean.Conn) leanCaller {
	return leanCaller{link, rpc.NewCaller(link, subjects.DefaultSite)}
}

func (c leanCaller) call(ctx context.Context, _ int, r *subjects.AuthorizeRequest) error {
	p, err := rpc.Call(ctx, c.calls, subjects.PaymentAuthorize, r)
	return waybillAnswer(r, p, err)
}

func (c leanCaller) close() error { c.link.Close(); return nil }
