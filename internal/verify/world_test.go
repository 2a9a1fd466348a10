package verify_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/nats-io/nats.go"

	"waybill/internal/id"
	"waybill/internal/journal"
	"waybill/internal/timestamp"
	"waybill/internal/verify"
	"waybill/subjects"
)

// world is all that a verification reads, in memory. now is when it is read.
type world struct {
	records  []journal.Record
	messages []journal.Message
	ledger   []subjects.LedgerEntry
	seals    []subjects.Seal
	letters  []subjects.DeadInfo
	now      timestamp.Time
	settled  bool
	last     uint64 // that the journal claims; 0 for the last record's
}

// copy is a world whose parts can be changed without changing w.
func (w *world) copy() *world {
	c := *w
	c.records, c.messages, c.ledger = slices.Clone(w.records), slices.Clone(w.messages), slices.Clone(w.ledger)
	c.seals, c.letters = slices.Clone(w.seals), slices.Clone(w.letters)
	return &c
}

func (w *world) source() verify.Source {
	return verify.Source{
		Replay: func(_ context.Context, from uint64, fn func(journal.Record) error) (uint64, error) {
			for _, r := range w.records {
				if r.Sequence < from {
					continue
				}
				if err := fn(r); err != nil {
					return 0, err
				}
			}
			return max(w.last, w.records[len(w.records)-1].Sequence), nil
		},
		Messages: func(_ context.Context, from uint64, limit int) ([]journal.Message, error) {
			first, _ := slices.BinarySearchFunc(w.messages, from, func(m journal.Message, n uint64) int { return int(m.Sequence) - int(n) })
			return w.messages[first:min(first+limit, len(w.messages))], nil
		},
		Ledger:      func(context.Context, string) ([]subjects.LedgerEntry, string, error) { return w.ledger, "", nil },
		Seals:       func(context.Context, string) ([]subjects.Seal, string, error) { return w.seals, "", nil },
		DeadLetters: func(context.Context, string) ([]subjects.DeadInfo, string, error) { return w.letters, "", nil },
		Settled:     w.settled,
		Now:         w.now,
	}
}

