package journal

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"waybill/internal/fault"
)

// sealing follows the journal with a sealer until stop, which returns its error.
func sealing(t *testing.T, j *Journal, file string, every int) (stop func() error) {
	t.Helper()
	s, err := OpenSealer(t.Context(), j, file, every)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- errors.Join(j.Follow(ctx, s.Last()+1, s.Add), s.Close()) }()
	t.Cleanup(cancel)
	return func() error {
		cancel()
		return <-ended
	}
}

func refused(t *testing.T, j *Journal, file string, code fault.Code) {
	t.Helper()
	_, err := OpenSealer(t.Context(), j, file, 10)
	codeIs(t, err, code)
}

// sealed waits until the file has seals up to the sequence at least.
func sealed(t *testing.T, file string, to uint64) []Seal {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(20 * time.Second); ; {
		seals, err := ReadSeals(file)
		if err != nil {
			t.Fatal(err)
		}
		if n := len(seals); n > 0 && seals[n-1].To >= to {
			return seals
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("no seal up to %d: %+v", to, seals)
		}
	}
}

func violations(t *testing.T, j *Journal, seals []Seal) []string {
	t.Helper()
	c := NewSealCheck(seals)
	if _, err := j.Replay(t.Context(), 1, nil, func(r Record) error { c.Add(r); return nil }); err != nil {
		t.Fatal(err)
	}
	return c.Violations()
}

func TestSealer(t *testing.T) {
	b := newBed(t)
	j := b.journal(nil)
	file := filepath.Join(t.TempDir(), "seals.jsonl")
	first := mustAppend(t, j, "a", Record{}, 25)

	stop := sealing(t, j, file, 10)
	seals := sealed(t, file, 20)
	if len(seals) != 2 || seals[1].From != 11 || seals[1].To != 20 {
		t.Errorf("%+v, want two full ranges", seals)
	}
	mustAppend(t, j, "a", first, 7)
	sealed(t, file, 30)
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	// What had come of the rest is sealed by the stop; the next run goes on behind it.
	seals = sealed(t, file, 30)
	end := seals[len(seals)-1]
	last, err := j.Range(t.Context(), 32, 1)
	if err != nil {
		t.Fatal(err)
	}
	mustAppend(t, j, "a", last[0], 10)
	stop = sealing(t, j, file, 10)
	seals = sealed(t, file, end.To+10)
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if next := seals[len(seals)-1]; next.From != end.To+1 || next.To != end.To+10 {
		t.Errorf("behind %+v comes %+v", end, next)
	}
	seals = sealed(t, file, 0)
	if v := violations(t, j, seals); len(v) != 0 {
		t.Errorf("of a sound journal: %q", v)
	}
}

