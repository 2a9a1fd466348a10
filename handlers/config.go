package handlers

import (
	"cmp"
	"context"
	"sync"
	"sync/atomic"
	"time"

	"waybill/configs"
	"waybill/internal/fault"
	"waybill/internal/registry"
	"waybill/internal/rpc"
	"waybill/subjects"
)

// Config serves the live settings, which etcd holds.
type Config struct {
	registry *registry.Registry
	live     *configs.Live
	watching atomic.Int64  // requests of watch that wait
	quit     chan struct{} // closed by Quit
	once     sync.Once
}

const (
	maxWatch    = 30 * time.Second // the longest that a watch waits for a change
	maxWatchers = 64               // watches that wait at a time, in one process
)

// NewConfig makes the service.
func NewConfig(r *registry.Registry, live *configs.Live) *Config {
	return &Config{registry: r, live: live, quit: make(chan struct{})}
}

// Quit sends away who waits for a change, so that a stop does not have to wait for them.
func (c *Config) Quit() { c.once.Do(func() { close(c.quit) }) }

// Register lists the service's endpoints.
func (c *Config) Register(s *rpc.Server) {
	rpc.Handle(s, subjects.ConfigGet, c.get)
	rpc.Handle(s, subjects.ConfigList, c.list)
	rpc.Handle(s, subjects.ConfigSet, c.set)
	rpc.Handle(s, subjects.ConfigHistory, c.history)
	rpc.Handle(s, subjects.ConfigRollback, c.rollback)
	rpc.Handle(s, subjects.ConfigWatch, c.watch)
}

func setting(v registry.SettingValue) subjects.Setting {
	return subjects.Setting{
		Key: v.Key, Value: v.Value, Default: v.Default, Type: v.Type, Unit: v.Unit, Min: v.Min, Max: v.Max, Choices: v.Choices,
		Description: v.Description, Affects: v.Affects, SetBy: v.SetBy, SetAt: v.SetAt, Revision: v.Revision, Problem: v.Problem,
	}
}

func settings(values []registry.SettingValue) []subjects.Setting {
	out := make([]subjects.Setting, len(values))
	for i, v := range values {
		out[i] = setting(v)
	}
	return out
}

func (c *Config) get(ctx context.Context, r *subjects.KeyRequest) (*subjects.Setting, error) {
	return one(c.registry.Get(ctx, r.Key))
}

func one(v registry.SettingValue, err error) (*subjects.Setting, error) {
	if err != nil {
		return nil, err
	}
	out := setting(v)
	return &out, nil
}

func (c *Config) list(ctx context.Context, _ *subjects.Empty) (*subjects.Settings, error) {
	revision := c.registry.Revision() // before the values: a change between the two is told of once more, not missed
	values, err := c.registry.List(ctx)
	if err != nil {
		return nil, err
	}
	out := &subjects.Settings{Settings: settings(values), Revision: revision}
	for _, v := range values {
		if v.Problem != "" {
			out.Ignored++
		}
	}
	out.Degraded, _ = c.registry.Degraded()
	return out, nil
}

// anonymous is who sets a setting without saying who they are.
const anonymous = "client"

func (c *Config) set(ctx context.Context, r *subjects.SetRequest) (*subjects.Setting, error) {
	return one(c.registry.SetIf(ctx, r.Key, r.Value, cmp.Or(r.By, anonymous), r.ExpectedRevision))
}

func (c *Config) rollback(ctx context.Context, r *subjects.RollbackRequest) (*subjects.Setting, error) {
	return one(c.registry.Rollback(ctx, r.Key, r.Revision, cmp.Or(r.By, anonymous)))
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

// watch answers when a setting changes. Who waits here counts among the service's requests in flight: they may be no more than
// half of those, so that setting a setting back always gets through.
func (c *Config) watch(ctx context.Context, r *subjects.WatchSettingsRequest) (*subjects.ChangedSettings, error) {
	defer c.watching.Add(-1)
	if n := c.watching.Add(1); n > int64(min(maxWatchers, c.live.MaxInFlight(subjects.Config)/2)) {
		return nil, fault.New(fault.ResourceExhausted, "too many wait for changes of the settings already; ask again later, or list them now and then")
	}
	ctx, end := context.WithTimeout(ctx, maxWatch)
	defer end()
	ctx, cancel := answerIn(ctx)
	defer cancel()
	values, revision, err := c.registry.Changes(ctx, r.AfterRevision, c.quit)
	if err != nil {
		return nil, err
	}
	return &subjects.ChangedSettings{Settings: settings(values), Revision: revision}, nil
}
