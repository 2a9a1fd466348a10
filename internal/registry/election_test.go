package registry

import (
	"context"
	"errors"
	"maps"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"waybill/internal/fault"
	"waybill/subjects"
)

const role = subjects.RoleInventory

// terms is a function that leads until it is told to stop, and tells of it.
type terms struct {
	began chan string   // instance
	over  chan error    // the cause of the end
	quit  chan error    // makes the leader return this
	left  chan struct{} // holds up the return after the end, where it is not nil
}

func newTerms() *terms {
	return &terms{began: make(chan string, 10), over: make(chan error, 10), quit: make(chan error)}
}

// campaign lets an instance take part; the channel gets what Campaign returns.
func (m *terms) campaign(t *testing.T, n node, ctx context.Context, options ...CampaignOption) <-chan error {
	t.Helper()
	stopped := make(chan error, 1)
	go func() {
		stopped <- n.Campaign(ctx, role, func(ctx context.Context) error {
			m.began <- n.instance
			select {
			case <-ctx.Done():
				m.over <- context.Cause(ctx)
				if m.left != nil {
					<-m.left
				}
				return ctx.Err()
			case err := <-m.quit:
				return err
			}
		}, options...)
	}()
	return stopped
}

func TestOneLeadsAndHandsOver(t *testing.T) {
	t.Parallel()
	a, b := open(t, "a", nil), open(t, "b", nil)
	ofA, ofB := newTerms(), newTerms()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	stopped := ofA.campaign(t, a, ctx)
	next(t, ofA.began, "the election of a")
	if got, want := must[map[string]string](t)(b.Leaders(t.Context())), map[string]string{role: "a"}; !maps.Equal(got, want) {
		t.Errorf("the leaders are %v, want %v", got, want)
	}
	ofB.campaign(t, b, t.Context())
	candidates := subjects.LeaderKey(site(t), role) + "/"
	until(t, "b stands for election as well", func() bool {
		return must[*clientv3.GetResponse](t)(b.client.Get(t.Context(), candidates, clientv3.WithPrefix(), clientv3.WithCountOnly())).Count == 2
	})
	if got := must[map[string]string](t)(b.Leaders(t.Context())); got[role] != "a" || len(ofB.began) != 0 {
		t.Errorf("with two candidates the leaders are %v, and b leads %d times", got, len(ofB.began))
	}
	began := time.Now()
	stop()
	next(t, ofB.began, "the handover")
	if took := time.Since(began); took > time.Second {
		t.Errorf("after a clean stop the handover took %s", took)
	}
	if err := next(t, stopped, "the end of a's campaign"); err != nil {
		t.Error(err)
	}
	if cause := next(t, ofA.over, "the end of a's term"); !errors.Is(cause, context.Canceled) {
		t.Errorf("a was told that it ended by %v", cause)
	}
}

// TestNobodyLeadsBesideALeaderThatDrains keeps the leadership until lead has returned, for longer than a lease lives without
// being renewed; so does the health.
func TestNobodyLeadsBesideALeaderThatDrains(t *testing.T) {
	t.Parallel()
	a, b := open(t, "a", func(o *Options) { o.TTL = time.Second }), open(t, "b", nil)
	ofA, ofB := newTerms(), newTerms()
	ofA.left = make(chan struct{})
	health := keyWatch(t, b.client, subjects.HealthKey(site(t), subjects.Order, "a"))
	a.Report(subjects.Order, passing)
	next(t, health, "the report")
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ofA.campaign(t, a, ctx)
	next(t, ofA.began, "the election of a")
	ofB.campaign(t, b, t.Context())
	stop()
	next(t, ofA.over, "the wish that a stop")
	select {
	case <-ofB.began:
		t.Error("b leads while a still does")
	case got := <-health:
		t.Errorf("the health of a changed to %q by itself", got)
	case <-time.After(2 * time.Second): // nothing announces that nothing happens
	}
	close(ofA.left)
	next(t, ofB.began, "the handover")
}

func TestDeathOfALeader(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "settings.json")
	a := open(t, "a", func(o *Options) { o.StateFile = file })
	dead := must[*session](t)(a.newSession(t.Context())) // what a killed process leaves behind: a candidate's key under a lease
	if _, err := a.client.Put(t.Context(), subjects.LeaderKey(site(t), role)+"/1", "a", clientv3.WithLease(dead.Lease())); err != nil {
		t.Fatal(err)
	}
	dead.Orphan()
	dead.cut()
	a.crash()

	second := open(t, "a", func(o *Options) { o.StateFile = file })
	term := newTerms()
	began := time.Now()
	term.campaign(t, second, t.Context())
	if err := second.RevokeFormer(t.Context()); err != nil {
		t.Fatal(err)
	}
	next(t, term.began, "the election")
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("the successor in the same directory led after %s", took)
	}
}

