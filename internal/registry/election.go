package registry

import (
	"context"
	"errors"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"

	"waybill/internal/fault"
	"waybill/internal/id"
	"waybill/internal/sleep"
	"waybill/subjects"
)

// ErrLeadershipLost is the cause (context.Cause) of the end of a leader's context when its leadership was lost.
var ErrLeadershipLost = errors.New("the leadership was lost")

var errLeft = errors.New("lead has returned")

// CampaignOption changes how a role is campaigned for.
type CampaignOption func(*campaign)

// campaign is one instance's part in the election of a role.
type campaign struct {
	role   string
	lead   func(ctx context.Context) error
	fenced bool
	unled  func(ctx context.Context) bool // nil: never
	gone   func(ctx context.Context) bool // nil: never
}

// Fenced says that two leaders at once do no harm, because the journal refuses what one of them writes or because all that they
// do is idempotent. Such a leader goes on while etcd is away, and is told of a loss only when somebody else was elected. unled is
// asked while etcd is away and this instance does not lead; where it is true the instance leads by right. It may wait, until
// its context ends; nil is always false.
func Fenced(unled func(ctx context.Context) bool) CampaignOption {
	return func(c *campaign) { c.fenced, c.unled = true, unled }
}

// Heard has whoever waits for its turn ask every half second whether the leader is gone for certain, such as when the network
// knows of nobody who answers for the role. Where that is so several times in a row, the leader's key is struck out and the next
// candidate leads, without waiting for a lease to run out. It is for roles that are Fenced: a leader that lives all the same
// learns of it as of any loss.
func Heard(gone func(ctx context.Context) bool) CampaignOption {
	return func(c *campaign) { c.gone = gone }
}

const (
	goneInterval = 500 * time.Millisecond
	goneTimes    = 3 // in a row: who has just been elected needs a moment before it answers
)

// Campaign takes part in the election of a role until ctx or the registry ends, and returns nil then. Whenever this
// instance is elected it runs lead, one at a time, with a context that ends when the leadership is lost, when ctx ends or
// when the registry closes. Leadership is given up at once when lead returns; when it returned while it still led, the
// error is logged and the instance takes part again after a pause.
//
// A leader learns of its loss no later than its lease time after its last renewal. By then another may have been elected:
// what must not be done by two needs a fence of its own. Who has one says so with Fenced.
//
// Error: invalid_argument for a role that is no id; failed_precondition when the registry is closed.
func (r *Registry) Campaign(ctx context.Context, role string, lead func(ctx context.Context) error, options ...CampaignOption) error {
	if err := id.Check("role", role); err != nil {
		return err
	}
	c := campaign{role: role, lead: lead}
	for _, option := range options {
		option(&c)
	}
	ctx, leave, err := r.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	for ctx.Err() == nil {
		t, err := r.stand(ctx, c)
		if ctx.Err() != nil { // whatever was won in the last moment is given back
			t.resign(ctx)
			return nil
		}
		if err != nil {
			r.log.Debug().Err(err).Str("role", role).Msg("no part in the election; trying again")
			sleep.For(ctx, retryPause)
			continue
		}
		if err := r.serve(ctx, c, t); err != nil && ctx.Err() == nil {
			r.log.Warn().Err(err).Str("role", role).Msg("the function that leads has failed; taking part again")
		}
		sleep.For(ctx, retryPause)
	}
	return nil
}

var errNoElection = errors.New("etcd does not answer, and nothing says that nobody leads")

// stand waits until this instance may lead, and returns the term that it won; nil where it leads by right.
func (r *Registry) stand(ctx context.Context, c campaign) (*term, error) {
	if _, away := r.Degraded(); !away {
		return r.win(ctx, c)
	}
	if c.unled == nil || !c.unled(ctx) {
		return nil, errNoElection
	}
	r.log.Warn().Str("role", c.role).Msg("etcd does not answer and nobody leads; leading by right, behind the fence")
	return nil, nil
}

