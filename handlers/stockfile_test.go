package handlers

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"waybill/internal/id"
	"waybill/internal/inventory"
	"waybill/internal/journal"
	"waybill/internal/journal/journaltest"
	"waybill/internal/snapshot"
	"waybill/subjects"
)

// waits is a barrier that takes note of what it was asked for.
type waits struct{ highest uint64 }

func (w *waits) Wait(_ context.Context, sequence uint64) error {
	w.highest = max(w.highest, sequence)
	return nil
}

// shelf is a journal with the stock on it, and the file of its snapshot.
type shelf struct {
	t       *testing.T
	journal *journal.Journal
	file    string
	waits   waits
	log     bytes.Buffer
	padded  int
}

func newShelf(t *testing.T) *shelf {
	bed := journaltest.Start(t)
	bed.Streams(journaltest.Journal())
	j, err := journal.Open(bed.Connect(), journal.Options{Site: journaltest.Site})
	if err != nil {
		t.Fatal(err)
	}
	return &shelf{t: t, journal: j, file: filepath.Join(t.TempDir(), "stock.snapshot")}
}

// open begins a term, and says what it wrote to the log.
func (s *shelf) open() (room *stockroom, log string) {
	s.t.Helper()
	return s.begin(s.inventory())
}

func (s *shelf) inventory() *Inventory {
	v := NewInventory(InventoryDeps{
		Site: journaltest.Site, Clock: time.Now, Log: zerolog.New(&s.log).Level(zerolog.InfoLevel), Instance: "test",
		Barrier: &s.waits, LowSpace: func() bool { return false }, Snapshot: s.file,
	})
	v.journal = s.journal
	return v
}

