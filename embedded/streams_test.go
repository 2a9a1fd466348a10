package embedded

import (
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"waybill/internal/fault"
	"waybill/subjects"
)

func TestEnsureStreams(t *testing.T) {
	ctx := ctxFor(t, 20*time.Second)
	n := startNATS(t, t.TempDir())
	js := jsOf(t, as(t, n, UserAdmin))
	check(t, EnsureStreams(ctx, js, site, 1))
	config := func(name string) jetstream.StreamConfig {
		s, err := js.Stream(ctx, name)
		check(t, err)
		return s.CachedInfo().Config
	}
	j := config(subjects.StreamJournal)
	if j.Subjects[0] != "wb.local.evt.>" || j.MaxAge != 0 || !j.AllowDirect || !j.AllowAtomicPublish || !j.DenyDelete || !j.DenyPurge ||
		j.Duplicates != 2*time.Second || j.Discard != jetstream.DiscardNew || j.Storage != jetstream.FileStorage || j.PersistMode != jetstream.DefaultPersistMode {
		t.Errorf("%+v", j)
	}
	if d := config(subjects.StreamDead); d.Subjects[0] != "wb.local.dead.>" || !d.AllowDirect || d.MaxBytes <= 0 || d.Discard != jetstream.DiscardNew {
		t.Errorf("%+v", d)
	}
	if k := config(subjects.StreamKeys); k.Subjects[0] != "wb.local.key.*" || k.MaxMsgsPerSubject != 1 || !k.AllowDirect {
		t.Errorf("%+v", k)
	}

	// What must be is put back; what the operator moved stays.
	d := config(subjects.StreamDead)
	d.AllowDirect, d.MaxBytes, d.Description = false, 1<<20, "smaller"
	_, err := js.UpdateStream(ctx, d)
	check(t, err)
	check(t, EnsureStreams(ctx, js, site, 1))
	if d := config(subjects.StreamDead); !d.AllowDirect || d.MaxBytes != 1<<20 || d.Description != "smaller" {
		t.Errorf("%+v", d)
	}

	// The journal refuses deletion, even by admin.
	order := jsOf(t, as(t, n, "order"))
	_, err = order.Publish(ctx, "wb.local.evt.order.o-1", []byte("{}"))
	check(t, err)
	s, err := js.Stream(ctx, subjects.StreamJournal)
	check(t, err)
	if err := errors.Join(s.DeleteMsg(ctx, 1)); err == nil {
		t.Error("an event was deleted")
	}
	if err := s.Purge(ctx); err == nil {
		t.Error("the journal was purged")
	}

	// Another site's start on the same store names what is wrong.
	refused(t, EnsureStreams(ctx, js, "other", 1), fault.FailedPrecondition, "JOURNAL", "wb.local.evt.>", `"other"`, "--site")
}

// A key that is erased must be gone, and the latest alone must be kept.
func TestKeysStream(t *testing.T) {
	ctx := ctxFor(t, 20*time.Second)
	n := startNATS(t, t.TempDir())
	js := jsOf(t, as(t, n, UserAdmin))
	check(t, EnsureStreams(ctx, js, site, 1))
	order := jsOf(t, as(t, n, "order"))
	for _, v := range []string{"one", "two"} {
		_, err := order.Publish(ctx, "wb.local.key.c-1", []byte(v))
		check(t, err)
	}
	s, err := jsOf(t, as(t, n, "customer")).Stream(ctx, subjects.StreamKeys)
	check(t, err)
	m, err := s.GetLastMsgForSubject(ctx, "wb.local.key.c-1")
	if err != nil || string(m.Data) != "two" || s.CachedInfo().State.Msgs != 1 {
		t.Fatalf("%+v %v", m, err)
	}
	check(t, s.SecureDeleteMsg(ctx, m.Sequence))
	if _, err := s.GetLastMsgForSubject(ctx, "wb.local.key.c-1"); !errors.Is(err, jetstream.ErrMsgNotFound) {
		t.Errorf("after erasure: %v", err)
	}
}

// A stream that a later program made with what this server does not know is not touched.
func TestEnsureStreamsRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		config jetstream.StreamConfig
		says   string
	}{
		"expires":    {jetstream.StreamConfig{MaxAge: time.Hour}, "max_age 1h0m0s"},
		"in memory":  {jetstream.StreamConfig{Storage: jetstream.MemoryStorage}, "storage"},
		"work queue": {jetstream.StreamConfig{Retention: jetstream.WorkQueuePolicy}, "retention"},
	} {
		t.Run(name, func(t *testing.T) {
			ctx := ctxFor(t, 20*time.Second)
			js := jsOf(t, as(t, startNATS(t, t.TempDir()), UserAdmin))
			c.config.Name, c.config.Subjects = subjects.StreamJournal, []string{subjects.AllEvents(site)}
			_, err := js.CreateStream(ctx, c.config)
			check(t, err)
			refused(t, EnsureStreams(ctx, js, site, 1), fault.FailedPrecondition, "JOURNAL", "loses messages", c.says)
		})
	}
}
