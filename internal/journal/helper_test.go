package journal

import (
	"context"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"waybill/internal/journal/journaltest"
	"waybill/subjects"
)

const site = journaltest.Site

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bed is a real server with the site's streams.
type bed struct {
	*journaltest.Bed
	t testing.TB
}

func newBed(t testing.TB, change ...func(*jetstream.StreamConfig)) *bed {
	t.Helper()
	b := &bed{Bed: journaltest.Start(t), t: t}
	journal := journaltest.Journal()
	for _, c := range change {
		c(&journal)
	}
	b.Streams(journal, journaltest.Dead())
	return b
}

func (b *bed) journal(barrier Barrier) *Journal {
	b.t.Helper()
	return b.journalOn(b.Connect(), barrier)
}

func (b *bed) journalOn(nc *nats.Conn, barrier Barrier) *Journal {
	b.t.Helper()
	j, err := Open(nc, Options{Site: site, Barrier: barrier, Log: zerolog.Nop()})
	if err != nil {
		b.t.Fatal(err)
	}
	return j
}

func orderSubject(id string) string { return subjects.Event(site, subjects.KindOrder, id) }

// count is an aggregate for tests: it counts its events.
type count struct {
	N int `json:"n"`
}

func entry(id string, previous Record, n int) Entry {
	return Entry{
		Subject: orderSubject(id), Kind: subjects.KindOrder, Event: "placed", Data: count{n}, State: count{n}, Previous: previous,
	}
}

// mustAppend appends n events to the aggregate, behind previous, and returns the last.
func mustAppend(t testing.TB, j *Journal, id string, previous Record, n int) Record {
	t.Helper()
	for i := range n {
		r, err := j.Append(t.Context(), entry(id, previous, i))
		if err != nil {
			t.Fatal(err)
		}
		previous = r
	}
	return previous
}

// fakeBarrier holds who waits until the test lets the sequence be durable, and remembers what was waited for.
type fakeBarrier struct {
	mu      sync.Mutex
	durable uint64
	waited  []uint64
	noted   uint64
	err     error

	syncs     int
	syncFails error

	changed chan struct{} // closed when durable or err changes
	asked   chan struct{} // closed when somebody begins to wait
}

func newFakeBarrier() *fakeBarrier {
	return &fakeBarrier{changed: make(chan struct{}), asked: make(chan struct{})}
}

func (f *fakeBarrier) Wait(ctx context.Context, sequence uint64) error {
	f.mu.Lock()
	f.waited = append(f.waited, sequence)
	close(f.asked)
	f.asked = make(chan struct{})
	for f.durable < sequence && f.err == nil {
		changed := f.changed
		f.mu.Unlock()
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
		f.mu.Lock()
	}
	defer f.mu.Unlock()
	return f.err
}

func (f *fakeBarrier) Sync(context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.syncs++
	return f.syncFails
}

func (f *fakeBarrier) Durable() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.durable
}

func (f *fakeBarrier) Note(sequence uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.noted = max(f.noted, sequence)
}

// awaited returns once somebody waits for a sequence between the two.
func (f *fakeBarrier) awaited(t *testing.T, from, to uint64) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	for {
		f.mu.Lock()
		asked := f.asked
		there := slices.ContainsFunc(f.waited, func(s uint64) bool { return from <= s && s <= to })
		f.mu.Unlock()
		if there {
			return
		}
		select {
		case <-asked:
		case <-deadline:
			t.Fatalf("nobody waits for %d to %d", from, to)
		}
	}
}

func (f *fakeBarrier) release(sequence uint64, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.durable, f.err = sequence, err
	close(f.changed)
	f.changed = make(chan struct{})
}

// deaf is a connection to a server whose answers can be held back.
type deaf struct {
	*bed
	mu    sync.Mutex
	quiet chan struct{} // closed where answers flow
}

func newDeaf(b *bed) *deaf {
	d := &deaf{bed: b, quiet: make(chan struct{})}
	close(d.quiet)
	return d
}

func (d *deaf) hold() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.quiet = make(chan struct{})
}

func (d *deaf) hear() {
	d.mu.Lock()
	defer d.mu.Unlock()
	close(d.quiet)
}

func (d *deaf) InProcessConn() (net.Conn, error) {
	c, err := d.bed.InProcessConn()
	return &deafConn{c, d}, err
}

type deafConn struct {
	net.Conn
	d *deaf
}

func (c *deafConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.d.mu.Lock()
	quiet := c.d.quiet
	c.d.mu.Unlock()
	<-quiet
	return n, err
}
