package registry

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
)

// session is a lease that is kept alive until it is lost or ended.
type session struct {
	*concurrency.Session
	r   *Registry
	cut context.CancelFunc // ends everything that the session does, also a question that etcd leaves unanswered

	steady *steadyLease
}

// newSession gets a lease and keeps it alive. It lives until end, also beyond ctx, which bounds the getting alone.
func (r *Registry) newSession(ctx context.Context) (*session, error) {
	granting, cancel := context.WithTimeout(ctx, callWait)
	defer cancel()
	lease, err := r.client.Grant(granting, int64(r.ttl/time.Second))
	if err != nil {
		return nil, err
	}
	r.leases.remember(lease.ID)
	life, cut := context.WithCancel(context.WithoutCancel(ctx))
	// A client of the session's own, over the same connection: what it does in the background ends with the session.
	client := clientv3.NewCtxClient(life)
	client.KV, client.Watcher = r.client.KV, r.client.Watcher
	steady := &steadyLease{Lease: r.client.Lease, ttl: r.ttl}
	client.Lease = steady
	s, err := concurrency.NewSession(client, concurrency.WithLease(lease.ID), concurrency.WithContext(life))
	if err != nil {
		cut()
		r.leases.abandon(lease.ID)
		return nil, err
	}
	return &session{Session: s, r: r, cut: cut, steady: steady}, nil
}

// end takes the lease back, so that its keys vanish at once. It waits for etcd for byeWait at most, also when ctx is over
// already. Error: what kept etcd from it; the lease then runs out by itself.
func (s *session) end(ctx context.Context) error {
	defer s.cut()
	s.Orphan()
	if err := s.r.revoke(context.WithoutCancel(ctx), s.Lease()); err != nil {
		s.r.leases.abandon(s.Lease())
		return err
	}
	s.r.leases.forget(s.Lease())
	return nil
}

// steadyLease keeps leases alive by asking anew each time, with a bound on each question. The client's own KeepAlive ends
// for good, for every lease of the client, at the first error that it does not know (too many requests, say).
type steadyLease struct {
	clientv3.Lease
	ttl time.Duration

	// patient leases are given up only when etcd says that they are gone: one that was stopped lets them live on when it is back.
	patient atomic.Bool
}

// KeepAlive renews the lease three times per lease time. The channel is closed when ctx ends, when etcd says that the lease
// is gone, or, unless the lease is patient, when no renewal that was asked for within the last lease time has succeeded.
func (l *steadyLease) KeepAlive(ctx context.Context, lease clientv3.LeaseID) (<-chan *clientv3.LeaseKeepAliveResponse, error) {
	answers := make(chan *clientv3.LeaseKeepAliveResponse, 1)
	go func() {
		defer close(answers)
		every := time.NewTicker(l.ttl / 3)
		defer every.Stop()
		for deadline := time.Now().Add(l.ttl); ; {
			asked := time.Now()
			answer, err := l.renew(ctx, lease, deadline)
			switch {
			case err == nil:
				deadline = asked.Add(l.ttl)
				select {
				case answers <- answer:
				default: // nobody is waiting for it
				}
			case errors.Is(err, rpctypes.ErrLeaseNotFound), !l.patient.Load() && !time.Now().Before(deadline):
				return
			}
			select {
			case <-every.C:
			case <-ctx.Done():
				return
			}
		}
	}()
	return answers, nil
}

// renew asks once. It looks first whether etcd answers at all: KeepAliveOnce repeats its question without a pause.
func (l *steadyLease) renew(ctx context.Context, lease clientv3.LeaseID, deadline time.Time) (*clientv3.LeaseKeepAliveResponse, error) {
	if least := time.Now().Add(l.ttl / 3); l.patient.Load() && deadline.Before(least) {
		deadline = least
	}
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	if _, err := l.TimeToLive(ctx, lease); err != nil {
		return nil, err
	}
	return l.KeepAliveOnce(ctx, lease)
}

// drop ends a session whose lease was lost: there is nothing to take back, but the lease may live on in etcd where only
// the answers were lost.
func (s *session) drop() {
	s.Orphan()
	s.cut()
	s.r.leases.abandon(s.Lease())
}
