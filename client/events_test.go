package client

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"waybill/subjects"
)

// fill writes seven events: five of orders, one of a payment, one of a shipment.
func fill(s *testSite) {
	s.journal()
	s.event(subjects.KindOrder, "o-1", "placed", 1)
	s.event(subjects.KindPayment, "o-1-pay", "created", 2)
	s.event(subjects.KindOrder, "o-1", "confirmed", 3)
	s.event(subjects.KindOrder, "o-2", "placed", 4)
	s.event(subjects.KindShipment, "o-1-s1", "planned", 5)
	s.event(subjects.KindOrder, "o-2", "rejected", 6)
	s.event(subjects.KindOrder, "o-3", "placed", 7)
}

func TestReplay(t *testing.T) {
	s := startSite(t)
	fill(s)
	c := s.connect()
	for _, tc := range []struct {
		from    uint64
		filters []string
		want    string
	}{
		{0, nil, "1 2 3 4 5 6 7"}, {1, []string{"*"}, "1 2 3 4 5 6 7"}, {5, nil, "5 6 7"}, {7, nil, "7"}, {8, nil, ""}, {900, nil, ""},
		{1, []string{"order.*"}, "1 3 4 6 7"}, {2, []string{"order.placed"}, "4 7"}, {1, []string{"order.placed", "order.rejected"}, "1 4 6 7"},
		{1, []string{"payment.*", "shipment.planned"}, "2 5"}, {1, []string{"order.placed", "order.*"}, "1 3 4 6 7"},
		{1, []string{"order.expired"}, ""}, {6, []string{"payment.*"}, ""}, {1, []string{"order.placed", "*"}, "1 2 3 4 5 6 7"},
	} {
		var got []string
		for e, err := range c.Replay(t.Context(), tc.from, tc.filters...) {
			if err != nil {
				t.Fatalf("from %d, %q: %v", tc.from, tc.filters, err)
			}
			got = append(got, fmt.Sprint(e.Sequence))
		}
		if strings.Join(got, " ") != tc.want {
			t.Errorf("from %d, %q: got %q, want %q", tc.from, tc.filters, got, tc.want)
		}
	}
}

func TestReplayOfNothing(t *testing.T) {
	s := startSite(t)
	s.journal()
	c := s.connect()
	for e, err := range c.Replay(t.Context(), 0) {
		t.Errorf("an empty journal gave %+v, %v", e, err)
	}
	if last, err := c.Last(t.Context()); last != 0 || err != nil {
		t.Errorf("the last event of an empty journal is %d, %v", last, err)
	}
}

func TestEventIsWhole(t *testing.T) {
	s := startSite(t)
	fill(s)
	c := s.connect()
	for e, err := range c.Replay(t.Context(), 2) {
		if err != nil {
			t.Fatal(err)
		}
		if e.Sequence != 2 || e.EventID != "e-2" || e.Type != "waybill.payment.created.v1" || e.Kind != subjects.KindPayment || e.Name != "created" ||
			e.ID != "o-1-pay" || e.Time.String() != "1970-01-01T00:00:00.002Z" || e.Causation != "cause-2" || string(e.Data) != "2" ||
			string(e.State) != `{"n":2}` {
			t.Errorf("got %+v", e)
		}
		break
	}
}

func TestBadFilters(t *testing.T) {
	s := startSite(t)
	s.journal()
	c := s.connect()
	for _, f := range []string{"", ".", "order", "order.", "order.nonsense", "nonsense.*", "order.>", "order.*.x", ">"} {
		n := 0
		for _, err := range c.Replay(t.Context(), 1, f) {
			if n++; CodeOf(err) != subjects.InvalidArgument {
				t.Errorf("%q: %v", f, err)
			}
		}
		if n != 1 {
			t.Errorf("%q: %d results", f, n)
		}
	}
}

// TestEventsGoesOn: what comes later comes too, also after the connection broke, each event once and in order.
func TestEventsGoesOn(t *testing.T) {
	s := startSite(t)
	fill(s)
	c := s.connect(WithRetry(Retry{Base: time.Millisecond, Max: 10 * time.Millisecond}))
	ctx, stop := context.WithTimeout(t.Context(), 20*time.Second)
	defer stop()
	var got []uint64
	for e, err := range c.Events(ctx, 6) {
		if err != nil {
			t.Fatalf("after %d: %v", got, err)
		}
		got = append(got, e.Sequence)
		switch e.Sequence {
		case 7:
			s.event(subjects.KindOrder, "o-3", "rejected", 8)
		case 8:
			s.cut()
			s.event(subjects.KindOrder, "o-4", "placed", 9)
			s.event(subjects.KindOrder, "o-4", "confirmed", 10)
		}
		if e.Sequence == 10 {
			break
		}
	}
	if !slices.Equal(got, []uint64{6, 7, 8, 9, 10}) {
		t.Errorf("got %d", got)
	}
}