// begin begins a term of a service, and says what it wrote to the log.
func (s *shelf) begin(v *Inventory) (room *stockroom, log string) {
	s.t.Helper()
	s.log.Reset()
	fence, err := v.takeOver(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	room = newStockroom(v, fence, func(err error) { s.t.Errorf("the term ended: %v", err) })
	if err := room.read(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
	log = s.log.String()
	room.log = zerolog.Nop()
	return room, log
}

// trade receives stock and makes orders' worth of reservations, a third of which end again; run tells one trade from another.
func (s *shelf) trade(room *stockroom, run string, reservations int) {
	s.t.Helper()
	do := func(c inventory.Command, r id.Reservation) {
		if _, err := room.do(s.t.Context(), c, r); err != nil {
			s.t.Errorf("%+v: %v", c, err)
		}
	}
	for _, sku := range []id.SKU{"a", "b"} {
		do(inventory.Receive{SKU: sku, Quantity: inventory.MaxQuantity / 10, Reference: id.Reference(run), At: room.clock.now()}, "")
	}
	var traders sync.WaitGroup
	for trader := range 8 {
		traders.Go(func() {
			for n := trader; n < reservations; n += 8 {
				r := id.Reservation(fmt.Sprintf("%s-%d", run, n))
				do(inventory.Hold{ReservationID: r, Lines: []inventory.Line{{SKU: "a", Quantity: 1}, {SKU: "b", Quantity: 2}}, At: room.clock.now()}, r)
				if n%3 == 0 {
					do(inventory.Consume{ReservationID: r, ShipmentID: "s", Lines: []inventory.Line{{SKU: "a", Quantity: 1}}, At: room.clock.now()}, r)
				}
				if n%3 == 1 {
					do(inventory.Release{ReservationID: r, At: room.clock.now()}, r)
				}
			}
		})
	}
	traders.Wait()
}

// pad appends events that are none of the stock's.
func (s *shelf) pad(n int) {
	s.t.Helper()
	for i := range n {
		s.padded++
		p, err := s.journal.Start(s.t.Context(), journal.Entry{
			Subject: subjects.Event(journaltest.Site, subjects.KindCatalog, fmt.Sprint("item-", s.padded)), Kind: subjects.KindCatalog, Event: "put", Data: i, State: i,
		})
		if err == nil && (i%1000 == 999 || i == n-1) { // those before it are there then, too
			_, err = p.Wait(s.t.Context())
		}
		if err != nil {
			s.t.Fatal(err)
		}
	}
}

// same compares a book with the one that all of the journal makes.
func (s *shelf) same(what string, room *stockroom) {
	s.t.Helper()
	inventory := *room.Inventory
	inventory.saving.file = ""
	full := newStockroom(&inventory, room.fence, room.end)
	if err := full.read(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
	stocks, reservations := room.book.Len()
	wantStocks, wantReservations := full.book.Len()
	if stocks != wantStocks || reservations != wantReservations || reservations == 0 {
		s.t.Fatalf("%s: %d SKUs and %d reservations, not %d and %d", what, stocks, reservations, wantStocks, wantReservations)
	}
	for _, sku := range full.book.SKUs() {
		got, _ := room.book.Stock(sku)
		if want, _ := full.book.Stock(sku); got != want {
			s.t.Fatalf("%s: %+v, not %+v", what, got, want)
		}
	}
}

const (
	fromStart = `"from":1,`
	notUsed   = "the snapshot of the stock is not used"
)

// TestStartFromSnapshot: of twenty thousand events a start reads those after the snapshot, and holds what all of them make.
func TestStartFromSnapshot(t *testing.T) {
	t.Parallel()
	s := newShelf(t)
	room, log := s.open()
	if !strings.Contains(log, fromStart) || strings.Contains(log, notUsed) {
		t.Fatalf("without a snapshot: %s", log)
	}
	s.trade(room, "one", 600)
	s.pad(19_000)
	var meanwhile sync.WaitGroup
	meanwhile.Go(func() { s.trade(room, "two", 300) })
	if err := room.save(t.Context()); err != nil { // while it trades
		t.Fatal(err)
	}
	upTo := room.saving.upTo
	if s.waits.highest < upTo {
		t.Errorf("the snapshot is of event %d, durable are those up to %d", upTo, s.waits.highest)
	}
	meanwhile.Wait()

	again, log := s.open()
	if want := fmt.Sprintf(`"from":%d,`, upTo+1); !strings.Contains(log, want) || strings.Contains(log, fromStart) || strings.Contains(log, notUsed) || upTo < 10 {
		t.Fatalf("the snapshot is of event %d, the log %s", upTo, log)
	}
	s.same("from a snapshot and the tail", again)
	s.trade(again, "three", 30) // an event after the snapshot names the one before it
	s.chained()
	again.saveLast(t.Context())
	if again.saving.upTo != upTo && again.saving.upTo < upTo+saveAtStop {
		t.Errorf("a snapshot was written for %d events", again.saving.upTo-upTo)
	}
	s.pad(saveAtStop)
	s.trade(again, "four", 3)
	again.saveLast(t.Context())
	last, log := s.open()
	if again.saving.upTo <= upTo || !strings.Contains(log, fmt.Sprintf(`"sequence":%d,`, again.saving.upTo)) {
		t.Fatalf("after a clean stop: %s", log)
	}
	if last.due(t.Context(), saveEvery) {
		t.Error("nothing has changed since the snapshot, and another is due")
	}
	s.same("after a clean stop", last)
}

// chained makes sure that each event of the stock names its subject's event before it.
func (s *shelf) chained() {
	s.t.Helper()
	last := map[string]journal.Record{}
	if _, err := s.journal.Replay(s.t.Context(), 1, []string{
		subjects.EventsOf(journaltest.Site, subjects.KindStock), subjects.EventsOf(journaltest.Site, subjects.KindReservation),
	}, func(r journal.Record) error {
		if !r.Follows(last[r.Subject]) {
			s.t.Errorf("event %d of %s does not name the one before it", r.Sequence, r.Subject)
		}
		last[r.Subject] = r
		return nil
	}); err != nil {
		s.t.Fatal(err)
	}
}

// TestSnapshotRefused: what the journal does not bear out is not used, and all of the journal is read.
func TestSnapshotRefused(t *testing.T) {
	t.Parallel()
	s, other := newShelf(t), newShelf(t)
	room, _ := s.open()
	s.trade(room, "one", 40)
	if err := room.save(t.Context()); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(s.file)
	if err != nil {
		t.Fatal(err)
	}
	good, err := snapshot.Open(s.file)
	if err != nil {
		t.Fatal(err)
	}
	defer good.Close()
	content, err := io.ReadAll(good.Content)
	if err != nil {
		t.Fatal(err)
	}
	with := func(change func(h *snapshot.Header), content []byte) func(string) error {
		return func(file string) error {
			h := good.Header
			change(&h)
			_, err := snapshot.Write(file, h, func(w io.Writer) error { _, err := w.Write(content); return err })
			return err
		}
	}
	for what, spoil := range map[string]func(file string) error{
		"cut short":         func(f string) error { return os.Truncate(f, int64(len(whole)/2)) },
		"a flipped bit":     func(f string) error { b := bytes.Clone(whole); b[len(b)/2] ^= 1; return os.WriteFile(f, b, 0o600) },
		"empty":             func(f string) error { return os.Truncate(f, 0) },
		"of another site":   with(func(h *snapshot.Header) { h.Site = "elsewhere" }, content),
		"of something else": with(func(h *snapshot.Header) { h.Content = "weather" }, content),
		"a newer format":    with(func(h *snapshot.Header) { h.Format++ }, content),
		"of no event":       with(func(h *snapshot.Header) { h.Sequence = 0 }, content),
		"of a later event":  with(func(h *snapshot.Header) { h.Sequence += 1000 }, content),
		"of another event":  with(func(h *snapshot.Header) { h.Sequence-- }, content),
		"another id":        with(func(h *snapshot.Header) { h.ID = strings.Repeat("0", 32) }, content),
		"another hash":      with(func(h *snapshot.Header) { h.Hash = strings.Repeat("0", 32) }, content),
		"content cut short": with(func(*snapshot.Header) {}, content[:len(content)-2]),
	} {
		if err := os.WriteFile(s.file, whole, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := spoil(s.file); err != nil {
			t.Fatal(err)
		}
		room, log := s.open()
		if !strings.Contains(log, notUsed) || !strings.Contains(log, fromStart) {
			t.Errorf("%s: %s", what, log)
		}
		s.same(what, room)
	}

	// A book that is well-formed and whose next events can't have happened to it.
	empty := inventory.NewBook()
	var nothing bytes.Buffer
	if err := empty.Cut().Save(&nothing, new(sync.Mutex)); err != nil {
		t.Fatal(err)
	}
	if err := with(func(*snapshot.Header) {}, nothing.Bytes())(s.file); err != nil {
		t.Fatal(err)
	}
	s.file, room = "", nil
	room, _ = s.open()
	if _, err := room.do(t.Context(), inventory.Release{ReservationID: "one-2", At: room.clock.now()}, "one-2"); err != nil {
		t.Fatal(err)
	}
	s.file = filepath.Join(t.TempDir(), "empty.snapshot")
	if err := with(func(*snapshot.Header) {}, nothing.Bytes())(s.file); err != nil {
		t.Fatal(err)
	}
	room, log := s.open()
	if !strings.Contains(log, "does not follow from the snapshot") || !strings.Contains(log, fromStart) {
		t.Errorf("a book at odds with the journal: %s", log)
	}
	s.same("a book at odds with the journal", room)

	// A power cut took the journal back behind the snapshot; then it grew again, with other events at the same sequences.
	other.file = filepath.Join(t.TempDir(), "stock.snapshot")
	if err := os.WriteFile(other.file, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	behind, _ := other.open()
	other.trade(behind, "one", 4)
	for _, what := range []string{"ahead of the journal", "of events that were lost"} {
		room, log := other.open()
		if !strings.Contains(log, notUsed) || !strings.Contains(log, fromStart) {
			t.Errorf("%s: %s", what, log)
		}
		other.same(what, room)
		other.trade(room, "two", 60)
	}
}

// TestNoSnapshotOfWhatIsLost: a book that holds an event which the journal refused is not saved.
func TestNoSnapshotOfWhatIsLost(t *testing.T) {
	t.Parallel()
	s := newShelf(t)
	room, _ := s.open()
	s.trade(room, "one", 3)
	refused := &sending{done: make(chan struct{}), err: journal.ErrConflict}
	close(refused.done)
	room.flight[refused] = struct{}{} // an event before the last one, which was taken
	if err := room.save(t.Context()); err == nil {
		t.Error("a book with a refused event was saved")
	}
	if _, err := snapshot.Open(s.file); err != snapshot.ErrNone {
		t.Errorf("the file: %v", err)
	}
	delete(room.flight, refused)
	if err := room.save(t.Context()); err != nil {
		t.Errorf("after it: %v", err)
	}
}
