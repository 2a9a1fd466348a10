package handlers

import (
	"context"

	"waybill/internal/fault"
	"waybill/internal/registry"
	"waybill/internal/rpc"
	"waybill/subjects"
)

// Looker tells how the journal and its consumers are; nothing where its server does not answer.
type Looker interface {
	Journal(ctx context.Context) (*subjects.JournalInfo, []subjects.ConsumerInfo)
}

// Health serves what is known of the site's health.
type Health struct {
	registry *registry.Registry
	look     Looker
}

// NewHealth makes the service.
func NewHealth(r *registry.Registry, l Looker) *Health { return &Health{r, l} }

// Register lists the service's endpoints.
func (h *Health) Register(s *rpc.Server) { rpc.Handle(s, subjects.HealthList, h.list) }

func (h *Health) list(ctx context.Context, _ *subjects.Empty) (*subjects.HealthInfo, error) {
	work, stop := answerIn(ctx)
	defer stop()
	out := h.inEtcd(work)
	out.Journal, out.Consumers = h.look.Journal(work)
	return out, nil
}

// inEtcd is what etcd holds. Where etcd is away the site goes on, and this process says how it is itself.
func (h *Health) inEtcd(ctx context.Context) *subjects.HealthInfo {
	if reason, away := h.registry.Degraded(); away {
		out := healthInfo(h.registry.Own(), map[string]string{}, h.registry)
		out.Degraded = reason
		return out
	}
	instances, err := h.registry.Instances(ctx)
	leaders := map[string]string{}
	if err == nil {
		leaders, err = h.registry.Leaders(ctx)
	}
	if err != nil {
		out := healthInfo(h.registry.Own(), map[string]string{}, h.registry)
		out.Degraded = fault.From(err).Message
		return out
	}
	return healthInfo(instances, leaders, h.registry)
}

func healthInfo(instances []registry.Instance, leaders map[string]string, r *registry.Registry) *subjects.HealthInfo {
	out := &subjects.HealthInfo{Instances: make([]subjects.Instance, len(instances)), Leaders: leaders}
	for i, in := range instances {
		out.Instances[i] = subjects.Instance{
			Service: in.Service, Instance: in.Instance, Status: string(in.Status), Version: in.Version, Since: in.Since,
			Checks: make([]subjects.Check, len(in.Checks)), Requests: in.Requests,
		}
		for k, c := range in.Checks {
			out.Instances[i].Checks[k] = subjects.Check{Name: c.Name, Status: string(c.Status), Message: c.Message}
		}
	}
	if reason, degraded := r.Degraded(); degraded {
		out.Degraded = reason
	}
	return out
}
