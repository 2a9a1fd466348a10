package verify_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"waybill/internal/fault"
	"waybill/internal/id"
	"waybill/internal/journal"
	"waybill/internal/verify"
	"waybill/subjects"
)

// intents names, for each operation of the gateway, the event that stands in the journal before the gateway is asked.
var intents = map[string]struct {
	kind  subjects.Kind
	event string
}{
	"authorize": {ofPayment, "processing"}, "capture": {ofPayment, "capturing"}, "void": {ofPayment, "voiding"},
	"refund": {ofRefund, "pending"},
}

// inFlight verifies the journal as it was after each of its events, as a crash at that moment would have left it: with the gateway
// asked, and not asked yet. What is only half done is no violation.
func inFlight(t *testing.T, sound *world) {
	intent := make([]uint64, len(sound.ledger)) // the sequence of each entry's intent
	seen := make(map[string]int)
	for i, e := range sound.ledger {
		want := intents[e.Operation]
		n := 0
		if e.Operation == "authorize" && e.PaymentID == "o-act-pay" {
			n = 1 // the first time the customer had to act, of which the books tell nothing
		}
		if e.Operation == "capture" {
			n = seen[string(e.PaymentID)]
			seen[string(e.PaymentID)]++
		}
		intent[i] = sound.records[sound.at(t, want.kind, string(e.PaymentID), want.event, n)].Sequence
	}
	for n := range sound.records {
		w := sound.copy()
		w.records, w.messages, w.seals, w.settled = w.records[:n+1], w.messages[:n+1], nil, false
		w.ledger = nil
		for i, e := range sound.ledger {
			if intent[i] <= uint64(n+1) {
				w.ledger = append(w.ledger, e)
			}
		}
		for _, v := range w.verify(t).Violations {
			t.Errorf("after event %d: %+v", n+1, v)
		}
		if n%5 != 0 {
			continue
		}
		// The books are read after the journal, and may be ahead of it by what was not even intended then.
		src, calls := w.source(), 0
		src.Ledger = func(context.Context, string) ([]subjects.LedgerEntry, string, error) {
			if calls++; calls == 1 {
				return w.ledger, "", nil
			}
			return sound.ledger, "", nil
		}
		report, err := verify.Run(t.Context(), src, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range report.Violations {
			t.Errorf("after event %d, with newer books: %+v", n+1, v)
		}
		if t.Failed() {
			return
		}
	}
}

// reports checks what Run says, and when it fails.
func reports(t *testing.T, sound *world) {
	t.Run("as JSON", func(t *testing.T) {
		w := sound.copy()
		text, err := json.Marshal(w.verify(t))
		want := fmt.Sprintf(`{"events":%d,"orders":12,"last":%[1]d,"violations":[]}`, len(w.records))
		if err != nil || string(text) != want {
			t.Errorf("%s, %v, want %s", text, err, want)
		}
		w.last = 1000
		text, err = json.Marshal(w.verify(t).Violations)
		want = fmt.Sprintf(`[{"rule":"sequence","subject":"JOURNAL","sequence":1000,"message":"the events %d to 1000 are missing"}]`,
			len(w.records)+1)
		if err != nil || string(text) != want {
			t.Errorf("%s, %v, want %s", text, err, want)
		}
	})
	t.Run("the journal alone", func(t *testing.T) {
		w := sound.copy()
		report, err := verify.Run(t.Context(), verify.Source{Replay: w.source().Replay}, nil)
		if err != nil || len(report.Violations) != 0 || report.Events != uint64(len(w.records)) {
			t.Errorf("%+v, %v", report, err)
		}
	})
	t.Run("an empty journal", func(t *testing.T) {
		src := verify.Source{Replay: func(context.Context, uint64, func(journal.Record) error) (uint64, error) { return 0, nil }, Settled: true}
		report, err := verify.Run(t.Context(), src, nil)
		if err != nil || report.Violations == nil || len(report.Violations) != 0 || report.Events != 0 {
			t.Errorf("%+v, %v", report, err)
		}
	})
	t.Run("a dead letter explains", func(t *testing.T) {
		w := sound.copy()
		giveUp(t, w)
		w.relink()
		w.letters = []subjects.DeadInfo{deadLetter("o-open", "unavailable: nobody at home")}
		if v := w.verify(t).Violations; len(v) != 0 {
			t.Errorf("%+v", v)
		}
	})
	t.Run("a void that outran its authorization", func(t *testing.T) {
		// The gateway authorized a payment that was given up before anybody heard of that, and the void took it back.
		w := sound.copy()
		w.without(ofPayment, "p-1", 0)
		w.without(ofRefund, "p-1", 0)
		w.ledger = slices.DeleteFunc(w.ledger, func(e subjects.LedgerEntry) bool { return e.PaymentID == "p-1" })
		const p = id.Payment("p-1")
		w.records = append(w.records, givenUp(t, p)...)
		w.relink()
		misbooked("authorize", p, "p-1", 700)(t, w)
		misbooked("void", p, "p-1", 700)(t, w)
		if v := w.verify(t).Violations; len(v) != 0 {
			t.Errorf("%+v", v)
		}
	})
	t.Run("a stranger's reservation under a rejected order's name", func(t *testing.T) {
		w := sound.copy()
		i := w.at(t, ofReservation, "r-1", "held", 0)
		r := w.records[i]
		rename := func(v jsontext.Value) jsontext.Value {
			return bytes.ReplaceAll(v, []byte("r-1"), []byte("o-short-res"))
		}
		r.ID, r.CeSubject, r.Subject = id.NewEvent(), "o-short-res", subjects.Event("local", ofReservation, "o-short-res")
		r.Data, r.State = rename(r.Data), rename(r.State)
		w.records = slices.Insert(w.records, i, r)
		w.relink()
		if v := w.verify(t).Violations; len(v) != 0 {
			t.Errorf("%+v", v)
		}
	})
	t.Run("a bound", func(t *testing.T) {
		w := sound.copy()
		for i := range verify.MaxViolations + 7 {
			misbooked("void", id.Payment(fmt.Sprintf("ghost-%d", i)), "x", 1)(t, w)
		}
		report := w.verify(t)
		if len(report.Violations) != verify.MaxViolations || report.Omitted != 7 {
			t.Errorf("%d violations and %d omitted", len(report.Violations), report.Omitted)
		}
	})
	t.Run("a gateway that keeps its books elsewhere", func(t *testing.T) {
		src := sound.copy().source()
		src.Ledger = func(context.Context, string) ([]subjects.LedgerEntry, string, error) {
			return nil, "", fault.New(fault.Unimplemented, "elsewhere")
		}
		report, err := verify.Run(t.Context(), src, nil)
		if err != nil || len(report.Violations) != 0 {
			t.Errorf("%+v, %v", report, err)
		}
	})
	t.Run("progress", func(t *testing.T) {
		w := sound.multiply("o-done", 100)
		src := w.source()
		total := uint64(len(w.records))
		src.Last = func(context.Context) (uint64, error) { return total, nil }
		var steps []uint64
		if _, err := verify.Run(t.Context(), src, func(done, of uint64) {
			if of != total {
				t.Errorf("%d of %d events, of which there are %d", done, of, total)
			}
			steps = append(steps, done)
		}); err != nil {
			t.Fatal(err)
		}
		if !slices.IsSorted(steps) || len(steps) < 2 || steps[len(steps)-1] != total {
			t.Errorf("steps %d to %d", steps, total)
		}
	})
	t.Run("a source that fails", func(t *testing.T) {
		failed := errors.New("failed")
		for name, fail := range map[string]func(*verify.Source){
			"replay": func(s *verify.Source) {
				s.Replay = func(context.Context, uint64, func(journal.Record) error) (uint64, error) { return 0, failed }
			},
			"messages": func(s *verify.Source) {
				s.Messages = func(context.Context, uint64, int) ([]journal.Message, error) { return nil, failed }
			},
			"ledger": func(s *verify.Source) {
				s.Ledger = func(context.Context, string) ([]subjects.LedgerEntry, string, error) { return nil, "", failed }
			},
			"seals": func(s *verify.Source) {
				s.Seals = func(context.Context, string) ([]subjects.Seal, string, error) { return nil, "", failed }
			},
			"letters": func(s *verify.Source) {
				s.DeadLetters = func(context.Context, string) ([]subjects.DeadInfo, string, error) { return nil, "", failed }
			},
			"last": func(s *verify.Source) { s.Last = func(context.Context) (uint64, error) { return 0, failed } },
		} {
			src := sound.copy().source()
			fail(&src)
			if _, err := verify.Run(t.Context(), src, func(uint64, uint64) {}); !errors.Is(err, failed) {
				t.Errorf("%s: %v", name, err)
			}
		}
		src := sound.copy().source()
		src.Ledger = func(context.Context, string) ([]subjects.LedgerEntry, string, error) { return nil, "again", nil }
		if _, err := verify.Run(t.Context(), src, nil); fault.CodeOf(err) != fault.Internal {
			t.Errorf("a list without end: %v", err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := verify.Run(ctx, sound.copy().source(), nil); !errors.Is(err, context.Canceled) {
			t.Errorf("a context that has ended: %v", err)
		}
	})
	t.Run("another program's fields", func(t *testing.T) {
		w := sound.copy()
		i := w.at(t, ofOrder, "o-open", "confirmed", 0)
		w.both(t, i, `{`, `{"colour":"blue",`)
		w.relink()
		if v := w.verify(t).Violations; len(v) != 0 {
			t.Errorf("%+v", v)
		}
	})
}
