package registry

import (
	"context"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"waybill/internal/sleep"
)

// The settings and their audits are read and watched as one range, from the first audit to the last setting: both keys of
// a change then come in one message. "audit/" sorts before "config/", and what else may stand between is passed over.
func (r *Registry) rangeStart() string { return r.settings.audits }
func (r *Registry) rangeEnd() clientv3.OpOption {
	return clientv3.WithRange(clientv3.GetPrefixRangeEnd(r.settings.config))
}

// load reads all settings from etcd, and returns the revision at which they stood so.
func (r *Registry) load(ctx context.Context) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, callWait)
	defer cancel()
	before := r.settings.highest()
	got, err := r.client.Get(ctx, r.rangeStart(), r.rangeEnd())
	if err != nil {
		return 0, err
	}
	r.settings.snapshot(got.Kvs, got.Header.Revision, before)
	return got.Header.Revision, nil
}

// watch follows the settings until ctx ends. revision is that of a load which has just been done, 0 if it failed. When a
// watch breaks, for whatever reason (compaction, a lost leader, an etcd that came back with another past), everything
// is read again.
func (r *Registry) watch(ctx context.Context, revision int64) {
	for ctx.Err() == nil {
		if revision == 0 {
			var err error
			if revision, err = r.load(ctx); err != nil {
				r.log.Debug().Err(err).Msg("settings could not be read; trying again")
				revision = 0
				sleep.For(ctx, retryPause)
				continue
			}
		}
		r.follow(ctx, revision+1)
		revision = 0
		sleep.For(ctx, retryPause/5) // a watch that breaks as soon as it begins must not become a loop without rest
	}
}

// follow takes what changes from a revision on, until the watch breaks, a resync is wished for, or ctx ends.
func (r *Registry) follow(ctx context.Context, from int64) {
	ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
	defer cancel()
	changes := r.client.Watch(ctx, r.rangeStart(), r.rangeEnd(), clientv3.WithRev(from))
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.resync:
			return
		case got, ok := <-changes:
			if !ok {
				return
			}
			if err := got.Err(); err != nil {
				r.log.Debug().Err(err).Msg("the watch over the settings broke; reading them again")
				return
			}
			var puts, deletes []*mvccpb.KeyValue
			for _, e := range got.Events {
				if e.Type == mvccpb.Event_DELETE {
					deletes = append(deletes, e.Kv)
				} else {
					puts = append(puts, e.Kv)
				}
			}
			r.settings.events(puts, deletes, got.Header.Revision, true)
		}
	}
}

// wishResync asks for the settings to be read from scratch, soon.
func (r *Registry) wishResync() {
	select {
	case r.resync <- struct{}{}:
	default: // one wish is as good as two
	}
}
