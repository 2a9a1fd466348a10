package node

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"waybill/configs"
	"waybill/embedded"
	"waybill/handlers"
	"waybill/internal/fault"
	"waybill/internal/id"
	"waybill/internal/journal"
	"waybill/internal/registry"
	"waybill/internal/rpc"
	"waybill/internal/sandbox"
	"waybill/internal/vault"
	"waybill/subjects"
)

// services are the services of this process, each on a connection and with a user of its own.
type services struct {
	n       *Node
	cancel  context.CancelFunc // ends elections and the background process
	running sync.WaitGroup
	leads   atomic.Bool    // this process serves the stock
	vaults  []*vault.Vault // of each service; complete before the first request, as customer starts last

	mu      sync.Mutex
	servers map[subjects.Service]*rpc.Server
}

// streams creates the streams and consumers, or checks those that are there.
func (n *Node) streams(ctx context.Context) error {
	nc, err := n.store.connect("admin")
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	site := n.opts.Config.Site
	if err := embedded.EnsureStreams(ctx, js, site, 1); err != nil {
		return err
	}
	for _, durable := range subjects.Durables {
		if err := journal.EnsureConsumer(ctx, js, consumer(site, durable)); err != nil {
			return err
		}
	}
	return nil
}

// consumer is what a durable consumer of the site reads, and for how long it may be at one event.
func consumer(site subjects.Site, durable subjects.Durable) journal.ConsumerConfig {
	orders, shipments := subjects.EventsOf(site, subjects.KindOrder), subjects.EventsOf(site, subjects.KindShipment)
	filters := map[subjects.Durable][]string{
		subjects.DurablePlan: {orders}, subjects.DurableProcess: {shipments}, subjects.DurableNotify: {orders, shipments},
	}
	return journal.ConsumerConfig{Durable: durable, Filters: filters[durable], AckWait: consumerAckWait}
}

func (n *Node) openJournal(nc *nats.Conn) (*journal.Journal, error) {
	return journal.Open(nc, journal.Options{Site: n.opts.Config.Site, Barrier: n.barrier, Now: n.opts.Clock, Log: n.log, Reader: subjects.ReaderPrefix})
}

// serve starts the services of this process in the order of subjects.Services: who is called starts before its callers.
func (n *Node) serve(context.Context) error {
	ctx, cancel := context.WithCancel(context.Background()) // ended by stop
	s := &services{n: n, cancel: cancel, servers: make(map[subjects.Service]*rpc.Server)}
	n.services = s
	n.onStop("services", s.stopRunning)
	for _, service := range subjects.Services {
		if !slices.Contains(n.opts.Config.Services, service) {
			continue
		}
		if err := s.start(ctx, service); err != nil {
			return err
		}
		n.registry.Report(service, func() registry.Health { return s.health(service) })
	}
	return nil
}

// stopRunning ends what runs beside the endpoints. The endpoints themselves have been stopped before, callers first.
func (s *services) stopRunning(context.Context) error {
	s.cancel()
	s.running.Wait()
	return nil
}

// forget drops a customer's key from the memory of every service.
func (s *services) forget(customer id.Customer) {
	for _, v := range s.vaults {
		v.Forget(customer)
	}
}

// drainTime is how long a service may finish what it is at when the node stops.
const drainTime = 5 * time.Second

// room is what one service has to itself: a connection to the streams, and one on which it answers and asks.
type room struct {
	service subjects.Service
	nc      *nats.Conn
	front   *nats.Conn
	journal *journal.Journal
	calls   *rpc.Caller
}

func (s *services) room(service subjects.Service) (room, error) {
	nc, err := s.n.store.connect(string(service))
	if err != nil {
		return room{}, err
	}
	front, err := s.n.store.connect(embedded.Front(service))
	if err != nil {
		nc.Close()
		return room{}, err
	}
	s.n.onStop("connections of "+string(service), func(context.Context) error { nc.Close(); front.Close(); return nil })
	j, err := s.n.openJournal(nc)
	if err != nil {
		return room{}, err
	}
	return room{service, nc, front, j, rpc.NewCaller(front, s.n.opts.Config.Site)}, nil
}

