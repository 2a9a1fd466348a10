package bench_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"waybill/internal/node"
	"waybill/internal/nodetest"
)

// siteEnv is set for a process of this test's binary that is to be a site and not a test; its value is the data directory.
const siteEnv = "WAYBILL_BENCH_SITE"

func TestMain(m *testing.M) {
	if dir, ok := os.LookupEnv(siteEnv); ok {
		if err := beSite(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// beSite runs a strict site, as `waybill serve` does, until the standard input ends.
func beSite(dir string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	n, err := node.Start(ctx, node.Options{Config: nodetest.Config(dir), Version: "0.0.0", Log: zerolog.New(os.Stderr), TuneRuntime: true})
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, os.Stdin)
	stopping, cancelStop := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancelStop()
	if stopped := n.Stop(stopping); err == nil {
		err = stopped
	}
	return err
}
