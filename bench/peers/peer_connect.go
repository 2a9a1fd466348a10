package main

import (
	"context"
	"errors"
	"net/http"

	"connectrpc.com/connect"

	pb "waybill/bench/peers/payments/paymentspb"
	"waybill/bench/peers/payments/paymentspb/paymentspbconnect"
	"waybill/subjects"
)

// connectPeer is Connect's own protocol with protobuf: over HTTP/1.1, as a client has it that is told nothing else, with a kept
// connection for each caller; and over HTTP/2 without TLS, server and client set up as
// https://connectrpc.com/docs/go/deployment/#h2c says. A call's deadline is its context's (https://connectrpc.com/docs/go/deadlines/).
// Without WithCompressMinBytes every reply is compressed, which for small ones takes most of a call's time
// (https://connectrpc.com/docs/go/serialization-and-compression/).
type connectPeer struct{ h2c bool }

func (p connectPeer) name() string {
	if p.h2c {
		return "connect-h2c"
	}
	return "connect"
}

func (p connectPeer) about() string {
	over := "HTTP/1.1, a kept connection for each caller"
	if p.h2c {
		over = "HTTP/2 without TLS, one client for all callers"
	}
	return "Connect " + connect.Version + " with protobuf over " + over + ", a deadline for each call"
}

func (connectPeer) start(context.Context, string) (service, error) {
	mux := http.NewServeMux()
	mux.Handle(paymentspbconnect.NewPaymentsHandler(connectService{}, connect.WithCompressMinBytes(1<<10)))
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	return serveHTTP(&http.Server{Handler: mux, Protocols: protocols})
}

type connectService struct{}

func (connectService) Authorize(_ context.Context, r *connect.Request[pb.AuthorizeRequest]) (*connect.Response[pb.PaymentInfo], error) {
	if err := checkPB(r.Msg); err != nil {
		return nil, connect.NewError(connect.CodeInvalidArgument, err)
	}
	return connect.NewResponse(authorizedPB(r.Msg)), nil
}

func (p connectPeer) dial(_ context.Context, address string, callers int) (caller, error) {
	t := &http.Transport{MaxIdleConns: callers, MaxIdleConnsPerHost: callers}
	if p.h2c {
		t.Protocols = new(http.Protocols)
		t.Protocols.SetUnencryptedHTTP2(true)
	}
	h := &http.Client{Transport: t}
	return &connectCaller{h, paymentspbconnect.NewPaymentsClient(h, address)}, nil
}

type connectCaller struct {
	http   *http.Client
	client paymentspbconnect.PaymentsClient
}

func (c *connectCaller) call(ctx context.Context, _ int, r *subjects.AuthorizeRequest) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	p, err := c.client.Authorize(ctx, connect.NewRequest(questionPB(r)))
	if err != nil {
		if connect.CodeOf(err) == connect.CodeInvalidArgument {
			return errors.Join(errRefused, err)
		}
		return err
	}
	return answersPB(r, p.Msg)
}

func (c *connectCaller) close() error { c.http.CloseIdleConnections(); return nil }
