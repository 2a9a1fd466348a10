package rpc

import (
	"context"
	"testing"

	"github.com/nats-io/nats.go"
)

// BenchmarkCall compares one call through this package with a bare request of nats.go that a bare subscription answers,
// both within one process, one caller and many.
func BenchmarkCall(b *testing.B) {
	bus := newBus(b)
	bus.serve(silent, func(s *Server) { Handle(s, endpointNamed("get"), greet) })
	c := NewCaller(bus.link(), "local")
	request := &ask{Name: "x", Lines: []line{{"espresso", 2}, {"beans-1kg", 1}}}
	call := func(ctx context.Context) error {
		_, err := Call(ctx, c, endpointNamed("get"), request)
		return err
	}
	payload, err := Encode(request)
	if err != nil {
		b.Fatal(err)
	}
	bus.subscribe("raw", func(m *nats.Msg) {
		if err := m.Respond(payload); err != nil {
			b.Error(err)
		}
	})
	nc := bus.connect()
	raw := func(ctx context.Context) error {
		_, err := nc.RequestWithContext(ctx, "raw", payload)
		return err
	}
	for _, bench := range []struct {
		name string
		do   func(context.Context) error
	}{{"nats.go", raw}, {"rpc", call}} {
		b.Run(bench.name+"/1", func(b *testing.B) {
			ctx := within(b)
			b.ReportAllocs()
			for b.Loop() {
				if err := bench.do(ctx); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(bench.name+"/64", func(b *testing.B) {
			ctx := within(b)
			b.ReportAllocs()
			b.SetParallelism(32)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if err := bench.do(ctx); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}

func BenchmarkDecode(b *testing.B) {
	payload := []byte(`{"name":"x","lines":[{"sku":"espresso","quantity":2},{"sku":"beans-1kg","quantity":1}]}`)
	b.ReportAllocs()
	for b.Loop() {
		var a ask
		if err := Decode(payload, &a); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEncode(b *testing.B) {
	request := &ask{Name: "x", Lines: []line{{"espresso", 2}, {"beans-1kg", 1}}}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Encode(request); err != nil {
			b.Fatal(err)
		}
	}
}
