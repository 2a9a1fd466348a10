package handlers

import (
	"context"

	"waybill/internal/registry"
	"waybill/internal/rpc"
	"waybill/subjects"
)

// Config serves the live settings, which etcd holds.
type Config struct{ registry *registry.Registry }

// NewConfig makes the service.
func NewConfig(r *registry.Registry) *Config { return &Config{r} }

// Register lists the service's endpoints.
func (c *Config) Register(s *rpc.Server) {
	rpc.Handle(s, subjects.ConfigGet, c.get)
	rpc.Handle(s, subjects.ConfigList, c.list)
	rpc.Handle(s, subjects.ConfigSet, c.set)
	rpc.Handle(s, subjects.ConfigHistory, c.history)
}

func setting(v registry.SettingValue) subjects.Setting {
	return subjects.Setting{Key: v.Key, Value: v.Value, Default: v.Default, Type: v.Type, Unit: v.Unit, Description: v.Description, SetBy: v.SetBy, SetAt: v.SetAt}
}

func (c *Config) get(ctx context.Context, r *subjects.KeyRequest) (*subjects.Setting, error) {
	v, err := c.registry.Get(ctx, r.Key)
	if err != nil {
		return nil, err
	}
	out := setting(v)
	return &out, nil
}

func (c *Config) list(ctx context.Context, _ *subjects.Empty) (*subjects.Settings, error) {
	values, err := c.registry.List(ctx)
	if err != nil {
		return nil, err
	}
	out := &subjects.Settings{Settings: make([]subjects.Setting, len(values))}
	for i, v := range values {
		out.Settings[i] = setting(v)
	}
	return out, nil
}

func (c *Config) set(ctx context.Context, r *subjects.SetRequest) (*subjects.Setting, error) {
	v, err := c.registry.Set(ctx, r.Key, r.Value, "client")
	if err != nil {
		return nil, err
	}
	out := setting(v)
	return &out, nil
}

func (c *Config) history(ctx context.Context, r *subjects.KeyRequest) (*subjects.Revisions, error) {
	revisions, err := c.registry.History(ctx, r.Key)
	if err != nil {
		return nil, err
	}
	out := &subjects.Revisions{Revisions: make([]subjects.Revision, len(revisions))}
	for i, v := range revisions {
		out.Revisions[i] = subjects.Revision{Value: v.Value, Revision: v.Revision, SetBy: v.SetBy, SetAt: v.SetAt}
	}
	return out, nil
}