// enter counts a campaign in, so that Close waits for it, and returns a context that also ends with the registry.
func (r *Registry) enter(ctx context.Context) (context.Context, func(), error) {
	r.campaignMu.Lock()
	defer r.campaignMu.Unlock()
	if r.closed {
		return nil, nil, fault.New(fault.FailedPrecondition, "the registry is closed: nobody can be elected")
	}
	r.campaigns.Add(1)
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		select {
		case <-r.closing:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, func() {
		cancel()
		<-ended
		r.campaigns.Done()
	}, nil
}

// serve runs lead for one term (nil: by right) and gives the leadership up.
func (r *Registry) serve(ctx context.Context, c campaign, t *term) error {
	ctx, lose := context.WithCancelCause(ctx)
	held := make(chan *term, 1)
	go func() { held <- r.hold(ctx, c, t, lose) }()
	r.log.Info().Str("role", c.role).Msg("leading")
	err := c.lead(ctx)
	lose(errLeft)
	(<-held).resign(ctx)
	if errors.Is(context.Cause(ctx), ErrLeadershipLost) {
		r.log.Warn().Str("role", c.role).Msg("leadership lost")
		return nil // what lead says of it follows from that
	}
	r.log.Info().Str("role", c.role).Msg("no longer leading")
	return err
}

// hold watches over a leadership until ctx ends, and returns the term that is left to resign, nil for none. Who has no fence
// loses with its term. Who has one goes on, and stands for election again to be seen in etcd.
func (r *Registry) hold(ctx context.Context, c campaign, t *term, lose context.CancelCauseFunc) *term {
	for {
		if t != nil {
			select {
			case <-ctx.Done():
				return t
			case <-t.lost:
			}
			if !c.fenced {
				lose(ErrLeadershipLost) // first of all: what follows may have to wait for etcd
				return t
			}
			r.log.Warn().Str("role", c.role).Msg("the lease of the leadership was lost; leading on behind the fence, until somebody else is elected")
			t.resign(ctx)
			t = nil
		}
		sleep.For(ctx, retryPause)
		if ctx.Err() != nil {
			return nil
		}
		leaders, err := r.Leaders(ctx)
		if err != nil {
			continue
		}
		if other, ok := leaders[c.role]; ok && other != r.instance { // no right against somebody who was elected
			lose(ErrLeadershipLost)
			return nil
		}
		// Somebody else may come first in this moment: who waits behind another has to look again.
		standing, cancel := context.WithTimeout(ctx, callWait)
		if t, err = r.win(standing, c); err != nil {
			t = nil
		}
		cancel()
	}
}

// term is a leadership that was won.
type term struct {
	session *session
	key     string
	lost    chan struct{}      // closed when the leadership is over, whoever ended it, and guard with it
	cancel  context.CancelFunc // ends guard
}

// win stands for election until it is won. Error: whatever kept it from that; ctx's end among them.
func (r *Registry) win(ctx context.Context, c campaign) (*term, error) {
	s, err := r.newSession(ctx)
	if err != nil {
		return nil, err
	}
	standing, cancel := context.WithCancel(ctx)
	defer cancel()
	context.AfterFunc(s.Ctx(), cancel)
	// Campaign tidies up in the session's context when its own ends: that may not wait for an etcd that is away.
	tidy := context.AfterFunc(standing, func() { time.AfterFunc(byeWait, s.cut) })
	if c.gone != nil && c.fenced {
		listening, deaf := context.WithCancel(standing)
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			r.strikeOutTheGone(listening, c)
		}()
		defer func() { deaf(); <-ended }()
	}
	election := concurrency.NewElection(s.Session, subjects.LeaderKey(r.site, c.role))
	err = election.Campaign(standing, r.instance)
	tidied := !tidy()
	if err == nil && tidied {
		err = context.Cause(standing) // won in the moment in which it was given up
	}
	if err == nil {
		_, err = r.verify(ctx, election.Key(), election.Rev())
	}
	if err != nil {
		_ = s.end(ctx) // the lease is in the book: it is revoked later, or runs out
		return nil, err
	}
	s.steady.patient.Store(c.fenced)
	guarding, stop := context.WithCancel(context.WithoutCancel(ctx))
	context.AfterFunc(s.Ctx(), stop) // by a context, because the call that begins a watch waits for etcd
	t := &term{session: s, key: election.Key(), lost: make(chan struct{}), cancel: stop}
	go r.guard(guarding, t, election.Rev())
	return t, nil
}

