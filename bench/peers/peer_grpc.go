package main

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	pb "waybill/bench/peers/payments/paymentspb"
	"waybill/internal/id"
	amounts "waybill/internal/money"
	"waybill/internal/payment"
	"waybill/subjects"
)

// grpcPeer is gRPC-go with protobuf. Its documentation says: use one channel and stub again for all calls, a pool of channels
// where many calls are under way at once (https://grpc.io/docs/guides/performance/), and a deadline for each call
// (https://grpc.io/docs/guides/deadlines/). So it is there with one connection and with a pool.
type grpcPeer struct{ connections int }

func (p *grpcPeer) name() string {
	if p.connections > 1 {
		return "grpc-pool"
	}
	return "grpc"
}

func (p *grpcPeer) about() string {
	return fmt.Sprintf("gRPC-go %s with protobuf, insecure, connections for all callers: %d, a deadline for each call", grpc.Version, p.connections)
}

func (p *grpcPeer) start(context.Context, string) (service, error) {
	l, err := listen()
	if err != nil {
		return nil, err
	}
	s := grpc.NewServer()
	pb.RegisterPaymentsServer(s, grpcService{})
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(l) }()
	return running{l.Addr().String(), func() error { s.Stop(); return <-ended }}, nil
}

type grpcService struct {
	pb.UnimplementedPaymentsServer
}

func (grpcService) Authorize(_ context.Context, r *pb.AuthorizeRequest) (*pb.PaymentInfo, error) {
	if err := checkPB(r); err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	return authorizedPB(r), nil
}

func checkPB(r *pb.AuthorizeRequest) error {
	return check(&subjects.AuthorizeRequest{
		PaymentID: id.Payment(r.PaymentId), OrderID: id.Order(r.OrderId),
		Amount: subjects.Money{Amount: r.Amount.GetAmount(), Currency: amounts.Currency(r.Amount.GetCurrency())},
		Method: subjects.Method(r.Method), Token: r.Token,
	})
}

func authorizedPB(r *pb.AuthorizeRequest) *pb.PaymentInfo {
	return &pb.PaymentInfo{
		PaymentId: r.PaymentId, OrderId: r.OrderId, Method: r.Method, Status: string(payment.StatusAuthorized),
		Amount: r.Amount, Authorized: r.Amount, Captured: &pb.Money{Currency: r.Amount.Currency}, Refunded: &pb.Money{Currency: r.Amount.Currency},
	}
}

func questionPB(r *subjects.AuthorizeRequest) *pb.AuthorizeRequest {
	return &pb.AuthorizeRequest{
		PaymentId: string(r.PaymentID), OrderId: string(r.OrderID), Amount: &pb.Money{Amount: r.Amount.Amount, Currency: string(r.Amount.Currency)},
		Method: string(r.Method), Token: r.Token,
	}
}

func answersPB(r *subjects.AuthorizeRequest, p *pb.PaymentInfo) error {
	return answers(r, p.PaymentId, p.Status, p.Authorized.GetAmount())
}

func (p *grpcPeer) dial(_ context.Context, address string, _ int) (caller, error) {
	c := &grpcCaller{}
	for range p.connections {
		conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			return nil, errors.Join(err, c.close())
		}
		c.conns, c.clients = append(c.conns, conn), append(c.clients, pb.NewPaymentsClient(conn))
	}
	return c, nil
}

type grpcCaller struct {
	conns   []*grpc.ClientConn
	clients []pb.PaymentsClient
}

func (c *grpcCaller) call(ctx context.Context, n int, r *subjects.AuthorizeRequest) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	p, err := c.clients[n%len(c.clients)].Authorize(ctx, questionPB(r))
	if status.Code(err) == codes.InvalidArgument {
		return errors.Join(errRefused, err)
	}
	if err != nil {
		return err
	}
	return answersPB(r, p)
}

func (c *grpcCaller) close() error { return closeAll(c.conns) }
