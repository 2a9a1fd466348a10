package registry

import (
	"testing"

	"github.com/rs/zerolog"
	"go.etcd.io/etcd/api/v3/mvccpb"

	"waybill/configs"
)

func zerologTo(l *logBuffer) zerolog.Logger { return zerolog.New(l) }

// TestWhatComesLate feeds a store by all the ways at once, out of order: only what is true later may win.
func TestWhatComesLate(t *testing.T) {
	t.Parallel()
	live := configs.NewLive()
	s := newSettingStore("s", live, "", zerolog.Nop())
	kv := func(value string, revision int64) []*mvccpb.KeyValue {
		return []*mvccpb.KeyValue{{Key: []byte(s.config + inFlight), Value: []byte(value), ModRevision: revision}}
	}
	for i, step := range []struct {
		do   func()
		want int64
	}{
		{func() { s.snapshot(kv("1", 3), 5, s.highest()) }, 1},
		{func() { s.events(kv("2", 8), nil, 8, false) }, 2},           // an own write, ahead of the watch
		{func() { s.events(kv("9", 7), nil, 7, true) }, 2},            // the watch, behind it
		{func() { s.snapshot(kv("9", 7), 7, s.highest()) }, 2},        // a read that was answered before the write
		{func() { s.snapshot(nil, 7, s.highest()) }, 2},               // the same, before the key was there
		{func() { s.events(nil, kv("", 6), 7, true) }, 2},             // an old deletion
		{func() { s.events(kv("2", 8), nil, 8, true) }, 2},            // the watch brings the own write
		{func() { s.events(kv("3", 9), kv("", 10), 10, true) }, 1024}, // set and deleted in one message
		{func() { s.events(kv("4", 12), kv("", 11), 12, true) }, 4},   // deleted and set in one message
		{func() { s.snapshot(kv("4", 12), 20, s.highest()) }, 4},      // nothing new
		{func() { s.snapshot(nil, 21, s.highest()) }, 1024},           // deleted while nobody watched
		{func() { s.snapshot(kv("5", 15), 22, s.highest()) }, 5},      // an older revision of the key that holds now: a restored etcd
		{func() { s.snapshot(kv("6", 2), 4, s.highest()) }, 6},        // an etcd without a past
		{func() { s.events(kv("7", 5), nil, 5, true) }, 7},            // and it goes on from there
		{func() { s.snapshot(kv("0", 6), 6, s.highest()) }, 7},        // a bad value
		{func() { s.events(nil, kv("", 7), 7, true) }, 1024},          // deleted after a bad value
		{func() { s.events(kv("8", 8), nil, 8, true) }, 8},
	} {
		step.do()
		if got := live.Int(inFlight); got != step.want {
			t.Fatalf("after step %d the setting is %d, want %d", i, got, step.want)
		}
	}
	if n := s.ignored.Load(); n != 1 {
		t.Errorf("%d values were ignored, want 1", n)
	}
}
