package main

import (
	"context"
	"errors"
	"net/http"

	"github.com/twitchtv/twirp"

	pb "waybill/bench/peers/payments/paymentspb"
	"waybill/subjects"
)

// twirpPeer is Twirp with protobuf over HTTP/1.1, as https://twitchtv.github.io/twirp/docs/example.html has it, with a client
// that keeps a connection for each caller: net/http keeps two for a host by default.
type twirpPeer struct{}

func (twirpPeer) name() string { return "twirp" }
func (twirpPeer) about() string {
	return "Twirp 8.1.3 with protobuf over HTTP/1.1, a kept connection for each caller, a deadline for each call"
}

func (twirpPeer) start(context.Context, string) (service, error) {
	return serveHTTP(&http.Server{Handler: pb.NewPaymentsServer(twirpService{})})
}

type twirpService struct{}

func (twirpService) Authorize(_ context.Context, r *pb.AuthorizeRequest) (*pb.PaymentInfo, error) {
	if err := checkPB(r); err != nil {
		return nil, twirp.NewError(twirp.InvalidArgument, err.Error())
	}
	return authorizedPB(r), nil
}

func (twirpPeer) dial(_ context.Context, address string, callers int) (caller, error) {
	h := &http.Client{Transport: &http.Transport{MaxIdleConns: callers, MaxIdleConnsPerHost: callers}}
	return &twirpCaller{h, pb.NewPaymentsProtobufClient(address, h)}, nil
}

type twirpCaller struct {
	http   *http.Client
	client pb.Payments
}

func (c *twirpCaller) call(ctx context.Context, _ int, r *subjects.AuthorizeRequest) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	p, err := c.client.Authorize(ctx, questionPB(r))
	var refused twirp.Error
	if errors.As(err, &refused) && refused.Code() == twirp.InvalidArgument {
		return errors.Join(errRefused, err)
	}
	if err != nil {
		return err
	}
	return answersPB(r, p)
}

func (c *twirpCaller) close() error { c.http.CloseIdleConnections(); return nil }
