package journal

import (
	"testing"
	"time"

	"waybill/subjects"
)

// TestSignalsTellWhatAWriteExpects hears of writes of each kind, and of one by somebody else who expects nothing.
func TestSignalsTellWhatAWriteExpects(t *testing.T) {
	b := newBed(t)
	j, other := b.journal(nil), b.journal(nil)
	type signal struct {
		subject string
		expects uint64
	}
	heard := make(chan signal, 16)
	signals, err := other.Signals(subjects.EventsOf(site, subjects.KindOrder), func(subject string, expects uint64) { heard <- signal{subject, expects} })
	if err != nil {
		t.Fatal(err)
	}
	defer signals.Stop()
	want := func(id string, expects uint64) {
		t.Helper()
		select {
		case got := <-heard:
			if (got != signal{orderSubject(id), expects}) {
				t.Errorf("heard %+v, want %s with %d", got, id, expects)
			}
		case <-time.After(5 * time.Second):
			t.Fatalf("nothing is heard of %s", id)
		}
	}
	entry := func(id string, previous Record) Entry {
		return Entry{Subject: orderSubject(id), Kind: subjects.KindOrder, Event: "placed", Data: count{1}, State: count{1}, Previous: previous}
	}
	r, err := j.Append(t.Context(), entry("a", Record{}))
	if err != nil {
		t.Fatal(err)
	}
	want("a", 0)
	if _, err := j.AppendBatch(t.Context(), []Entry{entry("a", r), entry("b", Record{})}); err != nil {
		t.Fatal(err)
	}
	want("a", r.Sequence)
	want("b", 0)
	if _, err := j.Append(t.Context(), entry("a", r)); err == nil {
		t.Fatal("an append over an event that is not the last one is taken")
	}
	want("a", r.Sequence)
	fenced := entry("c", Record{})
	fenced.Fence = &Fence{Subject: orderSubject("b"), Sequence: r.Sequence + 2}
	if _, err := j.Append(t.Context(), fenced); err != nil {
		t.Fatal(err)
	}
	want("c", Unnamed)
	if err := b.Connect().Publish(orderSubject("d"), []byte("{}")); err != nil {
		t.Fatal(err)
	}
	want("d", Unnamed)
}

// TestSignalsOfASession breaks the connection of the signals again and again: what is written while a session is up is heard of, and
// each break begins another one.
func TestSignalsOfASession(t *testing.T) {
	b := newBed(t)
	nc, other := b.Connect(), b.Connect()
	heard := make(chan struct{}, 1)
	signals, err := b.journalOn(nc, nil).Signals(orderSubject("a"), func(string, uint64) { heard <- struct{}{} })
	if err != nil {
		t.Fatal(err)
	}
	defer signals.Stop()
	var before Session
	for round := range 100 {
		var is Session
		up := false
		for deadline := time.Now().Add(10 * time.Second); !up; is, up = signals.Session() {
			if time.Now().After(deadline) {
				t.Fatal("the signals do not come back")
			}
		}
		if round != 0 && is == before {
			t.Fatal("a reconnect does not begin another session")
		}
		before = is
		if err := other.Publish(orderSubject("a"), []byte("{}")); err != nil {
			t.Fatal(err)
		}
		select {
		case <-heard:
		case <-time.After(5 * time.Second):
			t.Fatalf("round %d: a write in a session is not heard of", round)
		}
		if now, up := signals.Session(); !up || now != is {
			t.Fatalf("a session ended by itself: %+v, %t", now, up)
		}
		reconnects := nc.Stats().Reconnects
		if err := nc.ForceReconnect(); err != nil {
			t.Fatal(err)
		}
		for deadline := time.Now().Add(10 * time.Second); nc.Stats().Reconnects == reconnects; time.Sleep(100 * time.Microsecond) {
			if time.Now().After(deadline) {
				t.Fatal("the connection does not come back")
			}
		}
	}
}

// TestSignalsThatWereDropped has more signals come than may wait: those that were dropped end the session.
func TestSignalsThatWereDropped(t *testing.T) {
	b := newBed(t)
	busy, free := make(chan struct{}), make(chan struct{})
	signals, err := b.journal(nil).Signals(orderSubject("a"), func(string, uint64) {
		select {
		case busy <- struct{}{}:
		case <-free:
		}
		<-free
	})
	if err != nil {
		t.Fatal(err)
	}
	defer signals.Stop()
	defer close(free)
	if err := signals.sub.SetPendingLimits(1, -1); err != nil {
		t.Fatal(err)
	}
	before, up := signals.Session()
	other := b.Connect()
	for range 5 {
		if err := other.Publish(orderSubject("a"), []byte("{}")); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case <-busy:
	case <-time.After(5 * time.Second):
		t.Fatal("nothing is heard")
	}
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
		if is, now := signals.Session(); up && now && is != before {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("signals were dropped, and the session goes on")
		}
	}
}
