package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"waybill/client"
	"waybill/subjects"
)

// peer is one way for an order process to ask a payment service. Each has the settings that its own documentation
// recommends, which its file names.
type peer interface {
	name() string
	// about is what it is and how it is set up, in a sentence.
	about() string
	// start starts the service in this process; dir is for its files. One peer starts one service at a time.
	start(ctx context.Context, dir string) (service, error)
	// dial connects so many callers to the service at the address. A peer that works within one process takes that which it
	// started there last.
	dial(ctx context.Context, address string, callers int) (caller, error)
}

// service is a running one. Its address is empty where only its own process reaches it.
type service interface {
	address() string
	stop() error
}

// caller calls for several at once, each with its number, from 0. Where its calls have no timeout it hangs up when dial's context ends.
type caller interface {
	// call asks and looks at the answer. Error: errRefused in its chain where the service says that the request is wrong; others.
	call(ctx context.Context, n int, r *subjects.AuthorizeRequest) error
	close() error
}

// peers are all of them, in the order of the report. What the ratios refer to is among them.
func peers() []peer {
	return []peer{
		&echo{network: "tcp"},
		&echo{network: "unix"},
		&rawNATS{transport: tcp},
		&rawNATS{transport: inProcess},
		&microNATS{rawNATS{transport: tcp}},
		&microNATS{rawNATS{transport: inProcess}},
		&waybill{transport: "nats", how: "nats.go over TCP", connect: byClient(client.WithTransport(client.NATS), parked)},
		&waybill{transport: "tcp", how: "TCP", connect: byClient(parked)},
		&waybill{transport: "unix", how: "a Unix socket", connect: byClient(parked)},
		&waybill{transport: "tcp-polling", how: "TCP, polling on both ends", poll: true, connect: byClient()},
		&waybill{transport: "unix-polling", how: "a Unix socket, polling on both ends", poll: true, connect: byClient()},
		&waybill{transport: inProcess, how: "a lean connection within the process", connect: withinProcess},
		&grpcPeer{connections: 1},
		&grpcPeer{connections: 4},
		connectPeer{},
		connectPeer{h2c: true},
		twirpPeer{},
		thriftPeer{},
		netRPC{},
		httpJSON{},
	}
}

const (
	tcp       = "tcp"
	inProcess = "inprocess" // the end of a peer's name that has no service in another process
)

// withinOne reports whether a peer's callers must be in its service's process.
func withinOne(p peer) bool { return strings.HasSuffix(p.name(), inProcess) }

// running is a service made of an address and a way to stop.
type running struct {
	at  string
	end func() error
}

func (r running) address() string { return r.at }
func (r running) stop() error     { return r.end() }

func listen() (net.Listener, error) { return net.Listen("tcp", "127.0.0.1:0") }

// serveHTTP starts the server on a port of its own.
func serveHTTP(s *http.Server) (service, error) {
	l, err := listen()
	if err != nil {
		return nil, err
	}
	s.ReadHeaderTimeout = 10 * time.Second
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(l) }()
	return running{"http://" + l.Addr().String(), func() error {
		err := s.Close()
		if end := <-ended; !errors.Is(end, http.ErrServerClosed) {
			err = errors.Join(err, end)
		}
		return err
	}}, nil
}

// closeAll closes all, also where one fails.
func closeAll[C io.Closer](all []C) error {
	var errs []error
	for _, c := range all {
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}

// find returns the peers of a list such as "grpc,waybill-tcp"; all of them for an empty one.
func find(list string) ([]peer, error) {
	all := peers()
	if list == "" {
		return all, nil
	}
	var found []peer
	for name := range strings.SplitSeq(list, ",") {
		before := len(found)
		var names []string
		for _, p := range all {
			if names = append(names, p.name()); p.name() == name {
				found = append(found, p)
			}
		}
		if len(found) == before {
			return nil, fmt.Errorf("there is no peer %q; there are %s", name, strings.Join(names, ", "))
		}
	}
	return found, nil
}
