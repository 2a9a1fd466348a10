package bench_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"waybill/bench"
	"waybill/client"
	"waybill/subjects"
)

var overload = flag.Duration("overload", 0, "how long TestOverload asks for ten times what the site does, and holds it to its bounds; 0 is a second without bounds on time")

// The bounds of an overload: excess is refused within refusedWithin, what is accepted is answered within acceptedWithin (both for
// 99 of 100), and within normalAfter all is as before.
const (
	refusedWithin  = 5 * time.Millisecond
	acceptedWithin = 250 * time.Millisecond
	normalAfter    = 5 * time.Second
)

// TestOverload asks a site in a process of its own for ten times what it does. Whatever the load, each request is answered, and what
// is not done is refused as resource_exhausted; with -overload the bounds on time hold for orders as well. Ten times as many reads are more
// than the NATS server and this generator manage beside the site on the same cores: what came of them is in the log.
func TestOverload(t *testing.T) {
	url := startOwnProcess(t)
	c, err := client.Connect(t.Context(), url, client.WithRetry(client.NoRetry))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	if err := bench.Prepare(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	orders, err := bench.PlaceOrders(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	reads, err := bench.Read(t.Context(), c, "catalog.get")
	if err != nil {
		t.Fatal(err)
	}
	item := []byte(`{"sku":"` + string(bench.SKU(1)) + `"}`)
	t.Run("orders", func(t *testing.T) {
		overloaded(t, url, orders, subjects.OrderPlace.Subject(c.Site()), orderBodies(t), *overload > 0)
	})
	t.Run("reads", func(t *testing.T) {
		overloaded(t, url, reads, subjects.CatalogGet.Subject(c.Site()), func(int) []byte { return item }, false)
	})
}

// overloaded finds out how much of the workload the site does, asks for ten times that, and then for a quarter. With timed the bounds on
// time must hold.
func overloaded(t *testing.T, url string, w bench.Workload, subject string, body func(n int) []byte, timed bool) {
	find, length, little := 300*time.Millisecond, 700*time.Millisecond, 300*time.Millisecond
	if *overload > 0 {
		find, length, little = 5*time.Second, *overload, time.Second
	}
	m := bench.Measure(t.Context(), bench.Load{Callers: 64, Length: find}, nil, w.Call)
	if m.Count == 0 {
		t.Fatalf("nothing was done: %v", m.First)
	}
	capacity := float64(m.Count) / m.Took.Seconds()
	t.Logf("64 callers: %.0f/s, p50 %s", capacity, at(m.Latencies, 50))
	f := newFlood(t, url)
	asked := 0
	ask := func(rate float64, length time.Duration) *flooded {
		from := asked
		r := f.run(t, subject, rate, length, 10*time.Second, func(n int) []byte { return body(from + n) })
		asked += int(r.Due)
		t.Logf("%.0f/s for %s: %s", rate, length, r)
		if r.Unanswered > 0 {
			t.Errorf("%d of %d requests were not answered", r.Unanswered, r.Sent)
		}
		for code, n := range r.Codes {
			if timed && code != string(subjects.ResourceExhausted) { // on a machine that is slow enough an order may stay pending
				t.Errorf("%d requests ended as %s", n, code)
			}
		}
		return r
	}
	before := ask(capacity/4, little)
	r := ask(10*capacity, length)
	if r.Accepted == 0 {
		t.Error("no request was accepted")
	}
	if w.Name == bench.Orders && r.Codes[string(subjects.ResourceExhausted)] == 0 {
		t.Error("no request was refused")
	}
	if timed {
		if got := at(r.Refusals, 99); got > refusedWithin {
			t.Errorf("99 %% of the excess were refused within %s, not %s", got, refusedWithin)
		}
		if got := at(r.Latencies, 99); got > acceptedWithin {
			t.Errorf("99 %% of what was accepted were answered within %s, not %s", got, acceptedWithin)
		}
	}
	normal := max(2*at(before.Latencies, 99), acceptedWithin)
	for until := time.Now().Add(normalAfter); ; {
		r := ask(capacity/4, little)
		if r.Accepted == r.Due && (!timed || at(r.Latencies, 99) <= normal) {
			return
		}
		if time.Now().After(until) {
			t.Fatalf("%s after the overload not all is normal: %s; normal is a p99 of %s", normalAfter, r, normal)
		}
	}
}

func at(h *hdrhistogram.Histogram, percentile float64) time.Duration {
	return time.Duration(h.ValueAtPercentile(percentile)).Round(10 * time.Microsecond)
}

// startOwnProcess starts a site in a process of its own, which ends with the test, and returns the address of its NATS server.
func startOwnProcess(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), siteEnv+"="+dir)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		in.Close()
		if err := <-ended; err != nil {
			t.Errorf("the site ended with %v: %s", err, strings.TrimSpace(said.String()))
		}
	})
	file := filepath.Join(dir, "endpoints.json")
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		var e struct {
			NATS string `json:"nats"`
		}
		if text, err := os.ReadFile(file); err == nil && json.Unmarshal(text, &e) == nil {
			return e.NATS
		}
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("the site ended: %v: %s", err, said.String())
		default:
		}
	}
	t.Fatal("the site is not ready within a minute")
	return ""
}