// TestLeaderThatIsGone leaves a leader's key behind, as a process does that was killed. Who waits for its place does not wait for its
// lease where nobody answers for the role any more, and leaves it alone where somebody was heard in between.
func TestLeaderThatIsGone(t *testing.T) {
	t.Parallel()
	long := func(o *Options) { o.TTL = time.Minute }
	a, b := open(t, "a", long), open(t, "b", long)
	dead := must[*session](t)(a.newSession(t.Context()))
	if _, err := a.client.Put(t.Context(), subjects.LeaderKey(site(t), role)+"/1", "a", clientv3.WithLease(dead.Lease())); err != nil {
		t.Fatal(err)
	}
	dead.Orphan()
	dead.cut()
	var asked atomic.Int64
	var over atomic.Bool
	term := newTerms()
	term.campaign(t, b, t.Context(), Fenced(nil), Heard(func(context.Context) bool {
		n := asked.Add(1)
		return over.Load() || n%goneTimes != 0
	}))
	until(t, "it was asked often", func() bool { return asked.Load() > 2*goneTimes })
	if len(term.began) != 0 {
		t.Fatal("b leads beside somebody who is heard")
	}
	over.Store(true)
	began := time.Now()
	next(t, term.began, "the election")
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("b led %s after a was gone", took)
	}
}

// TestLossIsTold deletes a leader's key behind its back, then takes its lease.
func TestLossIsTold(t *testing.T) {
	t.Parallel()
	a := open(t, "a", nil)
	term := newTerms()
	term.campaign(t, a, t.Context())
	for _, take := range []func(key string, lease clientv3.LeaseID) error{
		func(key string, _ clientv3.LeaseID) error { return second2(a.client.Delete(t.Context(), key)) },
		func(_ string, lease clientv3.LeaseID) error { return second2(a.client.Revoke(t.Context(), lease)) },
	} {
		next(t, term.began, "the election")
		kv := must[*clientv3.GetResponse](t)(a.client.Get(t.Context(), subjects.LeaderPrefix(site(t)), clientv3.WithPrefix())).Kvs[0]
		began := time.Now()
		if err := take(string(kv.Key), clientv3.LeaseID(kv.Lease)); err != nil {
			t.Fatal(err)
		}
		if cause := next(t, term.over, "the loss"); !errors.Is(cause, ErrLeadershipLost) || time.Since(began) > time.Second {
			t.Errorf("after %s the leader was told %v", time.Since(began), cause)
		}
	}
	next(t, term.began, "the election after the losses")
}

func TestFailureOfALeader(t *testing.T) {
	t.Parallel()
	a := open(t, "a", nil)
	term := newTerms()
	term.campaign(t, a, t.Context())
	for range 2 {
		next(t, term.began, "the election")
		term.quit <- errors.New("boom")
	}
	next(t, term.began, "the election after failures")
	if n := a.log.count("boom"); n != 2 {
		t.Errorf("two failures are logged %d times", n)
	}
}

// TestEtcdAwayWhileLeading takes etcd away from two leaders: the one without a fence loses and another follows it, the one with
// a fence goes on and is seen in etcd again when that is back.
func TestEtcdAwayWhileLeading(t *testing.T) {
	t.Parallel()
	wire := startProxy(t)
	cutOff := func(o *Options) { o.Client, o.TTL = dial(t, wire.addr), time.Second }
	bare, other := open(t, "bare", cutOff), open(t, "other", nil)
	fenced := open(t, "fenced", func(o *Options) { cutOff(o); o.Site = site(t) + "-fenced" })
	ofBare, ofOther, ofFenced := newTerms(), newTerms(), newTerms()
	ofBare.campaign(t, bare, t.Context())
	stopped := ofFenced.campaign(t, fenced, t.Context(), Fenced(nil))
	next(t, ofBare.began, "the election of bare")
	next(t, ofFenced.began, "the election of fenced")
	ofOther.campaign(t, other, t.Context())

	began := time.Now()
	wire.set(true)
	if cause := next(t, ofBare.over, "the loss"); !errors.Is(cause, ErrLeadershipLost) || time.Since(began) > 2500*time.Millisecond {
		t.Errorf("who has no fence was told %v after %s, with a lease of 1 s", cause, time.Since(began))
	}
	next(t, ofOther.began, "the election of the other")
	until(t, "etcd has let the lease run out", func() bool {
		held := must[*clientv3.GetResponse](t)(other.client.Get(t.Context(), subjects.LeaderPrefix(site(t)+"-fenced"), clientv3.WithPrefix()))
		return len(held.Kvs) == 0
	})
	wire.set(false)
	until(t, "etcd shows the fenced leader again", func() bool {
		leaders, err := fenced.Leaders(t.Context())
		return err == nil && leaders[role] == "fenced"
	})
	if len(ofFenced.over) != 0 || len(ofFenced.began) != 0 || len(ofBare.began) != 0 {
		t.Errorf("the fenced leader lost its leadership %d times, who lost it leads %d times again", len(ofFenced.over), len(ofBare.began))
	}
	if err := fenced.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := next(t, stopped, "the end of the campaign"); err != nil {
		t.Error(err)
	}
	held := must[*clientv3.GetResponse](t)(other.client.Get(t.Context(), subjects.LeaderPrefix(site(t)+"-fenced"), clientv3.WithPrefix()))
	if len(held.Kvs) != 0 {
		t.Errorf("after a clean stop etcd holds %v", held.Kvs)
	}
}

