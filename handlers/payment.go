package handlers

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/rs/zerolog"

	"waybill/configs"
	"waybill/internal/fault"
	"waybill/internal/guard"
	"waybill/internal/id"
	"waybill/internal/journal"
	"waybill/internal/order"
	"waybill/internal/paygate"
	"waybill/internal/payment"
	"waybill/internal/rpc"
	"waybill/internal/vault"
	"waybill/subjects"
)

// Payments serves payments. What is asked of the gateway is written down first, and what it answered after, also when nobody waits for
// it any more: so whatever happens in between, the gateway can be asked for the truth.
type Payments struct {
	journal  *journal.Journal
	calls    *rpc.Caller
	gateway  paygate.Gateway
	books    Books
	vault    *vault.Vault
	barrier  Barrier
	live     *configs.Live
	clock    Clock
	log      zerolog.Logger
	hook     Hook
	payments machine[payment.State, payment.Command, payment.Event]
	refunds  machine[payment.RefundState, refundCommand, payment.RefundEvent]
	turns    *turns[id.Payment]
}

// Barrier makes the journal durable up to a sequence.
type Barrier interface {
	Wait(ctx context.Context, sequence uint64) error
}

// Books are a sandbox gateway's own; nil for a real gateway.
type Books interface {
	Ledger(ctx context.Context, cursor string, limit int) ([]subjects.LedgerEntry, string, error)
}

// PaymentsDeps is what the payment service uses.
type PaymentsDeps struct {
	Journal *journal.Journal
	Calls   *rpc.Caller
	Gateway paygate.Gateway
	Books   Books
	Vault   *vault.Vault
	Barrier Barrier
	Live    *configs.Live
	Site    subjects.Site
	Clock   Clock
	Log     zerolog.Logger
	Hook    Hook
}

// refundCommand is a refund's command with what it is measured against.
type refundCommand struct {
	payment.RefundCommand
	captured subjects.Money
}

// NewPayments makes the service.
func NewPayments(d PaymentsDeps) *Payments {
	return &Payments{
		journal: d.Journal, calls: d.Calls, gateway: d.Gateway, books: d.Books, vault: d.Vault, barrier: d.Barrier, live: d.Live,
		clock: d.Clock, log: d.Log, hook: d.Hook, turns: newTurns[id.Payment](),
		payments: machine[payment.State, payment.Command, payment.Event]{
			journal: d.Journal, clock: d.Clock, site: d.Site, kind: subjects.KindPayment, hook: d.Hook, log: d.Log,
			decide: payment.Decide, apply: payment.Apply,
			order: func(s payment.State) id.Order { return s.OrderID },
			name: func(e payment.Event) string {
				if e == nil {
					return ""
				}
				return string(e.Type())
			},
		},
		refunds: machine[payment.RefundState, refundCommand, payment.RefundEvent]{
			journal: d.Journal, clock: d.Clock, site: d.Site, kind: subjects.KindRefund, hook: d.Hook, log: d.Log,
			decide: func(s payment.RefundState, c refundCommand) (payment.RefundEvent, error) {
				return payment.DecideRefund(s, c.captured, c.RefundCommand)
			},
			apply: payment.ApplyRefund,
			name: func(e payment.RefundEvent) string {
				if e == nil {
					return ""
				}
				return string(e.Type())
			},
		},
	}
}

// Register lists the service's endpoints.
func (p *Payments) Register(s *rpc.Server) {
	rpc.Handle(s, subjects.PaymentAuthorize, p.authorize)
	rpc.Handle(s, subjects.PaymentCapture, p.capture)
	rpc.Handle(s, subjects.PaymentRefund, p.refund)
	rpc.Handle(s, subjects.PaymentVoid, p.void)
	rpc.Handle(s, subjects.PaymentResume, p.resume)
	rpc.Handle(s, subjects.PaymentGet, p.get)
	rpc.Handle(s, subjects.PaymentLedger, p.ledger)
	rpc.Handle(s, subjects.PaymentSettle, p.settle)
}

