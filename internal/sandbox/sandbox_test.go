package sandbox

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"waybill/internal/fault"
	"waybill/internal/id"
	"waybill/internal/journal"
	"waybill/internal/journal/journaltest"
	"waybill/internal/money"
	"waybill/internal/paygate"
	"waybill/internal/scope"
	"waybill/subjects"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func eur(amount int64) money.Money { return money.Of(amount, "EUR") }

// bench is a gateway with its books.
type bench struct {
	t   *testing.T
	bed *journaltest.Bed
	*Gateway
}

func newBench(t *testing.T) *bench {
	t.Helper()
	bed := journaltest.Start(t)
	bed.Streams(journaltest.Journal())
	j, err := journal.Open(bed.Connect(), journal.Options{Site: journaltest.Site})
	if err != nil {
		t.Fatal(err)
	}
	return &bench{t: t, bed: bed, Gateway: New(j, Options{
		Site: journaltest.Site, Now: func() time.Time { return time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC) },
	})}
}

func (b *bench) authorized(p id.Payment, amount money.Money, token string, want paygate.AuthorizeResult) {
	b.t.Helper()
	got, err := b.Authorize(b.t.Context(), paygate.AuthorizeRequest{PaymentID: p, Amount: amount, Token: token})
	if err != nil || got != want {
		b.t.Fatalf("authorize %s with %s: %+v %v, want %+v", p, token, got, err, want)
	}
}

// is checks a result against the code expected; the empty code is approved.
func (b *bench) is(r paygate.Result, err error, code string) {
	b.t.Helper()
	if err != nil || r.Approved != (code == "") || r.Code != code {
		b.t.Fatalf("%+v %v, want code %q", r, err, code)
	}
}

func (b *bench) captured(p id.Payment, c id.Capture, amount money.Money, code string) {
	b.t.Helper()
	r, err := b.Capture(b.t.Context(), p, c, amount)
	b.is(r, err, code)
}

func (b *bench) refunded(p id.Payment, r id.Refund, amount money.Money, code string) {
	b.t.Helper()
	res, err := b.Refund(b.t.Context(), p, r, amount)
	b.is(res, err, code)
}

func (b *bench) voided(p id.Payment, code string) {
	b.t.Helper()
	r, err := b.Void(b.t.Context(), p)
	b.is(r, err, code)
}

func (b *bench) status(p id.Payment) paygate.Status {
	b.t.Helper()
	s, err := b.Query(b.t.Context(), p)
	if err != nil {
		b.t.Fatal(err)
	}
	return s
}

func (b *bench) ledger() []Entry {
	b.t.Helper()
	entries, next, err := b.Ledger(b.t.Context(), "", maxLedger)
	if err != nil || next != "" {
		b.t.Fatal(next, err)
	}
	return entries
}

var (
	ok       = paygate.AuthorizeResult{Outcome: paygate.OutcomeApproved}
	action   = paygate.AuthorizeResult{Outcome: paygate.OutcomeActionRequired, Action: actionName}
	declined = func(code string) paygate.AuthorizeResult {
		return paygate.AuthorizeResult{Outcome: paygate.OutcomeDeclined, DeclineCode: code}
	}
	refusal = func(code string) paygate.AuthorizeResult {
		return paygate.AuthorizeResult{Outcome: paygate.OutcomeRefused, DeclineCode: code}
	}
)

func TestTokens(t *testing.T) {
	b := newBench(t)
	for token, want := range map[string]paygate.AuthorizeResult{
		TokenOK: ok, TokenDeclined: declined("declined"), TokenInsufficientFunds: declined("insufficient_funds"),
		"tok_nonsense": declined("unknown_token"), "": declined("unknown_token"), TokenActionRequired: action,
	} {
		p := id.Payment("p-" + token)
		b.authorized(p, eur(450), token, want)
		b.authorized(p, eur(450), token, want) // again: the same
		s := b.status(p)
		if !s.Known || s.Declined != (want.Outcome == paygate.OutcomeDeclined) || s.DeclineCode != want.DeclineCode ||
			s.ActionRequired != (want == action) || (s.Authorized == eur(450)) != (want == ok) {
			t.Errorf("%s: %+v", token, s)
		}
	}
	if n := len(b.ledger()); n != 5 {
		t.Errorf("%d entries, want one for each outcome but the required action", n)
	}
	// A declined payment stays declined.
	b.authorized("p-"+TokenDeclined, eur(450), TokenOK, declined("declined"))
}

