package journal

import (
	"context"
	"fmt"
	"testing"

	"github.com/nats-io/nats.go"

	"waybill/internal/fault"
	"waybill/internal/scope"
)

func TestLoadMany(t *testing.T) {
	j := newBed(t).journal(nil)
	last := map[string]Record{}
	var asked []string
	for i := range 12 {
		id := fmt.Sprintf("o-%d", i)
		if i%3 > 0 {
			last[orderSubject(id)] = mustAppend(t, j, id, Record{}, i)
		}
		asked = append(asked, orderSubject(id))
	}
	s := &scope.Scope{}
	got, err := j.LoadMany(scope.With(t.Context(), s), asked)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != len(last) {
		t.Errorf("%d records, want %d", len(got), len(last))
	}
	for subject, want := range last {
		if got[subject].ID != want.ID || got[subject].Hash != want.Hash {
			t.Errorf("%s is %+v, want %+v", subject, got[subject], want)
		}
	}
	if want := last[orderSubject("o-11")].Sequence; s.Highest() != want {
		t.Errorf("noted %d, want %d", s.Highest(), want)
	}
	if none, err := j.LoadMany(t.Context(), nil); err != nil || len(none) != 0 {
		t.Errorf("of no subject: %v %v", none, err)
	}
	if none, err := j.LoadMany(t.Context(), []string{orderSubject("nobody")}); err != nil || len(none) != 0 {
		t.Errorf("of an unknown subject: %v %v", none, err)
	}
	one, s := last[orderSubject("o-4")], &scope.Scope{}
	if got, err := j.LoadMany(scope.With(t.Context(), s), []string{one.Subject}); err != nil || len(got) != 1 || got[one.Subject].ID != one.ID || s.Highest() != one.Sequence {
		t.Errorf("of one subject: %+v, %v, and %d is noted, want %+v", got, err, s.Highest(), one)
	}
	full := make([]string, maxSubjects)
	for i := range full {
		full[i] = orderSubject(fmt.Sprintf("o-%d", i))
	}
	if got, err := j.LoadMany(t.Context(), full); err != nil || len(got) != len(last) {
		t.Errorf("of 1024 subjects: %d records, %v", len(got), err)
	}
	_, err = j.LoadMany(t.Context(), append(full, "one more"))
	codeIs(t, err, fault.InvalidArgument)
}

