package node

import (
	"context"
	"maps"
	"path/filepath"
	"slices"
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
	"waybill/internal/lean"
	"waybill/internal/paygate"
	"waybill/internal/registry"
	"waybill/internal/rpc"
	"waybill/internal/sandbox"
	"waybill/internal/vault"
	"waybill/subjects"
)

// services are the services of this process, each on a connection and with a user of its own.
type services struct {
	n       *life
	cancel  context.CancelFunc // ends elections and the background process
	running sync.WaitGroup
	roles   *roles
	doctor  *doctor
	leads   atomic.Bool      // this process serves the stock
	prices  *handlers.Prices // what orders pay; nil where this process takes none
	vaults  []*vault.Vault   // of each service; complete before the first request, as customer starts last

	mu      sync.Mutex
	servers map[subjects.Service]*rpc.Server
}

// streams creates the streams and consumers, or checks those that are there.
func (n *life) streams(ctx context.Context) error {
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
	filter := map[subjects.Durable]string{
		subjects.DurablePlan: orders, subjects.DurableProcess: shipments,
		subjects.DurableNotify: orders, subjects.DurableNotifyShipments: shipments,
	}[durable]
	return journal.ConsumerConfig{Durable: durable, Filter: filter, AckWait: consumerAckWait}
}

// openJournal opens the journal on a connection; link and feed may be nil.
func (n *life) openJournal(nc *nats.Conn, link lean.Link, feed lean.Bus) (*journal.Journal, error) {
	return journal.Open(nc, journal.Options{Link: link, Feed: feed, Site: n.opts.Config.Site, Barrier: n.barrier, Now: n.opts.Clock, Log: n.log, Reader: subjects.ReaderPrefix, Recent: n.recent})
}

// serve starts the services of this process in the order of subjects.Services: who is called starts before its callers.
func (n *life) serve(context.Context) error {
	ctx, cancel := context.WithCancel(context.Background()) // ended by stop
	s := &services{n: n, cancel: cancel, servers: make(map[subjects.Service]*rpc.Server)}
	n.services = s
	n.onStop("services", s.stopRunning)
	if slices.Contains(n.opts.Config.Services, subjects.Order) {
		s.prices = handlers.NewPrices(n.opts.Config.Site)
	}
	var err error
	if s.roles, err = n.openRoles(); err != nil {
		return err
	}
	s.doctor = newDoctor(s)
	for _, service := range subjects.Services {
		if !n.runs(service) {
			continue
		}
		if err := s.start(ctx, service); err != nil {
			return err
		}
	}
	if err := s.lookForGone(ctx); err != nil {
		return err
	}
	s.doctor.begin() // last: it looks at those that run
	for _, service := range n.opts.Config.Services {
		n.registry.Report(service, func() registry.Health { return s.doctor.health(service) })
	}
	return nil
}

// runs reports whether a service is one of this process's.
func (n *life) runs(service subjects.Service) bool {
	return slices.Contains(n.opts.Config.Services, service)
}

// serving is the servers that answer at this moment, by service.
func (s *services) serving() map[subjects.Service]*rpc.Server {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.servers)
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
	link    lean.Link // beside nc
	front   lean.Bus
	journal *journal.Journal
	calls   *rpc.Caller
}

// onTheWay are the services on the way of an order, which have a connection to the streams for their requests alone.
var onTheWay = []subjects.Service{subjects.Order, subjects.Payment, subjects.Shipping, subjects.Notification}

