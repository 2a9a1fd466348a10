package client

import (
	"context"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"

	"waybill/internal/lean"
	"waybill/subjects"
)

// BenchmarkCall compares a call over each transport, which the service uses too, with a bare request of nats.go that carries the same
// JSON, coded and decoded by the same library, all over TCP and within one process, the NATS server included. They take turns of
// 100 calls; the times are medians of the turns, and "beside" is that of the lean transport in parts of the bare request's.
func BenchmarkCall(b *testing.B) {
	s := startSite(b)
	item := subjects.Item{SKU: "espresso", Name: "Espresso", UnitPrice: subjects.Money{Amount: 250, Currency: "EUR"}, TaxRateBP: 1900, Active: true}
	get := func(context.Context, *subjects.SKURequest) (*subjects.Item, error) {
		found := item
		return &found, nil
	}
	front, err := lean.Dial(b.Context(), lean.Options{Servers: s.url, Login: lean.Login{User: "site", Password: "site"}, Inbox: "_INBOX.front", Log: zerolog.Nop()})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(front.Close)
	serveOn(s, front, "lean", subjects.CatalogGet, get)
	serveOn(s, lean.Over(s.nc), "nats", subjects.CatalogGet, get)
	ctx, request := b.Context(), &subjects.SKURequest{SKU: "espresso"}
	service, err := nats.Connect(s.url, nats.UserInfo("site", "site"))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(service.Close)
	if _, err := service.Subscribe("wb.local.rpc.bare.get", func(m *nats.Msg) {
		var r subjects.SKURequest
		if err := json.Unmarshal(m.Data, &r); err != nil {
			b.Error(err)
		}
		found, err := get(ctx, &r)
		if err != nil {
			b.Error(err)
		}
		reply, err := json.Marshal(found)
		if err != nil {
			b.Error(err)
		}
		if err := m.Respond(reply); err != nil {
			b.Error(err)
		}
	}); err != nil {
		b.Fatal(err)
	}
	if err := service.Flush(); err != nil {
		b.Fatal(err)
	}
	caller, err := nats.Connect(s.url)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(caller.Close)
	bare := func() error {
		data, err := json.Marshal(request)
		if err != nil {
			return err
		}
		m, err := caller.RequestWithContext(ctx, "wb.local.rpc.bare.get", data)
		if err != nil {
			return err
		}
		return json.Unmarshal(m.Data, new(subjects.Item))
	}
	call := func(t Transport) func() error {
		c := s.connect(WithTransport(t), WithSite(subjects.Site(t)))
		return func() error {
			_, err := c.Catalog.Get(ctx, "espresso")
			return err
		}
	}
	ways := []struct {
		name string
		do   func() error
		took []time.Duration
		news uint64
	}{{name: "bare", do: bare}, {name: "lean", do: call(Lean)}, {name: "nats", do: call(NATS)}}
	const turn = 100
	calls := 0
	for b.Loop() {
		for i := range ways {
			w := &ways[i]
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			begun := time.Now()
			for range turn {
				if err := w.do(); err != nil {
					b.Fatal(err)
				}
			}
			w.took = append(w.took, time.Since(begun)/turn)
			runtime.ReadMemStats(&after)
			w.news += after.Mallocs - before.Mallocs
		}
		calls += turn
	}
	medians := map[string]float64{}
	for _, w := range ways {
		slices.Sort(w.took)
		medians[w.name] = float64(w.took[len(w.took)/2])
		b.ReportMetric(medians[w.name], w.name+"-ns/call")
		b.ReportMetric(float64(w.news)/float64(calls), w.name+"-allocs/call")
	}
	b.ReportMetric(medians["lean"]/medians["bare"], "beside")
	b.ReportMetric(0, "ns/op")
}
