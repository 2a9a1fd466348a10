package handlers

import (
	"bytes"
	"context"
	"errors"
	"slices"

	"github.com/rs/zerolog"

	"waybill/configs"
	"waybill/internal/fault"
	"waybill/internal/id"
	"waybill/internal/journal"
	"waybill/internal/order"
	"waybill/internal/payment"
	"waybill/internal/quick"
	"waybill/internal/rpc"
	"waybill/internal/shipment"
	"waybill/internal/view"
	"waybill/subjects"
)

// Shipping serves shipments: it plans them when an order is confirmed, and takes them out of the house.
type Shipping struct {
	journal   *journal.Journal
	calls     *rpc.Caller
	lists     *Lists
	live      *configs.Live
	site      subjects.Site
	clock     Clock
	log       zerolog.Logger
	hook      Hook
	shipments machine[shipment.State, shipment.Command, shipment.Event]
	turns     *turns[id.Shipment]
}

// ShippingDeps is what the shipping service uses.
type ShippingDeps struct {
	Journal *journal.Journal
	Calls   *rpc.Caller
	Lists   *Lists
	Live    *configs.Live
	Site    subjects.Site
	Clock   Clock
	Log     zerolog.Logger
	Hook    Hook
}

// NewShipping makes the service.
func NewShipping(d ShippingDeps) *Shipping {
	return &Shipping{
		journal: d.Journal, calls: d.Calls, lists: d.Lists, live: d.Live, site: d.Site, clock: d.Clock, log: d.Log, hook: d.Hook,
		turns: newTurns[id.Shipment](),
		shipments: machine[shipment.State, shipment.Command, shipment.Event]{
			journal: d.Journal, clock: d.Clock, site: d.Site, kind: subjects.KindShipment, hook: d.Hook, log: d.Log,
			decide: shipment.Decide, apply: shipment.Apply,
			order: func(s shipment.State) id.Order { return s.OrderID },
			name: func(e shipment.Event) string {
				if e == nil {
					return ""
				}
				return string(e.Type())
			},
		},
	}
}

// Register lists the service's endpoints.
func (s *Shipping) Register(server *rpc.Server) {
	rpc.Handle(server, subjects.ShippingList, s.list)
	rpc.Handle(server, subjects.ShippingGet, s.get)
	rpc.Handle(server, subjects.ShippingBook, s.verb(func(r *subjects.ShipmentRequest, at subjects.Time) shipment.Command {
		return shipment.Book{Carrier: r.Carrier, Tracking: r.Tracking, At: at}
	}))
	rpc.Handle(server, subjects.ShippingPrepare, s.verb(func(_ *subjects.ShipmentRequest, at subjects.Time) shipment.Command {
		return shipment.Prepare{At: at}
	}))
	rpc.Handle(server, subjects.ShippingReady, s.verb(func(_ *subjects.ShipmentRequest, at subjects.Time) shipment.Command {
		return shipment.Ready{At: at}
	}))
	rpc.Handle(server, subjects.ShippingDispatch, s.verb(func(r *subjects.ShipmentRequest, at subjects.Time) shipment.Command {
		return shipment.Dispatch{Carrier: r.Carrier, Tracking: r.Tracking, At: at}
	}))
	rpc.Handle(server, subjects.ShippingDeliver, s.verb(func(_ *subjects.ShipmentRequest, at subjects.Time) shipment.Command {
		return shipment.Deliver{At: at}
	}))
	rpc.Handle(server, subjects.ShippingFail, s.verb(func(r *subjects.ShipmentRequest, at subjects.Time) shipment.Command {
		return shipment.Fail{Reason: r.Reason, At: at}
	}))
	rpc.Handle(server, subjects.ShippingReturn, s.verb(func(r *subjects.ShipmentRequest, at subjects.Time) shipment.Command {
		return shipment.Return{Reason: r.Reason, At: at}
	}))
	rpc.Handle(server, subjects.ShippingSplit, s.split)
	rpc.Handle(server, subjects.ShippingCancel, s.cancel)
	rpc.Handle(server, subjects.Redrive(subjects.Shipping), redrive(s.journal, subjects.Shipping, s.Plan))
}

// verb is the handler of one step of a shipment.
func (s *Shipping) verb(command func(*subjects.ShipmentRequest, subjects.Time) shipment.Command) func(context.Context, *subjects.ShipmentRequest) (*subjects.ShipmentInfo, error) {
	return func(ctx context.Context, r *subjects.ShipmentRequest) (*subjects.ShipmentInfo, error) {
		h, err := s.step(ctx, r.ShipmentID, command(r, s.clock.now()))
		if err != nil {
			return nil, err
		}
		out := shipmentInfo(h.state)
		return &out, nil
	}
}

