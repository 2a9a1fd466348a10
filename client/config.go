package client

import (
	"bytes"
	"context"
	"iter"
	"time"

	"github.com/go-json-experiment/json"

	"waybill/internal/fault"
	"waybill/internal/sleep"
	"waybill/subjects"
)

// Config are the methods of the live settings.
type Config struct{ c *Client }

// Get returns a setting. Errors: not_found.
func (s Config) Get(ctx context.Context, key string) (*subjects.Setting, error) {
	return Call(ctx, s.c, subjects.ConfigGet, &subjects.KeyRequest{Key: key})
}

// List returns every setting, by key.
func (s Config) List(ctx context.Context) (*subjects.Settings, error) {
	return Call(ctx, s.c, subjects.ConfigList, &subjects.Empty{})
}

// Set gives a setting a value: anything that encodes to the JSON that the setting takes, such as "15m" or 64.
// Errors: not_found, invalid_argument, failed_precondition for a secret that is not there.
func (s Config) Set(ctx context.Context, key string, value any) (*subjects.Setting, error) {
	return s.SetIf(ctx, key, value, 0)
}

// SetIf is Set as long as the setting stands at a revision, as a Setting shows it; 0 is any. Errors: those of Set, and
// failed_precondition where it stands at another one.
func (s Config) SetIf(ctx context.Context, key string, value any, revision int64) (*subjects.Setting, error) {
	raw, err := json.Marshal(value)
	if err != nil {
		return nil, fault.Wrap(err, fault.InvalidArgument, "the value of %s can't be written as JSON", key).WithField("value")
	}
	return Call(ctx, s.c, subjects.ConfigSet, &subjects.SetRequest{Key: key, Value: raw, By: s.c.by, ExpectedRevision: revision})
}

// History returns the values that a setting had, newest first, as far as the site keeps them. Errors: not_found.
func (s Config) History(ctx context.Context, key string) (*subjects.Revisions, error) {
	return Call(ctx, s.c, subjects.ConfigHistory, &subjects.KeyRequest{Key: key})
}

// Rollback gives a setting a value back that it had: that of a revision, or, for 0, the one before the present one. It is
// asked once: done twice it takes itself back. Errors: not_found, failed_precondition.
func (s Config) Rollback(ctx context.Context, key string, revision int64) (*subjects.Setting, error) {
	return Call(ctx, s.c, subjects.ConfigRollback, &subjects.RollbackRequest{Key: key, Revision: revision, By: s.c.by})
}

// watchTurn is how long one question for changes may wait for an answer, watchPause how long to wait after one that failed.
const (
	watchTurn  = 20 * time.Second
	watchPause = 500 * time.Millisecond
)

// Watch iterates over the changes of settings from now on, each setting as it is after the change, until ctx ends, and then
// once over ctx's error. Changes of a setting that come faster than they are read are seen as one. It outlasts restarts of the
// site, and then shows what changed meanwhile. Errors: those of the first List; later ones that another try can't mend.
func (s Config) Watch(ctx context.Context) iter.Seq2[*subjects.Setting, error] {
	return func(yield func(*subjects.Setting, error) bool) {
		all, err := s.List(ctx)
		if err != nil {
			yield(nil, err)
			return
		}
		known := make(map[string]subjects.Setting, len(all.Settings))
		for _, st := range all.Settings {
			known[st.Key] = st
		}
		for after := all.Revision; ; {
			changed, err := s.changes(ctx, after)
			if err != nil {
				yield(nil, err)
				return
			}
			after = changed.Revision
			for _, st := range changed.Settings {
				if same(known[st.Key], st) {
					continue // seen by List already, or told of once more after an etcd has lost its past
				}
				known[st.Key] = st
				if !yield(&st, nil) {
					return
				}
			}
		}
	}
}

// changes asks until it is answered. Error: ctx's, or one that another try can't mend.
func (s Config) changes(ctx context.Context, after int64) (*subjects.ChangedSettings, error) {
	for {
		turn, cancel := context.WithTimeout(ctx, watchTurn)
		changed, err := Call(turn, s.c, subjects.ConfigWatch, &subjects.WatchSettingsRequest{AfterRevision: after})
		cancel()
		if err == nil || ctx.Err() != nil || !worthRetrying(err) || s.c.closed.Load() {
			return changed, err
		}
		if !sleep.For(ctx, watchPause) {
			return nil, ctx.Err()
		}
	}
}

// same reports whether nothing has changed between two looks at a setting.
func same(a, b subjects.Setting) bool {
	return bytes.Equal(a.Value, b.Value) && a.SetBy == b.SetBy && a.SetAt == b.SetAt
}
