package registry

import (
	"bytes"
	"context"
	"errors"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"waybill/configs"
	"waybill/internal/fault"
	"waybill/internal/timestamp"
)

// Revision is one of the values that a setting has had.
type Revision struct {
	Revision int64          `json:"revision"` // of etcd; it grows
	Value    jsontext.Value `json:"value"`    // as it stood there: a plain client may have written a bad one, null if it was not even JSON
	SetBy    string         `json:"set_by"`
	SetAt    timestamp.Time `json:"set_at,omitzero"`
}

// maxHistory bounds how many revisions History returns, and how far back Rollback looks.
const maxHistory = 100

// historyWait bounds reading them all, which is a question to etcd for each.
const historyWait = 10 * time.Second

// History returns the values that a setting has had, newest first, at most 100, as far back as etcd keeps them. What a
// plain client wrote before another one deleted the key is not found again.
// Error: not_found for a key that is not declared; unavailable when etcd does not answer.
func (r *Registry) History(ctx context.Context, key string) ([]Revision, error) {
	if _, ok := configs.Lookup(key); !ok {
		return nil, configs.UnknownSetting(key)
	}
	ctx, cancel := context.WithTimeout(ctx, historyWait)
	defer cancel()
	p, err := r.past(ctx, key)
	return p.revisions, err
}

// past is what etcd knows of a setting.
type past struct {
	revisions []Revision // newest first, at most maxHistory
	now       int64      // the revision that the setting stands at; 0 where it is not there and its default holds
	complete  bool       // nothing came before
}

// past reads a setting's values from etcd, newest first.
func (r *Registry) past(ctx context.Context, key string) (past, error) {
	p := past{revisions: []Revision{}}
	for at := int64(0); len(p.revisions) < maxHistory; { // 0 is now
		value, note, err := r.valueAt(ctx, key, at)
		switch {
		case errors.Is(err, rpctypes.ErrCompacted):
			return p, nil
		case err != nil:
			return past{}, unavailable(err, "the history of "+key+" can't be read")
		case value != nil:
			if at == 0 {
				p.now = value.ModRevision
			}
			p.revisions = append(p.revisions, revisionOf(value, note))
			at = value.ModRevision - 1
		case note != nil && note.ModRevision != at: // deleted here; the program last set it at the revision of its note
			at = note.ModRevision
		default:
			p.complete = true
			return p, nil
		}
		if at == 0 {
			p.complete = true
			return p, nil
		}
	}
	return p, nil
}

func revisionOf(value, note *mvccpb.KeyValue) Revision {
	rev := Revision{Revision: value.ModRevision, Value: jsontext.Value(value.Value), SetBy: ByOther}
	if !rev.Value.IsValid() {
		rev.Value = jsontext.Value("null")
	}
	if note != nil && note.ModRevision == value.ModRevision {
		a := readAudit(note.Value)
		rev.SetBy, rev.SetAt = a.By, a.At
	}
	return rev
}

// valueAt reads a setting and its audit as they stood at a revision, 0 for now; nil for what was not there.
func (r *Registry) valueAt(ctx context.Context, key string, revision int64) (value, note *mvccpb.KeyValue, err error) {
	ctx, cancel := context.WithTimeout(ctx, callWait)
	defer cancel()
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

// Rollback gives a setting a value back that it had: that of a revision which History lists, or, for 0, the last good one
// that is not what stands in etcd now, and the default where it has had no other. It is a change like any other: History
// lists it, and rolled back once more the setting is what it was before.
//
// Error: not_found for a key that is not declared or a revision that the setting has not had; failed_precondition where
// that value is not good any more, or there is none to go back to; aborted and unavailable as SetIf.
func (r *Registry) Rollback(ctx context.Context, key string, revision int64, by string) (SettingValue, error) {
	s, ok := configs.Lookup(key)
	if !ok {
		return SettingValue{}, configs.UnknownSetting(key)
	}
	ctx, cancel := context.WithTimeout(ctx, historyWait)
	defer cancel()
	p, err := r.past(ctx, key)
	if err != nil {
		return SettingValue{}, err
	}
	good, err := p.before(s)
	if revision != 0 {
		good, err = p.at(s, revision)
	}
	if err != nil {
		return SettingValue{}, err
	}
	return r.write(ctx, s, good, by, p.now)
}

// at is the value of a revision.
func (p past) at(s configs.Setting, revision int64) ([]byte, error) {
	for _, rev := range p.revisions {
		if rev.Revision != revision {
			continue
		}
		good, err := s.Check(rev.Value)
		if err != nil {
			return nil, fault.Wrap(err, fault.FailedPrecondition, "revision %d is no good: %s", revision, fault.From(err).Message).WithField("revision")
		}
		return good, nil
	}
	return nil, fault.New(fault.NotFound, "etcd keeps no revision %d of %s; `waybill config history %s` lists those that it keeps", revision, s.Key, s.Key).WithField("revision")
}

// before is the last good value that is not what stands in etcd.
func (p past) before(s configs.Setting) ([]byte, error) {
	now, older := []byte(s.Default), p.revisions
	if p.now != 0 {
		now, older = p.revisions[0].Value, p.revisions[1:]
	}
	for _, rev := range older {
		if good, err := s.Check(rev.Value); err == nil && !bytes.Equal(good, now) {
			return good, nil
		}
	}
	switch {
	case !p.complete:
		return nil, fault.New(fault.FailedPrecondition, "etcd does not keep what %s was before: give it a value with `waybill config set`", s.Key)
	case bytes.Equal(now, []byte(s.Default)):
		return nil, fault.New(fault.FailedPrecondition, "%s has had no other value than its default", s.Key)
	}
	return []byte(s.Default), nil
}
