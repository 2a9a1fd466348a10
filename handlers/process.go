package handlers

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"waybill/configs"
	"waybill/internal/fault"
	"waybill/internal/id"
	"waybill/internal/journal"
	"waybill/internal/order"
	"waybill/internal/payment"
	"waybill/internal/rpc"
	"waybill/internal/scope"
	"waybill/internal/shipment"
	"waybill/internal/view"
	"waybill/subjects"
)

// proceed carries an order as far as it can go now.
func (o *Orders) proceed(ctx context.Context, r *subjects.OrderRequest) (*subjects.Empty, error) {
	work, stop := answerIn(ctx)
	defer stop()
	if _, err := o.carry(work, r.OrderID); err != nil {
		return nil, err
	}
	return &subjects.Empty{}, nil
}

// carry takes up an order that stopped half-way, wherever it stopped, and carries it on. done is false while something that
// it waits for has not answered: it is to be tried again then. It leaves an order alone that a live request is at work on.
func (o *Orders) carry(ctx context.Context, order_ id.Order) (done bool, err error) {
	end, _ := o.atWork.begin(order_)
	if end == nil {
		return false, nil
	}
	defer end()
	h, err := o.orders.load(ctx, string(order_))
	if err != nil {
		return false, err
	}
	if !h.exists() {
		return true, noOrder(order_)
	}
	switch h.state.Status {
	case order.StatusPending:
		return o.carryPending(ctx, h)
	case order.StatusNeedsAction:
		return o.carryNeedsAction(ctx, h)
	case order.StatusCancelling:
		if h, err = o.finishCancel(ctx, h); err != nil {
			return false, err
		}
		return true, o.progress(ctx, h.state.OrderID)
	case order.StatusConfirmed, order.StatusFulfilling:
		return true, o.progress(ctx, h.state.OrderID)
	}
	return true, nil
}

func (o *Orders) carryPending(ctx context.Context, h held[order.State]) (bool, error) {
	var err error
	if o.overdue(h.state) {
		h, err = o.expire(ctx, h)
	} else {
		h, _, err = o.advance(ctx, h, true, o.inquire(h.state))
	}
	return err == nil && h.state.Status != order.StatusPending, err
}

// carryNeedsAction looks whether the customer has acted. Without a time limit the order was confirmed before: then it is the
// operator who must act, and the order waits for it.
func (o *Orders) carryNeedsAction(ctx context.Context, h held[order.State]) (bool, error) {
	if h.state.ExpiresAt.IsZero() {
		return true, nil
	}
	if o.overdue(h.state) {
		h, err := o.expire(ctx, h)
		return err == nil && h.state.Status != order.StatusNeedsAction, err
	}
	info, err := o.inquire(h.state)(ctx)
	if err != nil && fault.CodeOf(err) != fault.AlreadyExists {
		return false, err
	}
	if err == nil && info.Status == payment.StatusRequiresAction {
		return false, nil
	}
	// The payment went on: the order does so as any pending one, stock and all.
	if h, err = o.decide(ctx, h, order.Resume{To: order.StatusPending, DueAt: o.due(), At: o.clock.now()}); err == nil && h.state.Status == order.StatusPending {
		h, _, err = o.advance(ctx, h, true, o.inquire(h.state))
	}
	return err == nil && h.state.Status != order.StatusNeedsAction && h.state.Status != order.StatusPending, err
}

func (o *Orders) overdue(s order.State) bool {
	return !s.ExpiresAt.IsZero() && !o.clock.now().Before(s.ExpiresAt)
}

// inquire finds out what became of an order's payment, and authorizes it where nothing did.
func (o *Orders) inquire(s order.State) func(context.Context) (*subjects.PaymentInfo, error) {
	return func(ctx context.Context) (*subjects.PaymentInfo, error) {
		return call(ctx, o.calls, o.hook, subjects.PaymentSettle, o.settle(s, false))
	}
}

// ProgressTypes are the events that Progress acts on.
var ProgressTypes = []string{
	subjects.TypeOf(subjects.KindShipment, string(shipment.TypeDispatched)),
	subjects.TypeOf(subjects.KindShipment, string(shipment.TypeDelivered)),
	subjects.TypeOf(subjects.KindShipment, string(shipment.TypeReturned)),
}

// Progress is the consumer of shipment events: an order's status follows from its shipments'. It is acknowledged once the
// order's own event is in the journal, which is also its record of having done so; a repeat finds nothing to do.
func (o *Orders) Progress(ctx context.Context, r journal.Record) error {
	if !slices.Contains(ProgressTypes, r.Type) {
		return nil
	}
	s, err := hold[shipment.State](r)
	if err != nil {
		return err
	}
	return o.progress(ctx, s.state.OrderID)
}

