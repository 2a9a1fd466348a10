package handlers

import (
	"context"

	"waybill/internal/fault"
	"waybill/internal/registry"
	"waybill/internal/rpc"
	"waybill/subjects"
)

// Health serves what etcd holds of the site's health.
type Health struct{ registry *registry.Registry }

// NewHealth makes the service.
func NewHealth(r *registry.Registry) *Health { return &Health{r} }

// Register lists the service's endpoints.
func (h *Health) Register(s *rpc.Server) { rpc.Handle(s, subjects.HealthList, h.list) }

func (h *Health) list(ctx context.Context, _ *subjects.Empty) (*subjects.HealthInfo, error) {
	instances, err := h.registry.Instances(ctx)
	if err == nil {
		leaders, failed := h.registry.Leaders(ctx)
		if err = failed; err == nil {
			return healthInfo(instances, leaders, h.registry), nil
		}
	}
	// etcd is away: the site goes on, and says so.
	return &subjects.HealthInfo{Instances: []subjects.Instance{}, Leaders: map[string]string{}, Degraded: fault.From(err).Message}, nil
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
