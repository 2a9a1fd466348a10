package embedded

import (
	"context"
	"errors"
	"strings"
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
	lookInterval = 2 * time.Second // two questions each, which an idle site pays for
	spaceWait    = 30 * time.Second
	spaceRest    = 10 * time.Second // between two tries where keys in use fill it: each writes the whole database
	spaceKept    = 1_000            // revisions of the past that stay, where that makes room enough
	spaceAfter   = 90               // percent of the quota that may be in use afterwards
)

// roomy is what is known of the tries to make room that failed for keys in use. One goroutine uses it.
type roomy struct {
	at   int64     // the revision of the last one; 0 is none
	when time.Time // it ended
}

var errFullOfUse = fault.New(fault.Unavailable, "etcd is out of space, and what fills it is in use: delete the keys that are not the site's (etcdctl get / --prefix --keys-only); the rest is done by itself within some 10 s")

// tendSpace makes room where etcd has raised the alarm, and returns why it takes no writes, or nil. What can't be done is tried again
// when the keys have changed, or after etcd's error, at the next look.
func (p *etcdProcess) tendSpace(ctx context.Context, now *etcdserverpb.StatusResponse) error {
	if !full(now) {
		p.space = roomy{}
		return nil
	}
	if s := p.space; s.at != 0 && (s.at == now.Header.Revision || time.Since(s.when) < spaceRest) {
		return errFullOfUse
	}
	p.setTrouble(fault.New(fault.Unavailable, "etcd is out of space: it is compacted by itself"))
	after, err := p.makeRoom(ctx, now)
	p.space = roomy{}
	switch {
	case err == nil:
		p.log.Warn().Int64("bytes_before", now.DbSize).Int64("bytes_after", after).Msg("etcd was out of space; it was compacted and takes writes again")
	case ctx.Err() == nil:
		p.log.Error().Err(err).Msg("etcd is out of space")
	}
	if errors.Is(err, errFullOfUse) {
		p.space = roomy{now.Header.Revision, time.Now()}
	}
	return err
}

// full reports whether etcd has raised the alarm.
func full(s *etcdserverpb.StatusResponse) bool {
	for _, text := range s.Errors {
		if strings.Contains(text, etcdserverpb.AlarmType_NOSPACE.String()) {
			return true
		}
	}
	return false
}

// makeRoom compacts and defragments etcd and takes its alarm back; it returns how many bytes the database has then. Error:
// errFullOfUse, or what kept it from that.
func (p *etcdProcess) makeRoom(ctx context.Context, now *etcdserverpb.StatusResponse) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, spaceWait)
	defer cancel()
	for _, revision := range []int64{now.Header.Revision - spaceKept, now.Header.Revision} {
		if revision <= 0 {
			continue
		}
		if _, err := p.client.Compact(ctx, revision, clientv3.WithCompactPhysical()); err != nil && !errors.Is(err, rpctypes.ErrCompacted) {
			return 0, fault.Wrap(err, fault.Unavailable, "etcd is out of space and can't be compacted")
		}
		if _, err := p.maintenance.Defragment(ctx, &etcdserverpb.DefragmentRequest{}); err != nil {
			return 0, fault.Wrap(err, fault.Unavailable, "etcd is out of space and can't be defragmented")
		}
		then, err := p.maintenance.Status(ctx, &etcdserverpb.StatusRequest{})
		if err != nil {
			return 0, fault.Wrap(err, fault.Unavailable, "etcd is out of space and does not answer")
		}
		if then.DbSize > then.DbSizeQuota/100*spaceAfter {
			continue
		}
		disarm := &etcdserverpb.AlarmRequest{Action: etcdserverpb.AlarmRequest_DEACTIVATE, MemberID: now.Header.MemberId, Alarm: etcdserverpb.AlarmType_NOSPACE}
		if _, err := p.maintenance.Alarm(ctx, disarm); err != nil {
			return 0, fault.Wrap(err, fault.Unavailable, "etcd has room again, but its alarm can't be taken back")
		}
		return then.DbSize, nil
	}
	return 0, errFullOfUse
}
