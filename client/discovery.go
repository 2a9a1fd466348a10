package client

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/nats-io/nats.go/micro"

	"waybill/internal/fault"
	"waybill/internal/id"
	"waybill/internal/lean"
	"waybill/internal/timestamp"
	"waybill/subjects"
)

// Where a service's instance is known.
const (
	SeenBoth = "both"
	SeenNATS = "nats only" // it answers, and etcd does not know of it
	SeenEtcd = "etcd only" // it reports its health, and does not answer discovery
	Standby  = "standby"   // it waits for its turn to lead: only the leader answers
)

// ServiceInstance is one instance of a service, as NATS discovery and etcd's health have it together.
type ServiceInstance struct {
	Service   subjects.Service `json:"service"`
	Instance  string           `json:"instance"`
	Version   string           `json:"version"`
	Seen      string           `json:"seen"`             // SeenBoth, …
	Status    string           `json:"status,omitzero"`  // passing, warning, critical; of etcd
	Started   subjects.Time    `json:"started,omitzero"` // of NATS
	Endpoints int              `json:"endpoints"`
	InFlight  int64            `json:"in_flight"`
	Requests  uint64           `json:"requests"` // answered since its start
	Failed    uint64           `json:"failed"`   // of these
	PerSecond uint64           `json:"per_second"`
	P99       uint64           `json:"p99_us"`
}

// Discovery is who serves what. Degraded says why etcd's part is missing, where it is.
type Discovery struct {
	Services []ServiceInstance `json:"services"`
	Degraded string            `json:"degraded,omitzero"`
}

const (
	discoveryWait = time.Second            // for all answers
	discoveryRest = 150 * time.Millisecond // after the last one
	maxInstances  = 4096
)

// Services asks every service of the site over NATS who and how busy it is, and joins that with the health that etcd holds.
// Errors: unavailable.
func (c *Client) Services(ctx context.Context) (*Discovery, error) {
	ctx, cancel := c.bounded(ctx)
	defer cancel()
	found, err := c.discover(ctx)
	if err != nil {
		return nil, err
	}
	out := &Discovery{Services: []ServiceInstance{}}
	health, err := c.Health.List(ctx)
	if err != nil {
		out.Degraded = fault.From(err).Message
		health = &subjects.HealthInfo{}
	} else {
		out.Degraded = health.Degraded
	}
	type name struct {
		service  subjects.Service
		instance string
	}
	all := map[name]*ServiceInstance{}
	for i := range found {
		all[name{found[i].Service, found[i].Instance}] = &found[i]
	}
	for _, in := range health.Instances {
		s := all[name{in.Service, in.Instance}]
		if s == nil {
			s = &ServiceInstance{Service: in.Service, Instance: in.Instance, Version: in.Version, Seen: SeenEtcd}
			if leader := health.Leaders[string(in.Service)]; leader != "" && leader != in.Instance {
				s.Seen = Standby
			}
			all[name{in.Service, in.Instance}] = s
		} else {
			s.Seen = SeenBoth
		}
		s.Status, s.PerSecond, s.P99 = in.Status, in.Requests["per_second"], in.Requests["p99_us"]
	}
	for _, s := range all {
		out.Services = append(out.Services, *s)
	}
	slices.SortFunc(out.Services, func(a, b ServiceInstance) int {
		return cmp.Or(cmp.Compare(a.Service, b.Service), cmp.Compare(a.Instance, b.Instance))
	})
	return out, nil
}

// stats is what an instance answers to $SRV.STATS, as far as it is of use here.
type stats struct {
	Name      string            `json:"name"`
	Version   string            `json:"version"`
	Metadata  map[string]string `json:"metadata"`
	Started   time.Time         `json:"started"`
	Endpoints []struct {
		Data struct {
			Count    uint64            `json:"count"`
			Errors   map[string]uint64 `json:"errors"`
			InFlight int64             `json:"in_flight"`
		} `json:"data"`
	} `json:"endpoints"`
}

// discover gathers the answers to $SRV.STATS of this site's services: how many there will be nobody knows.
func (c *Client) discover(ctx context.Context) ([]ServiceInstance, error) {
	subject, err := micro.ControlSubject(micro.StatsVerb, "", "")
	if err != nil {
		return nil, fault.Wrap(err, fault.Internal, "the subject of discovery can't be made")
	}
	inbox := c.inbox + "." + id.New()
	answers := make(chan lean.Msg, maxInstances)
	stop, err := c.calls.Subscribe(inbox, "", func(m lean.Msg) {
		select {
		case answers <- m:
		default: // more than are ever read
		}
	})
	if err == nil {
		defer func() { _ = stop() }() // its error is a connection that has ended
		err = c.calls.Ask(subject, inbox, nil)
	}
	if err != nil {
		return nil, fault.Wrap(err, fault.Unavailable, "the services can't be asked who they are")
	}
	ctx, cancel := context.WithTimeout(ctx, discoveryWait)
	defer cancel()
	rest := time.NewTimer(discoveryWait)
	defer rest.Stop()
	var out []ServiceInstance
	for len(out) < maxInstances {
		var m lean.Msg
		select {
		case m = <-answers:
		case <-rest.C:
			return out, nil
		case <-ctx.Done():
			return out, nil
		}
		if m.Status() == "503" && len(m.Data) == 0 {
			return out, nil // nobody serves anything
		}
		rest.Reset(discoveryRest)
		var s stats
		if json.Unmarshal(m.Data, &s) != nil || s.Metadata["site"] != string(c.site) {
			continue // somebody else's service, or another site's
		}
		in := ServiceInstance{Service: subjects.Service(s.Name), Instance: s.Metadata["instance"], Version: s.Version, Seen: SeenNATS,
			Started: timestamp.Of(s.Started), Endpoints: len(s.Endpoints)}
		for _, e := range s.Endpoints {
			in.InFlight += e.Data.InFlight
			in.Requests += e.Data.Count
			for _, n := range e.Data.Errors {
				in.Failed += n
			}
		}
		out = append(out, in)
	}
	return out, nil
}