// authorize creates the payment and asks the gateway, once; asked again it answers what became of it.
func (p *Payments) authorize(ctx context.Context, r *subjects.AuthorizeRequest) (*subjects.PaymentInfo, error) {
	work, cancel := answerIn(ctx)
	defer cancel()
	end, err := p.turns.take(work, r.PaymentID)
	if err != nil {
		return nil, err
	}
	defer end()
	if err := p.only(work, r); err != nil {
		return nil, err
	}
	h, err := p.create(work, r)
	if err != nil {
		return nil, err
	}
	if h.state.Status != payment.StatusCreated && !guard.Off(guard.Idempotency) {
		return p.info(work, h)
	}
	h, err = p.payments.step(work, string(r.PaymentID), h, payment.Process{DueAt: p.due(), At: p.clock.now()})
	if err != nil {
		return nil, err
	}
	h, err = p.pay(work, h, paygate.AuthorizeRequest{PaymentID: r.PaymentID, Amount: r.Amount, Token: r.Token})
	if err != nil {
		return nil, err
	}
	return p.info(ctx, h)
}

// only refuses a second payment of an order, which is paid by the payment that bears its name, and one from outside of an order that
// has come to an end without.
func (p *Payments) only(ctx context.Context, r *subjects.AuthorizeRequest) error {
	own := id.PaymentOf(r.OrderID)
	if r.PaymentID == own && inner(ctx) {
		return nil
	}
	last, exists, err := p.journal.Load(ctx, subjects.Event(p.payments.site, subjects.KindOrder, r.OrderID))
	if err != nil || !exists {
		return err
	}
	if r.PaymentID != own {
		return fault.New(fault.FailedPrecondition, "the order %s has its own payment, %s", r.OrderID, own).WithField("payment_id")
	}
	h, err := hold[order.State](last)
	if err != nil || h.state.Status == order.StatusPending {
		return err
	}
	_, paid, err := p.journal.Load(ctx, subjects.Event(p.payments.site, subjects.KindPayment, own))
	if err != nil || paid {
		return err
	}
	return fault.New(fault.FailedPrecondition, "the order %s is %s and takes no payment", r.OrderID, h.state.Status).WithField("order_id")
}

// create makes the payment, or finds it.
func (p *Payments) create(ctx context.Context, r *subjects.AuthorizeRequest) (held[payment.State], error) {
	c := payment.Create{PaymentID: r.PaymentID, OrderID: r.OrderID, Method: payment.Method(r.Method), Amount: r.Amount, DueAt: p.due(), At: p.clock.now()}
	if r.Token != "" {
		c.Token, c.TokenHint = p.vault.SealToken(string(r.PaymentID), r.Token), vault.Hint(r.Token)
	}
	return p.payments.from(ctx, string(r.PaymentID), held[payment.State]{}, func(held[payment.State]) payment.Command { return c }) // new but for the rare repeat
}

// due is when the background process looks at something that is about to be asked of the gateway: when no live request can
// be waiting for it any more.
func (p *Payments) due() subjects.Time {
	return p.clock.now().Add(p.live.Duration(configs.PaymentGatewayTimeout) + time.Second)
}

// pay authorizes a processing payment with the gateway, or takes the cash, and records the outcome.
func (p *Payments) pay(ctx context.Context, h held[payment.State], r paygate.AuthorizeRequest) (held[payment.State], error) {
	if h.state.Method == payment.Cash {
		return p.record(ctx, h, payment.CaptureCash{At: p.clock.now()})
	}
	if h.state.Amount.Amount == 0 { // a gift: there is nothing to ask a gateway for
		return p.record(ctx, h, payment.Authorize{At: p.clock.now()})
	}
	outcome, err := p.authorization(ctx, h, r)
	if err != nil {
		p.log.Warn().Err(err).Str("payment_id", string(h.state.PaymentID)).Str("token", vault.Hint(r.Token)).
			Msg("the gateway did not answer; the payment is finished in the background")
		outcome = payment.MarkUnknown{DueAt: p.clock.now().Add(p.live.Duration(configs.OrderRetryInterval)), At: p.clock.now()}
	}
	return p.record(ctx, h, outcome)
}

// authorization puts an authorization to the gateway, and turns its answer into the command that records it.
func (p *Payments) authorization(ctx context.Context, h held[payment.State], r paygate.AuthorizeRequest) (payment.Command, error) {
	answer, err := ask(ctx, p, "gateway authorize", h.last.Sequence, func(ctx context.Context) (paygate.AuthorizeResult, error) {
		return p.gateway.Authorize(ctx, r)
	})
	if err != nil {
		return nil, err
	}
	switch now := p.clock.now(); answer.Outcome {
	case paygate.OutcomeApproved:
		return payment.Authorize{At: now}, nil
	case paygate.OutcomeActionRequired:
		return payment.RequireAction{Action: answer.Action, At: now}, nil
	default:
		return payment.Decline{Code: answer.DeclineCode, At: now}, nil
	}
}