func TestSlow(t *testing.T) {
	b := newBench(t)
	began := time.Now()
	b.authorized("p-1", eur(1), TokenSlow, ok)
	if d := time.Since(began); d < slowness {
		t.Errorf("answered after %v, want %v", d, slowness)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	_, err := b.Authorize(ctx, paygate.AuthorizeRequest{PaymentID: "p-2", Amount: eur(1), Token: TokenSlow})
	codeIs(t, err, fault.DeadlineExceeded)
}

func codeIs(t *testing.T, err error, code fault.Code) {
	t.Helper()
	if got := fault.CodeOf(err); got != code {
		t.Fatalf("code %q in place of %q: %v", got, code, err)
	}
}

func TestTimeoutIsFoundByAsking(t *testing.T) {
	b := newBench(t)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := b.Authorize(ctx, paygate.AuthorizeRequest{PaymentID: "p-1", Amount: eur(450), Token: TokenTimeout})
	codeIs(t, err, fault.DeadlineExceeded)
	if s := b.status("p-1"); !s.Known || s.Authorized != eur(450) {
		t.Errorf("%+v, want it authorized", s)
	}
	b.authorized("p-1", eur(450), TokenTimeout, ok)
	if n := len(b.ledger()); n != 1 {
		t.Errorf("%d entries, want 1", n)
	}
}

func TestUnavailableRecordsNothing(t *testing.T) {
	b := newBench(t)
	_, err := b.Authorize(t.Context(), paygate.AuthorizeRequest{PaymentID: "p-1", Amount: eur(450), Token: TokenUnavailable})
	codeIs(t, err, fault.Unavailable)
	if s := b.status("p-1"); s.Known {
		t.Errorf("%+v, want it unknown", s)
	}
	b.authorized("p-1", eur(450), TokenOK, ok)
}

func TestActionRequired(t *testing.T) {
	b := newBench(t)
	b.authorized("p-1", eur(450), TokenActionRequired, action)
	b.captured("p-1", "c-1", eur(450), CodeNotAuthorized)
	b.authorized("p-1", eur(450), TokenOK, ok)
	if s := b.status("p-1"); s.ActionRequired || s.Authorized != eur(450) {
		t.Errorf("%+v", s)
	}
	// The customer has done it, and the token is the old one.
	b.authorized("p-4", eur(450), TokenActionRequired, action)
	again := paygate.AuthorizeRequest{PaymentID: "p-4", Amount: eur(450), Token: TokenActionRequired, Resumed: true}
	for range 2 {
		if r, err := b.Authorize(t.Context(), again); err != nil || r != ok {
			t.Errorf("resumed: %+v %v", r, err)
		}
	}
	b.authorized("p-2", eur(450), TokenActionRequired, action)
	b.authorized("p-2", eur(450), TokenDeclined, declined(CodeDeclined))
	b.authorized("p-3", eur(450), TokenActionRequired, action)
	b.voided("p-3", "")
	b.authorized("p-3", eur(450), TokenOK, refusal(CodeVoided))
}

func TestConcurrentAuthorizations(t *testing.T) {
	b := newBench(t)
	var all sync.WaitGroup
	for range 32 {
		all.Go(func() {
			r, err := b.Authorize(t.Context(), paygate.AuthorizeRequest{PaymentID: "p-1", Amount: eur(450), Token: TokenOK})
			if err != nil || r != ok {
				t.Error(r, err)
			}
		})
	}
	all.Wait()
	entries := b.ledger()
	if len(entries) != 1 || entries[0].Result != Approved || entries[0].Amount != eur(450) {
		t.Errorf("%+v, want one approved entry", entries)
	}
}

func TestConcurrentCapturesStayWithinTheAuthorization(t *testing.T) {
	b := newBench(t)
	b.authorized("p-1", eur(1000), TokenOK, ok)
	var all sync.WaitGroup
	var taken atomic.Int64
	for i := range 20 {
		all.Go(func() {
			r, err := b.Capture(t.Context(), "p-1", id.Capture(fmt.Sprintf("c-%d", i%16)), eur(100))
			if err != nil || !r.Approved && r.Code != CodeOverAuthorized {
				t.Error(r, err)
			}
			if r.Approved {
				taken.Add(1)
			}
		})
	}
	all.Wait()
	s := b.status("p-1")
	if s.Captured != eur(1000) || len(s.Captures) != 10 {
		t.Errorf("captured %v in %d captures; want all of it, in 10", s.Captured, len(s.Captures))
	}
	var sum int64
	for _, e := range b.ledger() {
		if e.Operation == OpCapture && e.Result == Approved {
			sum += e.Amount.Amount
		}
	}
	if sum != 1000 || taken.Load() < 10 {
		t.Errorf("the ledger has captures of %d, and %d callers were told so", sum, taken.Load())
	}
}

func TestCaptureAndRefund(t *testing.T) {
	b := newBench(t)
	b.captured("p-1", "c-1", eur(100), CodeNotAuthorized)
	if s := b.status("p-1"); s.Known {
		t.Errorf("%+v: a refusal made the payment known", s)
	}
	b.authorized("p-1", eur(1000), TokenOK, ok)
	b.authorized("p-1", eur(999), TokenOK, refusal(CodeIDReused))
	for _, bad := range []money.Money{eur(0), eur(-1), money.Of(100, "USD"), money.Of(100, "XXX"), {}} {
		b.captured("p-1", "c-0", bad, CodeInvalidAmount)
	}
	b.captured("p-1", "c-1", eur(600), "")
	b.captured("p-1", "c-1", eur(600), "")
	b.captured("p-1", "c-1", eur(500), CodeIDReused)
	b.captured("p-1", "c-2", eur(401), CodeOverAuthorized)
	b.refunded("p-1", "r-1", eur(601), CodeOverCaptured)
	b.refunded("p-1", "r-1", eur(200), "")
	b.refunded("p-1", "r-1", eur(200), "")
	b.refunded("p-1", "r-1", eur(100), CodeIDReused)
	b.refunded("p-1", "r-2", eur(401), CodeOverCaptured)
	b.refunded("p-1", "r-2", money.Of(1, "USD"), CodeInvalidAmount)
	b.refunded("p-1", "r-2", eur(400), "")
	b.captured("p-1", "c-2", eur(400), "")
	b.refunded("p-1", "r-3", eur(400), "")
	s := b.status("p-1")
	if s.Authorized != eur(1000) || s.Captured != eur(1000) || s.Refunded != eur(1000) || s.Captures["c-1"] != eur(600) || s.Refunds["r-3"] != eur(400) {
		t.Errorf("%+v", s)
	}
	b.refunded("p-2", "r-1", eur(1), CodeOverCaptured)
}

func TestVoid(t *testing.T) {
	b := newBench(t)
	// Of a payment that it never saw.
	b.voided("p-1", "")
	b.voided("p-1", "")
	b.authorized("p-1", eur(1000), TokenOK, refusal(CodeVoided))
	if s := b.status("p-1"); !s.Known || !s.Voided || !s.Authorized.IsZero() {
		t.Errorf("%+v", s)
	}
	// Of an authorization.
	b.authorized("p-2", eur(1000), TokenOK, ok)
	b.voided("p-2", "")
	b.captured("p-2", "c-1", eur(1), CodeVoided)
	b.authorized("p-2", eur(1000), TokenOK, refusal(CodeVoided))
	// Of the rest of one.
	b.authorized("p-3", eur(1000), TokenOK, ok)
	b.captured("p-3", "c-1", eur(300), "")
	b.voided("p-3", "")
	b.captured("p-3", "c-2", eur(1), CodeVoided)
	b.captured("p-3", "c-1", eur(300), "")
	b.refunded("p-3", "r-1", eur(300), "")
	// Of what is all captured.
	b.authorized("p-4", eur(1000), TokenOK, ok)
	b.captured("p-4", "c-1", eur(1000), "")
	b.voided("p-4", CodeCaptured)
	// Of what was declined.
	b.authorized("p-5", eur(1000), TokenDeclined, declined(CodeDeclined))
	b.voided("p-5", "")
	for _, e := range b.ledger() {
		if e.Operation == OpVoid && e.PaymentID == "p-3" && e.Amount != eur(700) {
			t.Errorf("%+v, want 700 given back", e)
		}
	}
}

func TestLedger(t *testing.T) {
	b := newBench(t)
	for i := range 7 {
		p := id.Payment(fmt.Sprintf("p-%d", i))
		if i%3 == 0 {
			b.authorized(p, eur(450), TokenActionRequired, action) // in the books, and no entry of the ledger
		}
		b.authorized(p, eur(450), TokenOK, ok)
	}
	for range 3 {
		b.captured("p-0", "c-1", eur(451), CodeOverAuthorized) // once, not three times
	}
	b.captured("p-0", "c-1", eur(450), "")
	b.refunded("p-0", "r-1", eur(50), "")
	b.voided("p-1", "")
	all := b.ledger()
	if len(all) != 11 {
		t.Fatalf("%d entries, want 11: %+v", len(all), all)
	}
	want := fmt.Sprintf("{2026-01-02T03:04:05.000Z capture p-0 c-1 4.51 EUR refused %s}", CodeOverAuthorized)
	if got := fmt.Sprint(all[7]); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	for limit := 1; limit <= 12; limit++ {
		var paged []Entry
		cursor := ""
		for {
			entries, next, err := b.Ledger(t.Context(), cursor, limit)
			if err != nil || len(entries) > limit {
				t.Fatal(len(entries), err)
			}
			paged = append(paged, entries...)
			if cursor = next; next == "" {
				break
			}
		}
		if fmt.Sprint(paged) != fmt.Sprint(all) {
			t.Errorf("by pages of %d: %v, want %v", limit, paged, all)
		}
	}
	for _, cursor := range []string{"x", "-1", "0", "1.5"} {
		_, _, err := b.Ledger(t.Context(), cursor, 1)
		codeIs(t, err, fault.InvalidArgument)
	}
	_, _, err := b.Ledger(t.Context(), "", maxLedger+1)
	codeIs(t, err, fault.InvalidArgument)
}

// What an answer rests on is noted where the work for it is, so that nobody outside is told of what is not durable yet: the entry,
// whether it was written for this answer or stood in the books before.
func TestAnswersRestOnTheirEntries(t *testing.T) {
	b := newBench(t)
	ctx := t.Context()
	b.authorized("other", eur(1), TokenOK, ok) // event 1
	calls := []struct {
		name string
		call func(context.Context) error
		want uint64
	}{
		{"authorize", func(ctx context.Context) error {
			_, err := b.Authorize(ctx, paygate.AuthorizeRequest{PaymentID: "p-1", Amount: eur(5), Token: TokenOK})
			return err
		}, 2},
		{"authorize again", func(ctx context.Context) error {
			_, err := b.Authorize(ctx, paygate.AuthorizeRequest{PaymentID: "p-1", Amount: eur(5), Token: TokenOK})
			return err
		}, 2},
		{"query", func(ctx context.Context) error { _, err := b.Query(ctx, "p-1"); return err }, 2},
		{"capture", func(ctx context.Context) error { _, err := b.Capture(ctx, "p-1", "c-1", eur(5)); return err }, 3},
		{"refund", func(ctx context.Context) error { _, err := b.Refund(ctx, "p-1", "r-1", eur(5)); return err }, 4},
		{"void", func(ctx context.Context) error { _, err := b.Void(ctx, "other"); return err }, 5},
		{"void again", func(ctx context.Context) error { _, err := b.Void(ctx, "other"); return err }, 5},
		{"ledger", func(ctx context.Context) error { _, _, err := b.Ledger(ctx, "", 10); return err }, 5},
	}
	for _, c := range calls {
		s := &scope.Scope{}
		if err := c.call(scope.With(ctx, s)); err != nil || s.Highest() != c.want {
			t.Errorf("%s: rests on event %d, want %d; %v", c.name, s.Highest(), c.want, err)
		}
	}
	_, err := b.Void(ctx, "a.b")
	codeIs(t, err, fault.InvalidArgument)
	if b.Outside() || !New(nil, Options{Outside: true}).Outside() {
		t.Error("a gateway on the site's journal is inside, and only that")
	}
}

// What others write between the entries, and an entry that can't be read, are passed over; where there is much of it, an answer may be
// empty and more follow.
func TestLedgerAmongOthers(t *testing.T) {
	b := newBench(t)
	ctx := t.Context()
	js := b.bed.JetStream()
	write := func(subject string) {
		if _, err := js.PublishAsync(subject, []byte("{")); err != nil {
			t.Fatal(err)
		}
	}
	b.authorized("p-1", eur(1), TokenOK, ok)
	write(subjects.Event(journaltest.Site, subjects.KindLedger, "broken"))
	for range ledgerBatch*ledgerReads + 10 {
		write(subjects.Event(journaltest.Site, subjects.KindCatalog, "tea"))
	}
	select {
	case <-js.PublishAsyncComplete():
	case <-time.After(30 * time.Second):
		t.Fatal("the events are not written")
	}
	b.authorized("p-2", eur(2), TokenOK, ok)
	first, next, err := b.Ledger(ctx, "", 10)
	if err != nil || len(first) != 1 || first[0].PaymentID != "p-1" || next == "" {
		t.Fatalf("%v %q %v, want the first entry, and that more follows", first, next, err)
	}
	second, next, err := b.Ledger(ctx, next, 10)
	if err != nil || len(second) != 1 || second[0].PaymentID != "p-2" || next != "" {
		t.Errorf("%v %q %v, want the second entry and the end", second, next, err)
	}
}

// TestKey: every call shows the key, and with one that is not taken nothing comes into the books.
func TestKey(t *testing.T) {
	b := newBench(t)
	key, broken := "test_1", error(nil)
	b.key = func() (string, error) { return key, broken }
	ctx, p := t.Context(), id.Payment("p-1")
	b.authorized(p, eur(500), TokenOK, paygate.AuthorizeResult{Outcome: paygate.OutcomeApproved})
	calls := map[string]func() error{
		"authorize": func() error {
			_, err := b.Authorize(ctx, paygate.AuthorizeRequest{PaymentID: "p-2", Amount: eur(500), Token: TokenOK})
			return err
		},
		"capture": func() error { _, err := b.Capture(ctx, p, "c-1", eur(500)); return err },
		"void":    func() error { _, err := b.Void(ctx, p); return err },
		"refund":  func() error { _, err := b.Refund(ctx, p, "r-1", eur(500)); return err },
		"query":   func() error { _, err := b.Query(ctx, p); return err },
	}
	for _, door := range []struct {
		key    string
		broken error
	}{{"live_1", nil}, {"", fault.New(fault.FailedPrecondition, "no file")}} {
		key, broken = door.key, door.broken
		for name, call := range calls {
			if err := call(); fault.CodeOf(err) != fault.Unavailable {
				t.Errorf("%s with %+v: %v", name, door, err)
			}
		}
	}
	key, broken = "", nil
	if entries, _, err := b.Ledger(ctx, "", 10); err != nil || len(entries) != 1 {
		t.Errorf("the books have %d entries, want the one with a good key; %v", len(entries), err)
	}
}