// verify returns the report on the world.
func (w *world) verify(t testing.TB) verify.Report {
	t.Helper()
	report, err := verify.Run(t.Context(), w.source(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// rules are the rules that the report's violations name, sorted and each once.
func rules(r verify.Report) []string {
	found := make(map[string]bool)
	for _, v := range r.Violations {
		found[v.Rule] = true
	}
	return slices.Sorted(maps.Keys(found))
}

// at is where the event of the aggregate stands among the records, the n-th of that name from 0.
func (w *world) at(t testing.TB, kind subjects.Kind, name, event string, n int) int {
	t.Helper()
	for i, r := range w.records {
		k, e := r.Event()
		if k == kind && e == event && r.CeSubject == name {
			if n--; n < 0 {
				return i
			}
		}
	}
	t.Fatalf("there is no %s.%s of %s", kind, event, name)
	return 0
}

// rehash gives the record the hash that it would be read with.
func rehash(r *journal.Record) {
	previous := ""
	if r.PreviousID != "" {
		previous = r.PreviousID + " " + r.PreviousHash
	}
	body := slices.Concat([]byte(`{"v":1,"data":`), r.Data, []byte(`,"state":`), r.State, []byte(`}`))
	r.Hash = journal.Hash(r.ID, r.Type, r.Time.String(), r.Subject, previous, body)
}

// relink is the work of a careful forger: sequences, links, hashes and seals are as if the records had always been so.
func (w *world) relink() {
	last := make(map[string]journal.Record)
	for i := range w.records {
		r := &w.records[i]
		r.Sequence = uint64(i + 1)
		r.PreviousID, r.PreviousHash = last[r.Subject].ID, last[r.Subject].Hash
		rehash(r)
		last[r.Subject] = *r
	}
	w.seal()
}

// seal seals the records as they are, in ranges of 50.
func (w *world) seal() {
	w.seals = nil
	before := ""
	for part := range slices.Chunk(w.records, 50) {
		h := sha256.New()
		h.Write([]byte(before))
		for _, r := range part {
			h.Write(binary.BigEndian.AppendUint64(nil, r.Sequence))
			h.Write([]byte(r.Hash))
		}
		before = hex.EncodeToString(h.Sum(nil))
		end := part[len(part)-1]
		w.seals = append(w.seals, subjects.Seal{From: part[0].Sequence, To: end.Sequence, LastID: end.ID, Hash: before})
	}
}

// edit replaces text in the data and in the state of a record, which must be there.
func (w *world) edit(t testing.TB, i int, in func(*journal.Record) *jsontext.Value, old, text string) {
	t.Helper()
	v := in(&w.records[i])
	if !bytes.Contains(*v, []byte(old)) {
		t.Fatalf("event %d has no %s: %s", w.records[i].Sequence, old, *v)
	}
	*v = bytes.Replace(*v, []byte(old), []byte(text), 1)
}

func data(r *journal.Record) *jsontext.Value  { return &r.Data }
func state(r *journal.Record) *jsontext.Value { return &r.State }

// both edits the data and the state alike.
func (w *world) both(t testing.TB, i int, old, text string) {
	t.Helper()
	w.edit(t, i, data, old, text)
	w.edit(t, i, state, old, text)
}

// drop takes records out.
func (w *world) drop(which ...int) {
	slices.Sort(which)
	for _, i := range slices.Backward(which) {
		w.records = slices.Delete(w.records, i, i+1)
	}
}

// without drops every event of an aggregate from one on.
func (w *world) without(kind subjects.Kind, name string, from int) {
	var which []int
	n := 0
	for i, r := range w.records {
		if k, _ := r.Event(); k == kind && r.CeSubject == name {
			if n++; n > from {
				which = append(which, i)
			}
		}
	}
	w.drop(which...)
}

// entry is where the gateway's approved operation of that id stands.
func (w *world) entry(t testing.TB, operation, name string) int {
	t.Helper()
	i := slices.IndexFunc(w.ledger, func(e subjects.LedgerEntry) bool {
		return e.Operation == operation && e.ID == name && e.Result == "approved"
	})
	if i < 0 {
		t.Fatalf("the books have no %s of %s", operation, name)
	}
	return i
}

// withHeader changes a header of a message.
func (w *world) withHeader(i int, name, value string) {
	h := nats.Header{}
	if old, ok := w.messages[i].Header.(nats.Header); ok {
		h = maps.Clone(old)
	}
	h.Set(name, value)
	w.messages[i].Header = h
}

// multiply makes a journal of n orders like the named one, on the stock of the world.
func (w *world) multiply(like id.Order, n int) *world {
	big := &world{now: w.now, settled: true}
	var one []journal.Record
	for _, r := range w.records {
		switch kind, _ := r.Event(); {
		case strings.HasPrefix(r.CeSubject, string(like)):
			one = append(one, r)
		case kind == subjects.KindCatalog, kind == subjects.KindStock:
			big.records = append(big.records, r)
		}
	}
	var ledger []subjects.LedgerEntry
	for _, e := range w.ledger {
		if strings.HasPrefix(string(e.PaymentID), string(like)) {
			ledger = append(ledger, e)
		}
	}
	for i := range n {
		number := string(like) + "x" + hex.EncodeToString(binary.BigEndian.AppendUint32(nil, uint32(i)))
		rename := func(s string) string { return strings.ReplaceAll(s, string(like), number) }
		for _, r := range one {
			r.Subject, r.CeSubject, r.ID = rename(r.Subject), rename(r.CeSubject), id.NewEvent()
			r.Data, r.State = jsontext.Value(rename(string(r.Data))), jsontext.Value(rename(string(r.State)))
			big.records = append(big.records, r)
		}
		for _, e := range ledger {
			e.PaymentID, e.ID = id.Payment(rename(string(e.PaymentID))), rename(e.ID)
			big.ledger = append(big.ledger, e)
		}
	}
	big.relink()
	return big
}