// record writes down what the gateway answered, also when the caller has gone. Where the background process took the payment
// over meanwhile, what it found out stands.
func (p *Payments) record(ctx context.Context, h held[payment.State], c payment.Command) (held[payment.State], error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordTimeout)
	defer cancel()
	next, err := p.payments.step(ctx, string(h.state.PaymentID), h, c)
	if errors.Is(err, journal.ErrConflict) {
		return p.payments.load(ctx, string(h.state.PaymentID))
	}
	return next, err
}

// recordTimeout bounds how long the journal may take to record a gateway's answer.
const recordTimeout = 5 * time.Second

// capture takes an authorized amount. The intent stands in the journal before the gateway is asked.
func (p *Payments) capture(ctx context.Context, r *subjects.CaptureRequest) (*subjects.PaymentInfo, error) {
	end, err := p.turns.take(ctx, r.PaymentID)
	if err != nil {
		return nil, err
	}
	defer end()
	h, err := p.payments.command(ctx, string(r.PaymentID), func(held[payment.State]) payment.Command {
		return payment.CaptureIntent{CaptureID: r.CaptureID, Amount: r.Amount, DueAt: p.due(), At: p.clock.now()}
	})
	if fault.CodeOf(err) == fault.NotFound {
		return nil, noPayment(r.PaymentID)
	}
	if err != nil {
		return nil, err
	}
	h, err = p.finishCapture(ctx, h, r.CaptureID)
	if err != nil {
		return nil, err
	}
	if c, _ := h.state.Capture(r.CaptureID); c.Status == payment.CaptureStatusFailed {
		return nil, fault.New(fault.FailedPrecondition, "the gateway refused the capture: %s", c.Code)
	}
	return p.info(ctx, h)
}

// finishCapture asks the gateway for a capture that is intended, and records its answer.
func (p *Payments) finishCapture(ctx context.Context, h held[payment.State], capture id.Capture) (held[payment.State], error) {
	c, ok := h.state.Capture(capture)
	if !ok || c.Status != payment.CaptureStatusPending {
		return h, nil
	}
	answer, err := ask(ctx, p, "gateway capture", h.last.Sequence, func(ctx context.Context) (paygate.Result, error) {
		return p.gateway.Capture(ctx, h.state.PaymentID, capture, c.Amount)
	})
	if err != nil {
		return h, err
	}
	return p.insist(ctx, h.state.PaymentID, func() payment.Command {
		if answer.Approved {
			return payment.Capture{CaptureID: capture, Amount: c.Amount, At: p.clock.now()}
		}
		return payment.CaptureFailed{CaptureID: capture, Code: answer.Code, At: p.clock.now()}
	})
}

// insist records what the gateway has done for certain, whoever else writes to the payment and whether or not anybody waits.
func (p *Payments) insist(ctx context.Context, pay id.Payment, c func() payment.Command) (held[payment.State], error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordTimeout)
	defer cancel()
	return p.payments.command(ctx, string(pay), func(held[payment.State]) payment.Command { return c() })
}

// void gives up what is authorized and not captured.
func (p *Payments) void(ctx context.Context, r *subjects.PaymentRequest) (*subjects.PaymentInfo, error) {
	end, err := p.turns.take(ctx, r.PaymentID)
	if err != nil {
		return nil, err
	}
	h, err := inTurn(end, func() (held[payment.State], error) { return p.voidNow(ctx, r.PaymentID) })
	if err != nil {
		return nil, err
	}
	p.tellOrder(ctx, h.state.OrderID)
	return p.info(ctx, h)
}

func (p *Payments) voidNow(ctx context.Context, pay id.Payment) (held[payment.State], error) {
	h, err := p.payments.command(ctx, string(pay), func(held[payment.State]) payment.Command {
		return payment.VoidIntent{DueAt: p.due(), At: p.clock.now()}
	})
	if fault.CodeOf(err) == fault.NotFound {
		return h, noPayment(pay)
	}
	if err != nil || h.state.Status == payment.StatusVoided {
		return h, err
	}
	return p.finishVoid(ctx, h)
}

// finishVoid asks the gateway for a void that is intended, and records it. Cash is unknown to the gateway.
func (p *Payments) finishVoid(ctx context.Context, h held[payment.State]) (held[payment.State], error) {
	if h.state.Method == payment.Card {
		answer, err := ask(ctx, p, "gateway void", h.last.Sequence, func(ctx context.Context) (paygate.Result, error) {
			return p.gateway.Void(ctx, h.state.PaymentID)
		})
		if err != nil {
			return h, err
		}
		if !answer.Approved {
			return h, fault.New(fault.FailedPrecondition, "the gateway refused to void the payment: %s", answer.Code)
		}
	}
	return p.insist(ctx, h.state.PaymentID, func() payment.Command { return payment.Void{At: p.clock.now()} })
}

