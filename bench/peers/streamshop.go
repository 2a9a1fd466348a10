package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nats.go/micro"

	"waybill/bench"
	"waybill/subjects"
)

// streamShop is the order service on JetStream alone, with the NATS server in its process. The load comes over NATS.
type streamShop struct {
	service *child
	nc      *nats.Conn
}

// startStreamShop starts it with its data in dir, and gives it the workload's catalog and stock.
func startStreamShop(ctx context.Context, dir string) (_ *streamShop, err error) {
	data := filepath.Join(dir, "jetstream")
	if err := os.Mkdir(data, 0o700); err != nil {
		return nil, err
	}
	s := &streamShop{}
	if s.service, err = startChild(filepath.Join(dir, "stream-service.log"), "stream-service", "-dir", data); err != nil {
		return nil, err
	}
	if s.nc, err = nats.Connect(s.service.at); err == nil {
		err = s.stock(ctx, 10*subjects.MaxQuantity)
	}
	if err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

// stock puts the catalog of bench.Prepare, with the quantity of each item on hand.
func (s *streamShop) stock(ctx context.Context, quantity int64) error {
	for i := range bench.SKUs {
		put := item{OnHand: quantity}
		put.SKU, put.Name, put.UnitPrice, put.TaxRateBP = string(bench.SKU(i)), fmt.Sprintf("Item %d", i), money{int64(100 + 10*i), "EUR"}, 1900
		if err := s.ask(ctx, putSubject, &put, &put); err != nil {
			return err
		}
	}
	return nil
}

func (s *streamShop) name() string          { return "JetStream, sync always" }
func (s *streamShop) processes() []*process { return []*process{s.service.process} }

func (s *streamShop) place(ctx context.Context, n int) error {
	o, err := s.send(ctx, bench.Order(n))
	if err == nil && o.Status != "confirmed" {
		err = fmt.Errorf("the order is %s", o.Status)
	}
	return err
}

// send places an order. Error: *failure where it is refused.
func (s *streamShop) send(ctx context.Context, order *subjects.PlaceRequest) (*orderReply, error) {
	var reply orderReply
	return &reply, s.ask(ctx, placeSubject, order, &reply)
}

func (s *streamShop) ask(ctx context.Context, subject string, request, reply any) error {
	body, err := json.Marshal(request)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	m, err := s.nc.RequestWithContext(ctx, subject, body)
	if err != nil {
		return err
	}
	if code := m.Header.Get(micro.ErrorCodeHeader); code != "" {
		refused := &failure{}
		refused.status, err = strconv.Atoi(code)
		return errors.Join(refused, err, json.Unmarshal(m.Data, &refused.refusal))
	}
	return json.Unmarshal(m.Data, reply)
}

// check reads the whole stream: each order that was confirmed has its four events, and what is held is what was ordered.
func (s *streamShop) check(ctx context.Context, placed int64) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	js, err := jetstream.New(s.nc)
	if err != nil {
		return err
	}
	stream, err := js.Stream(ctx, ordersStream)
	if err != nil {
		return err
	}
	events := make(map[string]int64)
	var ordered, kept int64
	err = eachEvent(ctx, stream, func(m jetstream.Msg) error {
		event := m.Headers().Get(typeHeader)
		events[event]++
		var o stored
		var h held
		sign := int64(1)
		switch event {
		case "order.confirmed":
			err := json.Unmarshal(m.Data(), &o)
			for _, l := range o.Lines {
				ordered += l.Quantity
			}
			return err
		case "reservation.released":
			sign = -1
			fallthrough
		case "reservation.held":
			err := json.Unmarshal(m.Data(), &h)
			for _, l := range h.Lines {
				kept += sign * l.Quantity
			}
			return err
		}
		return nil
	})
	if err != nil {
		return err
	}
	if events["order.confirmed"] != placed || events["payment.authorized"] != placed || events["order.placed"]-events["order.rejected"] != placed {
		return fmt.Errorf("the stream holds %v, and %d orders were confirmed", events, placed)
	}
	if kept != ordered {
		return fmt.Errorf("%d are held, and %d were ordered", kept, ordered)
	}
	return nil
}

func (s *streamShop) close() error {
	if s.nc != nil {
		s.nc.Close()
	}
	return s.service.stop()
}
