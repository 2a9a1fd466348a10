package registry

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"unicode"
	"unicode/utf8"

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
	Affects     string         `json:"affects"`
	Min         jsontext.Value `json:"min,omitzero"` // inclusive; none for a setting without bounds
	Max         jsontext.Value `json:"max,omitzero"`
	Choices     []string       `json:"choices,omitzero"`
	Revision    int64          `json:"revision,omitzero"` // etcd's, of what stands there; 0 where nothing does, or where it is not known
	Problem     string         `json:"problem,omitzero"`  // what is wrong with what stands there
	SetBy       string         `json:"set_by,omitzero"`   // empty while nobody has set it; as they called themselves; ByOther for a plain client of etcd
	SetAt       timestamp.Time `json:"set_at,omitzero"`   // none where it is not known
}

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
		Unit: s.Unit, Affects: s.Affects, Choices: s.Choices, Problem: e.problem, SetBy: e.by, SetAt: e.at}
	v.Min, v.Max = s.Bounds()
	if e.value != nil || e.problem != "" {
		v.Revision = e.revision
	}
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

// Set is SetIf whatever the setting's revision is.
func (r *Registry) Set(ctx context.Context, key string, value []byte, by string) (SettingValue, error) {
	return r.SetIf(ctx, key, value, by, 0)
}

// SetIf gives a setting a value, which is checked first; by says who does it. Unless expected is 0, it does so only while the
// setting stands at that revision, or has the value already. It has taken effect in this process when SetIf returns, and in
// the site's others as soon as etcd has told them.
//
// Error: not_found for a key that is not declared; invalid_argument with field "value" for a bad value; failed_precondition
// for another revision, or a secret that is not there; aborted when somebody else set it in the same moment; unavailable
// when etcd does not answer.
func (r *Registry) SetIf(ctx context.Context, key string, value []byte, by string, expected int64) (SettingValue, error) {
	s, ok := configs.Lookup(key)
	if !ok {
		return SettingValue{}, configs.UnknownSetting(key)
	}
	good, err := s.Check(value)
	if err != nil {
		return SettingValue{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, callWait)
	defer cancel()
	got, err := r.client.Get(ctx, r.settings.config+key)
	if err != nil {
		return SettingValue{}, unavailable(err, key+" was not changed")
	}
	var revision int64
	if len(got.Kvs) > 0 {
		revision = got.Kvs[0].ModRevision
	}
	if expected != 0 && revision != expected {
		if revision != 0 && bytes.Equal(got.Kvs[0].Value, good) { // the answer to the first try was lost
			r.refresh(ctx)
			return r.valueOf(s), nil
		}
		return SettingValue{}, fault.New(fault.FailedPrecondition, "%s has changed since: it stands at revision %d, not %d", key, revision, expected).WithField("expected_revision")
	}
	return r.write(ctx, s, good, by, revision)
}

// write puts a good value into etcd, with who did it, if the setting still stands at a revision, 0 for not there. The caller
// bounds ctx.
func (r *Registry) write(ctx context.Context, s configs.Setting, good []byte, by string, revision int64) (SettingValue, error) {
	if err := s.CheckSecret(good); err != nil {
		return SettingValue{}, err
	}
	a := audit{By: signature(by), At: timestamp.Of(r.now())}
	note, err := json.Marshal(a)
	if err != nil {
		return SettingValue{}, fault.Wrap(err, fault.Internal, "the record of who set %s could not be written", s.Key)
	}
	configKey, auditKey := r.settings.config+s.Key, r.settings.audits+s.Key
	done, err := r.client.Txn(ctx).
		If(clientv3.Compare(clientv3.ModRevision(configKey), "=", revision)).
		Then(clientv3.OpPut(auditKey, string(note)), clientv3.OpPut(configKey, string(good))).
		Commit()
	switch {
	case errors.Is(err, rpctypes.ErrNoSpace):
		return SettingValue{}, fault.Wrap(err, fault.Unavailable, "etcd is out of space: %s was not changed; compact and defragment it, or raise its quota, and disarm its alarm", s.Key)
	case err != nil:
		return SettingValue{}, unavailable(err, s.Key+" may have been changed or not")
	case !done.Succeeded:
		return SettingValue{}, fault.New(fault.Aborted, "somebody else set %s in this moment: look at it and set it again", s.Key)
	}
	now := done.Header.Revision
	r.settings.events([]*mvccpb.KeyValue{
		{Key: []byte(auditKey), Value: note, ModRevision: now},
		{Key: []byte(configKey), Value: good, ModRevision: now},
	}, nil, now, false)
	r.log.Info().Str("setting", s.Key).RawJSON("value", good).Str("by", a.By).Msg("setting changed")
	v := r.valueOf(s)
	v.Value, v.SetBy, v.SetAt, v.Revision, v.Problem = good, a.By, a.At, now, "" // even where the next change has overtaken this one already
	return v, nil
}

// signature makes any text fit to be kept, and shown on a terminal, as the name of who set something.
func signature(by string) string {
	by = strings.TrimSpace(strings.Map(func(r rune) rune {
		if r == utf8.RuneError || unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, strings.ToValidUTF8(by, "?")))
	if by == "" {
		return "unknown"
	}
	if runes := []rune(by); len(runes) > 100 {
		return string(runes[:100])
	}
	return by
}