// TestEtcdComesBackToItsLeader stops etcd for longer than a lease and starts it again: the leader, whose lease was waiting in it,
// leads on, and the one who waits for its place goes on waiting.
func TestEtcdComesBackToItsLeader(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	e := startEtcd(t, dir, "127.0.0.1:0")
	// The leader must renew its lease within its three seconds once etcd is back: its client redials ten times a second. And its connection is
	// cut first, because an etcd with clients may take five seconds for its end, in which leases run out.
	const lease = 3 * time.Second
	wire := startProxyTo(t, e.addr)
	short := func(o *Options) { o.Client, o.TTL = dial(t, wire.addr, redialOften), lease }
	a, b := open(t, "a", short), open(t, "b", short)
	ofA, ofB := newTerms(), newTerms()
	never := Fenced(func(context.Context) bool { return false })
	ofA.campaign(t, a, t.Context(), never)
	next(t, ofA.began, "the election of a")
	ofB.campaign(t, b, t.Context(), never)
	wire.set(true)
	e.Close()
	until(t, "b knows that etcd is away", func() bool { _, away := b.Degraded(); return away })
	time.Sleep(lease + lease/4)                    // nothing announces that nothing happens
	wire.to(startEtcd(t, dir, "127.0.0.1:0").addr) // another program may have taken the port by now
	back := time.Now()
	until(t, "all is well", func() bool {
		_, awayA := a.Degraded()
		_, awayB := b.Degraded()
		leaders, err := b.Leaders(t.Context())
		return !awayA && !awayB && err == nil && leaders[role] == "a"
	})
	if took := time.Since(back); took > 5*time.Second {
		t.Errorf("all was well %s after etcd came back", took)
	}
	if len(ofA.over)+len(ofB.began) != 0 {
		t.Errorf("the leader lost its leadership %d times, the other led %d times", len(ofA.over), len(ofB.began))
	}
}

// TestLeadingByRight begins without etcd, where nobody leads, and gives way to somebody who was elected.
func TestLeadingByRight(t *testing.T) {
	t.Parallel()
	wire := startProxy(t)
	wire.set(true)
	other := open(t, "other", nil)
	ofOther := newTerms()
	ofOther.campaign(t, other, t.Context())
	next(t, ofOther.began, "the election of the other")

	a := open(t, "a", func(o *Options) { o.Client = dial(t, wire.addr) })
	term, asked, led := newTerms(), make(chan struct{}, 100), make(chan bool)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	stopped := term.campaign(t, a, ctx, Fenced(func(ctx context.Context) bool {
		asked <- struct{}{}
		select {
		case answer := <-led:
			return answer
		case <-ctx.Done():
			return false
		}
	}))
	for range 2 {
		next(t, asked, "the question whether anybody leads")
		led <- false
	}
	next(t, asked, "the question whether anybody leads")
	if len(term.began) != 0 {
		t.Error("led beside somebody who leads")
	}
	led <- true
	next(t, term.began, "the leadership by right")
	wire.set(false)
	if cause := next(t, term.over, "the loss"); !errors.Is(cause, ErrLeadershipLost) {
		t.Errorf("against somebody who was elected it was told %v", cause)
	}
	stop()
	if err := next(t, stopped, "the end of the campaign"); err != nil {
		t.Error(err)
	}
}

func TestCampaignRefuses(t *testing.T) {
	t.Parallel()
	a := open(t, "a", nil)
	never := func(context.Context) error { t.Error("nobody was to lead"); return nil }
	if err := a.Campaign(t.Context(), "a/b", never); fault.CodeOf(err) != fault.InvalidArgument {
		t.Errorf("a role with a slash: %v", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := a.Campaign(ended, role, never); err != nil {
		t.Errorf("a context that has ended: %v", err)
	}
	if err := a.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := a.Campaign(t.Context(), role, never); fault.CodeOf(err) != fault.FailedPrecondition {
		t.Errorf("a closed registry: %v", err)
	}
}
