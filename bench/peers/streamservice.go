package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nats.go/micro"
)

const (
	ordersStream = "ORDERS"
	placeSubject = "order.place"
	putSubject   = "item.put"
	typeHeader   = "type" // of an event
	maxPlaced    = 256    // orders that are placed at the same time; more wait on their subscription
	wrongLast    = 10071  // JetStream's code for a sequence that was not the last one
)

// item is a new item of the catalog with what is on hand of it: the event "item.put", and the request that makes it.
type item struct {
	orderLine
	OnHand int64 `json:"on_hand"`
}

// held is the event "reservation.held"; "reservation.released" gives the same back.
type held struct {
	Lines []requestLine `json:"lines"`
}

// paid is the event "payment.authorized", the gateway's books in it.
type paid struct {
	PaymentID string `json:"payment_id"`
	Amount    money  `json:"amount"`
	Token     string `json:"token"`
}

// stored is the event "order.placed", "order.confirmed" or "order.rejected": the order's reply, with what was asked.
type stored struct {
	orderReply
	Request *placeRequest `json:"request,omitempty"`
}

// streamOrders is an order service as it is written on JetStream alone: each state of an order is an event, published with the
// sequence that must be the last on its subject and durable before the next one, as the server syncs each message. The catalog
// and the stock are in memory, read from the stream at the start; there is one such service. An order that stopped half-way stays so.
type streamOrders struct {
	js jetstream.JetStream

	mu    sync.Mutex
	items map[string]orderLine
	free  map[string]int64 // on hand and not reserved
}

// streamService runs the service and its NATS server, as a child.
func streamService(ctx context.Context, args []string) error {
	f := flag.NewFlagSet("stream-service", flag.ContinueOnError)
	dir := f.String("dir", "", "for the store")
	if err := f.Parse(args); err != nil {
		return err
	}
	s, err := server.NewServer(&server.Options{
		ServerName: "peer", Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: *dir, SyncAlways: true, NoSigs: true, NoLog: true,
	})
	if err != nil {
		return err
	}
	s.Start()
	defer s.WaitForShutdown()
	defer s.Shutdown()
	if !s.ReadyForConnections(30*time.Second) || !s.JetStreamEnabled() {
		return errors.New("the NATS server does not start")
	}
	closed := make(chan struct{})
	nc, err := nats.Connect("", nats.InProcessServer(s), nats.ClosedHandler(func(*nats.Conn) { close(closed) }))
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	o := &streamOrders{js: js, items: make(map[string]orderLine), free: make(map[string]int64)}
	if err := o.load(ctx); err != nil {
		return err
	}
	var working sync.WaitGroup
	turn := make(chan struct{}, maxPlaced)
	for subject, answer := range map[string]func(context.Context, []byte) (any, error){placeSubject: o.order, putSubject: o.put} {
		_, err := nc.QueueSubscribe(subject, "order", func(m *nats.Msg) {
			turn <- struct{}{}
			working.Go(func() {
				defer func() { <-turn }()
				serveStream(ctx, m, answer)
			})
		})
		if err != nil {
			return err
		}
	}
	if err := nc.Flush(); err != nil {
		return err
	}
	attend(ctx, s.ClientURL())
	err = nc.Drain()
	<-closed // nothing comes any more
	working.Wait()
	return err
}

// load makes the stream where there is none, and reads the catalog and the stock from it.
func (o *streamOrders) load(ctx context.Context) error {
	stream, err := o.js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{Name: ordersStream, Subjects: []string{"event.>"}, AllowDirect: true})
	if err != nil {
		return err
	}
	return eachEvent(ctx, stream, func(m jetstream.Msg) error { return o.apply(m.Headers().Get(typeHeader), m.Data()) })
}

// eachEvent reads the stream's events up to the last one that is there at the begin.
func eachEvent(ctx context.Context, stream jetstream.Stream, each func(jetstream.Msg) error) error {
	left := stream.CachedInfo().State.Msgs
	if left == 0 {
		return nil
	}
	consumer, err := stream.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{})
	if err != nil {
		return err
	}
	messages, err := consumer.Messages()
	if err != nil {
		return err
	}
	defer messages.Stop()
	for ; left > 0; left-- {
		m, err := messages.Next(jetstream.NextContext(ctx))
		if err != nil {
			return err
		}
		if err := each(m); err != nil {
			return err
		}
	}
	return nil
}

// apply takes an event into the catalog and the stock.
func (o *streamOrders) apply(event string, data []byte) error {
	switch event {
	case "item.put":
		var i item
		if err := json.Unmarshal(data, &i); err != nil {
			return err
		}
		o.mu.Lock()
		defer o.mu.Unlock()
		o.items[i.SKU] = i.orderLine
		o.free[i.SKU] += i.OnHand
	case "reservation.held", "reservation.released":
		var h held
		if err := json.Unmarshal(data, &h); err != nil {
			return err
		}
		sign := int64(-1)
		if event == "reservation.released" {
			sign = 1
		}
		o.move(h.Lines, sign)
	}
	return nil
}

// move adds the lines' quantities to what is free, or takes them from it.
func (o *streamOrders) move(lines []requestLine, sign int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, l := range lines {
		o.free[l.SKU] += sign * l.Quantity
	}
}

