//go:build linux

package faults

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"waybill/configs"
	"waybill/internal/node"
	"waybill/internal/nodetest"
)

var (
	faultsAll    = flag.Bool("faults.all", false, "the long campaigns: 100 power cuts, 300 kills, and so on")
	faultsSeed   = flag.Uint64("faults.seed", 0, "the seed of the faults; 0 picks one, which is printed")
	faultsBinary = flag.String("faults.binary", "", "the `program` to break; without it, a node in a process of this test's binary")
)

// childEnv is set for a process of this test's binary that is to be a node and not a test.
const childEnv = "FAULTS_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		os.Unsetenv(childEnv)
		if err := serve(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	flag.Parse()
	if !*faultsAll { // they wait more than they work, but for what the race detector does
		lanes := "6"
		if nodetest.Race {
			lanes = "2"
		}
		if err := flag.Set("test.parallel", lanes); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	}
	if err := sweep(); err != nil {
		fmt.Fprintln(os.Stderr, "what a killed run has left behind can't be removed:", err)
	}
	os.Exit(m.Run())
}

// serve does what `waybill serve` does: it runs a node, as its environment configures it, until SIGTERM.
func serve() error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	config, err := configs.Load("", os.Environ(), nil)
	if err != nil {
		return err
	}
	n, err := node.Start(ctx, node.Options{Config: config, Version: "0.0.0", Log: zerolog.New(os.Stderr).With().Timestamp().Logger(), TuneRuntime: true})
	if err != nil {
		return err
	}
	<-ctx.Done()
	end, cancel := context.WithTimeout(context.Background(), 9*time.Second)
	defer cancel()
	return n.Stop(end)
}

// seed prints the seed of this test and returns what draws from it.
func seed(t *testing.T) *rand.Rand {
	t.Helper()
	s := *faultsSeed
	if s == 0 {
		s = rand.Uint64()
	}
	t.Logf("-faults.seed=%d", s)
	return rand.New(rand.NewPCG(s, 0))
}

// between draws a time from a to b.
func between(draw *rand.Rand, a, b time.Duration) time.Duration {
	return a + time.Duration(draw.Int64N(int64(b-a)+1))
}

// number is few, and many with -faults.all.
func number(few, many int) int {
	if *faultsAll {
		return many
	}
	return few
}

// lacking skips the test because the machine does not give what it needs; a long campaign must not be skipped in silence.
func lacking(t *testing.T, format string, args ...any) {
	t.Helper()
	if *faultsAll {
		t.Fatalf("not possible here: "+format, args...)
	}
	fmt.Fprintf(os.Stderr, "SKIPPED %s: %s\n", t.Name(), fmt.Sprintf(format, args...))
	t.Skipf(format, args...)
}
