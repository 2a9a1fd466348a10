package handlers

import (
	"context"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"waybill/internal/inventory"
	"waybill/internal/snapshot"
)

// TestBookAtHand has a process that does not lead follow the one that does: when it takes over it reads the rest of the journal alone.
func TestBookAtHand(t *testing.T) {
	t.Parallel()
	s := newShelf(t)
	s.file = "" // what is at hand is no snapshot
	leader, _ := s.open()
	s.trade(leader, "first", 40)
	heir := s.inventory()
	if err := heir.catchUp(t.Context(), s.journal); err != nil {
		t.Fatal(err)
	}
	at := heir.standby.room.began.sequence
	s.trade(leader, "second", 20)
	if err := heir.catchUp(t.Context(), s.journal); err != nil {
		t.Fatal(err)
	}
	if now := heir.standby.room.began.sequence; now != at {
		t.Errorf("for a few events the book was brought from %d to %d", at, now)
	}
	s.pad(followEvery)
	s.trade(leader, "third", 20)
	if err := heir.catchUp(t.Context(), s.journal); err != nil {
		t.Fatal(err)
	}
	if now := heir.standby.room.began.sequence; now <= at+followEvery {
		t.Errorf("the book stands at %d, and stood at %d", now, at)
	}
	s.trade(leader, "fourth", 20)
	heir.standby.lead()
	room, log := s.begin(heir)
	if strings.Contains(log, `"from":1,`) || !strings.Contains(log, `"events":`) || heir.standby.room != nil {
		t.Errorf("the heir has read:\n%s", log)
	}
	s.same("the heir", room)
	if err := heir.catchUp(t.Context(), s.journal); err != nil || heir.standby.room != nil {
		t.Errorf("who leads keeps a second book: %v", err)
	}

	// What is at hand is not believed where the journal has another event in its place.
	other := s.inventory()
	if err := other.catchUp(t.Context(), s.journal); err != nil {
		t.Fatal(err)
	}
	other.standby.room.began.hash[0]++
	room, log = s.begin(other)
	if !strings.Contains(log, `"from":1,`) || !strings.Contains(log, "does not follow the journal") {
		t.Errorf("a book of another journal: the heir has read:\n%s", log)
	}
	s.same("the heir that read anew", room)
}

// dueShelf is a shelf whose leader has sold without a snapshot, and an heir that has one to write.
func dueShelf(t *testing.T) (*shelf, *Inventory) {
	t.Helper()
	s := newShelf(t)
	file := s.file
	s.file = ""
	leader, _ := s.open()
	s.trade(leader, "first", 40)
	s.pad(saveEvery)
	s.trade(leader, "second", 40)
	s.file = file
	return s, s.inventory()
}

// stuck is a barrier behind a disk that hangs until it is let go.
type stuck struct{ asked, free chan struct{} }

func (b stuck) Wait(context.Context, uint64) error {
	close(b.asked)
	<-b.free
	return nil
}

// TestTakeOverWaitsForNoDisk has a process take over while the snapshot of its book at hand, or its reading on, hangs in a call to the disk.
func TestTakeOverWaitsForNoDisk(t *testing.T) {
	t.Parallel()
	s, heir := dueShelf(t)
	disk := stuck{make(chan struct{}), make(chan struct{})}
	heir.saving.barrier = disk
	saved := make(chan error, 1)
	go func() { saved <- heir.catchUp(t.Context(), s.journal) }()
	<-disk.asked
	began := time.Now()
	heir.standby.lead()
	room, log := s.begin(heir)
	if took := time.Since(began); took > handWait || strings.Contains(log, fromStart) {
		t.Errorf("beside a snapshot that hangs the heir has read, for %v:\n%s", took, log)
	}
	if err := room.save(t.Context()); err == nil || !strings.Contains(err.Error(), "still being written") {
		t.Errorf("a second snapshot beside it: %v", err)
	}
	close(disk.free)
	s.trade(room, "third", 200) // while it is written
	if err := <-saved; err != nil {
		t.Errorf("the snapshot: %v", err)
	}
	s.same("the heir", room)
	if room, log = s.open(); strings.Contains(log, fromStart) {
		t.Errorf("the snapshot is not used:\n%s", log)
	}
	s.same("who reads the snapshot", room)

	s.file = ""
	other := s.inventory()
	reading, cancel := context.WithCancel(t.Context())
	defer cancel()
	other.standby.turn <- struct{}{} // and does not give it up
	if !other.standby.begin(cancel) {
		t.Error("who does not lead may not read")
	}
	began = time.Now()
	other.standby.lead()
	room, log = s.begin(other)
	if took := time.Since(began); took > handWait+15*time.Second || !strings.Contains(log, fromStart) || reading.Err() == nil {
		t.Errorf("beside a reading that hangs, and was told to end: %v, the heir has read, for %v:\n%s", reading.Err(), took, log)
	}
	s.same("the other heir", room)
}

// TestSnapshotOfABookThatIsTaken has a process take the book, and sell from it, before the snapshot is written that was due while it followed.
func TestSnapshotOfABookThatIsTaken(t *testing.T) {
	t.Parallel()
	s, heir := dueShelf(t)
	followed, cutting, err := heir.readOn(t.Context(), s.journal)
	if err != nil || cutting == nil {
		t.Fatalf("no snapshot is due: %v", err)
	}
	heir.standby.lead()
	room, _ := s.begin(heir)
	s.trade(room, "third", 60)
	if err := followed.write(t.Context(), cutting); err != nil {
		t.Fatal(err)
	}
	if room, log := s.open(); strings.Contains(log, fromStart) {
		t.Errorf("the snapshot is not used:\n%s", log)
	} else {
		s.same("who reads the snapshot", room)
	}
}

// TestBookAtHandAfterABadSnapshot has the snapshot be well-formed and of a book to which what follows can't have happened: all is read.
func TestBookAtHandAfterABadSnapshot(t *testing.T) {
	t.Parallel()
	s := newShelf(t)
	room, _ := s.open()
	s.trade(room, "one", 40)
	if err := room.save(t.Context()); err != nil {
		t.Fatal(err)
	}
	good, err := snapshot.Open(s.file)
	if err != nil {
		t.Fatal(err)
	}
	_ = good.Close()
	empty := inventory.NewBook().Cut()
	if _, err := snapshot.Write(s.file, good.Header, func(w io.Writer) error { return empty.Save(w, new(sync.Mutex)) }); err != nil {
		t.Fatal(err)
	}
	if _, err := room.do(t.Context(), inventory.Release{ReservationID: "one-2", At: room.clock.now()}, "one-2"); err != nil {
		t.Fatal(err)
	}
	heir := s.inventory()
	if err := heir.catchUp(t.Context(), s.journal); err != nil {
		t.Fatalf("it can't be brought up to date: %v", err)
	}
	heir.standby.room.fence = room.fence
	s.same("the book at hand", heir.standby.room)
}