// endpoints starts a service's endpoints, and has them stopped with the node.
func (s *services) endpoints(r room, register func(*rpc.Server)) error {
	server, err := s.newServer(r, register)
	if err != nil {
		return err
	}
	s.n.onStop(string(r.service), func(ctx context.Context) error {
		// What is at work gets a part of the time that there is: the callers of this service have been stopped before it, and those
		// that it calls are stopped after it.
		ctx, cancel := context.WithTimeout(ctx, drainTime)
		defer cancel()
		if err := server.Stop(ctx); err != nil {
			s.n.log.Warn().Err(err).Str("service", string(r.service)).Msg("requests were cut off; asked again with the same id they are finished")
		}
		return nil
	})
	return nil
}

func (s *services) newServer(r room, register func(*rpc.Server)) (*rpc.Server, error) {
	n := s.n
	server, err := rpc.NewServer(r.front, r.service, rpc.Options{
		Site: n.opts.Config.Site, Instance: n.instance, Version: n.opts.Version, Description: "Waybill " + string(r.service),
		Barrier: n.barrier, MaxInFlight: func() int { return int(n.live.Int(configs.RPCMaxInFlight)) },
		Log: n.levels.logger(n.opts.Log, r.service), Observe: s.observe,
	})
	if err != nil {
		return nil, err
	}
	register(server)
	if err := server.Start(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.servers[r.service] = server
	return server, nil
}

func (s *services) observe(o rpc.Observation) {
	if hook := s.n.opts.Hook; hook != nil {
		hook("reply " + string(o.Service) + "." + o.Method)
	}
}

// start starts one service. This is the one list of what runs in a site.
func (s *services) start(ctx context.Context, service subjects.Service) error {
	n := s.n
	r, err := s.room(service)
	if err != nil {
		return err
	}
	site, clock, hook, log := n.opts.Config.Site, handlers.Clock(n.opts.Clock), handlers.Hook(n.opts.Hook), n.levels.logger(n.opts.Log, service)
	keys := vault.Open(n.store.master, journal.OpenStream(r.nc, subjects.StreamKeys, ""), site)
	s.vaults = append(s.vaults, keys)
	switch service {
	case subjects.Journal:
		var store handlers.Store
		if n.store.own != nil {
			store = n.barrier
		}
		return s.endpoints(r, handlers.NewJournals(store, n.sealFile(), n.models).Register)
	case subjects.Config:
		return s.endpoints(r, handlers.NewConfig(n.registry).Register)
	case subjects.Health:
		return s.endpoints(r, handlers.NewHealth(n.registry).Register)
	case subjects.Dead:
		return s.endpoints(r, handlers.NewDead(journal.OpenStream(r.nc, subjects.StreamDead, ""), r.calls, site).Register)
	case subjects.Catalog:
		return s.endpoints(r, handlers.NewCatalog(r.journal, n.lists, site, clock).Register)
	case subjects.Inventory:
		inventory := handlers.NewInventory(handlers.InventoryDeps{
			Connect: s.unbroken, Live: n.live, Site: site, Clock: clock, Log: log, Hook: hook, Instance: n.instance,
			Barrier: n.barrier, LowSpace: n.space.low, Snapshot: filepath.Join(n.opts.Config.Data, "stock.snapshot"),
		})
		s.lead(ctx, r, inventory)
		return nil
	case subjects.Payment:
		gateway := sandbox.New(journal.OpenStream(r.nc, subjects.StreamSandbox, ""), sandbox.Options{Site: site, Sync: n.barrier.Sync, Now: n.opts.Clock})
		return s.endpoints(r, handlers.NewPayments(handlers.PaymentsDeps{
			Journal: r.journal, Calls: r.calls, Gateway: gateway, Books: books{gateway}, Vault: keys, Barrier: n.barrier, Live: n.live,
			Site: site, Clock: clock, Log: log, Hook: hook,
		}).Register)
	case subjects.Order:
		orders := handlers.NewOrders(handlers.OrdersDeps{
			Journal: r.journal, Calls: r.calls, Vault: keys, Lists: n.lists, Live: n.live, Site: site, Clock: clock, Log: log, Hook: hook, HashKey: n.hashKey, LowSpace: n.space.low,
		})
		process := handlers.NewProcess(orders, n.models.view)
		if err := s.endpoints(r, orders.Register); err != nil {
			return err
		}
		s.running.Go(func() {
			_ = n.registry.Campaign(ctx, subjects.RoleProcess, func(ctx context.Context) error { // ends with ctx alone
				process.Run(ctx)
				return nil
			})
		})
		return s.consume(r, subjects.DurableProcess, orders.Progress)
	case subjects.Shipping:
		shipping := handlers.NewShipping(handlers.ShippingDeps{
			Journal: r.journal, Calls: r.calls, Lists: n.lists, Live: n.live, Site: site, Clock: clock, Log: log, Hook: hook,
		})
		if err := s.endpoints(r, shipping.Register); err != nil {
			return err
		}
		return s.consume(r, subjects.DurablePlan, shipping.Plan)
	case subjects.Notification:
		channel := n.opts.Channel
		if channel == nil {
			channel = handlers.LogChannel{Log: log}
		}
		notifications := handlers.NewNotifications(handlers.NotificationsDeps{
			Journal: r.journal, Lists: n.lists, Channel: channel, Site: site, Clock: clock, Log: log, Hook: hook,
		})
		if err := s.endpoints(r, notifications.Register); err != nil {
			return err
		}
		return s.consume(r, subjects.DurableNotify, notifications.Notify)
	case subjects.Webhook:
		return s.endpoints(r, handlers.NewWebhooks(handlers.WebhooksDeps{
			Journal: r.journal, Vault: keys, Lists: n.lists, Site: site, Clock: clock, Log: log, Hook: hook,
		}).Register)
	case subjects.Customer:
		return s.endpoints(r, handlers.NewCustomers(keys, s.forget, n.barrier.Sync).Register)
	}
	return fault.New(fault.Internal, "nobody knows how to start the service %s", service)
}

// consumerAckWait is the longest that one event may be at work, and so how long after a crash the events that were at work then
// wait until they come again.
const consumerAckWait = 10 * time.Second

// consume starts a durable consumer on a connection of its own, so that its batches don't hold up requests.
func (s *services) consume(r room, durable subjects.Durable, handle func(context.Context, journal.Record) error) error {
	n := s.n
	nc, err := n.store.connect(string(r.service))
	if err != nil {
		return err
	}
	n.onStop("consumer connection of "+string(r.service), func(context.Context) error { nc.Close(); return nil })
	j, err := n.openJournal(nc)
	if err != nil {
		return err
	}
	c := consumer(n.opts.Config.Site, durable)
	c.Handle, c.Workers, c.MaxTries, c.Log = handle, 8, 12, n.levels.logger(n.opts.Log, r.service)
	if durable == subjects.DurableNotify {
		c.Backoff = []time.Duration{n.live.Duration(configs.NotificationRetryInterval)}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second) // of the start alone
	defer cancel()
	stop, err := j.Consume(ctx, c)
	if err != nil {
		return err
	}
	n.onStop("consumer "+string(durable), stop)
	return nil
}

// unbroken implements handlers.Connect.
func (s *services) unbroken(lost func(error)) (*journal.Journal, func(), error) {
	nc, err := s.n.store.connect(string(subjects.Inventory), nats.NoReconnect(), nats.ClosedHandler(func(*nats.Conn) {
		lost(fault.New(fault.Unavailable, "the stock's connection to the journal is lost"))
	}))
	if err != nil {
		return nil, nil, err
	}
	j, err := s.n.openJournal(nc)
	if err != nil {
		nc.Close()
		return nil, nil, err
	}
	return j, nc.Close, nil
}

// lead takes part in the election of the stock's writer, and serves the stock while elected.
func (s *services) lead(ctx context.Context, r room, inventory *handlers.Inventory) {
	n := s.n
	leading, resign := context.WithCancel(ctx)
	ended := make(chan struct{})
	s.running.Go(func() {
		defer close(ended)
		_ = n.registry.Campaign(leading, subjects.RoleInventory, func(ctx context.Context) error { // ends with leading alone
			return inventory.Lead(ctx, func(register func(*rpc.Server)) (func(), error) {
				server, err := s.newServer(r, register)
				if err != nil {
					return nil, err
				}
				s.leads.Store(true)
				return func() {
					s.leads.Store(false)
					stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Second)
					defer cancel()
					if err := server.Stop(stopping); err != nil {
						n.log.Warn().Err(err).Msg("requests to the stock were cut off")
					}
				}, nil
			})
		})
	})
	n.onStop(string(subjects.Inventory), func(ctx context.Context) error {
		resign()
		select {
		case <-ended:
			return nil
		case <-ctx.Done():
			return errors.New("the stock was not given back in time")
		}
	})
}

