package handlers

import (
	"strings"
	"testing"
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