func (s *services) room(service subjects.Service) (room, error) {
	n := s.n
	nc, err := n.store.connect(string(service))
	if err != nil {
		return room{}, err
	}
	n.onStop("connection of "+string(service), func(context.Context) error { nc.Close(); return nil })
	front, closeFront, err := n.store.bus(embedded.Front(service))
	if err != nil {
		return room{}, err
	}
	n.onStop("connection of "+embedded.Front(service), func(context.Context) error { closeFront(); return nil })
	r := room{service: service, nc: nc, link: lean.Over(nc), front: front, calls: rpc.NewCaller(front, n.opts.Config.Site)}
	if slices.Contains(onTheWay, service) {
		link, closeLink, err := n.store.link(string(service), nc, false, nil)
		if err != nil {
			return room{}, err
		}
		r.link = link
		n.onStop("link of "+string(service), func(context.Context) error { closeLink(); return nil })
	}
	r.journal, err = n.openJournal(nc, r.link, nil)
	return r, err
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

// brisk are the methods that shed what they can't answer soon. Under 10 times as many orders as the site can take, those that it takes
// are to be confirmed within 250 ms, all but one in a hundred.
var brisk = map[subjects.Service]map[string]time.Duration{subjects.Order: {subjects.OrderPlace.Method: 75 * time.Millisecond}}

func (s *services) newServer(r room, register func(*rpc.Server)) (*rpc.Server, error) {
	n := s.n
	server, err := rpc.NewServer(r.front, r.service, rpc.Options{
		Site: n.opts.Config.Site, Instance: n.instance, Version: n.opts.Version, Description: "Waybill " + string(r.service),
		Barrier: n.barrier, MaxInFlight: func() int { return n.live.MaxInFlight(r.service) }, Brisk: brisk[r.service],
		Log: n.levels.logger(n.opts.Log, r.service), Observe: s.observe, Refuse: n.opts.Refuse,
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
	keys := vault.Open(n.store.master, journal.OpenStream(r.nc, subjects.StreamKeys, "").Over(r.link), site)
	s.vaults = append(s.vaults, keys)
	switch service {
	case subjects.Journal:
		var store handlers.Store
		if n.store.own != nil {
			store = servedStore{n.barrier, n.store.own.ServerID()}
		}
		return s.endpoints(r, handlers.NewJournals(store, n.sealFile(), n.models).Register)
	case subjects.Config:
		settings := handlers.NewConfig(n.registry, n.live)
		if err := s.endpoints(r, settings.Register); err != nil {
			return err
		}
		n.onStop("watchers of the settings", func(context.Context) error { settings.Quit(); return nil }) // before its endpoints are drained
		return nil
	case subjects.Health:
		return s.endpoints(r, handlers.NewHealth(n.registry, s.doctor).Register)
	case subjects.Dead:
		return s.endpoints(r, handlers.NewDead(journal.OpenStream(r.nc, subjects.StreamDead, ""), r.calls, site).Register)
	case subjects.Catalog:
		return s.endpoints(r, handlers.NewCatalog(r.journal, n.lists, s.prices, site, clock).Register)
	case subjects.Inventory:
		inventory := handlers.NewInventory(handlers.InventoryDeps{
			Connect: s.unbroken, Live: n.live, Site: site, Clock: clock, Log: log, Hook: hook, Instance: n.instance,
			Doubtful: func() bool { _, away := n.registry.Degraded(); return away },
			Barrier:  n.barrier, LowSpace: n.space.low, Snapshot: filepath.Join(n.opts.Config.Data, "stock.snapshot"),
		})
		s.lead(ctx, r, inventory)
		return nil
	case subjects.Payment:
		gateway := n.opts.Gateway
		if gateway == nil {
			gateway = sandbox.New(r.journal, sandbox.Options{Site: site, Now: n.opts.Clock, Key: n.gatewayKey})
		}
		s.doctor.gateway = gateway
		return s.endpoints(r, handlers.NewPayments(handlers.PaymentsDeps{
			Journal: r.journal, Calls: r.calls, Gateway: gateway, Books: booksOf(gateway), Vault: keys, Barrier: n.barrier, Live: n.live,
			Site: site, Clock: clock, Log: log, Hook: hook,
		}).Register)
	case subjects.Order:
		unwatch, err := s.prices.Watch(r.journal)
		if err != nil {
			return err
		}
		n.onStop("prices", func(context.Context) error { unwatch(); return nil })
		orders := handlers.NewOrders(handlers.OrdersDeps{
			Journal: r.journal, Calls: r.calls, Vault: keys, Lists: n.lists, Prices: s.prices, Live: n.live, Site: site, Clock: clock, Log: log, Hook: hook, HashKey: n.hashKey, LowSpace: n.space.low,
		})
		process := handlers.NewProcess(orders, n.models.view)
		if err := s.endpoints(r, orders.Register); err != nil {
			return err
		}
		s.running.Go(func() {
			s.campaign(ctx, service, subjects.RoleProcess, func(ctx context.Context) error {
				process.Run(ctx)
				return nil
			})
		})
		return s.consume(r, subjects.DurableProcess, handlers.ProgressTypes, orders.Progress)
	case subjects.Shipping:
		shipping := handlers.NewShipping(handlers.ShippingDeps{
			Journal: r.journal, Calls: r.calls, Lists: n.lists, Live: n.live, Site: site, Clock: clock, Log: log, Hook: hook,
		})
		if err := s.endpoints(r, shipping.Register); err != nil {
			return err
		}
		return s.consume(r, subjects.DurablePlan, handlers.PlanTypes, shipping.Plan)
	case subjects.Notification:
		channel := n.opts.Channel
		if channel == nil {
			channel = handlers.LogChannel{Log: log}
		}
		notifications := handlers.NewNotifications(handlers.NotificationsDeps{
			Journal: r.journal, Lists: n.lists, Channel: channel, Live: n.live, Site: site, Clock: clock, Log: log, Hook: hook,
		})
		if err := s.endpoints(r, notifications.Register); err != nil {
			return err
		}
		if err := s.consume(r, subjects.DurableNotify, handlers.NotifyTypes, notifications.Notify); err != nil {
			return err
		}
		return s.consume(r, subjects.DurableNotifyShipments, handlers.NotifyTypes, notifications.Notify)
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

// consumerWorkers is how many events of a consumer are at work at once. Each waits for the store a few times and for the disk once:
// so many keep up with the orders of a site at its limit, and share their waits. A consumer that falls behind costs more an event, as
// the store looks for the next one through all that it has.
const consumerWorkers = 48

// consume starts a durable consumer on a connection of its own, so that its batches don't hold up requests.
func (s *services) consume(r room, durable subjects.Durable, types []string, handle func(context.Context, journal.Record) error) error {
	n := s.n
	feed, closeFeed, err := n.store.bus(string(r.service))
	if err != nil {
		return err
	}
	n.onStop("connection of the consumer "+string(durable), func(context.Context) error { closeFeed(); return nil })
	j, err := n.openJournal(r.nc, r.link, feed)
	if err != nil {
		return err
	}
	c := consumer(n.opts.Config.Site, durable)
	c.Types, c.Handle, c.Workers, c.Log = types, handle, consumerWorkers, n.levels.logger(n.opts.Log, r.service)
	c.Retry = func() ([]time.Duration, int) { return n.live.Retry(durable) }
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
func (s *services) unbroken(lost func(error)) (j *journal.Journal, disconnect func(), err error) {
	nc, err := s.n.store.connect(string(subjects.Inventory), nats.NoReconnect(), nats.ClosedHandler(func(*nats.Conn) {
		lost(fault.New(fault.Unavailable, "the stock's connection to the journal is lost"))
	}))
	if err != nil {
		return nil, nil, err
	}
	link, stop, err := s.n.store.link(string(subjects.Inventory), nc, true, lost)
	if err != nil {
		nc.Close()
		return nil, nil, err
	}
	disconnect = func() { stop(); nc.Close() }
	if j, err = s.n.openJournal(nc, link, nil); err != nil {
		disconnect()
		return nil, nil, err
	}
	return j, disconnect, nil
}

// gatewayKey is what the payment gateway is entered with, as the setting has it at the moment.
func (n *life) gatewayKey() (string, error) {
	key, err := n.live.Secret(configs.PaymentGatewayKey)
	return key.Reveal(), err
}

// servedStore is the store of this process as the others of its site see it.
type servedStore struct {
	barrier
	server string
}

func (s servedStore) ID() string { return s.server }

// booksOf is what a sandbox gateway shows of its books, and nil of a real gateway.
func booksOf(g paygate.Gateway) handlers.Books {
	if own, ok := g.(ledger); ok {
		return books{own}
	}
	return nil
}

type ledger interface {
	Ledger(ctx context.Context, cursor string, limit int) ([]sandbox.Entry, string, error)
}

// books shows a sandbox gateway's ledger as the contract has it.
type books struct{ own ledger }

func (b books) Ledger(ctx context.Context, cursor string, limit int) ([]subjects.LedgerEntry, string, error) {
	entries, next, err := b.own.Ledger(ctx, cursor, limit)
	out := make([]subjects.LedgerEntry, len(entries))
	for i, e := range entries {
		out[i] = subjects.LedgerEntry{Time: e.Time, Operation: string(e.Operation), PaymentID: id.Payment(e.PaymentID), ID: e.ID, Amount: e.Amount, Result: string(e.Result)}
	}
	return out, next, err
}