// State tells what Load tells of the same subject, as far as it tells it.
func TestState(t *testing.T) {
	j := newBed(t).journal(nil)
	first := mustAppend(t, j, "a", Record{}, 1)
	mustAppend(t, j, "b", Record{}, 3)
	for range 2 {
		want, _, err := j.Load(t.Context(), first.Subject)
		if err != nil {
			t.Fatal(err)
		}
		s := &scope.Scope{}
		got, ok, err := j.State(scope.With(t.Context(), s), first.Subject)
		if err != nil || !ok || string(got) != string(want.State) || s.Highest() != 0 {
			t.Errorf("the state is %s, %v, %v, and %d was noted; want %s", got, ok, err, s.Highest(), want.State)
		}
		first = mustAppend(t, j, "a", want, 1)
	}
	if got, ok, err := j.State(t.Context(), orderSubject("nobody")); err != nil || ok || got != nil {
		t.Errorf("of an unknown subject: %s, %v, %v", got, ok, err)
	}
	if _, err := j.js.Publish(t.Context(), orderSubject("broken"), []byte(`{"v":1,"state":`)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := j.State(t.Context(), orderSubject("broken")); fault.CodeOf(err) != fault.Internal {
		t.Errorf("of one that can't be read: %v", err)
	}
}

func TestHistoryAndRange(t *testing.T) {
	const n = 1203
	j := newBed(t).journal(nil)
	ctx := t.Context()
	a := mustAppend(t, j, "a", Record{}, 700)
	mustAppend(t, j, "b", Record{}, 5)
	mustAppend(t, j, "a", a, n-700)

	history, err := j.History(ctx, orderSubject("a"))
	if err != nil {
		t.Fatal(err)
	}
	if len(history) != n {
		t.Fatalf("%d events, want %d", len(history), n)
	}
	var previous Record
	for _, r := range history {
		if r.Sequence <= previous.Sequence || !r.Follows(previous) {
			t.Fatalf("event %d comes after %d", r.Sequence, previous.Sequence)
		}
		previous = r
	}
	if none, err := j.History(ctx, orderSubject("nobody")); err != nil || len(none) != 0 {
		t.Errorf("of an unknown subject: %v %v", none, err)
	}

	all, err := j.Range(ctx, 1, 1<<20)
	if err != nil || len(all) != n+5 {
		t.Fatalf("%d events and %v, want %d", len(all), err, n+5)
	}
	for i, r := range all {
		if r.Sequence != uint64(i+1) {
			t.Fatalf("event %d at place %d", r.Sequence, i+1)
		}
	}
	some, err := j.Range(ctx, 699, 4)
	if err != nil || len(some) != 4 || some[0].Sequence != 699 || some[3].CeSubject != "b" {
		t.Errorf("four events from 699 on: %v %v", some, err)
	}
	if none, err := j.Range(ctx, n+6, 4); err != nil || len(none) != 0 {
		t.Errorf("beyond the end: %v %v", none, err)
	}
	if last, err := j.Last(ctx); err != nil || last != n+5 {
		t.Errorf("the last is %d (%v), want %d", last, err, n+5)
	}
}

// An event that can't be read is refused by who needs it, and passed on marked by who reads along.
func TestMalformed(t *testing.T) {
	b := newBed(t)
	j := b.journal(nil)
	for i, body := range []string{"", "{", `{"v":1,"data":{},"data":{}}`, `{"data":{}}`, `{"v":1,"data":{},"state":{}}`} {
		m := nats.NewMsg(orderSubject("bad"))
		m.Data = []byte(body)
		m.Header.Set("ce-time", "2026-01-02T03:04:05.678Z")
		if i < 4 {
			m.Header.Set("ce-id", "x")
			m.Header.Set("ce-type", "waybill.order.placed.v1")
		}
		if _, err := requestMsg(t.Context(), j.nc, m); err != nil {
			t.Fatal(err)
		}
	}
	_, _, err := j.Load(t.Context(), orderSubject("bad"))
	codeIs(t, err, fault.Internal)
	_, err = j.LoadMany(t.Context(), []string{orderSubject("bad")})
	codeIs(t, err, fault.Internal)
	history, err := j.History(t.Context(), orderSubject("bad"))
	if err != nil || len(history) != 5 {
		t.Fatalf("%d events and %v, want 5", len(history), err)
	}
	for _, r := range history {
		if r.Malformed == "" || r.Data != nil || r.Version != 0 {
			t.Errorf("%+v is not marked", r)
		}
	}
}

// What a newer program wrote can be read, and can't be appended over.
func TestNewerVersion(t *testing.T) {
	j := newBed(t).journal(nil)
	m := nats.NewMsg(orderSubject("new"))
	m.Data = []byte(`{"v":2,"data":{"x":1},"state":{"y":2},"more":[]}`)
	m.Header.Set("ce-id", "x")
	m.Header.Set("ce-type", "waybill.order.placed.v2")
	m.Header.Set("ce-time", "2026-01-02T03:04:05.678Z")
	if _, err := requestMsg(t.Context(), j.nc, m); err != nil {
		t.Fatal(err)
	}
	r, ok, err := j.Load(t.Context(), m.Subject)
	if err != nil || !ok || r.Version != 2 || string(r.State) != `{"y":2}` {
		t.Fatalf("%+v %v %v", r, ok, err)
	}
	_, err = j.Append(t.Context(), entry("new", r, 1))
	codeIs(t, err, fault.Unavailable)
}

func TestReadRefused(t *testing.T) {
	b := newBed(t)
	d := newDeaf(b)
	j := b.journalOn(b.ConnectBy(d), nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, _, err := j.Load(ctx, orderSubject("o"))
	codeIs(t, err, fault.DeadlineExceeded)
	_, err = j.Range(ctx, 1, 1)
	codeIs(t, err, fault.DeadlineExceeded)

	nowhere := OpenStream(j.nc, "NOWHERE", "")
	_, _, err = nowhere.Get(t.Context(), "x")
	codeIs(t, err, fault.Unavailable)
	_, err = nowhere.Range(t.Context(), 1, 1)
	codeIs(t, err, fault.Unavailable)
	_, err = nowhere.LastSequence(t.Context())
	codeIs(t, err, fault.Unavailable)
}