func TestEventsEndsWithItsContext(t *testing.T) {
	s := startSite(t)
	fill(s)
	c := s.connect()
	ctx, stop := context.WithCancel(t.Context())
	var last error
	n := 0
	for e, err := range c.Events(ctx, 0) {
		if n++; e.Sequence == 7 {
			stop()
		}
		last = err
	}
	if n != 8 || CodeOf(last) != subjects.DeadlineExceeded || ctx.Err() == nil {
		t.Errorf("%d results, the last %v", n, last)
	}
	stop()
}

func TestLatestIsWhatComes(t *testing.T) {
	s := startSite(t)
	fill(s)
	c := s.connect()
	ctx, stop := context.WithTimeout(t.Context(), 20*time.Second)
	defer stop()
	next, err := c.next(ctx)
	if err != nil || next != 8 {
		t.Fatalf("the next event has the sequence %d, %v", next, err)
	}
	// The event is written by the read of the iterator's first state: there is no other sign that it listens.
	writing, enough := context.WithCancel(ctx)
	defer enough()
	written := make(chan struct{})
	go func() {
		defer close(written)
		for n := 8; writing.Err() == nil; n++ {
			s.event(subjects.KindOrder, fmt.Sprintf("o-%d", n), "placed", n)
		}
	}()
	for e, err := range c.Events(ctx, Latest) {
		if err != nil || e.Sequence < 8 {
			t.Errorf("got %d, %v", e.Sequence, err)
		}
		break
	}
	enough()
	<-written
}

func TestJournalThatIsNotThere(t *testing.T) {
	s := startSite(t)
	c := s.connect(WithRetry(NoRetry))
	if _, err := c.Last(t.Context()); CodeOf(err) != subjects.NotFound {
		t.Errorf("no stream: %v", err)
	}
	other := s.connect(WithRetry(NoRetry), WithSite("other"), WithTimeout(5*time.Second))
	if _, err := other.Last(t.Context()); err == nil {
		t.Error("another site has a journal")
	}
}

func TestWatch(t *testing.T) {
	s := startSite(t)
	s.journal()
	var status atomic.Value
	status.Store(subjects.OrderStatus("pending"))
	serve(s, subjects.OrderGet, func(_ context.Context, r *subjects.GetOrderRequest) (*subjects.OrderInfo, error) {
		return order(r.OrderID, status.Load().(subjects.OrderStatus)), nil
	})
	change := func(to subjects.OrderStatus, kind subjects.Kind, of, event string, n int) {
		status.Store(to)
		s.event(kind, of, event, n)
	}
	c := s.connect()
	ctx, stop := context.WithTimeout(t.Context(), 20*time.Second)
	defer stop()
	var got []string
	for o, err := range c.Watch(ctx, "o-1") {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, string(o.Status))
		switch o.Status {
		case "pending":
			s.event(subjects.KindOrder, "o-10", "placed", 1) // another's
			change("confirmed", subjects.KindOrder, "o-1", "confirmed", 2)
		case "confirmed":
			change("fulfilling", subjects.KindShipment, "o-1-s1", "dispatched", 3)
		case "fulfilling":
			change("completed", subjects.KindOrder, "o-1", "completed", 4)
		}
	}
	if strings.Join(got, " ") != "pending confirmed fulfilling completed" {
		t.Errorf("got %s", got)
	}
	got = nil
	for o := range c.Watch(ctx, "o-1") {
		got = append(got, string(o.Status))
	}
	if len(got) != 1 {
		t.Errorf("a final order was watched: %q", got)
	}
}

// TestReplayPassesOver: an event that can't be read ends the reading of those who want it, and of nobody else.
func TestReplayPassesOver(t *testing.T) {
	s := startSite(t)
	fill(s)
	m := nats.NewMsg(subjects.Event("local", subjects.KindOrder, "o-4"))
	m.Data = []byte("{")
	m.Header.Set(subjects.HeaderType, subjects.TypeOf(subjects.KindOrder, "placed"))
	if err := s.nc.PublishMsg(m); err != nil {
		t.Fatal(err)
	}
	s.event(subjects.KindShipment, "o-1-s1", "booked", 9)
	c := s.connect()
	read := func(filters ...string) (got []uint64, err error) {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		for e, err := range c.Replay(ctx, 1, filters...) {
			if err != nil {
				return got, err
			}
			got = append(got, e.Sequence)
		}
		return got, nil
	}
	if got, err := read("payment.*", "shipment.*"); err != nil || !slices.Equal(got, []uint64{2, 5, 9}) {
		t.Errorf("without orders: %v, %v", got, err)
	}
	if got, err := read("order.*", "shipment.*"); err == nil {
		t.Errorf("with the damaged one: %v, and no error", got)
	}
}
