package node

import (
	"context"
	"strings"
	"sync"
	"time"

	"waybill/internal/fault"
	"waybill/internal/guard"
	"waybill/internal/id"
	"waybill/internal/lean"
	"waybill/internal/paygate"
	"waybill/internal/registry"
	"waybill/internal/rpc"
	"waybill/subjects"
)

// doctor looks at the services of this process every few seconds, in one goroutine, and keeps what it found for whoever asks. A
// service whose health is critical steps aside while another instance is better: it leaves its queue group, or gives its
// leadership back, until it is well. Where there is no other, a bad answer is better than none, and it stays.
type doctor struct {
	n       *life
	s       *services
	calls   *rpc.Caller
	gateway paygate.Gateway // nil where this process serves no payments

	checks map[string]*damped // by service and check; look's own, like what follows
	meters map[*rpc.Server]*meter
	stuck  map[subjects.Durable]*progress

	mu      sync.Mutex
	reports map[subjects.Service]registry.Health
	aside   map[subjects.Service]bool
	turned  chan struct{} // closed and replaced when aside changes
}

// meter is what a server does, as it is shown: read anew only now and then, because each change is written to etcd.
type meter struct {
	*rpc.Meter
	last rpc.Reading
	next time.Time
}

const (
	lookInterval = 2 * time.Second
	lookWait     = 2 * time.Second  // for each answer
	numbersAge   = 10 * time.Second // of the counters and rates in a report
)

// newDoctor makes the doctor of this process's services. Until begin it has seen nothing wrong.
func newDoctor(s *services) *doctor {
	return &doctor{
		n: s.n, s: s, calls: rpc.NewCaller(lean.Over(s.roles.nc), s.n.opts.Config.Site),
		checks: make(map[string]*damped), meters: make(map[*rpc.Server]*meter), stuck: make(map[subjects.Durable]*progress),
		reports: make(map[subjects.Service]registry.Health), aside: make(map[subjects.Service]bool), turned: make(chan struct{}),
	}
}

// begin looks for the first time, goes on looking, and has that stopped with the node.
func (d *doctor) begin() {
	ctx, cancel := context.WithCancel(context.Background()) // ended by stop
	done := make(chan struct{})
	d.look(ctx)
	go func() {
		defer close(done)
		d.run(ctx)
	}()
	d.n.onStop("doctor", func(context.Context) error {
		cancel()
		<-done
		return nil
	})
}

func (d *doctor) run(ctx context.Context) {
	tick := time.NewTicker(lookInterval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			d.look(ctx)
		case <-ctx.Done():
			return
		}
	}
}

// finding is what one look at one thing came to.
type finding struct {
	registry.Check
	certain bool
}

func well(name string) finding {
	return finding{registry.Check{Name: name, Status: registry.Passing}, true}
}

// look examines everything once. Its questions are asked at the same time, and none is waited for longer than lookWait.
func (d *doctor) look(ctx context.Context) {
	asking, cancel := context.WithTimeout(ctx, lookWait)
	defer cancel()
	var asked sync.WaitGroup
	var common []finding // of every service that lives by the journal
	var etcd, gateway finding
	asked.Go(func() { common = d.lookAtStore(asking) })
	asked.Go(func() { etcd = d.lookAtEtcd() })
	asked.Go(func() { gateway = d.lookAtGateway(asking) })
	servers := d.s.serving()
	probes := make(map[subjects.Service]*finding, len(servers))
	for service := range servers {
		found := new(finding)
		probes[service] = found
		asked.Go(func() { *found = d.probe(asking, service) })
	}
	lags := make(map[subjects.Service][]*finding)
	for _, durable := range subjects.Durables {
		if owner, _ := subjects.OwnerOf(durable); d.n.runs(owner) {
			found, progress := new(finding), d.progress(durable) // taken here: the maps are not for several goroutines
			lags[owner] = append(lags[owner], found)
			asked.Go(func() { *found = d.lookAtConsumer(asking, durable, progress) })
		}
	}
	asked.Wait()
	if ctx.Err() != nil {
		return // everything failed because the node stops
	}
	for _, service := range d.n.opts.Config.Services {
		found := []finding{etcd}
		if service != subjects.Config && service != subjects.Health {
			found = append(found, common...)
		}
		if probe := probes[service]; probe != nil {
			found = append(found, *probe)
		}
		if list := lags[service]; len(list) > 0 {
			found = append(found, worst(list))
		}
		if service == subjects.Payment {
			found = append(found, gateway)
		}
		d.report(ctx, service, servers[service], found)
	}
}

