package embedded

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// What a power cut may leave of a consumer's state does not keep the consumer away: it is there after the next start and
// reads from the beginning. One whose state is whole goes on where it was.
func TestNATSDamagedConsumers(t *testing.T) {
	dir := t.TempDir()
	ctx := ctxFor(t, 30*time.Second)
	damages := map[string]func([]byte) []byte{
		"whole": func(b []byte) []byte { return b }, "zeros": func(b []byte) []byte { return make([]byte, len(b)) }, "empty": func([]byte) []byte { return nil },
		"short": func(b []byte) []byte { return b[:3] }, "one": func(b []byte) []byte { return b[:1] },
	}
	n := startNATS(t, dir)
	admin := jsOf(t, as(t, n, UserAdmin))
	check(t, EnsureStreams(ctx, admin, site, 1))
	order := jsOf(t, as(t, n, "order"))
	for range 10 {
		_, err := order.Publish(ctx, "wb.local.evt.order.o-1", []byte("x"))
		check(t, err)
	}
	ensure := func(name string) jetstream.Consumer {
		c, err := admin.CreateOrUpdateConsumer(ctx, "JOURNAL", jetstream.ConsumerConfig{Durable: name, AckPolicy: jetstream.AckNonePolicy})
		return must(t, c, err)
	}
	next := func(c jetstream.Consumer) uint64 {
		m, err := c.Next(jetstream.FetchMaxWait(5 * time.Second))
		check(t, err)
		about, err := m.Metadata()
		check(t, err)
		return about.Sequence.Stream
	}
	for name := range damages {
		c := ensure(name)
		for range 5 {
			next(c)
		}
	}
	store := n.StoreDir("JOURNAL")
	stopNATS(t, n)
	for name, damage := range damages {
		file := filepath.Join(store, "obs", name, "o.dat")
		b, err := os.ReadFile(file)
		check(t, err)
		check(t, os.WriteFile(file, damage(b), 0o600))
	}

	n = startNATS(t, dir)
	admin = jsOf(t, as(t, n, UserAdmin))
	check(t, EnsureStreams(ctx, admin, site, 1))
	for name := range damages {
		want := uint64(1)
		if name == "whole" {
			want = 6
		}
		if got := next(ensure(name)); got != want {
			t.Errorf("%s: the consumer goes on at %d, want %d", name, got, want)
		}
	}
}