// What is left at a stop gets a line of its own; a line that a crash cut short is dropped and written again.
func TestSealerEnds(t *testing.T) {
	j := newBed(t).journal(nil)
	file := filepath.Join(t.TempDir(), "seals.jsonl")
	mustAppend(t, j, "a", Record{}, 25)
	events, err := j.stream.Range(t.Context(), 1, 25)
	if err != nil {
		t.Fatal(err)
	}
	write := func(events []Message) {
		t.Helper()
		s, err := OpenSealer(t.Context(), j, file, 10)
		if err == nil {
			err = errors.Join(s.Add(events), s.Add(events), s.Close()) // what it has already it does not take again
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	write(events)
	seals := sealed(t, file, 25)
	if end := seals[len(seals)-1]; len(seals) != 3 || end.From != 21 || end.To != 25 || end.LastID != events[24].ID() {
		t.Errorf("%+v", seals)
	}
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for cut := 1; cut < 60; cut += 7 {
		if err := os.WriteFile(file, whole[:len(whole)-cut], 0o600); err != nil {
			t.Fatal(err)
		}
		if left, err := ReadSeals(file); err != nil || len(left) != 2 {
			t.Errorf("%d seals of a cut file, %v", len(left), err)
		}
		write(events)
		if again, err := os.ReadFile(file); err != nil || !bytes.Equal(again, whole) {
			t.Errorf("the file is\n%s(%v), want\n%s", again, err, whole)
		}
	}
	if v := violations(t, j, seals); len(v) != 0 {
		t.Errorf("of a sound journal: %q", v)
	}
}

func TestSealsTellOfChanges(t *testing.T) {
	b := newBed(t)
	j := b.journal(nil)
	file := filepath.Join(t.TempDir(), "seals.jsonl")
	mustAppend(t, j, "a", Record{}, 40)
	stop := sealing(t, j, file, 10)
	seals := sealed(t, file, 40)
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	records, err := j.Range(t.Context(), 1, 100)
	if err != nil {
		t.Fatal(err)
	}
	check := func(seals []Seal, records []Record) string {
		c := NewSealCheck(seals)
		for _, r := range records {
			c.Add(r)
		}
		return strings.Join(c.Violations(), "; ")
	}
	change := func(f func(seals []Seal, records []Record) ([]Seal, []Record)) string {
		return check(f(append([]Seal(nil), seals...), append([]Record(nil), records...)))
	}
	if v := check(seals, records); v != "" {
		t.Errorf("of a sound journal: %s", v)
	}
	for want, f := range map[string]func(s []Seal, r []Record) ([]Seal, []Record){
		"the events 11 to 20, or their seal, were changed": func(s []Seal, r []Record) ([]Seal, []Record) {
			r[14].Hash = Hash("x", "", "", "", "", nil)
			return s, r
		},
		"the events 21 to 30, or their seal, were changed": func(s []Seal, r []Record) ([]Seal, []Record) {
			r[24], r[25] = r[25], r[24]
			r[24].Sequence, r[25].Sequence = 25, 26
			return s, r
		},
		"the events 31 to 40, or their seal, were changed": func(s []Seal, r []Record) ([]Seal, []Record) {
			s[3].LastID = "another"
			return s, r
		},
		"the journal ends at event 33 and was sealed to event 40": func(s []Seal, r []Record) ([]Seal, []Record) {
			return s, r[:33]
		},
		"the events 12 to 13 are missing": func(s []Seal, r []Record) ([]Seal, []Record) {
			return s, append(r[:11], r[13:]...)
		},
		"the seals are not whole: after 10 comes 21 to 30": func(s []Seal, r []Record) ([]Seal, []Record) {
			return append(s[:1], s[2:]...), r
		},
		"the events 1 to 10, or their seal, were changed": func(s []Seal, r []Record) ([]Seal, []Record) {
			s[0].Hash = strings.Repeat("0", 64)
			return s, r
		},
	} {
		if got := change(f); !strings.Contains(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// A journal that lost what was sealed is not sealed over.
func TestSealerRefusesAnotherJournal(t *testing.T) {
	file := filepath.Join(t.TempDir(), "seals.jsonl")
	first := newBed(t).journal(nil)
	mustAppend(t, first, "a", Record{}, 20)
	stop := sealing(t, first, file, 10)
	sealed(t, file, 20)
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	other := newBed(t).journal(nil)
	last := mustAppend(t, other, "a", Record{}, 5) // fewer events than were sealed
	refused(t, other, file, fault.FailedPrecondition)
	mustAppend(t, other, "a", last, 20) // as many, and others
	refused(t, other, file, fault.FailedPrecondition)
	if after, err := os.ReadFile(file); err != nil || !bytes.Equal(after, before) {
		t.Errorf("the file was changed (%v)", err)
	}
	refused(t, first, t.TempDir(), fault.Unavailable)
}

func TestReadSeals(t *testing.T) {
	dir := t.TempDir()
	if s, err := ReadSeals(filepath.Join(dir, "none")); s != nil || err != nil {
		t.Errorf("of no file: %v %v", s, err)
	}
	bad := filepath.Join(dir, "bad")
	if err := os.WriteFile(bad, []byte("{\"from\":1,\"to\":2}\nnonsense\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := ReadSeals(bad)
	codeIs(t, err, fault.Internal)
	if !strings.Contains(err.Error(), "line 2") {
		t.Errorf("%v does not name the line", err)
	}
	refused(t, newBed(t).journal(nil), bad, fault.Unavailable)
}