// report makes a service's health of what was found, and has the service step aside or come back.
func (d *doctor) report(ctx context.Context, service subjects.Service, server *rpc.Server, found []finding) {
	h := registry.Health{Status: registry.Passing, Version: d.n.opts.Version, Requests: map[string]uint64{}}
	now := time.Now()
	for _, f := range found {
		key := string(service) + " " + f.Name
		if d.checks[key] == nil {
			d.checks[key] = &damped{soon: f.Name == "etcd"}
		}
		c := d.checks[key].see(f.Check, f.certain, now)
		if severity(c.Status) > severity(h.Status) {
			h.Status = c.Status
		}
		h.Checks = append(h.Checks, c)
	}
	if server != nil {
		d.count(h.Requests, server, now)
	}
	aside := h.Status == registry.Critical && d.othersAreBetter(ctx, service) && !guard.Off(guard.Aside)
	d.mu.Lock()
	d.reports[service] = h
	turned := d.aside[service] != aside
	d.aside[service] = aside
	if turned {
		close(d.turned)
		d.turned = make(chan struct{})
	}
	d.mu.Unlock()
	if turned {
		d.turn(service, server, aside)
	}
}

// turn takes a service out of its queue group or back into it. The stock's and the timers' leaders see to it themselves.
func (d *doctor) turn(service subjects.Service, server *rpc.Server, aside bool) {
	if aside {
		d.n.log.Error().Str("service", string(service)).Msg("the service is critical and steps aside: another instance is better")
	} else {
		d.n.log.Info().Str("service", string(service)).Msg("the service takes requests again")
	}
	if server == nil || service == subjects.Inventory {
		return
	}
	err := error(nil)
	if aside {
		err = server.Pause()
	} else {
		err = server.Resume()
	}
	if err != nil {
		d.n.log.Error().Err(err).Str("service", string(service)).Msg("the service could not leave or enter its queue group; it is tried again")
		d.mu.Lock()
		d.aside[service] = !aside
		close(d.turned) // whoever saw the turn has to see that it did not come about
		d.turned = make(chan struct{})
		d.mu.Unlock()
	}
}

// count fills in what a server does.
func (d *doctor) count(into map[string]uint64, server *rpc.Server, now time.Time) {
	m := d.meters[server]
	if m == nil {
		forgetMeters(d.meters, d.s.serving())
		m = &meter{Meter: server.Meter()}
		d.meters[server] = m
	}
	if !now.Before(m.next) {
		m.last, m.next = m.Read(), now.Add(numbersAge)
	}
	into["handled"], into["failed"], into["refused"] = m.last.Handled, m.last.Failed, m.last.Refused
	into["per_second"], into["p99_us"] = uint64(m.last.PerSecond+0.5), uint64(m.last.P99.Microseconds())
}

// forgetMeters drops the meters of servers that have gone, as those of former terms have.
func forgetMeters(meters map[*rpc.Server]*meter, servers map[subjects.Service]*rpc.Server) {
	for s := range meters {
		found := false
		for _, serving := range servers {
			found = found || serving == s
		}
		if !found {
			delete(meters, s)
		}
	}
}

// lookAtStore looks at what everything rests on: the server, the journal, its durability, the disk, the read models.
func (d *doctor) lookAtStore(ctx context.Context) []finding {
	n := d.n
	var out []finding
	if n.store.own != nil {
		f := well("nats")
		if err := n.healthy(); err != nil {
			f.Status, f.Message = registry.Critical, fault.From(err).Message
		}
		out = append(out, f)
	}
	f := well("journal")
	last, err := n.models.journal.Last(ctx)
	if err != nil {
		f = finding{registry.Check{Name: "journal", Status: registry.Critical, Message: "the journal does not answer: " + fault.From(err).Message}, false}
	}
	out = append(out, f)

	f = well("durability")
	if failed := n.barrier.Err(); failed != nil {
		f.Status, f.Message = registry.Critical, fault.From(failed).Message
	} else if err == nil { // where all of it is durable, as in an idle site, this costs nothing
		if slow := n.barrier.Wait(ctx, last); slow != nil {
			f = finding{registry.Check{Name: "durability", Status: registry.Critical, Message: "the storage takes longer than " + lookWait.String() + " to make the journal durable"}, false}
		}
	}
	out = append(out, f)

	f = well("space")
	if n.space.low() {
		f.Status, f.Message = registry.Warning, "the file system is almost full: new orders are refused"
	}
	out = append(out, f)

	if text := n.restarts(); text != "" {
		f := well("restarts")
		f.Message = "the store was " + text
		out = append(out, f)
	}

	f = well(modelsCheck)
	if behind := n.models.missing(); len(behind) > 0 {
		f.Status, f.Message = registry.Warning, strings.TrimPrefix(behind[0], modelsCheck+": ")
	}
	return append(out, f)
}

