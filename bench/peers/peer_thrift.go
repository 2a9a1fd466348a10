package main

import (
	"context"
	"errors"

	"github.com/apache/thrift/lib/go/thrift"

	wire "waybill/bench/peers/payments/paymentsthrift"
	"waybill/internal/id"
	amounts "waybill/internal/money"
	"waybill/internal/payment"
	"waybill/subjects"
)

// thriftPeer is Apache Thrift, framed and compact, with the server of its Go tutorial (https://thrift.apache.org/tutorial/go.html),
// which has a goroutine for each connection. A client must not be used by two at once, so each caller has one.
type thriftPeer struct{}

func (thriftPeer) name() string { return "thrift" }
func (thriftPeer) about() string {
	return "Apache Thrift, framed and compact, a connection for each caller, a timeout on the socket"
}

// thriftConfig is read only.
var thriftConfig = &thrift.TConfiguration{ConnectTimeout: callTimeout, SocketTimeout: callTimeout}

func framed() thrift.TTransportFactory {
	return thrift.NewTFramedTransportFactoryConf(thrift.NewTTransportFactory(), thriftConfig)
}

func (thriftPeer) start(context.Context, string) (service, error) {
	l, err := thrift.NewTServerSocket("127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	if err := l.Listen(); err != nil {
		return nil, err
	}
	s := thrift.NewTSimpleServer4(wire.NewPaymentsProcessor(thriftService{}), l, framed(), thrift.NewTCompactProtocolFactoryConf(thriftConfig))
	ended := make(chan error, 1)
	go func() { ended <- s.Serve() }()
	return running{l.Addr().String(), func() error { return errors.Join(s.Stop(), <-ended) }}, nil
}

type thriftService struct{}

func (thriftService) Authorize(_ context.Context, r *wire.AuthorizeRequest) (*wire.PaymentInfo, error) {
	if r.Amount == nil {
		return nil, &wire.Refused{Code: string(subjects.InvalidArgument), Message: "amount is missing"}
	}
	err := check(&subjects.AuthorizeRequest{
		PaymentID: id.Payment(r.PaymentID), OrderID: id.Order(r.OrderID),
		Amount: subjects.Money{Amount: r.Amount.Amount, Currency: amounts.Currency(r.Amount.Currency)},
		Method: subjects.Method(r.Method), Token: r.Token,
	})
	if err != nil {
		return nil, &wire.Refused{Code: string(subjects.InvalidArgument), Message: err.Error()}
	}
	return &wire.PaymentInfo{
		PaymentID: r.PaymentID, OrderID: r.OrderID, Method: r.Method, Status: string(payment.StatusAuthorized),
		Amount: r.Amount, Authorized: r.Amount, Captured: &wire.Money{Currency: r.Amount.Currency}, Refunded: &wire.Money{Currency: r.Amount.Currency},
	}, nil
}

type thriftCaller struct {
	transports []thrift.TTransport
	clients    []*wire.PaymentsClient
}

func (thriftPeer) dial(_ context.Context, address string, callers int) (caller, error) {
	c := &thriftCaller{}
	factory := thrift.NewTCompactProtocolFactoryConf(thriftConfig)
	for range callers {
		t, err := framed().GetTransport(thrift.NewTSocketConf(address, thriftConfig))
		if err == nil {
			err = t.Open()
		}
		if err != nil {
			return nil, errors.Join(err, c.close())
		}
		c.transports = append(c.transports, t)
		c.clients = append(c.clients, wire.NewPaymentsClient(thrift.NewTStandardClient(factory.GetProtocol(t), factory.GetProtocol(t))))
	}
	return c, nil
}

func (c *thriftCaller) call(ctx context.Context, n int, r *subjects.AuthorizeRequest) error {
	p, err := c.clients[n].Authorize(ctx, &wire.AuthorizeRequest{
		PaymentID: string(r.PaymentID), OrderID: string(r.OrderID), Amount: &wire.Money{Amount: r.Amount.Amount, Currency: string(r.Amount.Currency)},
		Method: string(r.Method), Token: r.Token,
	})
	var refused *wire.Refused
	if errors.As(err, &refused) {
		return errors.Join(errRefused, err)
	}
	if err != nil {
		return err
	}
	return answers(r, p.PaymentID, p.Status, p.Authorized.GetAmount())
}

func (c *thriftCaller) close() error { return closeAll(c.transports) }
