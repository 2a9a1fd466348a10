package rpc

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"waybill/internal/fault"
	"waybill/internal/lean"
	"waybill/internal/scope"
	"waybill/subjects"
)

// echoHeaders answers every request on the subject of get with its own headers under the prefix Got-.
func echoHeaders(t *testing.T, b *bus) {
	b.subscribe(endpointNamed("get").Subject("local"), func(m *nats.Msg) {
		reply := nats.NewMsg(m.Reply)
		for name, values := range m.Header {
			reply.Header["Got-"+name] = values
		}
		reply.Data = []byte(`{"greeting":"hi","news":{"from":"the future"}}`)
		if err := m.RespondMsg(reply); err != nil {
			t.Error(err)
		}
	})
}

func TestCallSendsTimeAndOrigin(t *testing.T) {
	b := newBus(t)
	echoHeaders(t, b)
	nc := b.connect()
	c := NewCaller(lean.Over(nc), "local")
	if c.Site() != "local" {
		t.Errorf("site is %s", c.Site())
	}
	const trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	traced := scope.With(context.Background(), &scope.Scope{Cause: "event-1", Traceparent: trace})
	short, cancel := context.WithTimeout(traced, 2*time.Second)
	defer cancel()
	long, cancel := context.WithTimeout(context.Background(), 48*time.Hour)
	defer cancel()
	for name, tc := range map[string]struct {
		ctx      context.Context
		options  []CallOption
		min, max int
		want     map[string]string
	}{
		"no deadline": {context.Background(), nil, 5000, 5000, map[string]string{"Waybill-Request-Id": "", "traceparent": ""}},
		"two seconds": {short, nil, 1000, 2000, map[string]string{"Waybill-Request-Id": "event-1", "traceparent": trace}},
		"two days":    {long, nil, 3600000, 3600000, nil},
		"options": {traced, []CallOption{WithDefer(), WithIdempotencyKey("k"), WithHeader("Waybill-Request-Id", "mine"), WithHeader("X", "y")}, 5000, 5000,
			map[string]string{"Waybill-Barrier": "defer", "Idempotency-Key": "k", "Waybill-Request-Id": "mine", "X": "y"}},
	} {
		var reply Reply
		res, err := Call(tc.ctx, c, endpointNamed("get"), &ask{Name: "x"}, append(tc.options, WithReply(&reply))...)
		if err != nil || res.Greeting != "hi" {
			t.Fatalf("%s: %v, %v", name, res, err)
		}
		if ms, err := strconv.Atoi(reply.Header.Get("Got-Waybill-Timeout")); err != nil || ms < tc.min || ms > tc.max {
			t.Errorf("%s: the timeout is %d ms", name, ms)
		}
		for header, want := range tc.want {
			if got := reply.Header.Get("Got-" + header); got != want {
				t.Errorf("%s: %s is %q, want %q", name, header, got, want)
			}
		}
	}
	mine := nats.Header{"A": {"b"}}
	reply, err := CallRaw(short, c, endpointNamed("get").Subject("local"), []byte(`{}`), mine)
	if err != nil || reply.Header.Get("Got-A") != "b" || reply.Header.Get("Got-traceparent") != trace || len(mine) != 1 {
		t.Errorf("raw: %v, %v; the given header is %v", reply, err, mine)
	}
}