// resume goes on after the customer has done what the gateway wanted.
func (p *Payments) resume(ctx context.Context, r *subjects.ResumeRequest) (*subjects.PaymentInfo, error) {
	work, cancel := answerIn(ctx)
	defer cancel()
	end, err := p.turns.take(work, r.PaymentID)
	if err != nil {
		return nil, err
	}
	h, err := inTurn(end, func() (held[payment.State], error) { return p.resumeNow(work, r) })
	if err != nil {
		return nil, err
	}
	p.tellOrder(ctx, h.state.OrderID)
	return p.info(ctx, h)
}

func (p *Payments) resumeNow(ctx context.Context, r *subjects.ResumeRequest) (held[payment.State], error) {
	h, err := p.payments.load(ctx, string(r.PaymentID))
	if err != nil {
		return h, err
	}
	if !h.exists() {
		return h, noPayment(r.PaymentID)
	}
	if h.state.Status != payment.StatusRequiresAction {
		if h.state.Status == payment.StatusAuthorized {
			return h, nil // resumed before: the stored payment is the answer
		}
		return h, fault.New(fault.FailedPrecondition, "the payment is %s; only one that requires an action can be resumed", h.state.Status)
	}
	ask := paygate.AuthorizeRequest{PaymentID: r.PaymentID, Amount: h.state.Amount, Token: r.Token, Resumed: true}
	process := payment.Process{DueAt: p.due(), At: p.clock.now()}
	if r.Token != "" {
		process.Token, process.TokenHint = p.vault.SealToken(string(r.PaymentID), r.Token), vault.Hint(r.Token)
	} else if ask.Token, err = p.vault.OpenToken(string(r.PaymentID), h.state.Token); err != nil {
		return h, err
	}
	if h, err = p.payments.step(ctx, string(r.PaymentID), h, process); err != nil {
		return h, err
	}
	return p.pay(ctx, h, ask)
}

// tellOrder has the order look at its payment. It is a courtesy: the order looks by itself when it is due.
func (p *Payments) tellOrder(ctx context.Context, o id.Order) {
	if _, err := call(ctx, p.calls, p.hook, subjects.OrderProceed, &subjects.OrderRequest{OrderID: o}); err != nil && fault.CodeOf(err) != fault.NotFound {
		p.log.Debug().Err(err).Str("order_id", string(o)).Msg("the order could not be told of its payment; it looks by itself")
	}
}

func (p *Payments) get(ctx context.Context, r *subjects.PaymentRequest) (*subjects.PaymentInfo, error) {
	h, err := p.payments.load(ctx, string(r.PaymentID))
	if err != nil {
		return nil, err
	}
	if !h.exists() {
		return nil, noPayment(r.PaymentID)
	}
	return p.info(ctx, h)
}

func noPayment(p id.Payment) error {
	return fault.New(fault.NotFound, "there is no payment %s", p).WithField("payment_id")
}

// info is the payment with the sum of its refunds, which are an aggregate of their own and can exist only after a capture.
func (p *Payments) info(ctx context.Context, h held[payment.State]) (*subjects.PaymentInfo, error) {
	var refunds held[payment.RefundState]
	if h.state.Captured.Amount > 0 {
		var err error
		if refunds, err = p.refunds.load(ctx, string(h.state.PaymentID)); err != nil {
			return nil, err
		}
	}
	return paymentInfo(h.state, refunds.state), nil
}

func (p *Payments) ledger(ctx context.Context, r *subjects.ListRequest) (*subjects.Ledger, error) {
	if p.books == nil {
		return nil, fault.New(fault.Unimplemented, "the gateway %s keeps its books elsewhere", p.gateway.Name())
	}
	if r.Cursor != "" {
		if _, err := strconv.ParseUint(r.Cursor, 10, 64); err != nil {
			return nil, fault.Invalid("cursor", "cursor is not one that a list returned")
		}
	}
	entries, next, err := p.books.Ledger(ctx, r.Cursor, r.Size())
	if err != nil {
		return nil, err
	}
	if entries == nil {
		entries = []subjects.LedgerEntry{}
	}
	return &subjects.Ledger{Entries: entries, NextCursor: next}, nil
}
