package client

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"waybill/internal/fault"
	"waybill/internal/id"
	"waybill/subjects"
)

func TestCallAnswersAndRefuses(t *testing.T) {
	s := startSite(t)
	serve(s, subjects.OrderGet, func(_ context.Context, r *subjects.GetOrderRequest) (*subjects.OrderInfo, error) {
		if r.OrderID == "o-1" {
			return order("o-1", "confirmed"), nil
		}
		return nil, fault.New(fault.NotFound, "there is no order %s", r.OrderID).WithField("order_id")
	})
	c := s.connect()
	o, err := c.Orders.Get(t.Context(), "o-1")
	if err != nil || o.OrderID != "o-1" || o.Status != "confirmed" {
		t.Fatalf("got %+v, %v", o, err)
	}
	_, err = c.Orders.Get(t.Context(), "o-2")
	var refusal *Error
	if !errors.As(err, &refusal) || refusal.Code != subjects.NotFound || refusal.Field != "order_id" || IsNoAnswer(err) {
		t.Fatalf("the refusal came as %v", err)
	}
}

func TestNoAnswerIsToldFromARefusal(t *testing.T) {
	s := startSite(t)
	c := s.connect(WithRetry(NoRetry))
	_, err := c.Orders.Get(t.Context(), "o-1")
	if !IsNoAnswer(err) || CodeOf(err) != subjects.Unavailable {
		t.Fatalf("nobody serves: %v", err)
	}
	block := make(chan struct{})
	defer close(block)
	serve(s, subjects.OrderGet, func(ctx context.Context, _ *subjects.GetOrderRequest) (*subjects.OrderInfo, error) {
		<-block
		return nil, ctx.Err()
	})
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	_, err = c.Orders.Get(ctx, "o-1")
	if !IsNoAnswer(err) || CodeOf(err) != subjects.DeadlineExceeded {
		t.Fatalf("the time ran out: %v", err)
	}
}

// TestRepetition shows what is asked again, and what is asked once.
func TestRepetition(t *testing.T) {
	s := startSite(t)
	var asked atomic.Int64
	failTwice := func(code subjects.Code) error {
		if asked.Add(1) <= 2 {
			return fault.New(code, "not now")
		}
		return nil
	}
	var failWith atomic.Value
	serve(s, subjects.OrderCancel, func(_ context.Context, r *subjects.CancelRequest) (*subjects.OrderInfo, error) {
		if err := failTwice(failWith.Load().(subjects.Code)); err != nil {
			return nil, err
		}
		return order(r.OrderID, "cancelled"), nil
	})
	serve(s, subjects.PaymentResume, func(_ context.Context, r *subjects.ResumeRequest) (*subjects.PaymentInfo, error) {
		if err := failTwice(subjects.Unavailable); err != nil {
			return nil, err
		}
		return &subjects.PaymentInfo{}, nil
	})
	c := s.connect(WithRetry(Retry{Base: time.Millisecond, Max: time.Millisecond}))
	for _, tc := range []struct {
		code  subjects.Code
		tries int64
	}{
		{subjects.Unavailable, 3}, {subjects.Aborted, 3}, {subjects.ResourceExhausted, 3},
		{subjects.NotFound, 1}, {subjects.FailedPrecondition, 1}, {subjects.InternalError, 1}, {subjects.InvalidArgument, 1},
	} {
		asked.Store(0)
		failWith.Store(tc.code)
		_, err := c.Orders.Cancel(t.Context(), "o-1", "")
		if asked.Load() != tc.tries || (tc.tries == 3) != (err == nil) || err != nil && CodeOf(err) != tc.code {
			t.Errorf("%s: asked %d times, %v", tc.code, asked.Load(), err)
		}
	}
	asked.Store(0)
	if _, err := c.Payments.Resume(t.Context(), "p", "tok_ok"); CodeOf(err) != subjects.Unavailable || asked.Load() != 1 {
		t.Errorf("resume is not safe to repeat: asked %d times, %v", asked.Load(), err)
	}
	asked.Store(0)
	failWith.Store(subjects.Unavailable)
	twice := s.connect(WithRetry(Retry{Attempts: 2}))
	if _, err := twice.Orders.Cancel(t.Context(), "o-1", ""); CodeOf(err) != subjects.Unavailable || asked.Load() != 2 {
		t.Errorf("two attempts: asked %d times, %v", asked.Load(), err)
	}
}

