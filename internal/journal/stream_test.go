package journal

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"waybill/internal/journal/journaltest"
	"waybill/subjects"
)

func TestStream(t *testing.T) {
	b := newBed(t)
	b.Streams(journaltest.Keys())
	for _, domain := range []string{"", string(site)} {
		s := OpenStream(b.Connect(), subjects.StreamKeys, domain)
		ctx := t.Context()
		subject := subjects.Key(site, "c-1")
		secret := []byte("a secret that must not stay on the disk " + domain)
		seq, err := s.Publish(ctx, Publication{Subject: subject, Data: secret})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Publish(ctx, Publication{Subject: subject, Data: []byte("second")}); !errors.Is(err, ErrConflict) {
			t.Fatalf("%v, want a conflict", err)
		}
		m, ok, err := s.Get(ctx, subject)
		if err != nil || !ok || m.Sequence != seq || !bytes.Equal(m.Data, secret) {
			t.Fatalf("%+v %v %v", m, ok, err)
		}
		if !onDisk(t, b.Dir(), secret) {
			t.Fatal("the search of the disk finds nothing that is there")
		}
		if existed, err := s.DeleteMessage(ctx, seq); err != nil || !existed {
			t.Fatalf("%v %v, want it deleted", existed, err)
		}
		if existed, err := s.DeleteMessage(ctx, seq); err != nil || existed {
			t.Fatalf("%v %v, want it gone before", existed, err)
		}
		if onDisk(t, b.Dir(), secret) {
			t.Error("the erased message is still in the store's files")
		}
		if _, ok, err := s.Get(ctx, subject); ok || err != nil {
			t.Errorf("%v %v, want nothing", ok, err)
		}
		if last, err := s.LastSequence(ctx); err != nil || last != seq {
			t.Errorf("the last sequence is %d (%v), want %d", last, err, seq)
		}
	}
}

// onDisk searches the files below dir.
func onDisk(t *testing.T, dir string, what []byte) bool {
	t.Helper()
	found := false
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		found = found || bytes.Contains(b, what)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}
