package main

import (
	"context"
	"errors"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"waybill/subjects"
)

// rawNATS is request-reply as nats.go's documentation shows it (https://docs.nats.io/using-nats/developer/sending/request_reply,
// https://github.com/nats-io/nats.go#basic-usage): one connection that all callers share, Request with a timeout, and a
// subscription's function that responds. The server is embedded in the service's process, which is connected by
// nats.InProcessServer, as that option's documentation has it.
type rawNATS struct {
	transport string
	server    *server.Server
}

const natsSubject = "payment.authorize"

func (p *rawNATS) name() string { return "nats-" + p.transport }
func (p *rawNATS) about() string {
	return "nats.go Request with JSON, one connection for all callers, the server within the service's process"
}

func (p *rawNATS) start(context.Context, string) (service, error) {
	return p.with(func(nc *nats.Conn) error {
		_, err := nc.QueueSubscribe(natsSubject, "payment", func(m *nats.Msg) {
			reply, err := answerJSON(m.Data)
			if err != nil {
				refusal := nats.NewMsg(m.Reply)
				refusal.Header.Set(micro.ErrorHeader, err.Error())
				_ = m.RespondMsg(refusal) // its caller runs into the timeout where the connection has ended
				return
			}
			_ = m.Respond(reply)
		})
		return err
	})
}

// with starts a server, and on a connection within the process what listen makes.
func (p *rawNATS) with(listen func(*nats.Conn) error) (service, error) {
	s, err := server.NewServer(&server.Options{ServerName: "peer", Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true})
	if err != nil {
		return nil, err
	}
	s.Start()
	stop := func() error { s.Shutdown(); s.WaitForShutdown(); return nil }
	if !s.ReadyForConnections(30 * time.Second) {
		return nil, errors.Join(errors.New("the NATS server does not start"), stop())
	}
	nc, err := nats.Connect("", nats.InProcessServer(s))
	if err != nil {
		return nil, errors.Join(err, stop())
	}
	if err := errors.Join(listen(nc), nc.Flush()); err != nil {
		nc.Close()
		return nil, errors.Join(err, stop())
	}
	p.server = s
	return running{s.ClientURL(), func() error { nc.Close(); return stop() }}, nil
}

func (p *rawNATS) dial(_ context.Context, address string, _ int) (caller, error) {
	var options []nats.Option
	if p.transport == inProcess {
		options = append(options, nats.InProcessServer(p.server))
	}
	nc, err := nats.Connect(address, options...)
	if err != nil {
		return nil, err
	}
	return natsCaller{nc}, nil
}

type natsCaller struct{ nc *nats.Conn }

func (c natsCaller) call(_ context.Context, _ int, r *subjects.AuthorizeRequest) error {
	request, err := json.Marshal(r)
	if err != nil {
		return err
	}
	reply, err := c.nc.Request(natsSubject, request, callTimeout)
	if err != nil {
		return err
	}
	if reply.Header.Get(micro.ErrorHeader) != "" {
		return errRefused
	}
	return readJSON(r, reply.Data)
}

func (c natsCaller) close() error { c.nc.Close(); return nil }

// microNATS is a service of nats.go's micro package in place of the subscription, as its documentation shows it
// (https://github.com/nats-io/nats.go/blob/main/micro/README.md). Its callers are those of rawNATS.
type microNATS struct{ rawNATS }

func (p *microNATS) name() string { return "nats-micro-" + p.transport }
func (p *microNATS) about() string {
	return "nats.go's micro service with JSON, asked by Request; else as nats"
}

func (p *microNATS) start(context.Context, string) (service, error) {
	return p.with(func(nc *nats.Conn) error {
		_, err := micro.AddService(nc, micro.Config{Name: "payment", Version: "1.0.0", Endpoint: &micro.EndpointConfig{
			Subject: natsSubject,
			Handler: micro.HandlerFunc(func(r micro.Request) {
				reply, err := answerJSON(r.Data())
				if err != nil {
					_ = r.Error("400", err.Error(), nil)
					return
				}
				_ = r.Respond(reply)
			}),
		}})
		return err
	})
}