// TestPlaceGivesAnIDAndKeepsIt: the same id must stand in every try, or a retry would be a second order.
func TestPlaceGivesAnIDAndKeepsIt(t *testing.T) {
	s := startSite(t)
	var mu sync.Mutex
	var ids []id.Order
	serve(s, subjects.OrderPlace, func(_ context.Context, r *subjects.PlaceRequest) (*subjects.OrderInfo, error) {
		mu.Lock()
		defer mu.Unlock()
		if ids = append(ids, r.OrderID); len(ids) < 3 {
			return nil, fault.New(fault.Unavailable, "not now")
		}
		return order(r.OrderID, "confirmed"), nil
	})
	c := s.connect(WithRetry(Retry{Base: time.Millisecond, Max: time.Millisecond}))
	request := subjects.PlaceRequest{CustomerID: "c-1", Lines: []subjects.StockLine{{SKU: "a", Quantity: 1}}, Fulfilment: subjects.Pickup,
		Payment: subjects.PlacePayment{Method: subjects.Cash}}
	o, err := c.Orders.Place(t.Context(), request)
	if err != nil {
		t.Fatal(err)
	}
	if len(ids) != 3 || ids[0] == "" || ids[0] != ids[1] || ids[1] != ids[2] || o.OrderID != ids[0] {
		t.Errorf("the tries carried the ids %q", ids)
	}
	ids = nil
	if _, err := Call(t.Context(), c, subjects.OrderPlace, &request); CodeOf(err) != subjects.Unavailable || len(ids) != 1 {
		t.Errorf("an order without an id was asked for %d times, %v", len(ids), err)
	}
}

