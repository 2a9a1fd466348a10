// Package sandbox is a payment gateway that moves no money: the one that a site has until it is given a real one. It behaves as a
// real one would. It keeps its own books, one subject per payment, each entry appended by compare-and-set, so every call
// happens once per id however often and however concurrently it is made; and its test tokens decline, wait, fail and stay silent on demand.
//
// Its books stand in the site's journal, each entry behind the question that it answers. It waits for no disk: who asks it does, where
// the order of the journal is not enough (paygate.Gateway.Outside says when).
package sandbox

import (
	"context"
	"strings"
	"time"

	"waybill/internal/fault"
	"waybill/internal/id"
	"waybill/internal/journal"
	"waybill/internal/money"
	"waybill/internal/paygate"
	"waybill/internal/sleep"
	"waybill/subjects"
)

// Books is where the entries are kept. A *journal.Journal is one, and says what each method promises.
type Books interface {
	Load(ctx context.Context, subject string) (journal.Record, bool, error)
	Append(ctx context.Context, e journal.Entry) (journal.Record, error)
	Range(ctx context.Context, from uint64, limit int) ([]journal.Record, error)
}

// Options are what New needs beside the books.
type Options struct {
	Site subjects.Site
	Now  func() time.Time // nil: time.Now
	// Outside says that the books are not those of the site's journal: it makes durable what it asks.
	Outside bool
	// Key is asked at each call for the key that the gateway is entered with; empty, or nil, for none. An error, or a key that does
	// not begin with KeyPrefix, is a door that stays shut: nothing was asked then.
	Key func() (string, error)
}

// KeyPrefix begins every key that the sandbox takes, so that a key that moves money is noticed in the wrong place.
const KeyPrefix = "test_"

// The tokens that the sandbox knows. It declines any other with the code unknown_token.
const (
	TokenOK                = "tok_ok"
	TokenDeclined          = "tok_declined"
	TokenInsufficientFunds = "tok_insufficient_funds"
	TokenTimeout           = "tok_timeout"     // approved in the books, and no answer
	TokenUnavailable       = "tok_unavailable" // the gateway is away
	TokenSlow              = "tok_slow"        // approved after half a second
	TokenActionRequired    = "tok_action_required"
)

// The codes of what is declined or refused.
const (
	CodeDeclined          = "declined"
	CodeInsufficientFunds = "insufficient_funds"
	CodeUnknownToken      = "unknown_token"
	CodeVoided            = "voided"         // the payment was voided before
	CodeIDReused          = "id_reused"      // the id was used before with another amount
	CodeInvalidAmount     = "invalid_amount" // not above zero, or of another currency
	CodeNotAuthorized     = "not_authorized" // there is no authorization to capture
	CodeOverAuthorized    = "over_authorized"
	CodeOverCaptured      = "over_captured"
	CodeCaptured          = "captured" // all of it was captured: there is nothing left to void
)

const (
	slowness   = 500 * time.Millisecond
	silence    = time.Minute // the longest that tok_timeout keeps a caller who set no end
	actionName = "confirm"
)

// Gateway is the sandbox. It implements paygate.Gateway and is safe for concurrent use, also by several processes on the same books.
type Gateway struct {
	books   Books
	site    subjects.Site
	now     func() time.Time
	outside bool
	key     func() (string, error)
}

var _ paygate.Gateway = (*Gateway)(nil)

// New makes a gateway on its books. It sends nothing.
func New(books Books, o Options) *Gateway {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Key == nil {
		o.Key = func() (string, error) { return "", nil }
	}
	return &Gateway{books: books, site: o.Site, now: o.Now, outside: o.Outside, key: o.Key}
}

// enter shows the key. Errors: unavailable.
func (g *Gateway) enter() error {
	switch key, err := g.key(); {
	case err != nil:
		return fault.Wrap(err, fault.Unavailable, "the key of the payment gateway can't be read: look at the setting payment.gateway_key")
	case key != "" && !strings.HasPrefix(key, KeyPrefix):
		return fault.New(fault.Unavailable, "the sandbox gateway does not take this key: one that it takes begins with %s", KeyPrefix)
	}
	return nil
}