// strikeOutTheGone deletes, until ctx ends, the key of each leader that is gone before its lease is.
func (r *Registry) strikeOutTheGone(ctx context.Context, c campaign) {
	var suspect *mvccpb.KeyValue // who led when it was first not heard
	for times := 0; ; {
		sleep.For(ctx, goneInterval)
		switch gone := c.gone(ctx); {
		case ctx.Err() != nil:
			return
		case !gone:
			times = 0
			continue
		}
		if times++; times == 1 {
			if suspect = r.elected(ctx, c.role); suspect == nil || string(suspect.Value) == r.instance {
				times = 0
			}
		}
		if times < goneTimes {
			continue
		}
		times = 0
		key := string(suspect.Key)
		asking, cancel := context.WithTimeout(ctx, callWait)
		done, err := r.client.Txn(asking).If(clientv3.Compare(clientv3.CreateRevision(key), "=", suspect.CreateRevision)).Then(clientv3.OpDelete(key)).Commit()
		cancel()
		if err == nil && done.Succeeded {
			r.log.Warn().Str("role", c.role).Str("leader", string(suspect.Value)).Msg("nobody answers for the leader; it is struck out, and the next one leads")
		}
	}
}

// elected is the key of whoever leads in a role, as etcd has it; nil where that is nobody, or can't be read.
func (r *Registry) elected(ctx context.Context, role string) *mvccpb.KeyValue {
	ctx, cancel := context.WithTimeout(ctx, callWait)
	defer cancel()
	got, err := r.client.Get(ctx, subjects.LeaderKey(r.site, role)+"/", clientv3.WithFirstCreate()...)
	if err != nil || len(got.Kvs) == 0 {
		return nil
	}
	return got.Kvs[0]
}

// verify makes sure that a candidate's key is still there, and returns the revision at which it was: Campaign looks at the
// keys before it only, and the lease may have run out while it waited. Error: ErrLeadershipLost where the key is gone.
func (r *Registry) verify(ctx context.Context, key string, created int64) (revision int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, callWait)
	defer cancel()
	got, err := r.client.Get(ctx, key)
	if err != nil {
		return 0, err
	}
	if len(got.Kvs) == 0 || got.Kvs[0].CreateRevision != created {
		return 0, ErrLeadershipLost
	}
	return got.Header.Revision, nil
}

// guard closes t.lost when the key is deleted, or when ctx ends, as it does when the lease is lost.
func (r *Registry) guard(ctx context.Context, t *term, created int64) {
	defer close(t.lost)
	for from := created + 1; !r.keyDeleted(ctx, t.key, from) && ctx.Err() == nil; {
		// The watch broke and says nothing: ask, and watch on from there (what lies before may have been compacted). While
		// etcd is away the lease decides.
		sleep.For(ctx, retryPause)
		switch revision, err := r.verify(ctx, t.key, created); {
		case errors.Is(err, ErrLeadershipLost):
			return
		case err == nil:
			from = revision + 1
		}
	}
}

// keyDeleted watches a leader's key from a revision on until it is deleted (true), or until the watch breaks or ctx ends (false).
func (r *Registry) keyDeleted(ctx context.Context, key string, from int64) bool {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for got := range r.client.Watch(ctx, key, clientv3.WithRev(from), clientv3.WithFilterPut()) {
		if got.Err() != nil {
			return false
		}
		for _, e := range got.Events {
			if e.Type == mvccpb.Event_DELETE {
				return true
			}
		}
	}
	return false
}

// resign gives the leadership up at once; the next candidate is elected. It does nothing for nil.
func (t *term) resign(ctx context.Context) {
	if t == nil {
		return
	}
	t.cancel()
	<-t.lost
	_ = t.session.end(ctx) // where etcd can't be told, the lease is in the book: it is revoked later, or runs out
}
