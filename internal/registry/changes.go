package registry

import (
	"context"

	"waybill/configs"
	"waybill/internal/fault"
)

// Changes returns the settings that have changed after a revision of etcd, each as it is now, and the revision from which to
// ask on. Where none has, it waits for the next change until ctx ends, which is no error: the list is empty then. No change
// is missed between two questions, also when another instance answers the second; changes that come faster than they are
// asked for are seen as one. An etcd that has forgotten its past shows every setting as changed.
// Error: unavailable when quit, which may be nil, or the registry is closed meanwhile.
func (r *Registry) Changes(ctx context.Context, after int64, quit <-chan struct{}) ([]SettingValue, int64, error) {
	for asked := false; ; {
		keys, last, changed := r.settings.after(after)
		switch {
		case len(keys) > 0:
			return r.valuesOf(keys), last, nil
		case last < after && !asked: // another instance was ahead of this one, or etcd lost its data: etcd knows which
			asked = true
			if _, err := r.load(ctx); err == nil && r.settings.highest() < after {
				after = 0
			}
			continue
		}
		select {
		case <-changed:
			asked = false
		case <-ctx.Done():
			return nil, after, nil
		case <-quit:
			return nil, after, errStops
		case <-r.closing:
			return nil, after, errStops
		}
	}
}

var errStops = fault.New(fault.Unavailable, "this process stops: ask again")

// Revision is etcd's revision of the last change of a setting that this instance knows of.
func (r *Registry) Revision() int64 {
	_, last, _ := r.settings.after(0)
	return last
}

func (r *Registry) valuesOf(keys []string) []SettingValue {
	values := make([]SettingValue, 0, len(keys))
	for _, key := range keys {
		if s, ok := configs.Lookup(key); ok {
			values = append(values, r.valueOf(s))
		}
	}
	return values
}