// step takes a shipment one step on. Where the step takes goods out of the house, the stock is consumed and the payment
// captured before: the reservation decides between leaving and cancelling, and both are idempotent by the shipment's id, so
// a step that was interrupted is simply asked again.
func (s *Shipping) step(ctx context.Context, sh id.Shipment, c shipment.Command) (held[shipment.State], error) {
	end, err := s.turns.take(ctx, sh)
	if err != nil {
		return held[shipment.State]{}, err
	}
	defer end()
	for range maxRaces {
		h, err := s.shipments.load(ctx, string(sh))
		if err != nil {
			return h, err
		}
		e, err := shipment.Decide(h.state, c)
		if err != nil {
			return h, named(err, sh)
		}
		if e != nil && leaves(h.state.Status, c) {
			if err := s.leave(ctx, h.state); err != nil {
				return h, err
			}
		}
		h, err = s.shipments.step(ctx, string(sh), h, c)
		if !errors.Is(err, journal.ErrConflict) {
			return h, err
		}
	}
	return held[shipment.State]{}, fault.New(fault.Aborted, "the shipment %s is changed by too many at once; try again", sh)
}

// named says which shipment there is not.
func named(err error, sh id.Shipment) error {
	if fault.CodeOf(err) == fault.NotFound {
		return fault.New(fault.NotFound, "there is no shipment %s", sh).WithField("shipment_id")
	}
	return err
}

// leaves reports whether a step takes goods out of the house for the first time: a dispatch, or the handing over of a pickup.
func leaves(from shipment.Status, c shipment.Command) bool {
	switch c.(type) {
	case shipment.Dispatch:
		return from == shipment.StatusBooked
	case shipment.Deliver:
		return from == shipment.StatusReady
	}
	return false
}

// leave consumes a shipment's stock and captures its part of the payment.
func (s *Shipping) leave(ctx context.Context, st shipment.State) error {
	lines := make([]subjects.StockLine, len(st.Lines))
	for i, l := range st.Lines {
		lines[i] = subjects.StockLine{SKU: l.SKU, Quantity: l.Quantity}
	}
	r, ok, err := s.journal.Load(ctx, subjects.Event(s.site, subjects.KindPayment, id.PaymentOf(st.OrderID)))
	if err != nil {
		return err
	}
	if !ok {
		return fault.New(fault.FailedPrecondition, "the order %s has no payment", st.OrderID)
	}
	p, err := hold[payment.State](r)
	if err != nil {
		return err
	}
	amount, capture := toCapture(p.state, st), id.Capture(st.ShipmentID)
	if _, known := p.state.Capture(capture); !known && amount.Amount > 0 && p.state.Capturable().Less(amount) { // before anything leaves
		if capturing(p.state) {
			return fault.New(fault.Unavailable, "the payment is being captured at this moment; try again")
		}
		return fault.New(fault.FailedPrecondition, "the payment is %s and %s of it can't be captured; settle it first, or cancel the order", p.state.Status, amount)
	}
	if _, err := call(ctx, s.calls, s.hook, subjects.InventoryConsume, &subjects.ConsumeRequest{
		ReservationID: id.ReservationOf(st.OrderID), ShipmentID: st.ShipmentID, Lines: lines,
	}); err != nil {
		return err
	}
	if amount.Amount == 0 {
		return nil
	}
	_, err = call(ctx, s.calls, s.hook, subjects.PaymentCapture, &subjects.CaptureRequest{PaymentID: p.state.PaymentID, CaptureID: capture, Amount: amount})
	return err
}

// capturing reports whether the gateway's answer to a capture is still awaited.
func capturing(p payment.State) bool {
	return slices.ContainsFunc(p.Captures, func(c payment.CaptureEntry) bool { return c.Status == payment.CaptureStatusPending })
}

// toCapture is what a shipment captures: its own amount, or what is left where the payment was captured otherwise; what it
// captures already, where it is asked again.
func toCapture(p payment.State, s shipment.State) subjects.Money {
	if c, ok := p.Capture(id.Capture(s.ShipmentID)); ok {
		return c.Amount
	}
	if p.Status == payment.StatusCaptured {
		return subjects.Money{}
	}
	if left := p.Capturable(); left.Amount > 0 && left.Less(s.Amount) {
		return left
	}
	return s.Amount
}