// progress brings a confirmed order's status up to what its shipments and its payment say.
func (o *Orders) progress(ctx context.Context, order_ id.Order) error {
	for range maxRaces {
		h, err := o.orders.load(ctx, string(order_))
		if err != nil || !h.exists() {
			return err
		}
		if h.state.Status == order.StatusCancelling {
			// Goods may have left while it was being cancelled: that is decided first, lest what they say be heard by nobody.
			if _, err := o.finishCancel(ctx, h); err != nil {
				return err
			}
			continue
		}
		c, err := o.next(ctx, h.state)
		if err != nil || c == nil {
			return err
		}
		if _, err = o.orders.step(ctx, string(order_), h, c); err != nil && !errors.Is(err, journal.ErrConflict) {
			return err
		}
	}
	return fault.New(fault.Aborted, "the order %s is changed by too many at once", order_)
}

// next is the command that follows from an order's parts; nil when its status says what they say.
func (o *Orders) next(ctx context.Context, s order.State) (order.Command, error) {
	if s.Status != order.StatusConfirmed && s.Status != order.StatusFulfilling {
		return nil, nil
	}
	p, err := loadParts(ctx, o.journal, o.site, s.OrderID)
	if err != nil {
		return nil, err
	}
	now := o.clock.now()
	var left, returned, open, unsent bool
	delivered := 0
	for _, sh := range p.shipments {
		switch sh.state.Status {
		case shipment.StatusCancelled:
		case shipment.StatusDelivered:
			left, delivered = true, delivered+1
		case shipment.StatusReturned:
			left, returned = true, true
		case shipment.StatusDispatched, shipment.StatusDeliveryFailed:
			left, open = true, true
		default:
			open, unsent = true, true
		}
	}
	lost := p.payment.state.Status == payment.StatusVoided || p.payment.state.Status == payment.StatusExpired
	switch {
	case s.Status == order.StatusConfirmed && left:
		return order.Fulfil{At: now}, nil
	case lost && unsent:
		return needOperator("payment_lost", "the payment is "+string(p.payment.state.Status)+" and goods are still here; cancel the order or settle it by hand", now), nil
	case s.Status == order.StatusConfirmed && lost:
		return needOperator("payment_lost", "the payment is "+string(p.payment.state.Status)+"; cancel the order or settle it by hand", now), nil
	case s.Status == order.StatusConfirmed:
		return nil, nil
	case returned:
		return needOperator("shipment_returned", "a shipment has come back; refund the customer or send the goods again", now), nil
	case open || delivered == 0:
		return nil, nil
	}
	if rest := p.payment.state.Capturable(); p.payment.state.Method == payment.Card && rest.Amount > 0 {
		if _, err := call(ctx, o.calls, o.hook, subjects.PaymentCapture, &subjects.CaptureRequest{
			PaymentID: s.PaymentID, CaptureID: captureOf(s, p.payment.state.Captured), Amount: rest,
		}); err != nil {
			return nil, err
		}
	}
	return order.Complete{At: now}, nil
}

func needOperator(code, message string, now subjects.Time) order.Command {
	return order.NeedAction{Reason: order.Reason{Code: code, Message: message}, At: now}
}

// Process is the background process of a site: it finishes what stopped half-way. Its work list is in the read models, which
// keep what is due across restarts: orders that are not settled, payments and refunds whose gateway did not answer. What it
// does is idempotent, so that two of them at once only waste work.
type Process struct {
	orders *Orders
	view   *view.View
	live   *configs.Live
	clock  Clock
	log    zerolog.Logger
	soon   chan id.Order
	tries  map[string]try // of what could not be finished yet; only Run touches it
}

// NewProcess makes the background process of the orders.
func NewProcess(o *Orders, v *view.View) *Process {
	p := &Process{orders: o, view: v, live: o.live, clock: o.clock, log: o.log, soon: make(chan id.Order, 1024), tries: make(map[string]try)}
	o.wake = p.wake
	return p
}

// try says when something is tried again, and how often it was.
type try struct {
	next subjects.Time
	n    int
}

// wake has an order looked at now rather than when it is due. Where too many wait, it is looked at when it is due.
func (p *Process) wake(o id.Order) {
	select {
	case p.soon <- o:
	default:
	}
}

const (
	processWorkers = 16
	processBatch   = 10_000
	processTimeout = 30 * time.Second
	longestRetry   = 20 * time.Second       // so that a pending order ends within 30 s of the gateway's first answer
	roundInterval  = 200 * time.Millisecond // the least time between two looks at the work list
)

