package registry

import (
	"context"
	"errors"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"waybill/configs"
	"waybill/internal/fault"
	"waybill/internal/timestamp"
)

// SettingValue is a setting with the value that holds in this process.
type SettingValue struct {
	Key         string         `json:"key"`
	Value       jsontext.Value `json:"value"`
	Default     jsontext.Value `json:"default"`
	Type        string         `json:"type"`
	Description string         `json:"description"`
	Unit        string         `json:"unit,omitzero"`
	SetBy       string         `json:"set_by,omitzero"` // empty while nobody has set it; ByOther for a plain client of etcd
	SetAt       timestamp.Time `json:"set_at,omitzero"` // none where it is not known
}

// Revision is one of the values that a setting has had.
type Revision struct {
	Revision int64          `json:"revision"` // of etcd; it grows
	Value    jsontext.Value `json:"value"`    // as it stood there: a plain client may have written a bad one, null if it was not even JSON
	SetBy    string         `json:"set_by"`
	SetAt    timestamp.Time `json:"set_at,omitzero"`
}

// maxHistory bounds how many revisions History returns.
const maxHistory = 100

// Get returns a setting as it stands in etcd now, or, while etcd is away, as it was last known.
// Error: not_found for a key that is not declared.
func (r *Registry) Get(ctx context.Context, key string) (SettingValue, error) {
	s, ok := configs.Lookup(key)
	if !ok {
		return SettingValue{}, configs.UnknownSetting(key)
	}
	r.refresh(ctx)
	return r.valueOf(s), nil
}

// List returns every setting, sorted by key, as Get does.
func (r *Registry) List(ctx context.Context) ([]SettingValue, error) {
	r.refresh(ctx)
	declared := configs.Settings()
	values := make([]SettingValue, len(declared))
	for i, s := range declared {
		values[i] = r.valueOf(s)
	}
	return values, nil
}

func (r *Registry) valueOf(s configs.Setting) SettingValue {
	e := r.settings.get(s.Key)
	v := SettingValue{Key: s.Key, Value: e.value, Default: jsontext.Value(s.Default), Type: s.Type, Description: s.Description,
		Unit: s.Unit, SetBy: e.by, SetAt: e.at}
	if v.Value == nil {
		v.Value = v.Default
	}
	return v
}

// refresh reads what the watch may be about to bring. Where etcd does not answer, what is known must do.
func (r *Registry) refresh(ctx context.Context) {
	if _, away := r.Degraded(); away {
		return
	}
	if _, err := r.load(ctx); err != nil {
		r.log.Debug().Err(err).Msg("settings could not be read again")
	}
}

// Set gives a setting a value, which is checked first; by says who does it. It has taken effect in this process when Set
// returns, and in the site's others as soon as etcd has told them.
//
// Error: not_found for a key that is not declared; invalid_argument with field "value" for a bad value; aborted when
// somebody else set it in the same moment; unavailable when etcd does not answer.
func (r *Registry) Set(ctx context.Context, key string, value []byte, by string) (SettingValue, error) {
	s, ok := configs.Lookup(key)
	if !ok {
		return SettingValue{}, configs.UnknownSetting(key)
	}
	good, err := s.Check(value)
	if err != nil {
		return SettingValue{}, err
	}
	a := audit{By: signature(by), At: timestamp.Of(r.now())}
	note, err := json.Marshal(a)
	if err != nil {
		return SettingValue{}, fault.Wrap(err, fault.Internal, "the record of who set %s could not be written", key)
	}
	ctx, cancel := context.WithTimeout(ctx, callWait)
	defer cancel()
	configKey, auditKey := r.settings.config+key, r.settings.audits+key
	got, err := r.client.Get(ctx, configKey)
	if err != nil {
		return SettingValue{}, unavailable(err, key+" was not changed")
	}
	var revision int64
	if len(got.Kvs) > 0 {
		revision = got.Kvs[0].ModRevision
	}
	done, err := r.client.Txn(ctx).
		If(clientv3.Compare(clientv3.ModRevision(configKey), "=", revision)).
		Then(clientv3.OpPut(auditKey, string(note)), clientv3.OpPut(configKey, string(good))).
		Commit()
	switch {
	case err != nil:
		return SettingValue{}, unavailable(err, key+" may have been changed or not")
	case !done.Succeeded:
		return SettingValue{}, fault.New(fault.Aborted, "somebody else set %s in this moment: look at it and set it again", key)
	}
	now := done.Header.Revision
	r.settings.events([]*mvccpb.KeyValue{
		{Key: []byte(auditKey), Value: note, ModRevision: now},
		{Key: []byte(configKey), Value: good, ModRevision: now},
	}, nil, now, false)
	r.log.Info().Str("setting", key).RawJSON("value", good).Str("by", a.By).Msg("setting changed")
	v := r.valueOf(s)
	v.Value, v.SetBy, v.SetAt = good, a.By, a.At // even where the next change has overtaken this one already
	return v, nil
}