// hold takes all of the lines from what is free, or nothing.
func (o *streamOrders) hold(lines []requestLine) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, l := range lines {
		if o.free[l.SKU] < l.Quantity {
			return refuse(http.StatusUnprocessableEntity, "out_of_stock", "there is not enough of %s", l.SKU)
		}
	}
	for _, l := range lines {
		o.free[l.SKU] -= l.Quantity
	}
	return nil
}

func serveStream(ctx context.Context, m *nats.Msg, work func(context.Context, []byte) (any, error)) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	answer := nats.NewMsg(m.Reply)
	reply, err := work(ctx, m.Data)
	if err != nil {
		var refused *failure
		if !errors.As(err, &refused) {
			refused = refuse(http.StatusInternalServerError, "internal", "%v", err)
		}
		answer.Header.Set(micro.ErrorCodeHeader, strconv.Itoa(refused.status))
		reply = refused.refusal
	}
	if answer.Data, err = json.Marshal(reply); err == nil {
		_ = m.RespondMsg(answer) // its caller runs into its timeout where the connection has ended
	}
}

func (o *streamOrders) order(ctx context.Context, body []byte) (any, error) {
	var r placeRequest
	if err := json.Unmarshal(body, &r); err != nil {
		return nil, refuse(http.StatusBadRequest, "invalid_argument", "%v", err)
	}
	if err := r.check(); err != nil {
		return nil, err
	}
	return o.place(ctx, &r)
}

func (o *streamOrders) put(ctx context.Context, body []byte) (any, error) {
	var i item
	if err := json.Unmarshal(body, &i); err != nil {
		return nil, refuse(http.StatusBadRequest, "invalid_argument", "%v", err)
	}
	if _, err := o.publish(ctx, "event.item."+i.SKU, "item.put", 0, i); err != nil {
		return nil, err
	}
	return i, o.apply("item.put", body)
}

// place carries an order to its outcome: placed, held, authorized, confirmed.
func (o *streamOrders) place(ctx context.Context, r *placeRequest) (*orderReply, error) {
	reply := &orderReply{OrderID: r.OrderID, Status: "pending"}
	if err := o.price(reply, r); err != nil {
		return nil, err
	}
	order := "event.order." + r.OrderID
	sequence, err := o.publish(ctx, order, "order.placed", 0, stored{*reply, r})
	var refused *jetstream.APIError
	if errors.As(err, &refused) && refused.ErrorCode == wrongLast {
		return o.again(ctx, order, r)
	}
	if err != nil {
		return nil, err
	}
	if err := o.hold(r.Lines); err != nil {
		return nil, o.reject(ctx, order, sequence, reply, err)
	}
	reservation := "event.reservation." + r.OrderID
	heldAt, err := o.publish(ctx, reservation, "reservation.held", 0, held{r.Lines})
	if err != nil {
		return nil, err
	}
	outcome, err := authorize(r.Payment.Token)
	if err != nil {
		if _, failed := o.publish(ctx, reservation, "reservation.released", heldAt, held{r.Lines}); failed != nil {
			return nil, failed
		}
		o.move(r.Lines, 1)
		return nil, o.reject(ctx, order, sequence, reply, err)
	}
	reply.Status, reply.PaymentID = outcome, r.OrderID+"-pay"
	if _, err := o.publish(ctx, "event.payment."+reply.PaymentID, "payment.authorized", 0, paid{reply.PaymentID, reply.Total, r.Payment.Token}); err != nil {
		return nil, err
	}
	if _, err := o.publish(ctx, order, "order.confirmed", sequence, stored{*reply, r}); err != nil {
		return nil, err
	}
	return reply, nil
}

// reject ends the order and returns why.
func (o *streamOrders) reject(ctx context.Context, subject string, sequence uint64, reply *orderReply, why error) error {
	reply.Status = "rejected"
	_, err := o.publish(ctx, subject, "order.rejected", sequence, stored{orderReply: *reply})
	return errors.Join(why, err)
}

// again answers for an order that is there already.
func (o *streamOrders) again(ctx context.Context, subject string, r *placeRequest) (*orderReply, error) {
	stream, err := o.js.Stream(ctx, ordersStream)
	if err != nil {
		return nil, err
	}
	last, err := stream.GetLastMsgForSubject(ctx, subject)
	if err != nil {
		return nil, err
	}
	var before stored
	if err := json.Unmarshal(last.Data, &before); err != nil {
		return nil, err
	}
	if before.Status != "confirmed" {
		return nil, refuse(http.StatusServiceUnavailable, "unavailable", "the order %s is %s", r.OrderID, before.Status)
	}
	asked, err1 := json.Marshal(r)
	then, err2 := json.Marshal(before.Request)
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	if !bytes.Equal(asked, then) {
		return nil, refuse(http.StatusConflict, "already_exists", "the order %s was placed with another content", r.OrderID)
	}
	return &before.orderReply, nil
}

// publish returns when the event is durable, with its sequence. last is what must be the last sequence on the subject; 0: none.
func (o *streamOrders) publish(ctx context.Context, subject, event string, last uint64, data any) (uint64, error) {
	m := nats.NewMsg(subject)
	m.Header.Set(typeHeader, event)
	var err error
	if m.Data, err = json.Marshal(data); err != nil {
		return 0, err
	}
	ack, err := o.js.PublishMsg(ctx, m, jetstream.WithExpectLastSequencePerSubject(last))
	if err != nil {
		return 0, err
	}
	return ack.Sequence, nil
}

func (o *streamOrders) price(reply *orderReply, r *placeRequest) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return reply.priced(r, o.items)
}
