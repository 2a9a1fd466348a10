package node

import (
	"testing"
	"time"

	"github.com/rs/zerolog"

	"waybill/configs"
)

// TestSpaceFollowsTheMark: a mark that is moved is acted on at once, not at the next look.
func TestSpaceFollowsTheMark(t *testing.T) {
	t.Parallel()
	live := configs.NewLive()
	s := newSpace(func() (int64, error) { return 1 << 30, nil }, live, zerolog.Nop())
	defer s.stop()
	const steps = 10
	began := time.Now()
	for i := range steps {
		mark, low := `1000000`, false
		if i%2 == 0 {
			mark, low = `2147483648`, true
		}
		if err := live.Set(configs.StorageLowSpace, []byte(mark)); err != nil {
			t.Fatal(err)
		}
		for end := time.Now().Add(10 * time.Second); s.low() != low; time.Sleep(time.Millisecond) { // nothing announces it
			if time.Now().After(end) {
				t.Fatalf("with the mark at %s low is %v", mark, s.low())
			}
		}
	}
	if took := time.Since(began); took > steps*spaceInterval/2 { // every other look would take a whole interval
		t.Errorf("%d marks were acted on in %s", steps, took)
	}
	if free, err := freeSpace(t.TempDir())(); err != nil || free <= 0 {
		t.Errorf("free are %d bytes, %v", free, err)
	}
}
