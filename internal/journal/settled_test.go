package journal

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// othersBarrier is one that somebody else's sync moves when its time comes.
type othersBarrier struct {
	at      time.Time
	noted   uint64
	own     int // syncs that were asked for
	reached uint64
}

func (b *othersBarrier) Note(sequence uint64) { b.noted = sequence }

func (b *othersBarrier) Sync(context.Context) error { return nil }

func (b *othersBarrier) Durable() uint64 {
	if !time.Now().Before(b.at) {
		b.reached = b.noted
	}
	return b.reached
}

func (b *othersBarrier) Wait(_ context.Context, sequence uint64) error {
	if b.Durable() < sequence {
		b.own++
	}
	return nil
}

// A consumer asks for a sync of its own only where nobody else's has taken along what it waits for.
func TestConsumersLeaveSyncsToOthers(t *testing.T) {
	for _, c := range []struct {
		name  string
		after time.Duration // the other's sync
		own   int
		takes time.Duration
	}{
		{"durable", 0, 0, 0},
		{"another's sync is under way", patience / 2, 0, patience},
		{"nobody else is there", time.Hour, 1, patience},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := &othersBarrier{at: time.Now().Add(c.after)}
				began := time.Now()
				if err := (&Journal{barrier: b}).settled(t.Context(), 7); err != nil {
					t.Fatal(err)
				}
				if took := time.Since(began); b.own != c.own || took != c.takes || b.noted != 7 {
					t.Errorf("%d syncs of its own after %s, noted %d; want %d after %s, and 7", b.own, took, b.noted, c.own, c.takes)
				}
			})
		})
	}
}