// Run works until ctx ends, and returns when all that it began has ended.
func (p *Process) Run(ctx context.Context) {
	var running sync.WaitGroup
	defer running.Wait()
	places := make(chan struct{}, processWorkers)
	start := func(f func(context.Context)) {
		select {
		case places <- struct{}{}:
		case <-ctx.Done():
			return
		}
		running.Go(func() {
			defer func() { <-places }()
			defer func() {
				if r := recover(); r != nil {
					p.log.Error().Str("panic", fmt.Sprint(r)).Bytes("stack", debug.Stack()).Msg("the background process panicked; what it was at is tried again")
				}
			}()
			ctx, cancel := context.WithTimeout(ctx, p.patience())
			defer cancel()
			f(scope.With(ctx, scope.New("process")))
		})
	}
	for ctx.Err() == nil {
		began := time.Now()
		p.idle(ctx, start, p.round(ctx, start))
		// Every order that comes in changes the list for a moment: it is not read anew for each.
		if rest := roundInterval - time.Since(began); rest > 0 {
			p.idle(ctx, start, rest)
		}
	}
}

// idle waits for d, or until the work list has changed, and takes up at once what wake names meanwhile.
func (p *Process) idle(ctx context.Context, start func(func(context.Context)), d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	changed := p.view.DueChanged()
	if d <= roundInterval {
		changed = nil
	}
	for {
		select {
		case o := <-p.soon:
			start(func(ctx context.Context) { p.carry(ctx, o) })
		case <-changed:
			return
		case <-timer.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

// patience bounds one piece of work. It has room for two questions to the gateway and not for much more: where the process that
// was asked is stuck, the next try may find another one.
func (p *Process) patience() time.Duration {
	return min(processTimeout, 2*p.live.Duration(configs.PaymentGatewayTimeout)+time.Second)
}

// round starts the work on everything that is due, and returns how long there is nothing to do.
func (p *Process) round(ctx context.Context, start func(func(context.Context))) time.Duration {
	const longest = time.Minute // the clock may be set
	now := p.clock.now()
	items, err := p.view.Due(ctx, now, processBatch)
	if err != nil {
		if ctx.Err() == nil {
			p.log.Error().Err(err).Msg("the work list can't be read; it is tried again")
		}
		return time.Second
	}
	wait := longest
	tries := make(map[string]try, len(items))
	for _, item := range items {
		key := string(item.Kind) + "." + item.ID
		t := p.tries[key]
		if !now.Before(t.next) || t.next.Sub(now) > longestRetry { // the latter where the clock was set back meanwhile
			t = try{now.Add(min(p.live.Duration(configs.OrderRetryInterval)<<min(t.n, 8), longestRetry)), t.n + 1}
			start(func(ctx context.Context) { p.work(ctx, item) })
		}
		tries[key] = t
		wait = min(wait, t.next.Sub(now))
	}
	p.tries = tries
	if next, ok, err := p.view.NextDueAfter(ctx, now); err == nil && ok {
		wait = min(wait, next.Sub(now))
	}
	return max(wait, time.Millisecond)
}

func (p *Process) work(ctx context.Context, item view.DueItem) {
	switch item.Kind {
	case subjects.KindOrder:
		p.carry(ctx, id.Order(item.ID))
	case subjects.KindPayment, subjects.KindRefund:
		p.settle(ctx, id.Payment(item.ID))
	}
}

func (p *Process) carry(ctx context.Context, o id.Order) {
	if done, err := p.orders.carry(ctx, o); err != nil && fault.CodeOf(err) != fault.NotFound {
		p.log.Warn().Err(err).Str("order_id", string(o)).Msg("an order could not be carried on; it is tried again")
	} else if !done {
		p.log.Debug().Str("order_id", string(o)).Msg("an order still waits; it is tried again")
	}
}

// settle finishes a payment whose capture, void, refund or authorization was interrupted, and has its order look at it.
func (p *Process) settle(ctx context.Context, pay id.Payment) {
	o := p.orders
	r, ok, err := o.journal.Load(ctx, subjects.Event(o.site, subjects.KindPayment, pay))
	if err == nil && ok {
		var h held[payment.State]
		if h, err = hold[payment.State](r); err == nil {
			_, err = rpc.Call(ctx, o.calls, subjects.PaymentSettle, &subjects.SettleRequest{
				PaymentID: pay, OrderID: h.state.OrderID, Amount: h.state.Amount, Method: subjects.Method(h.state.Method),
			}, rpc.WithDefer())
			if err == nil {
				p.carry(ctx, h.state.OrderID)
			}
		}
	}
	if err != nil {
		p.log.Warn().Err(err).Str("payment_id", string(pay)).Msg("a payment could not be settled; it is tried again")
	}
}
