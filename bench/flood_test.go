package bench_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"waybill/bench"
	"waybill/internal/id"
	"waybill/internal/lean"
	"waybill/subjects"
)

// flood asks without waiting for answers: one goroutine sends each request when it is due, another hears the replies. So it
// takes little of a machine that it shares with the site, and the site's slowness does not slow it.
type flood struct {
	conn   *lean.Conn
	inbox  string
	mu     sync.Mutex
	slots  []asked // the request under way on each reply subject; zero for none
	free   []int
	result *flooded
}

// asked is when a request was due, when it was sent, and whose it is.
type asked struct {
	due, sent time.Time
	result    *flooded
}

// flooded is what became of the requests of a flood.
type flooded struct {
	Due, Sent   int64 // so far by the schedule, and in fact: what found no free reply subject was not sent
	Accepted    int64
	Codes       map[string]int64 // of the refusals
	Unanswered  int64
	Took        time.Duration
	Latencies   *hdrhistogram.Histogram // of what was accepted, from when it was due; ns
	Refusals    *hdrhistogram.Histogram // of what was refused as resource_exhausted, from when it was sent
	SendingLate *hdrhistogram.Histogram // by how much the generator itself was late; ns
}

// slotsOfAFlood bounds the requests under way.
const slotsOfAFlood = 1 << 14

func newFlood(t *testing.T, url string) *flood {
	t.Helper()
	address := strings.TrimPrefix(url, "nats://")
	conn, err := lean.Dial(t.Context(), lean.Options{Name: "flood", Inbox: "_INBOX.floodmux", Dial: func(ctx context.Context) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", address)
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	f := &flood{conn: conn, inbox: "_INBOX.flood" + id.New() + ".", slots: make([]asked, slotsOfAFlood), free: make([]int, slotsOfAFlood)}
	for i := range f.free {
		f.free[i] = slotsOfAFlood - 1 - i // the low ones first: the server knows them
	}
	if _, err := conn.Subscribe(f.inbox+"*", "", f.hear); err != nil {
		t.Fatal(err)
	}
	return f
}

// hear takes a reply to its request.
func (f *flood) hear(m lean.Msg) {
	now := time.Now()
	slot, err := strconv.Atoi(m.Subject[len(f.inbox):])
	f.mu.Lock()
	defer f.mu.Unlock()
	if err != nil || slot < 0 || slot >= len(f.slots) || f.slots[slot].due.IsZero() {
		return
	}
	a := f.slots[slot]
	f.slots[slot] = asked{}
	f.free = append(f.free, slot)
	if a.result != f.result {
		return // of a run that is over, and has counted it as not answered
	}
	f.result.Unanswered--
	code := m.Get(subjects.HeaderErrorCode)
	switch {
	case code == "" && m.Status() != "" || code == "" && bytes.Contains(m.Data, []byte(`"order_id"`)) && !bytes.Contains(m.Data, []byte(`"status":"confirmed"`)):
		f.result.Codes["not confirmed"]++
	case code == "":
		f.result.Accepted++
		_ = f.result.Latencies.RecordValue(max(int64(now.Sub(a.due)), 1))
	default:
		f.result.Codes[code]++
		if code == string(subjects.ResourceExhausted) {
			_ = f.result.Refusals.RecordValue(max(int64(now.Sub(a.sent)), 1))
		}
	}
}

// run asks at a rate, and waits for what is still under way for up to grace. request is told which request it is.
func (f *flood) run(t *testing.T, subject string, rate float64, length, grace time.Duration, request func(n int) []byte) *flooded {
	t.Helper()
	histogram := func() *hdrhistogram.Histogram { return hdrhistogram.New(1, int64(time.Minute), 3) }
	r := &flooded{Codes: map[string]int64{}, Latencies: histogram(), Refusals: histogram(), SendingLate: histogram()}
	f.mu.Lock()
	f.result = r
	f.mu.Unlock()
	start := time.Now()
	for r.Due = 0; ; {
		now := time.Since(start)
		for ; float64(r.Due) <= rate*now.Seconds() && float64(r.Due) < rate*length.Seconds(); r.Due++ {
			due := start.Add(time.Duration(float64(r.Due) / rate * float64(time.Second)))
			f.ask(t, subject, due, request(int(r.Due)))
		}
		if now >= length {
			break
		}
		time.Sleep(500 * time.Microsecond)
	}
	for deadline := time.Now().Add(grace); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		f.mu.Lock()
		left := r.Unanswered
		f.mu.Unlock()
		if left == 0 {
			break
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	r.Took = time.Since(start)
	f.result = nil
	return r
}

func (f *flood) ask(t *testing.T, subject string, due time.Time, body []byte) {
	f.mu.Lock()
	n := len(f.free)
	if n == 0 {
		f.mu.Unlock()
		return
	}
	slot := f.free[n-1]
	f.free = f.free[:n-1]
	a := asked{due, time.Now(), f.result}
	f.slots[slot] = a
	f.result.Sent++
	f.result.Unanswered++
	_ = f.result.SendingLate.RecordValue(max(int64(a.sent.Sub(due)), 1))
	f.mu.Unlock()
	if err := f.conn.Ask(subject, f.inbox+strconv.Itoa(slot), body); err != nil {
		t.Fatal(err)
	}
}

// orderBodies are requests to place orders, each with an id of its own.
func orderBodies(t *testing.T) func(n int) []byte {
	t.Helper()
	const mark = "THE-ORDER"
	run := id.New()
	var parts [bench.SKUs][2][]byte
	for i := range parts {
		o := bench.Order(i)
		o.OrderID = mark
		text, err := json.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		before, after, _ := bytes.Cut(text, []byte(mark))
		parts[i] = [2][]byte{before, after}
	}
	return func(n int) []byte {
		p := &parts[n%bench.SKUs]
		out := append(make([]byte, 0, 600), p[0]...)
		out = strconv.AppendInt(append(append(out, run...), '-'), int64(n), 10)
		return append(out, p[1]...)
	}
}

func (r *flooded) String() string {
	return fmt.Sprintf("%d due, %d sent, %d accepted (%.0f/s), refused %v; accepted p50 %s p99 %s; refused p50 %s p99 %s max %s; the generator was late by p50 %s p99 %s",
		r.Due, r.Sent, r.Accepted, float64(r.Accepted)/r.Took.Seconds(), r.Codes, at(r.Latencies, 50), at(r.Latencies, 99),
		at(r.Refusals, 50), at(r.Refusals, 99), at(r.Refusals, 100), at(r.SendingLate, 50), at(r.SendingLate, 99))
}
