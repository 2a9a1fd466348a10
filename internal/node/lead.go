package node

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/nats-io/nats.go"

	"waybill/embedded"
	"waybill/handlers"
	"waybill/internal/registry"
	"waybill/internal/rpc"
	"waybill/subjects"
)

// roles tells the site over NATS who leads, and asks it. etcd elects; where it is away, what is heard here decides whether somebody
// is missing. It need not be exact: the journal refuses what a second leader of the stock writes, and the background process
// does nothing that is not idempotent.
type roles struct {
	nc       *nats.Conn
	site     subjects.Site
	instance string
}

const (
	presenceWait = time.Second            // for the answer of whoever leads; one that is stopped does not answer
	rightPause   = 500 * time.Millisecond // the most between two questions, so that not everybody leads at once
)

func (n *life) openRoles() (*roles, error) {
	nc, err := n.store.connect(embedded.Front(subjects.Health))
	if err != nil {
		return nil, err
	}
	n.onStop("connection of the roles", func(context.Context) error { nc.Close(); return nil })
	return &roles{nc, n.opts.Config.Site, n.instance}, nil
}

// announce answers, until the returned function is called, that this instance leads.
func (r *roles) announce(role string) (end func(), err error) {
	sub, err := r.nc.Subscribe(subjects.Presence(r.site, role), func(m *nats.Msg) {
		_ = m.Respond([]byte(r.instance)) // who asked asks again
	})
	if err != nil {
		return nil, err
	}
	return func() { _ = sub.Unsubscribe() }, nil // its error is a connection that has ended
}

// unled reports whether nobody leads in a role. It asks twice: several processes that find a leader gone don't all take its place.
func (r *roles) unled(ctx context.Context, role string) bool {
	if r.led(ctx, role) {
		return false
	}
	select {
	case <-time.After(rand.N(rightPause)):
	case <-ctx.Done():
	}
	return !r.led(ctx, role) && ctx.Err() == nil
}

// led reports whether somebody answers for a role. Without a connection nobody can be asked, and nothing could be led.
func (r *roles) led(ctx context.Context, role string) bool {
	err := r.ask(ctx, role)
	return err == nil || !errors.Is(err, nats.ErrNoResponders) && !errors.Is(err, context.DeadlineExceeded)
}

// gone reports whether the NATS server knows that nobody answers for a role. One that is slow or stopped is not gone: its lease decides.
func (r *roles) gone(ctx context.Context, role string) bool {
	return errors.Is(r.ask(ctx, role), nats.ErrNoResponders)
}

// ask asks whoever leads in a role whether it is there.
func (r *roles) ask(ctx context.Context, role string) error {
	ctx, cancel := context.WithTimeout(ctx, presenceWait)
	defer cancel()
	_, err := r.nc.RequestWithContext(ctx, subjects.Presence(r.site, role), nil)
	return err
}

// campaign takes part in the election of a service's role until ctx ends, except while the service has to step aside.
func (s *services) campaign(ctx context.Context, service subjects.Service, role string, lead func(context.Context) error) {
	s.doctor.attend(ctx, service, func(ctx context.Context) {
		_ = s.n.registry.Campaign(ctx, role, func(ctx context.Context) error { // ends with ctx or the registry alone
			end, err := s.roles.announce(role)
			if err != nil {
				return err
			}
			defer end()
			return lead(ctx)
		}, registry.Fenced(func(ctx context.Context) bool { return s.roles.unled(ctx, role) }),
			registry.Heard(func(ctx context.Context) bool { return s.leaderGone(ctx, role) }))
	})
}

// leaderGone reports whether a role's leader may be struck out of etcd.
func (s *services) leaderGone(ctx context.Context, role string) bool {
	return s.roles.gone(ctx, role) && s.storeAnswers(ctx)
}

// storeAnswers reports whether the journal's own server can be asked. Who is cut off from it hears nobody, and could not lead.
func (s *services) storeAnswers(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, presenceWait)
	defer cancel()
	_, err := s.n.models.journal.Last(ctx)
	return err == nil
}

// lead takes part in the election of the stock's writer, and serves the stock while elected.
func (s *services) lead(ctx context.Context, r room, inventory *handlers.Inventory) {
	n := s.n
	leading, resign := context.WithCancel(ctx)
	following, unfollow := context.WithCancel(context.WithoutCancel(ctx)) // until the campaign is over
	ended, followed := make(chan struct{}), make(chan struct{})
	s.running.Go(func() {
		defer close(followed)
		inventory.Follow(following, r.journal)
	})
	s.running.Go(func() {
		defer close(ended)
		s.campaign(leading, subjects.Inventory, subjects.RoleInventory, func(ctx context.Context) error {
			return inventory.Lead(ctx, func(register func(*rpc.Server)) (func(), error) {
				// A subscription that ends while its connection is broken may come back with it, in the server alone, and swallow
				// requests. So each term answers on a connection of its own, and closes that.
				front, closeFront, err := n.store.bus(embedded.Front(r.service))
				if err != nil {
					return nil, err
				}
				r.front = front
				server, err := s.newServer(r, register)
				if err != nil {
					closeFront()
					return nil, err
				}
				s.leads.Store(true)
				return func() {
					s.leads.Store(false)
					s.forgetServer(r.service, server)
					stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Second)
					defer cancel()
					if err := server.Stop(stopping); err != nil {
						n.log.Warn().Err(err).Msg("requests to the stock were cut off")
					}
					closeFront()
				}, nil
			})
		})
	})
	n.onStop(string(subjects.Inventory), func(ctx context.Context) error {
		defer unfollow()
		resign()
		select {
		case <-ended:
		case <-ctx.Done():
			return errors.New("the stock was not given back in time")
		}
		unfollow()
		<-followed // it bounds itself
		return nil
	})
}

// forgetServer strikes out a server whose term is over.
func (s *services) forgetServer(service subjects.Service, server *rpc.Server) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.servers[service] == server {
		delete(s.servers, service)
	}
}

// missing says which of this process's roles nobody holds.
func (s *services) missing() []string {
	if !s.n.runs(subjects.Inventory) || s.leads.Load() {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second) // readiness is asked without a context
	defer cancel()
	leaders, err := s.n.registry.Leaders(ctx)
	if err != nil { // etcd is away: the leader can be heard all the same
		if s.roles.led(ctx, subjects.RoleInventory) {
			return nil
		}
		return []string{"roles: nobody leads the stock, and etcd is away"}
	}
	if leader, ok := leaders[subjects.RoleInventory]; !ok || leader == s.n.instance {
		return []string{"roles: the stock has not been claimed yet"}
	}
	return nil
}
