package journal

import (
	"math"
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
	stop, err := other.Signals(subjects.EventsOf(site, subjects.KindOrder), func(subject string, expects uint64) { heard <- signal{subject, expects} })
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
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
	want("c", math.MaxUint64)
	if err := b.Connect().Publish(orderSubject("d"), []byte("{}")); err != nil {
		t.Fatal(err)
	}
	want("d", math.MaxUint64)
}