func (d *doctor) lookAtEtcd() finding {
	f := well("etcd")
	if err := d.n.etcdHealthy(); err != nil {
		f.Status, f.Message = registry.Warning, fault.From(err).Message
		return f
	}
	if reason, away := d.n.registry.Degraded(); away {
		f.Status, f.Message = registry.Warning, reason
	}
	return f
}

// lookAtGateway asks for a payment that there is not. A gateway that is away is everybody's trouble: it is no reason to step aside.
func (d *doctor) lookAtGateway(ctx context.Context) finding {
	if d.gateway == nil {
		return finding{}
	}
	if _, err := d.gateway.Query(ctx, id.Payment("waybill-health")); err != nil {
		return finding{registry.Check{Name: "gateway", Status: registry.Warning, Message: "the payment gateway " + d.gateway.Name() + " does not answer: " + fault.From(err).Message}, false}
	}
	return well("gateway")
}

// probe sends a request to this process's own endpoint, over NATS.
func (d *doctor) probe(ctx context.Context, service subjects.Service) finding {
	busy, err := rpc.Probe(ctx, d.calls, service, d.n.instance)
	switch {
	case err != nil:
		return finding{registry.Check{Name: "endpoints", Status: registry.Critical, Message: "the endpoints do not answer: " + fault.From(err).Message}, false}
	case busy:
		return finding{registry.Check{Name: "endpoints", Status: registry.Warning, Message: "the service is at its limit of requests in flight"}, false}
	}
	return well("endpoints")
}

// othersAreBetter reports whether another instance of the service is there and not critical. While etcd is away nobody can say.
func (d *doctor) othersAreBetter(ctx context.Context, service subjects.Service) bool {
	if _, away := d.n.registry.Degraded(); away {
		return false
	}
	instances, err := d.n.registry.Instances(ctx)
	if err != nil {
		return false
	}
	for _, in := range instances {
		if in.Service == service && in.Instance != d.n.instance && in.Status != registry.Critical {
			return true
		}
	}
	return false
}

// health is what a service said of itself when it was last looked at.
func (d *doctor) health(service subjects.Service) registry.Health {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.reports[service]
}

// Journal implements handlers.Looker.
func (d *doctor) Journal(ctx context.Context) (*subjects.JournalInfo, []subjects.ConsumerInfo) {
	ctx, cancel := context.WithTimeout(ctx, lookWait)
	defer cancel()
	j := d.n.models.journal
	size, err := j.Size(ctx)
	if err != nil {
		return nil, nil
	}
	var consumers []subjects.ConsumerInfo
	for _, durable := range subjects.Durables {
		lag, err := j.Lag(ctx, durable)
		if err != nil {
			return nil, nil
		}
		consumers = append(consumers, subjects.ConsumerInfo{Name: durable, Pending: lag.Pending, InFlight: lag.InFlight, Redelivered: lag.Redelivered})
	}
	return &subjects.JournalInfo{Events: size.Events, Bytes: size.Bytes, Sequence: size.Last, Durable: d.n.barrier.Durable()}, consumers
}

// critical names the services that can't do their work, with the reasons.
func (d *doctor) critical() (out []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, service := range d.n.opts.Config.Services {
		for _, c := range d.reports[service].Checks {
			if c.Status == registry.Critical && c.Name == "endpoints" { // the others are said once, for the node
				out = append(out, string(service)+": "+c.Message)
			}
		}
	}
	return out
}

// attend calls f with a context that ends when the service has to step aside, and again when it is well. It returns when f does so
// by itself, or when ctx ends.
func (d *doctor) attend(ctx context.Context, service subjects.Service, f func(ctx context.Context)) {
	for ctx.Err() == nil {
		aside, turned := d.stands(service)
		if aside {
			select {
			case <-turned:
			case <-ctx.Done():
			}
			continue
		}
		working, stop := context.WithCancel(ctx)
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			f(working)
		}()
		for !aside {
			select {
			case <-turned:
				aside, turned = d.stands(service)
				continue
			case <-ended: // as it does when ctx ends
				stop()
				return
			}
		}
		stop()
		<-ended
	}
}

// stands reports whether the service is aside, and what is closed when that may have changed.
func (d *doctor) stands(service subjects.Service) (aside bool, turned <-chan struct{}) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.aside[service], d.turned
}
