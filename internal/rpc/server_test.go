package rpc

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/nats-io/nats.go/micro"

	"waybill/internal/fault"
	"waybill/internal/lean"
	"waybill/subjects"
)

func TestCallAnswers(t *testing.T) {
	b := newBus(t)
	b.serve(silent, func(s *Server) { Handle(s, endpointNamed("get"), greet) })
	var reply Reply
	res, err := Call(within(t), NewCaller(b.link(), "local"), endpointNamed("get"), &ask{Name: "<you>", Lines: []line{{"a", 2}}}, WithReply(&reply))
	if err != nil {
		t.Fatal(err)
	}
	if res.Greeting != "hello <you>" || len(res.Lines) != 1 || res.Lines[0] != (line{"a", 2}) {
		t.Errorf("got %+v", res)
	}
	if got := string(reply.Data); got != `{"greeting":"hello <you>","lines":[{"sku":"a","quantity":2}]}` {
		t.Errorf("reply is %s", got)
	}
	if reply.Durability() != "fast" || reply.Header.Get(subjects.HeaderSequence) != "0" {
		t.Errorf("headers are %v", reply.Header)
	}
}

func TestInternalEndpointsAndMethodsOfOneNameAreApart(t *testing.T) {
	b := newBus(t)
	inside := endpointNamed("get")
	inside.Internal = true
	b.serve(silent, func(s *Server) {
		Handle(s, endpointNamed("get"), greet)
		Handle(s, inside, func(context.Context, *ask) (*answer, error) { return &answer{Greeting: "inside"}, nil })
	})
	c := NewCaller(b.link(), "local")
	for e, want := range map[subjects.Endpoint[ask, answer]]string{endpointNamed("get"): "hello x", inside: "inside"} {
		if res, err := Call(within(t), c, e, &ask{Name: "x"}); err != nil || res.Greeting != want {
			t.Errorf("%s: %v, %v", e.Subject("local"), res, err)
		}
	}
}

func TestRefuseIsTheAnswer(t *testing.T) {
	b := newBus(t)
	o := silent
	o.Refuse = func(service subjects.Service, method string) error {
		if service == subjects.Catalog && method == "put" {
			return fault.New(fault.ResourceExhausted, "space is low")
		}
		return nil
	}
	b.serve(o, func(s *Server) {
		Handle(s, endpointNamed("get"), greet)
		Handle(s, endpointNamed("put"), greet)
	})
	c := NewCaller(b.link(), "local")
	if _, err := Call(within(t), c, endpointNamed("get"), &ask{Name: "x"}); err != nil {
		t.Error(err)
	}
	_, err := Call(within(t), c, endpointNamed("put"), &ask{Name: "x"})
	refused(t, err, fault.ResourceExhausted, "")
}

func TestObserve(t *testing.T) {
	b := newBus(t)
	seen := make(chan Observation, 2)
	o := silent
	o.Observe = func(ob Observation) { seen <- ob }
	b.serve(o, func(s *Server) { Handle(s, endpointNamed("get"), greet) })
	c := NewCaller(b.link(), "local")
	for _, name := range []string{"x", ""} {
		_, _ = Call(within(t), c, endpointNamed("get"), &ask{Name: name})
	}
	codes := map[fault.Code]bool{}
	for range 2 {
		ob := receive(t, seen, "an observation")
		codes[ob.Code] = true
		if ob.Service != subjects.Catalog || ob.Method != "get" || ob.Duration <= 0 || ob.Duration > patience {
			t.Errorf("observed %+v", ob)
		}
	}
	if !codes[""] || !codes[fault.InvalidArgument] {
		t.Errorf("observed the codes %v", codes)
	}
}

func TestMicroDiscovery(t *testing.T) {
	b := newBus(t)
	b.serve(silent, func(s *Server) { Handle(s, endpointNamed("get"), greet) })
	nc := b.connect()
	c := NewCaller(lean.Over(nc), "local")
	if _, err := Call(within(t), c, endpointNamed("get"), &ask{Name: "x"}); err != nil {
		t.Fatal(err)
	}
	ask := func(verb string, into any) {
		t.Helper()
		msg, err := nc.RequestWithContext(within(t), "$SRV."+verb+".catalog", nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(msg.Data, into); err != nil {
			t.Fatal(err)
		}
	}
	var ping micro.Ping
	ask("PING", &ping)
	if ping.Name != "catalog" || ping.Version != "1.2.3" || ping.Metadata["site"] != "local" || ping.Metadata["instance"] != "one" {
		t.Errorf("PING says %+v", ping)
	}
	var info micro.Info
	ask("INFO", &info)
	if len(info.Endpoints) != 1 || info.Endpoints[0].QueueGroup != "catalog" || info.Endpoints[0].Subject != "wb.local.rpc.catalog.get" {
		t.Fatalf("INFO says %+v", info)
	}
	for key, extra := range map[string]bool{"request_schema": false, "response_schema": true} {
		var schema struct {
			Type       string
			Properties map[string]any
			Extra      *bool `json:"additionalProperties"`
		}
		text := info.Endpoints[0].Metadata[key]
		if err := json.Unmarshal([]byte(text), &schema); err != nil || schema.Type != "object" || schema.Properties["lines"] == nil || (schema.Extra == nil) != extra {
			t.Errorf("%s is %s (%v)", key, text, err)
		}
	}
	var stats micro.Stats
	ask("STATS", &stats)
	var own EndpointStats
	if len(stats.Endpoints) != 1 || json.Unmarshal(stats.Endpoints[0].Data, &own) != nil || own.Count != 1 || own.P50 == 0 {
		t.Errorf("STATS says %+v with %+v", stats.Endpoints[0], own)
	}
}

func TestWiringMistakesStopTheStart(t *testing.T) {
	b := newBus(t)
	other := endpointNamed("get")
	other.Service = subjects.Order
	for name, register := range map[string]func(*Server){
		"handled twice":          func(s *Server) { Handle(s, endpointNamed("get"), greet); Handle(s, endpointNamed("get"), greet) },
		"by the service catalog": func(s *Server) { Handle(s, other, greet) },
		"schema of": func(s *Server) {
			Handle(s, subjects.Endpoint[ask, func()]{Service: subjects.Catalog, Method: "f"}, nil)
		},
		"invalid endpoint":           func(s *Server) { Handle(s, endpointNamed("a b"), greet) },
		"SemVer":                     func(s *Server) { s.opts.Version = "dev" },
		"waits for no requests here": nil,
	} {
		s := b.prepare(silent)
		if register == nil {
			if err := s.Stop(within(t)); err != nil {
				t.Errorf("stopping what was never started: %v", err)
			}
			continue
		}
		register(s)
		if err := s.Start(); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: Start says %v", name, err)
			stop(t, s)
		}
	}
	for name, o := range map[string]Options{"site": {Site: "No", Instance: "x"}, "instance": {Site: "local"}, "payload": {Site: "local", Instance: "x", MaxPayload: -1}} {
		if _, err := NewServer(b.link(), subjects.Catalog, o); fault.CodeOf(err) != fault.InvalidArgument {
			t.Errorf("%s: %v", name, err)
		}
	}
	s := b.serve(silent, func(s *Server) { Handle(s, endpointNamed("get"), greet) })
	if err := s.Start(); err == nil {
		t.Error("a second start succeeded")
	}
}
