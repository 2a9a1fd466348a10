// Command waybill runs a site that takes orders, and talks to one that runs. Each sub-command stands in a file of its own.
//
// A command exits with 0 when it did what it was asked, 1 when that was refused or failed (the code and a message stand on
// the standard error), and 2 when it was used wrongly.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/rs/zerolog"

	"waybill/embedded"
	"waybill/internal/timestamp"
)

func main() {
	embedded.RunAsEtcd() // first: a site's etcd is this program once more
	os.Exit(start())
}

func start() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	zerolog.TimeFieldFormat = timestamp.Layout // the library keeps these two for the whole process
	zerolog.TimestampFunc = func() time.Time { return time.Now().UTC() }
	context.AfterFunc(ctx, stop) // the first signal ends things in order, a second one at once
	return newProgram(os.Stdin, os.Stdout, os.Stderr, os.Environ()).run(ctx, os.Args[1:])
}