// Name is "sandbox".
func (g *Gateway) Name() string { return "sandbox" }

// Outside is false, but for a test's.
func (g *Gateway) Outside() bool { return g.outside }

// Authorize does what the token says, once per payment: asked again with the same amount it answers as before, whatever the token,
// except that a required action counts as taken when the request says so or another token comes.
// Errors: unavailable and deadline_exceeded, after which only Query knows.
func (g *Gateway) Authorize(ctx context.Context, r paygate.AuthorizeRequest) (paygate.AuthorizeResult, error) {
	if err := g.enter(); err != nil {
		return paygate.AuthorizeResult{}, err
	}
	if r.Token == TokenUnavailable {
		return paygate.AuthorizeResult{}, fault.New(fault.Unavailable, "the sandbox gateway is away, as the test token asks for")
	}
	if r.Token == TokenSlow {
		if err := wait(ctx, slowness); err != nil {
			return paygate.AuthorizeResult{}, err
		}
	}
	after, first, err := g.apply(ctx, r.PaymentID, authorize(r))
	if err != nil {
		return paygate.AuthorizeResult{}, err
	}
	if r.Token == TokenTimeout && first && after.outcome == paygate.OutcomeApproved {
		if err := wait(ctx, silence); err != nil {
			return paygate.AuthorizeResult{}, err
		}
		return paygate.AuthorizeResult{}, fault.New(fault.DeadlineExceeded, "the sandbox gateway keeps silent, as the test token asks for")
	}
	result := paygate.AuthorizeResult{Outcome: after.outcome, DeclineCode: after.code}
	if after.outcome == paygate.OutcomeActionRequired {
		result.Action = actionName
	}
	return result, nil
}

// Capture takes a part of what is authorized, once per capture id.
func (g *Gateway) Capture(ctx context.Context, p id.Payment, c id.Capture, amount money.Money) (paygate.Result, error) {
	return g.change(ctx, p, capture(p, c, amount))
}

// Void gives back what is authorized and not captured. A payment that the books don't know is void from then on.
func (g *Gateway) Void(ctx context.Context, p id.Payment) (paygate.Result, error) {
	return g.change(ctx, p, void(p))
}

// Refund gives back a part of what is captured, once per refund id.
func (g *Gateway) Refund(ctx context.Context, p id.Payment, r id.Refund, amount money.Money) (paygate.Result, error) {
	return g.change(ctx, p, refund(p, r, amount))
}

// change puts a change of an authorization into the books.
func (g *Gateway) change(ctx context.Context, p id.Payment, op operation) (paygate.Result, error) {
	if err := g.enter(); err != nil {
		return paygate.Result{}, err
	}
	a, _, err := g.apply(ctx, p, op)
	if err != nil {
		return paygate.Result{}, err
	}
	return paygate.Result{Approved: a.outcome == paygate.OutcomeApproved, Code: a.code}, nil
}

// Query tells what the books have of the payment.
func (g *Gateway) Query(ctx context.Context, p id.Payment) (paygate.Status, error) {
	if err := g.enter(); err != nil {
		return paygate.Status{}, err
	}
	a, _, ok, err := g.load(ctx, p)
	if err != nil || !ok || !a.known() {
		return paygate.Status{}, err
	}
	s := paygate.Status{
		Known: true, Authorized: a.Authorized, Captured: a.Captured, Refunded: a.Refunded, Voided: a.Voided,
		Declined: a.DeclineCode != "", DeclineCode: a.DeclineCode, ActionRequired: a.ActionRequired,
		Captures: make(map[id.Capture]money.Money), Refunds: make(map[id.Refund]money.Money),
	}
	for c, m := range a.Captures {
		s.Captures[c] = m
	}
	for r, m := range a.Refunds {
		s.Refunds[r] = m
	}
	return s, nil
}

// wait returns after d, or deadline_exceeded when ctx ends before.
func wait(ctx context.Context, d time.Duration) error {
	if !sleep.For(ctx, d) {
		return fault.Wrap(ctx.Err(), fault.DeadlineExceeded, "the sandbox gateway did not answer in time; ask it for the outcome")
	}
	return nil
}
