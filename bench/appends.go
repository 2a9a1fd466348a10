package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"waybill/embedded"
	"waybill/internal/id"
	"waybill/internal/journal"
	"waybill/subjects"
)

// AppendsOptions say how Appends is to measure.
type AppendsOptions struct {
	Dir     string        // both stores and the raw syncs are below it, on one file system
	Waiting []int         // how many append at the same time
	Rounds  int           // of each, at least one
	Length  time.Duration // of a round on each side
}

// AppendsReport is what durable appends cost. Fsync and Syncfs are the p50 of one alone after a write of 300 bytes, in
// microseconds.
type AppendsReport struct {
	Fsync  Spread       `json:"fsync_us"`
	Syncfs Spread       `json:"syncfs_us"`
	Rows   []AppendsRow `json:"rows"`
}

// AppendsRow is one number of waiting writers. Shared appends and waits for the barrier, as a strict site does; Always appends
// to a server that syncs each message before it acknowledges it.
type AppendsRow struct {
	Waiting int     `json:"waiting"`
	Shared  Figures `json:"shared_barrier"`
	Always  Figures `json:"sync_always"`
	Ratio   Spread  `json:"ratio"` // of the rates, shared to always
}

// Appends measures durable appends to the journal in two ways, in turn: JetStream's default sync with the shared barrier, and a
// server with sync_interval: always. Both are the same server in this process, over the same kind of connection, with the same
// journal code, and each append is an order of its own with a compare-and-set.
func Appends(ctx context.Context, o AppendsOptions) (report AppendsReport, err error) {
	shared, err := openAppender(ctx, filepath.Join(o.Dir, "shared"), sharedBarrier)
	if err != nil {
		return report, err
	}
	defer func() { err = errors.Join(err, shared.close()) }()
	always, err := openAppender(ctx, filepath.Join(o.Dir, "always"), syncAlways)
	if err != nil {
		return report, err
	}
	defer func() { err = errors.Join(err, always.close()) }()
	file, err := os.Create(filepath.Join(o.Dir, "raw"))
	if err != nil {
		return report, err
	}
	defer file.Close()

	var fsyncs, syncfses []float64
	for _, waiting := range o.Waiting {
		var rounds [2][]Result
		for n := range o.Rounds {
			f, err := rawSync(ctx, file, file.Sync)
			if err != nil {
				return report, err
			}
			s, err := rawSync(ctx, file, func() error { return shared.barrier.Sync(ctx) })
			if err != nil {
				return report, err
			}
			fsyncs, syncfses = append(fsyncs, f), append(syncfses, s)
			for i := range 2 {
				side := (i + n) % 2 // who begins takes turns
				r := LoopFor(ctx, waiting, o.Length, [2]*appender{shared, always}[side].append)
				if err := errors.Join(r.FirstError, ctx.Err()); err != nil {
					return report, fmt.Errorf("appends with %d waiting: %w", waiting, err)
				}
				rounds[side] = append(rounds[side], r)
			}
		}
		report.Rows = append(report.Rows, AppendsRow{
			Waiting: waiting, Shared: FiguresOf(rounds[0]), Always: FiguresOf(rounds[1]), Ratio: RatioOf(rounds[0], rounds[1]),
		})
	}
	report.Fsync, report.Syncfs = SpreadOf(fsyncs), SpreadOf(syncfses)
	return report, nil
}

// rawSync is the p50, in microseconds, of what one sync takes after a small write, without anything else of this program.
func rawSync(ctx context.Context, file *os.File, sync func() error) (float64, error) {
	message := make([]byte, 300)
	r := Loop(ctx, 1, 200, func(context.Context, int) error {
		if _, err := file.Write(message); err != nil {
			return err
		}
		return sync()
	})
	return float64(r.Percentile(0.5).Nanoseconds()) / 1e3, r.FirstError
}

// appender is a server of its own with a journal, and the barrier that makes it durable.
type appender struct {
	server  *server.Server
	nc      *nats.Conn
	journal *journal.Journal
	barrier *embedded.Barrier
}

// appendKind is what makes an append durable.
type appendKind uint8

const (
	sharedBarrier appendKind = iota // one syncfs for all who wait
	syncAlways                      // the server, before it acknowledges; its barrier lets everyone pass
	fastAppends                     // nothing: it survives the death of the process alone
)

// openAppender starts a server on an empty store in dir.
func openAppender(ctx context.Context, dir string, kind appendKind) (a *appender, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	a = &appender{}
	defer func() {
		if err != nil {
			err = errors.Join(err, a.close())
		}
	}()
	if a.barrier, err = embedded.NewBarrier(dir, kind == sharedBarrier, nil); err != nil {
		return nil, err
	}
	if a.server, err = server.NewServer(&server.Options{
		ServerName: "bench", DontListen: true, JetStream: true, StoreDir: dir, SyncAlways: kind == syncAlways, NoSigs: true, NoLog: true,
	}); err != nil {
		return nil, err
	}
	a.server.Start()
	if !a.server.ReadyForConnections(30*time.Second) || !a.server.JetStreamEnabled() {
		return nil, errors.New("the NATS server does not start")
	}
	if a.nc, err = nats.Connect("", nats.InProcessServer(a.server)); err != nil {
		return nil, err
	}
	js, err := jetstream.New(a.nc)
	if err != nil {
		return nil, err
	}
	if err = embedded.EnsureStreams(ctx, js, subjects.DefaultSite, 1); err != nil {
		return nil, err
	}
	a.journal, err = journal.Open(a.nc, journal.Options{Site: subjects.DefaultSite, Barrier: a.barrier, Log: zerolog.Nop()})
	return a, err
}

// append writes the first event of a new order and returns when it is durable.
func (a *appender) append(ctx context.Context, _ int) error {
	order := id.New()
	r, err := a.journal.Append(ctx, journal.Entry{
		Subject: subjects.Event(subjects.DefaultSite, subjects.KindOrder, order), Kind: subjects.KindOrder, Event: "placed",
		Data: struct{}{},
		State: struct { // about as long as a small order's
			OrderID string   `json:"order_id"`
			Status  string   `json:"status"`
			Lines   []id.SKU `json:"lines"`
		}{order, "pending", []id.SKU{SKU(1), SKU(8)}},
	})
	if err != nil {
		return err
	}
	return a.barrier.Wait(ctx, r.Sequence)
}

func (a *appender) close() error {
	if a.nc != nil {
		a.nc.Close()
	}
	if a.server != nil {
		a.server.Shutdown()
		a.server.WaitForShutdown()
	}
	if a.barrier == nil {
		return nil
	}
	return a.barrier.Close()
}
