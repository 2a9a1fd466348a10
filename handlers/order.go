package handlers

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"time"

	"github.com/rs/zerolog"

	"github.com/go-json-experiment/json"

	"waybill/configs"
	"waybill/internal/fault"
	"waybill/internal/guard"
	"waybill/internal/id"
	"waybill/internal/journal"
	"waybill/internal/order"
	"waybill/internal/quick"
	"waybill/internal/rpc"
	"waybill/internal/vault"
	"waybill/subjects"
)

// Orders serves orders: it places them, carries them to their outcome, cancels them and tells of them. The state of an order
// is in the journal alone; what is kept here is only which orders this process is at work on.
type Orders struct {
	journal  *journal.Journal
	calls    *rpc.Caller
	vault    *vault.Vault
	lists    *Lists
	prices   *Prices
	live     *configs.Live
	site     subjects.Site
	clock    Clock
	log      zerolog.Logger
	hook     Hook
	wake     func(id.Order) // has the background process look at an order soon
	lowSpace func() bool
	hashKey  []byte // of the request hashes: they must not give away what they were made of
	orders   machine[order.State, order.Command, order.Event]
	atWork   *turns[id.Order]
}

// OrdersDeps is what the order service uses.
type OrdersDeps struct {
	Journal *journal.Journal
	Calls   *rpc.Caller
	Vault   *vault.Vault
	Lists   *Lists
	Prices  *Prices
	Live    *configs.Live
	Site    subjects.Site
	Clock   Clock
	Log     zerolog.Logger
	Hook    Hook
	HashKey []byte
	// LowSpace reports that the disk is almost full: new orders are refused then, and those that are there are finished.
	LowSpace func() bool
}

// NewOrders makes the service.
func NewOrders(d OrdersDeps) *Orders {
	return &Orders{
		journal: d.Journal, calls: d.Calls, vault: d.Vault, lists: d.Lists, prices: d.Prices, live: d.Live, site: d.Site, clock: d.Clock, log: d.Log,
		hook: d.Hook, wake: func(id.Order) {}, lowSpace: d.LowSpace, hashKey: d.HashKey, atWork: newTurns[id.Order](),
		orders: machine[order.State, order.Command, order.Event]{
			journal: d.Journal, clock: d.Clock, site: d.Site, kind: subjects.KindOrder, hook: d.Hook, log: d.Log,
			decide: order.Decide, apply: order.Apply,
			order: func(s order.State) id.Order { return s.OrderID },
			name: func(e order.Event) string {
				if e == nil {
					return ""
				}
				return string(e.Type())
			},
		},
	}
}

// Register lists the service's endpoints.
func (o *Orders) Register(s *rpc.Server) {
	rpc.Handle(s, subjects.OrderPlace, o.place)
	rpc.Handle(s, subjects.OrderGet, o.get)
	rpc.Handle(s, subjects.OrderCancel, o.cancel)
	rpc.Handle(s, subjects.OrderList, o.list)
	rpc.Handle(s, subjects.OrderHistory, o.history)
	rpc.Handle(s, subjects.OrderProceed, o.proceed)
	rpc.Handle(s, subjects.Redrive(subjects.Order), redrive(o.journal, subjects.Order, o.Progress))
}

// place takes an order to its outcome: shape (checked before), the stored order, the catalog, placed, reserved, authorized,
// confirmed. The same order asked again, also at the same moment, gets the outcome of the first.
func (o *Orders) place(ctx context.Context, r *subjects.PlaceRequest) (*subjects.OrderInfo, error) {
	work, cancel := answerIn(ctx)
	defer cancel()
	if r.OrderID == "" {
		r.OrderID = o.derivedID(ctx)
	}
	hash, err := o.hash(r)
	if err != nil {
		return nil, err
	}
	for {
		end, busy := o.atWork.begin(r.OrderID)
		if end == nil {
			select {
			case <-busy:
				continue
			case <-work.Done():
				return o.repeated(ctx, r, hash)
			}
		}
		h, payment, placed, err := o.placeOnce(work, r, hash, end)
		if err == nil && !placed {
			h, err = o.repeat(work, h, hash) // not in its turn: the background process may have to carry the order on meanwhile
		}
		if err != nil && work.Err() != nil {
			return o.repeated(ctx, r, hash) // the time ran out on the way: the order may be there all the same
		}
		if err != nil {
			return nil, err
		}
		if h.state.Status == order.StatusPending {
			// What did not come about may have been stopped by somebody who has cancelled the order, or finished it.
			if now, err := o.orders.load(ctx, string(r.OrderID)); err == nil && now.last.Sequence > h.last.Sequence {
				h, payment = now, nil
			}
		}
		if s := h.state.Status; s == order.StatusPending || s == order.StatusCancelling {
			o.wake(r.OrderID) // whoever wanted to carry it on meanwhile has left it to this request
		}
		return o.info(ctx, h, payment)
	}
}