func TestNobodyAnswers(t *testing.T) {
	b := newBus(t)
	nc := b.connect()
	c := NewCaller(lean.Over(nc), "local")
	_, err := Call(within(t), c, endpointNamed("get"), &ask{Name: "x"})
	unanswered(t, err, fault.Unavailable, false)
	if !strings.Contains(err.Error(), "nobody serves wb.local.rpc.catalog.get") || !errors.Is(err, nats.ErrNoResponders) {
		t.Errorf("says %v", err)
	}
	if _, err := nc.SubscribeSync(endpointNamed("get").Subject("local")); err != nil { // takes, and never answers
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	_, err = Call(short, c, endpointNamed("get"), &ask{Name: "x"})
	unanswered(t, err, fault.DeadlineExceeded, true)
	_, err = Call(short, c, endpointNamed("get"), &ask{Name: "x"}) // its time is over
	unanswered(t, err, fault.DeadlineExceeded, false)
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	_, err = Call(gone, c, endpointNamed("get"), &ask{Name: "x"})
	unanswered(t, err, fault.DeadlineExceeded, false)
	if _, err = CallRaw(within(t), c, "", nil, nil); fault.CodeOf(err) != fault.InvalidArgument {
		t.Errorf("no subject: %v", err)
	}
	nc.Close()
	_, err = Call(within(t), c, endpointNamed("get"), &ask{Name: "x"})
	unanswered(t, err, fault.Unavailable, false)
}

func TestAConnectionThatEndsDuringACall(t *testing.T) {
	b := newBus(t)
	asked := make(chan struct{}, 1)
	b.subscribe(endpointNamed("get").Subject("local"), func(*nats.Msg) { asked <- struct{}{} })
	nc := b.connect()
	done := make(chan error, 1)
	ctx := within(t)
	go func() {
		_, err := Call(ctx, NewCaller(lean.Over(nc), "local"), endpointNamed("get"), &ask{Name: "x"})
		done <- err
	}()
	receive(t, asked, "the request")
	nc.Close()
	unanswered(t, receive(t, done, "the end of the call"), fault.Unavailable, true)
}

func TestARequestOverTheLimitIsNotSent(t *testing.T) {
	b := newBus(t, func(o *server.Options) { o.MaxPayload = 8192 })
	b.serve(silent, func(s *Server) { Handle(s, endpointNamed("get"), greet) })
	nc := b.connect()
	c := NewCaller(lean.Over(nc), "local")
	for size, want := range map[int]fault.Code{6000: "", 8000: fault.InvalidArgument, 20000: fault.InvalidArgument} {
		_, err := Call(within(t), c, endpointNamed("get"), &ask{Name: "x", Blob: make([]byte, size*3/4)})
		if fault.CodeOf(err) != want {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
	if _, err := CallRaw(within(t), c, endpointNamed("get").Subject("local"), []byte(`{"name":"x"}`), nats.Header{"Big": {strings.Repeat("x", 8000)}}); fault.CodeOf(err) != fault.InvalidArgument {
		t.Errorf("large headers: %v", err)
	}
	if sent := nc.Stats().OutMsgs; sent != 1 {
		t.Errorf("%d requests were sent", sent)
	}
}

func TestRepliesThatFitNoContract(t *testing.T) {
	b := newBus(t)
	replies := map[string]*nats.Msg{
		"text":    {Data: []byte("hello")},
		"unknown": {Header: nats.Header{"Nats-Service-Error-Code": {"teapot"}, "Nats-Service-Error": {"short"}}},
		"plain":   {Header: nats.Header{"Nats-Service-Error-Code": {"not_found"}, "Nats-Service-Error": {"no such thing"}}, Data: []byte("{")},
	}
	b.subscribe(subjects.RPC("local", subjects.Catalog, "*"), func(m *nats.Msg) {
		reply := replies[m.Subject[strings.LastIndexByte(m.Subject, '.')+1:]]
		if err := m.RespondMsg(reply); err != nil {
			t.Error(err)
		}
	})
	c := NewCaller(b.link(), "local")
	for method, want := range map[string]fault.Code{"text": fault.Internal, "unknown": fault.Internal, "plain": fault.NotFound} {
		_, err := Call(within(t), c, endpointNamed(method), &ask{Name: "x"})
		if f := refused(t, err, want, ""); method == "plain" && f.Message != "no such thing" {
			t.Errorf("%s: %v", method, f)
		}
	}
	if _, err := Call(within(t), c, subjects.Endpoint[chan int, answer]{Service: subjects.Catalog, Method: "text"}, new(chan int)); fault.CodeOf(err) != fault.InvalidArgument {
		t.Errorf("a request that JSON can't hold: %v", err)
	}
}

// Where somebody answers every request once more, a moment later, no call takes that for its own answer.
func TestDoubledAnswers(t *testing.T) {
	b := newBus(t)
	nc := b.connect()
	b.subscribe(endpointNamed("get").Subject("local"), func(m *nats.Msg) {
		reply := nats.NewMsg(m.Reply)
		reply.Header[lean.CallHeader] = m.Header[lean.CallHeader]
		reply.Data = []byte(`{"greeting":"` + m.Header.Get("number") + `"}`)
		_ = nc.PublishMsg(reply)
		time.AfterFunc(2*time.Millisecond, func() { _ = nc.PublishMsg(reply) })
	})
	c := NewCaller(b.link(), "local")
	for n := range 200 {
		r, err := Call(t.Context(), c, endpointNamed("get"), &ask{Name: "x"}, WithHeader("number", strconv.Itoa(n)))
		if err != nil || r.Greeting != strconv.Itoa(n) {
			t.Fatalf("call %d is answered %+v, %v", n, r, err)
		}
	}
}