func (s *Shipping) get(ctx context.Context, r *subjects.ShipmentRequest) (*subjects.ShipmentInfo, error) {
	h, err := s.shipments.load(ctx, string(r.ShipmentID))
	if err != nil {
		return nil, err
	}
	if !h.exists() {
		return nil, named(fault.New(fault.NotFound, ""), r.ShipmentID)
	}
	out := shipmentInfo(h.state)
	return &out, nil
}

func (s *Shipping) list(ctx context.Context, r *subjects.ListShipmentsRequest) (*subjects.Shipments, error) {
	v, err := s.lists.fresh(ctx)
	if err != nil {
		return nil, err
	}
	rows, next, err := v.Shipments(ctx, view.ShipmentFilter{Status: string(r.Status), OrderID: string(r.OrderID), Limit: r.Size(), Cursor: r.Cursor})
	if err != nil {
		return nil, err
	}
	states, err := decodeAll[shipment.State](rows)
	if err != nil {
		return nil, err
	}
	return shipmentPage(states, next), nil
}

func shipmentPage(states []shipment.State, next string) *subjects.Shipments {
	out := &subjects.Shipments{Shipments: make([]subjects.ShipmentInfo, len(states)), NextCursor: next}
	for i, st := range states {
		out.Shipments[i] = shipmentInfo(st)
	}
	return out
}

// split moves lines into a new shipment: two events in one atomic batch. With an Idempotency-Key a repeat is a repeat.
func (s *Shipping) split(ctx context.Context, r *subjects.ShipmentRequest) (*subjects.ShipmentInfo, error) {
	if len(r.Lines) == 0 {
		return nil, subjects.NeedLines()
	}
	lines := make([]shipment.Line, len(r.Lines))
	for i, l := range r.Lines {
		lines[i] = shipment.Line{SKU: l.SKU, Quantity: l.Quantity}
	}
	key := rpc.IdempotencyKey(ctx)
	end, err := s.turns.take(ctx, r.ShipmentID)
	if err != nil {
		return nil, err
	}
	defer end()
	for range maxRaces {
		h, err := s.shipments.load(ctx, string(r.ShipmentID))
		if err != nil {
			return nil, err
		}
		if !h.exists() {
			return nil, named(fault.New(fault.NotFound, ""), r.ShipmentID)
		}
		family, err := loadShipments(ctx, s.journal, s.site, h.state.OrderID)
		if err != nil {
			return nil, err
		}
		parent, child, err := shipment.DecideSplit(h.state, shipment.Split{
			Lines: lines, NewID: id.ShipmentOf(h.state.OrderID, len(family)+1), Key: key, At: s.clock.now(),
		})
		if err != nil {
			return nil, err
		}
		if parent != nil {
			h, err = s.appendSplit(ctx, h, parent, child)
		}
		if errors.Is(err, journal.ErrConflict) {
			continue
		}
		if err != nil {
			return nil, err
		}
		out := shipmentInfo(h.state)
		return &out, nil
	}
	return nil, fault.New(fault.Aborted, "the shipment %s is changed by too many at once; try again", r.ShipmentID)
}

func (s *Shipping) appendSplit(ctx context.Context, h held[shipment.State], parent, child shipment.Event) (held[shipment.State], error) {
	rest, err := shipment.Apply(h.state, parent)
	if err != nil {
		return h, err
	}
	part, err := shipment.Apply(shipment.State{}, child)
	if err != nil {
		return h, err
	}
	entry := func(st shipment.State, e shipment.Event, last journal.Record) journal.Entry {
		return journal.Entry{
			Subject: subjects.Event(s.site, subjects.KindShipment, st.ShipmentID), Kind: subjects.KindShipment, Event: string(e.Type()),
			CeSubject: string(st.ShipmentID), Time: s.clock.now(), Data: e, State: st, Previous: last,
		}
	}
	records, err := s.journal.AppendBatch(ctx, []journal.Entry{entry(rest, parent, h.last), entry(part, child, journal.Record{})})
	if err != nil {
		return h, err
	}
	s.hook.at("append shipment.planned")
	s.log.Debug().Str("event", "shipment.split").Str("id", string(rest.ShipmentID)).Str("into", string(part.ShipmentID)).
		Uint64("sequence", records[0].Sequence).Msg("state changed")
	return held[shipment.State]{rest, records[0]}, nil
}

// cancel is asked by the order process once the reservation is released: nothing of the order can leave any more.
func (s *Shipping) cancel(ctx context.Context, r *subjects.CancelShipmentsRequest) (*subjects.Shipments, error) {
	for known := -1; ; {
		family, err := loadShipments(ctx, s.journal, s.site, r.OrderID)
		if err != nil {
			return nil, err
		}
		states := make([]shipment.State, len(family))
		for i, h := range family {
			if h, err = s.step(ctx, h.state.ShipmentID, shipment.Cancel{Reason: r.Reason, At: s.clock.now()}); err != nil {
				return nil, err
			}
			states[i] = h.state
		}
		if len(family) == known {
			return shipmentPage(states, ""), nil
		}
		known = len(family) // one may have been split in the meantime
	}
}

