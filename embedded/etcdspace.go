package embedded

import (
	"context"
	"errors"
	"slices"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"waybill/internal/fault"
)

// An etcd that is over its quota takes no more writes until somebody compacts it, defragments it and takes its alarm back. A shop
// has nobody who does, so the node does. What fills it is the past, for the site's own keys are few; where it is full of keys
// that are in use, their owner has to delete them, and the rest is done here again.

const (
	spaceLook  = time.Second
	spaceWait  = 30 * time.Second
	spaceEnd   = 5 * time.Second // how long a stop waits for it
	spaceKept  = 1_000           // revisions of the past that stay, where that makes room enough
	spaceAfter = 90              // percent of the quota that may be in use afterwards
)

// full reports whether etcd has raised the alarm. It reads state only.
func (e *Etcd) full() bool {
	return slices.ContainsFunc(e.etcd.Server.Alarms(), func(a *etcdserverpb.AlarmMember) bool { return a.Alarm == etcdserverpb.AlarmType_NOSPACE })
}

var errFullOfUse = fault.New(fault.Unavailable, "etcd is out of space, and what fills it is in use: delete the keys that are not the site's (etcdctl get / --prefix --keys-only); the rest is done by itself")

// makeRoom compacts and defragments etcd and takes its alarm back. Error: errFullOfUse, or what kept it from that.
func (e *Etcd) makeRoom(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, spaceWait)
	defer cancel()
	server := e.etcd.Server
	now := server.KV().Rev()
	for _, revision := range []int64{now - spaceKept, now} {
		if revision <= 0 {
			continue
		}
		if _, err := e.client.Compact(ctx, revision, clientv3.WithCompactPhysical()); err != nil && !errors.Is(err, rpctypes.ErrCompacted) {
			return fault.Wrap(err, fault.Unavailable, "etcd is out of space and can't be compacted")
		}
		if err := server.Backend().Defrag(); err != nil {
			return fault.Wrap(err, fault.Unavailable, "etcd is out of space and can't be defragmented")
		}
		if server.Backend().Size() > server.Cfg.QuotaBackendBytes/100*spaceAfter {
			continue
		}
		disarm := &etcdserverpb.AlarmRequest{Action: etcdserverpb.AlarmRequest_DEACTIVATE, MemberID: uint64(server.MemberID()), Alarm: etcdserverpb.AlarmType_NOSPACE}
		if _, err := server.Alarm(ctx, disarm); err != nil {
			return fault.Wrap(err, fault.Unavailable, "etcd has room again, but its alarm can't be taken back")
		}
		return nil
	}
	return errFullOfUse
}

// tendSpace makes room whenever etcd is full, until ctx ends or etcd gives up. What can't be done is tried again when the keys
// have changed, or after etcd's error, at the next look.
func (e *Etcd) tendSpace(ctx context.Context) {
	tick := time.NewTicker(spaceLook)
	defer tick.Stop()
	triedAt := int64(0) // the revision at which it was full of keys in use
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		case <-e.log.fatal:
			return
		case <-e.etcd.Server.StopNotify():
			return
		}
		if !e.full() || triedAt != 0 && e.etcd.Server.KV().Rev() == triedAt {
			continue
		}
		before, at := e.etcd.Server.Backend().Size(), e.etcd.Server.KV().Rev()
		err := e.makeRoom(ctx)
		e.setSpace(err)
		if triedAt = 0; errors.Is(err, errFullOfUse) {
			triedAt = at
		}
		switch {
		case err == nil:
			e.log.log.Warn().Int64("bytes_before", before).Int64("bytes_after", e.etcd.Server.Backend().Size()).Msg("etcd was out of space; it was compacted and takes writes again")
		case ctx.Err() == nil:
			e.log.log.Error().Err(err).Msg("etcd is out of space")
		}
	}
}

// setSpace keeps why room could not be made, for Healthy.
func (e *Etcd) setSpace(err error) {
	e.space.mu.Lock()
	defer e.space.mu.Unlock()
	e.space.err = err
}

// spaceError returns why etcd takes no writes, or nil.
func (e *Etcd) spaceError() error {
	if !e.full() {
		return nil
	}
	e.space.mu.Lock()
	defer e.space.mu.Unlock()
	if e.space.err != nil {
		return e.space.err
	}
	return fault.New(fault.Unavailable, "etcd is out of space: it is compacted by itself")
}