// TestBrokenConnectionIsNoticed: a request whose connection broke is made again at once, not when its time is out.
func TestBrokenConnectionIsNoticed(t *testing.T) {
	s := startSite(t)
	var asked atomic.Int64
	arrived, release := make(chan struct{}), make(chan struct{})
	serve(s, subjects.OrderGet, func(_ context.Context, r *subjects.GetOrderRequest) (*subjects.OrderInfo, error) {
		if asked.Add(1) == 1 {
			close(arrived)
			<-release
		}
		return order(r.OrderID, "confirmed"), nil
	})
	defer close(release)
	c := s.connect(WithTimeout(30 * time.Second))
	done := make(chan error, 1)
	go func() {
		_, err := c.Orders.Get(t.Context(), "o-1")
		done <- err
	}()
	<-arrived
	s.cut()
	select {
	case err := <-done:
		if err != nil || asked.Load() != 2 {
			t.Errorf("asked %d times, %v", asked.Load(), err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the call waits for an answer that can't come any more")
	}
}

func TestClosedClientEndsItsCalls(t *testing.T) {
	s := startSite(t)
	arrived, release := make(chan struct{}), make(chan struct{})
	serve(s, subjects.OrderGet, func(_ context.Context, r *subjects.GetOrderRequest) (*subjects.OrderInfo, error) {
		close(arrived)
		<-release
		return order(r.OrderID, "confirmed"), nil
	})
	defer close(release)
	c := s.connect(WithTimeout(30 * time.Second))
	done := make(chan error, 1)
	go func() {
		_, err := c.Orders.Get(t.Context(), "o-1")
		done <- err
	}()
	<-arrived
	c.Close()
	select {
	case err := <-done:
		if !IsNoAnswer(err) || CodeOf(err) != subjects.DeadlineExceeded {
			t.Errorf("got %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the call outlived its client")
	}
}

// TestForbiddenSubject: the server drops what a user may not publish; the caller must not wait for its answer.
func TestForbiddenSubject(t *testing.T) {
	s := startSite(t)
	c := s.connect(WithTimeout(30*time.Second), WithRetry(NoRetry))
	begun := time.Now()
	_, err := Call(t.Context(), c, subjects.PaymentSettle, &subjects.SettleRequest{})
	if CodeOf(err) != subjects.PermissionDenied || time.Since(begun) > 10*time.Second {
		t.Errorf("got %v after %s", err, time.Since(begun))
	}
}

// TestForbiddenInbox: a user whose replies the server does not hand over is told why no answer can come.
func TestForbiddenInbox(t *testing.T) {
	s := startSite(t)
	for _, transport := range []Transport{Lean, NATS} {
		c := s.connect(WithTimeout(30*time.Second), WithTransport(transport), WithInboxPrefix("elsewhere"))
		for range 2 {
			begun := time.Now()
			_, err := c.Orders.Get(t.Context(), "o-1")
			if CodeOf(err) != subjects.PermissionDenied || !strings.Contains(err.Error(), "elsewhere") || time.Since(begun) > 10*time.Second {
				t.Errorf("%s: got %v after %s", transport, err, time.Since(begun))
			}
		}
	}
}

func TestRaw(t *testing.T) {
	s := startSite(t)
	serve(s, subjects.ConfigGet, func(_ context.Context, r *subjects.KeyRequest) (*subjects.Setting, error) {
		return &subjects.Setting{Key: r.Key, Value: subjects.Raw(`1`), Default: subjects.Raw(`2`)}, nil
	})
	c := s.connect()
	reply, err := c.Raw(t.Context(), "config.get", []byte(`{"key":"k"}`))
	if err != nil || !strings.Contains(string(reply.Data), `"key":"k"`) || reply.Durability() == "" {
		t.Fatalf("got %+v, %v", reply, err)
	}
	if _, err := c.Raw(t.Context(), "config.get", []byte(`{"kye":"k"}`)); CodeOf(err) != subjects.InvalidArgument {
		t.Errorf("a typo: %v", err)
	}
	for _, method := range []string{"", "config", "config.", ".get", "config.get.x", "a b.c", "*.get", "config.>"} {
		if _, err := c.Raw(t.Context(), method, []byte(`{}`)); CodeOf(err) != subjects.InvalidArgument || IsNoAnswer(err) {
			t.Errorf("%q: %v", method, err)
		}
	}
}

func TestPages(t *testing.T) {
	s := startSite(t)
	var asked atomic.Int64
	serve(s, subjects.OrderList, func(_ context.Context, r *subjects.ListOrdersRequest) (*subjects.Orders, error) {
		asked.Add(1)
		if r.Status != "pending" {
			return nil, fault.New(fault.InvalidArgument, "the filter was lost on page %q", r.Cursor)
		}
		switch r.Cursor {
		case "":
			return &subjects.Orders{Orders: []subjects.OrderInfo{*order("a", "pending"), *order("b", "pending")}, NextCursor: "2"}, nil
		case "2":
			return &subjects.Orders{Orders: []subjects.OrderInfo{*order("c", "pending")}, NextCursor: "3"}, nil
		}
		return nil, fault.New(fault.FailedPrecondition, "page 3 can't be read")
	})
	c := s.connect()
	var got []string
	for o, err := range c.Orders.All(t.Context(), subjects.ListOrdersRequest{Status: "pending"}) {
		if err != nil {
			got = append(got, string(CodeOf(err)))
			continue
		}
		got = append(got, string(o.OrderID))
	}
	if s := strings.Join(got, " "); s != "a b c failed_precondition" {
		t.Errorf("got %s", s)
	}
	asked.Store(0)
	for range c.Orders.All(t.Context(), subjects.ListOrdersRequest{Status: "pending"}) {
		break
	}
	if asked.Load() != 1 {
		t.Errorf("who reads one order asked for %d pages", asked.Load())
	}
	got = nil
	for o := range c.Orders.All(t.Context(), subjects.ListOrdersRequest{Status: "pending", Page: subjects.Page{Cursor: "2"}}) {
		got = append(got, string(o.OrderID))
		break
	}
	if len(got) != 1 || got[0] != "c" {
		t.Errorf("from page 2: %q", got)
	}
}

func TestConnectFails(t *testing.T) {
	s := startSite(t)
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := "nats://" + closed.Addr().String()
	closed.Close()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for name, tc := range map[string]struct {
		ctx  context.Context
		url  string
		opts []Option
		code subjects.Code
	}{
		"nobody listens":      {t.Context(), nobody, nil, subjects.Unavailable},
		"the context ended":   {ended, s.url, nil, subjects.DeadlineExceeded},
		"a bad site":          {t.Context(), s.url, []Option{WithSite("No Site")}, subjects.InvalidArgument},
		"no such credentials": {t.Context(), s.url, []Option{WithCredentials("/nowhere/at.all")}, subjects.InvalidArgument},
		"no credentials":      {t.Context(), s.url, []Option{WithCredentials(writeFile(t, "hello"))}, subjects.InvalidArgument},
		"no certificates":     {t.Context(), s.url, []Option{WithRootCA("/nowhere/at.all")}, subjects.InvalidArgument},
		"a timeout of 0":      {t.Context(), s.url, []Option{WithTimeout(0)}, subjects.InvalidArgument},
		"no address":          {t.Context(), "http://user:secret@localhost", nil, subjects.InvalidArgument},
		"no transport":        {t.Context(), s.url, []Option{WithTransport("pigeon")}, subjects.InvalidArgument},
		"no inbox":            {t.Context(), s.url, []Option{WithInboxPrefix("a.>")}, subjects.InvalidArgument},
		"a hedge of 0":        {t.Context(), s.url, []Option{WithHedging(0)}, subjects.InvalidArgument},
		"no socket":           {t.Context(), "unix:///nowhere/at.all", nil, subjects.Unavailable},
	} {
		c, err := Connect(tc.ctx, tc.url, append([]Option{WithTransport(testTransport)}, tc.opts...)...)
		if c != nil {
			c.Close()
		}
		var outside *NotConnected
		if !errors.As(err, &outside) || CodeOf(err) != tc.code || outside.URL != tc.url || strings.Contains(err.Error(), "user:") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestRetryPause(t *testing.T) {
	r := Retry{Attempts: 3, Base: time.Nanosecond, Max: time.Microsecond}
	for n, want := range []bool{true, true, false, false} {
		if got := r.pause(t.Context(), n); got != want {
			t.Errorf("pause before repetition %d: %v", n, got)
		}
	}
	short, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	always := Retry{Base: time.Nanosecond, Max: time.Nanosecond}
	for _, n := range []int{0, 1, 63, 64, 1 << 30} {
		if !always.pause(short, n) {
			t.Errorf("repetition %d was not to be", n)
		}
	}
	cancel()
	if always.pause(short, 0) && (Retry{Base: time.Hour, Max: time.Hour}).pause(short, 0) {
		t.Error("a pause outlived its context")
	}
}