// placeOnce runs while no other request of this process works on the same order, and ends its turn. placed is false where the
// order is there already.
func (o *Orders) placeOnce(ctx context.Context, r *subjects.PlaceRequest, hash string, end func()) (h held[order.State], info *subjects.PaymentInfo, placed bool, err error) {
	defer end()
	// An order is new but for the rare repeat: the append finds out, without a look before it.
	h, err = o.placeNew(ctx, r, hash)
	if err != nil {
		stored, failed := o.orders.load(ctx, string(r.OrderID))
		if failed != nil || stored.exists() && !guard.Off(guard.Idempotency) {
			return stored, nil, false, failed // what is stored counts, whatever the request would come to now
		}
		if h = stored; !h.exists() {
			return h, nil, false, err
		}
	}
	h, info, err = o.advance(ctx, h, false, func(ctx context.Context) (*subjects.PaymentInfo, error) {
		return call(ctx, o.calls, o.hook, subjects.PaymentAuthorize, &subjects.AuthorizeRequest{
			PaymentID: h.state.PaymentID, OrderID: h.state.OrderID, Amount: h.state.Total,
			Method: r.Payment.Method, Token: r.Payment.Token,
		})
	})
	return h, info, true, err
}

// placeNew appends placed. The error is Aborted where the order is there already.
func (o *Orders) placeNew(ctx context.Context, r *subjects.PlaceRequest, hash string) (h held[order.State], err error) {
	if o.lowSpace() {
		return h, fault.New(fault.ResourceExhausted, "the site's disk is almost full: no new orders until there is space again")
	}
	command, err := o.priced(ctx, r)
	if err != nil {
		return h, err
	}
	command.RequestHash = hash
	return o.orders.step(ctx, string(r.OrderID), h, *command)
}

// repeat answers a request for an order that is there already: the stored order where the request is the same. It waits for
// the outcome while another process of the site may still be at work on it.
func (o *Orders) repeat(ctx context.Context, h held[order.State], hash string) (held[order.State], error) {
	if h.state.RequestHash != hash {
		_, err := order.Decide(h.state, order.Place{RequestHash: hash})
		return h, err
	}
	if h.state.Status != order.StatusPending || o.clock.now().Sub(h.state.CreatedAt) > o.live.Duration(configs.PaymentGatewayTimeout) {
		return h, nil
	}
	return o.await(ctx, h)
}

// repeated is repeat for a caller whose time is up but for the moment that answerIn left.
func (o *Orders) repeated(ctx context.Context, r *subjects.PlaceRequest, hash string) (*subjects.OrderInfo, error) {
	h, err := o.orders.load(ctx, string(r.OrderID))
	if err != nil {
		return nil, err
	}
	if !h.exists() {
		return nil, fault.New(fault.DeadlineExceeded, "the order %s is still being placed; ask again with the same id", r.OrderID)
	}
	if h.state.RequestHash != hash {
		_, err := order.Decide(h.state, order.Place{RequestHash: hash})
		return nil, err
	}
	return o.info(ctx, h, nil)
}

// await waits until the order leaves pending, or ctx ends; the order as it is then is the answer either way. It is woken by
// the order's events as they pass through NATS. Such a signal may be ahead of the event that it tells of, which is still on
// its way to the store, or be lost; so the journal is read again after growing pauses too.
func (o *Orders) await(ctx context.Context, h held[order.State]) (held[order.State], error) {
	changed, stop, err := o.journal.Notify(subjects.Event(o.site, subjects.KindOrder, h.state.OrderID))
	if err != nil {
		return h, err
	}
	defer stop()
	const shortest, longest = 2 * time.Millisecond, 250 * time.Millisecond
	pause := shortest
	timer := time.NewTimer(pause)
	defer timer.Stop()
	for h.state.Status == order.StatusPending {
		now, err := o.orders.load(ctx, string(h.state.OrderID))
		if err != nil {
			return h, nil // the time is up: what was read last is the answer
		}
		if h = now; h.state.Status != order.StatusPending {
			break
		}
		select {
		case <-changed:
			pause = shortest
		case <-timer.C:
			pause = min(2*pause, longest)
		case <-ctx.Done():
			return h, nil
		}
		timer.Reset(pause)
	}
	return h, nil
}

// due is when the background process takes over an order that stands half-way: when no live request can be at work on it.
func (o *Orders) due() subjects.Time {
	return o.clock.now().Add(o.live.Duration(configs.PaymentGatewayTimeout) + o.live.Duration(configs.OrderPendingGrace))
}

