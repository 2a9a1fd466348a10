package registry

import (
	"context"
	"errors"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"waybill/internal/timestamp"
	"waybill/subjects"
)

// beat is the registry's pulse: about once a second it asks whether etcd answers, renews what was lost while it did not,
// and writes the health that has changed.
func (r *Registry) beat(ctx context.Context) {
	every := time.NewTicker(min(beatInterval, r.ttl/3))
	defer every.Stop()
	for {
		switch err := r.pulse(ctx); {
		case ctx.Err() != nil:
			return
		case err != nil:
			r.link.away(err)
			r.reconnectSoon()
		case r.link.back():
			r.wishResync()
		}
		select {
		case <-every.C:
		case <-r.health.kick:
		case <-ctx.Done():
			return
		}
	}
}

// reconnectSoon keeps the connection from waiting ever longer between its tries: etcd is to be found within seconds also
// when it was away for hours.
func (r *Registry) reconnectSoon() {
	if c := r.client.ActiveConnection(); c != nil { // a client inside the server's process has none
		c.ResetConnectBackoff()
	}
}

// pulse does one beat's work and returns the first thing that etcd did not do.
func (r *Registry) pulse(ctx context.Context) error {
	r.dropLostSession(ctx)
	asking, cancel := context.WithTimeout(ctx, callWait)
	defer cancel()
	if _, err := r.client.Get(asking, r.settings.config, clientv3.WithCountOnly()); err != nil {
		return err
	}
	if err := r.revokeDue(ctx); err != nil {
		return err
	}
	return r.writeHealth(ctx)
}

// dropLostSession forgets a session whose lease is gone. etcd may have lost more than the lease: a resync is wished for.
func (r *Registry) dropLostSession(ctx context.Context) {
	s := r.health.session
	if s == nil {
		return
	}
	select {
	case <-s.Done():
	default:
		return
	}
	if ctx.Err() == nil {
		r.replaceSession()
	}
}

// replaceSession lets the lost session go; the next pulse that has something to write takes a new one.
func (r *Registry) replaceSession() {
	r.log.Warn().Msg("the lease of this instance's health was lost; taking a new one")
	r.health.session.drop()
	r.health.session = nil
	r.health.lost()
	r.wishResync()
}

func (r *Registry) writeHealth(ctx context.Context) error {
	if s := r.health.session; s != nil && r.health.isOver() {
		r.health.session = nil
		return s.end(ctx)
	}
	list, err := r.health.collect(timestamp.Of(r.now()))
	if err != nil {
		r.log.Error().Err(err).Msg("health is not published")
		return nil // no fault of etcd
	}
	if len(list) == 0 {
		return nil
	}
	if r.health.session == nil {
		if r.health.session, err = r.newSession(ctx); err != nil {
			r.health.session = nil
			return err
		}
	}
	puts := make([]clientv3.Op, len(list))
	for i, c := range list {
		puts[i] = clientv3.OpPut(subjects.HealthKey(r.site, c.service, r.instance), c.text, clientv3.WithLease(r.health.session.Lease()))
	}
	writing, cancel := context.WithTimeout(ctx, callWait)
	defer cancel()
	_, err = r.client.Txn(writing).Then(puts...).Commit()
	if errors.Is(err, rpctypes.ErrLeaseNotFound) { // etcd knows of the loss before the session does
		r.replaceSession()
		return nil
	}
	if err != nil {
		return err
	}
	r.health.wrote(list)
	return nil
}
