package registry

import (
	"context"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	clientv3 "go.etcd.io/etcd/client/v3"

	"waybill/internal/timestamp"
	"waybill/subjects"
)

// Status is how a service of an instance is.
type Status string

// The statuses, from good to bad.
const (
	Passing  Status = "passing"
	Warning  Status = "warning"
	Critical Status = "critical"
)

// Check is one thing that a service looks at to know its status.
type Check struct {
	Name    string `json:"name"`
	Status  Status `json:"status"`
	Message string `json:"message"`
}

// Health is what an instance says of one of its services.
type Health struct {
	Status   Status            `json:"status"`
	Version  string            `json:"version"`
	Since    timestamp.Time    `json:"since"` // when the status became what it is; the registry fills it in where it is none
	Checks   []Check           `json:"checks"`
	Requests map[string]uint64 `json:"requests"` // counters by name, such as handled, failed, refused
}

// Instance is one service of one running process, as etcd holds it.
type Instance struct {
	Service  subjects.Service `json:"service"`
	Instance string           `json:"instance"`
	Health
}

// Instances returns every instance of the site whose lease is alive, sorted by service and name. A key that can't be read
// (some other client's) is listed as critical. Error: unavailable when etcd does not answer.
func (r *Registry) Instances(ctx context.Context) ([]Instance, error) {
	ctx, cancel := context.WithTimeout(ctx, callWait)
	defer cancel()
	got, err := r.client.Get(ctx, subjects.HealthPrefix(r.site), clientv3.WithPrefix())
	if err != nil {
		return nil, unavailable(err, "who is there can't be read")
	}
	instances := make([]Instance, 0, len(got.Kvs)) // etcd returns keys in order
	for _, kv := range got.Kvs {
		service, name, _ := strings.Cut(strings.TrimPrefix(string(kv.Key), subjects.HealthPrefix(r.site)), "/")
		in := Instance{Service: subjects.Service(service), Instance: name}
		if err := json.Unmarshal(kv.Value, &in.Health); err != nil {
			in.Health = Health{Status: Critical, Checks: []Check{{Name: "report", Status: Critical, Message: "what stands in etcd is no health report"}}}
		}
		instances = append(instances, in)
	}
	return instances, nil
}

// Leaders returns which instance leads in which role. Error: unavailable when etcd does not answer.
func (r *Registry) Leaders(ctx context.Context) (map[string]string, error) {
	ctx, cancel := context.WithTimeout(ctx, callWait)
	defer cancel()
	prefix := subjects.LeaderPrefix(r.site)
	got, err := r.client.Get(ctx, prefix, clientv3.WithPrefix(), clientv3.WithSort(clientv3.SortByCreateRevision, clientv3.SortAscend))
	if err != nil {
		return nil, unavailable(err, "who leads can't be read")
	}
	leaders := map[string]string{}
	for _, kv := range got.Kvs { // of a role's candidates the first leads
		role, _, ok := strings.Cut(strings.TrimPrefix(string(kv.Key), prefix), "/")
		if _, taken := leaders[role]; ok && !taken {
			leaders[role] = string(kv.Value)
		}
	}
	return leaders, nil
}

// Report writes the service's health to etcd, under the instance's lease, now and whenever it has changed (at most once
// a second), until Withdraw or Close. status is called about once a second, perhaps by several goroutines at once, and must not wait. A second Report for
// the same service replaces the first.
func (r *Registry) Report(service subjects.Service, status func() Health) {
	r.health.add(service, status)
}

// HealthWritten reports whether the health of every reported service stands in etcd under a lease that is alive.
func (r *Registry) HealthWritten() bool { return r.health.written() }

// Withdraw takes the health of this instance's services out of etcd, as a clean stop begins, and does not wait for it. Nothing is
// reported from then on.
func (r *Registry) Withdraw() { r.health.withdrawSoon() }

// Own returns what the services of this instance say of themselves now, whether etcd holds it or not, sorted by service.
func (r *Registry) Own() []Instance {
	own := []Instance{}
	for service, report := range r.health.all() {
		own = append(own, Instance{Service: service, Instance: r.instance, Health: report.status()})
	}
	slices.SortFunc(own, func(a, b Instance) int { return strings.Compare(string(a.Service), string(b.Service)) })
	return own
}