// PlanTypes are the events that Plan acts on.
var PlanTypes = []string{subjects.TypeOf(subjects.KindOrder, string(order.TypeConfirmed))}

// Plan is the consumer of order events: a confirmed order gets its shipment. It is acknowledged once the shipment is in the
// journal, which is also its record of having done so; a repeat finds it there. Where the order was cancelled meanwhile, the
// shipment is cancelled with it.
func (s *Shipping) Plan(ctx context.Context, r journal.Record) error {
	if !slices.Contains(PlanTypes, r.Type) {
		return nil
	}
	o, err := hold[order.State](r)
	if err != nil {
		return err
	}
	lines, err := planned(o.state.Lines)
	if err != nil {
		return err
	}
	sh := id.ShipmentOf(o.state.OrderID, 1)
	h, err := s.shipments.from(ctx, string(sh), held[shipment.State]{}, func(held[shipment.State]) shipment.Command {
		return shipment.Plan{ShipmentID: sh, OrderID: o.state.OrderID, Fulfilment: shipment.Fulfilment(o.state.Fulfilment), Lines: lines, At: s.clock.now()}
	})
	if err != nil {
		return err
	}
	now, err := s.order(ctx, r, o.state)
	if err != nil {
		return err
	}
	switch now.Status {
	case order.StatusCancelling: // the reservation decides, as it does for the one who cancels
		_, err := call(ctx, s.calls, s.hook, subjects.InventoryEnd, &subjects.EndRequest{ReservationID: o.state.ReservationID, Lines: stockLines(o.state.Lines)})
		if fault.CodeOf(err) == fault.FailedPrecondition {
			return nil // goods have left: the order goes on
		}
		if err != nil {
			return err
		}
		fallthrough
	case order.StatusCancelled:
		_, err := s.cancel(ctx, &subjects.CancelShipmentsRequest{OrderID: o.state.OrderID, Reason: "the order was cancelled"})
		return err
	}
	return s.simulate(ctx, h.state)
}

// order returns an order as it is now. was is its state after the event r, which is returned as it is where r is still the order's last
// event. Error: unavailable also where the store says that there is none, as it
// does of what it can't read.
func (s *Shipping) order(ctx context.Context, r journal.Record, was order.State) (now order.State, err error) {
	text, ok, err := s.journal.State(ctx, r.Subject)
	switch {
	case err != nil:
		return now, err
	case !ok:
		return now, fault.New(fault.Unavailable, "the store does not find the last event of %s, which it has", r.Subject)
	case bytes.Equal(text, r.State):
		return was, nil
	}
	if err := quick.Unmarshal(text, &now); err != nil {
		return now, fault.Wrap(err, fault.Internal, "the last event of %s can't be read; run waybill verify", r.Subject)
	}
	return now, nil
}

// planned is an order's lines as a shipment has them, each with what it costs the customer.
func planned(lines []order.Line) ([]shipment.Line, error) {
	out := make([]shipment.Line, len(lines))
	for i, l := range lines {
		gross, err := l.Gross()
		if err != nil {
			return nil, err
		}
		out[i] = shipment.Line{SKU: l.SKU, Quantity: l.Quantity, Amount: gross}
	}
	return out, nil
}

// simulate takes a shipment as far as the setting shipping.auto says: for shows and for trying out.
func (s *Shipping) simulate(ctx context.Context, st shipment.State) error {
	auto := s.live.String(configs.ShippingAuto)
	if auto == configs.AutoOff {
		return nil
	}
	now := s.clock.now()
	steps := []shipment.Command{shipment.Book{Carrier: "simulated", Tracking: string(st.ShipmentID), At: now}, shipment.Dispatch{At: now}, shipment.Deliver{At: now}}
	if st.Fulfilment == shipment.Pickup {
		steps = []shipment.Command{shipment.Prepare{At: now}, shipment.Ready{At: now}, shipment.Deliver{At: now}}
	}
	if auto == configs.AutoBook {
		steps = steps[:1]
	}
	// A repeat after an interruption finds some steps done; they lie before the others in the table.
	for _, c := range steps {
		if _, err := s.step(ctx, st.ShipmentID, c); err != nil && fault.CodeOf(err) != fault.FailedPrecondition {
			return err
		}
	}
	return nil
}