// signature makes any text fit to be kept as the name of who set something.
func signature(by string) string {
	by = strings.ToValidUTF8(by, "?")
	if by == "" {
		return "unknown"
	}
	if runes := []rune(by); len(runes) > 100 {
		return string(runes[:100])
	}
	return by
}

// History returns the values that a setting has had, newest first, at most 100, as far back as etcd keeps them. What a
// plain client wrote before another one deleted the key is not found again.
// Error: not_found for a key that is not declared; unavailable when etcd does not answer.
func (r *Registry) History(ctx context.Context, key string) ([]Revision, error) {
	if _, ok := configs.Lookup(key); !ok {
		return nil, configs.UnknownSetting(key)
	}
	ctx, cancel := context.WithTimeout(ctx, callWait)
	defer cancel()
	revisions := []Revision{}
	for at := int64(0); len(revisions) < maxHistory; { // 0 is now
		value, note, err := r.valueAt(ctx, key, at)
		switch {
		case errors.Is(err, rpctypes.ErrCompacted):
			return revisions, nil
		case err != nil:
			return nil, unavailable(err, "the history of "+key+" can't be read")
		case value != nil:
			rev := Revision{Revision: value.ModRevision, Value: jsontext.Value(value.Value), SetBy: ByOther}
			if !rev.Value.IsValid() {
				rev.Value = jsontext.Value("null")
			}
			if note != nil && note.ModRevision == value.ModRevision {
				a := readAudit(note.Value)
				rev.SetBy, rev.SetAt = a.By, a.At
			}
			revisions = append(revisions, rev)
			at = value.ModRevision - 1
		case note != nil: // deleted here; the program last set it at the revision of its note
			at = note.ModRevision
		default:
			return revisions, nil
		}
		if at == 0 {
			return revisions, nil
		}
	}
	return revisions, nil
}

// valueAt reads a setting and its audit as they stood at a revision, 0 for now; nil for what was not there.
func (r *Registry) valueAt(ctx context.Context, key string, revision int64) (value, note *mvccpb.KeyValue, err error) {
	got, err := r.client.Txn(ctx).Then(
		clientv3.OpGet(r.settings.config+key, clientv3.WithRev(revision)),
		clientv3.OpGet(r.settings.audits+key, clientv3.WithRev(revision)),
	).Commit()
	if err != nil {
		return nil, nil, err
	}
	first := func(i int) *mvccpb.KeyValue {
		if kvs := got.Responses[i].GetResponseRange().Kvs; len(kvs) > 0 {
			return kvs[0]
		}
		return nil
	}
	return first(0), first(1), nil
}

// Watch returns a channel of the keys of settings that change from now on. Changes that come faster than they are
// received are joined: each changed key comes at least once after its last change. It is closed when ctx ends.
func (r *Registry) Watch(ctx context.Context) <-chan string {
	changed := make(chan string)
	kick := make(chan struct{}, 1)
	q := &keyQueue{}
	cancel := r.live.OnChange(func(key string) {
		q.add(key)
		select {
		case kick <- struct{}{}:
		default:
		}
	})
	go func() {
		defer close(changed)
		defer cancel()
		for {
			for key, ok := q.next(); ok; key, ok = q.next() {
				select {
				case changed <- key:
				case <-ctx.Done():
					return
				}
			}
			select {
			case <-kick:
			case <-ctx.Done():
				return
			}
		}
	}()
	return changed
}