// priced turns a request into the command, with the catalog's names, prices and tax rates, and seals what is personal.
func (o *Orders) priced(ctx context.Context, r *subjects.PlaceRequest) (*order.Place, error) {
	skus := make([]id.SKU, len(r.Lines))
	for i, l := range r.Lines {
		skus[i] = l.SKU
	}
	items, err := o.prices.Of(ctx, skus)
	if err != nil {
		return nil, err
	}
	lines := make([]order.Line, len(r.Lines))
	for i, l := range r.Lines {
		item, ok := items[l.SKU]
		switch field := r.LineField(i, "sku"); {
		case !ok:
			return nil, fault.New(fault.FailedPrecondition, "%s is not in the catalog", l.SKU).WithField(field)
		case !item.Active:
			return nil, fault.New(fault.FailedPrecondition, "%s is not sold at present", l.SKU).WithField(field)
		case item.UnitPrice.Currency != items[r.Lines[0].SKU].UnitPrice.Currency:
			return nil, fault.New(fault.FailedPrecondition, "%s is priced in %s and %s in %s; an order is in one currency",
				l.SKU, item.UnitPrice.Currency, r.Lines[0].SKU, items[r.Lines[0].SKU].UnitPrice.Currency).WithField(field)
		}
		lines[i] = order.Line{SKU: l.SKU, Name: item.Name, Quantity: l.Quantity, UnitPrice: item.UnitPrice, TaxRateBP: item.TaxRateBP}
	}
	priced, _, _, total, err := order.Price(lines)
	if err != nil {
		return nil, err
	}
	if r.ExpectedTotal != nil && *r.ExpectedTotal != total {
		return nil, fault.New(fault.FailedPrecondition, "the total is %s and not %s", total, *r.ExpectedTotal).WithField("expected_total")
	}
	if r.Payment.Method == subjects.Card && total.Amount > 0 && o.live.String(configs.PaymentGateway) == configs.GatewayNone {
		return nil, fault.New(fault.FailedPrecondition, "the site takes no cards at present: pay in cash").WithField("payment.method")
	}
	sealed, err := o.sealPersonal(ctx, r)
	if err != nil {
		return nil, err
	}
	now := o.clock.now()
	return &order.Place{
		OrderID: r.OrderID, CustomerID: r.CustomerID, Lines: priced, Fulfilment: order.Fulfilment(r.Fulfilment),
		Method: order.Method(r.Payment.Method), Sealed: sealed, Token: o.sealToken(r),
		PaymentID: id.PaymentOf(r.OrderID), ReservationID: id.ReservationOf(r.OrderID),
		DueAt: o.due(), ExpiresAt: now.Add(o.live.Duration(configs.OrderPendingTimeout)), At: now,
	}, nil
}

// personal is what an order knows of a person.
type personal struct {
	Email  string            `json:"email,omitzero"`
	ShipTo *subjects.Address `json:"ship_to,omitzero"`
}

func (o *Orders) sealPersonal(ctx context.Context, r *subjects.PlaceRequest) ([]byte, error) {
	if r.Email == "" && r.ShipTo == nil {
		return nil, nil
	}
	var plain bytes.Buffer
	if err := quick.Write(&plain, personal{r.Email, r.ShipTo}); err != nil {
		return nil, err
	}
	return o.vault.SealPersonal(ctx, r.CustomerID, plain.Bytes())
}

func (o *Orders) sealToken(r *subjects.PlaceRequest) []byte {
	if r.Payment.Token == "" {
		return nil
	}
	return o.vault.SealToken(string(r.OrderID), r.Payment.Token)
}

// hash names the content of a request. The id is no part of it; expected_total is, as it is a part of what was asked.
func (o *Orders) hash(r *subjects.PlaceRequest) (string, error) {
	content := *r
	content.OrderID = ""
	var text bytes.Buffer
	if err := quick.Write(&text, &content, json.Deterministic(true)); err != nil {
		return "", err
	}
	m := hmac.New(sha256.New, o.hashKey)
	m.Write(text.Bytes())
	return hex.EncodeToString(m.Sum(nil)[:16]), nil
}

// derivedID is the id of an order that came without one: it follows from the Idempotency-Key, and is new without that.
func (o *Orders) derivedID(ctx context.Context) id.Order {
	key := rpc.IdempotencyKey(ctx)
	if key == "" {
		return id.Order(id.New())
	}
	m := hmac.New(sha256.New, o.hashKey)
	m.Write([]byte("idempotency-key\x00" + key))
	return id.Order("k" + hex.EncodeToString(m.Sum(nil)[:16]))
}
