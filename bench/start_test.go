package bench_test

import (
	"context"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"waybill/bench"
	"waybill/client"
	"waybill/internal/id"
	"waybill/subjects"
)

var (
	starts    = flag.Int("starts", 0, "orders of the site that TestStart starts again; 112000 make a million events; 0 skips it")
	startData = flag.String("starts.data", "", "the data directory of a stopped site with that many orders, to be copied in place of filling one")
)

// readyWithin is how long a site with a million events may take until it takes orders.
const readyWithin = 5 * time.Second

// TestStart shows how soon a large site takes orders again: after a clean stop, and after a kill under load.
func TestStart(t *testing.T) {
	if *starts == 0 {
		t.Skip("skipped: it takes minutes; run it with -starts 112000, as make bench-start does")
	}
	program := filepath.Join(t.TempDir(), "waybill")
	if out, err := exec.Command("go", "build", "-o", program, "../cmd/waybill").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	dir := filepath.Join(t.TempDir(), "data")
	if *startData != "" {
		if out, err := exec.Command("cp", "-a", "--reflink=auto", *startData, dir).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	} else {
		s := startSite(t, program, dir)
		if err := bench.Prepare(t.Context(), s.c); err != nil {
			t.Fatal(err)
		}
		if r := bench.Loop(t.Context(), 32, *starts, s.place); r.Errors > 0 {
			t.Fatalf("%d orders failed: %v", r.Errors, r.FirstError)
		}
		settle(t, s)
		s.end(t, os.Interrupt)
	}

	info := []string{"--log-level", "info", "--log-format", "json"}
	again := func(what string) *site {
		t.Helper()
		s := startSite(t, program, dir, info...)
		if s.took > readyWithin {
			t.Errorf("%s: the site took orders after %v, not within %v", what, s.took, readyWithin)
		}
		t.Logf("%s: took orders after %v, with %d events", what, s.took.Round(time.Millisecond), s.last(t))
		return s
	}
	for range 3 {
		s := again("after a clean stop")
		s.end(t, os.Interrupt)
		s.phases(t)
	}
	for range 3 {
		s := again("before a kill")
		confirmed := s.killedUnderLoad(t)
		s = again("after a kill under load")
		for _, o := range confirmed {
			if got, err := client.Call(t.Context(), s.c, subjects.OrderGet, &subjects.GetOrderRequest{OrderID: o}); err != nil || got.Status != "confirmed" {
				t.Fatalf("the order %s, which was confirmed, is %+v, %v", o, got, err)
			}
		}
		s.end(t, os.Interrupt)
		s.phases(t)
	}
}

// phases logs what a site that has ended said of its start.
func (s *site) phases(t *testing.T) {
	for line := range strings.Lines(s.said.String()) {
		if strings.Contains(line, "how long the start took") || strings.Contains(line, "stock read from") {
			t.Log(strings.TrimSpace(line))
		}
	}
}

func (s *site) place(ctx context.Context, n int) error {
	_, err := client.Call(ctx, s.c, subjects.OrderPlace, bench.Order(n))
	return err
}

// killedUnderLoad kills the site while 16 callers place orders, and returns those that were confirmed.
func (s *site) killedUnderLoad(t *testing.T) (confirmed []id.Order) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var mu sync.Mutex
	time.AfterFunc(5*time.Second, func() { _ = s.process.Kill(); cancel() })
	bench.Loop(ctx, 16, 1<<30, func(ctx context.Context, n int) error {
		o, err := client.Call(ctx, s.c, subjects.OrderPlace, bench.Order(n))
		if err == nil && o.Status == "confirmed" {
			mu.Lock()
			defer mu.Unlock()
			confirmed = append(confirmed, o.OrderID)
		}
		return err
	})
	<-s.ended
	if len(confirmed) == 0 {
		t.Fatal("no order was confirmed before the kill")
	}
	return confirmed
}