// missing says which of this process's roles nobody holds.
func (s *services) missing() []string {
	run := s.n.opts.Config.Services
	if !slices.Contains(run, subjects.Inventory) || s.leads.Load() {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second) // readiness is asked without a context
	defer cancel()
	leaders, err := s.n.registry.Leaders(ctx)
	if err != nil {
		return []string{"roles: etcd does not say who leads the inventory"}
	}
	if leader, ok := leaders[subjects.RoleInventory]; !ok || leader == s.n.instance {
		return []string{"roles: the stock has not been claimed yet"}
	}
	return nil
}

// health is what a service's instance says of itself.
func (s *services) health(service subjects.Service) registry.Health {
	n := s.n
	h := registry.Health{Status: registry.Passing, Version: n.opts.Version, Requests: map[string]uint64{}}
	worst := func(status registry.Status, name, message string) {
		h.Checks = append(h.Checks, registry.Check{Name: name, Status: status, Message: message})
		if status == registry.Critical || (status == registry.Warning && h.Status == registry.Passing) {
			h.Status = status
		}
	}
	check := func(name string, bad registry.Status, err error) {
		if err != nil {
			worst(bad, name, fault.From(err).Message)
			return
		}
		worst(registry.Passing, name, "")
	}
	if n.store.own != nil {
		check("nats", registry.Critical, n.store.own.Healthy())
	}
	check("durability", registry.Critical, n.barrier.Err())
	if n.space.low() {
		worst(registry.Warning, "space", "the file system is almost full: new orders are refused")
	} else {
		worst(registry.Passing, "space", "")
	}
	if behind := n.models.missing(); len(behind) > 0 {
		worst(registry.Warning, "read models", strings.Join(behind, ", "))
	} else {
		worst(registry.Passing, "read models", "")
	}
	s.mu.Lock()
	server := s.servers[service]
	s.mu.Unlock()
	if server != nil {
		for _, e := range server.Stats().Endpoints {
			h.Requests["handled"] += e.Count
			for _, count := range e.Errors {
				h.Requests["failed"] += count
			}
			h.Requests["refused"] += e.Errors[fault.ResourceExhausted]
		}
	}
	return h
}

// books shows the sandbox gateway's ledger as the contract has it.
type books struct{ *sandbox.Gateway }

func (b books) Ledger(ctx context.Context, cursor string, limit int) ([]subjects.LedgerEntry, string, error) {
	entries, next, err := b.Gateway.Ledger(ctx, cursor, limit)
	out := make([]subjects.LedgerEntry, len(entries))
	for i, e := range entries {
		out[i] = subjects.LedgerEntry{Time: e.Time, Operation: string(e.Operation), PaymentID: id.Payment(e.PaymentID), ID: e.ID, Amount: e.Amount, Result: string(e.Result)}
	}
	return out, next, err
}
