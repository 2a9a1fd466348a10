// Command peers measures Waybill beside what a team would use in its place: both in the same run, in turn, on the same machine
// and file system. It is a module of its own, so that what the peers need stays out of the program's.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

// workloads are the sub-commands. Those without help are started by the others.
var workloads = []struct {
	name, help string
	run        func(ctx context.Context, args []string) error
}{
	{"durable", "orders and appends that survive a power cut, beside PostgreSQL, JetStream alone and a sync for each message", durable},
	{"rpc", "a call of Waybill beside gRPC, Connect, Twirp, Thrift, net/rpc, HTTP with JSON, nats.go and the bare socket", compareCalls},
	{"order-service", "", orderService},
	{"stream-service", "", streamService},
	{"rpc-service", "", rpcService},
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "peers:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	for _, w := range workloads {
		if len(args) > 0 && args[0] == w.name {
			return w.run(ctx, args[1:])
		}
	}
	text := "say what to measure, such as: go run . durable\n"
	for _, w := range workloads {
		if w.help != "" {
			text += fmt.Sprintf("  %-10s %s\n", w.name, w.help)
		}
	}
	return errors.New(text)
}
