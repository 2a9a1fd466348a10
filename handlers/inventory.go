package handlers

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"waybill/configs"
	"waybill/internal/journal"
	"waybill/internal/rpc"
	"waybill/internal/scope"
	"waybill/subjects"
)

// Inventory is the one writer of a site's stock while it leads. It holds the book in memory, decides under a lock, sends the
// event within it, and waits for the store outside: so events stand in the journal in the order in which they were decided.
// A new leader writes a claim first, and each of its events states that claim as the last one: a leader that was deposed and
// does not know it can't write. When it can't tell whether an event was stored, it throws the book away and reads it anew.
type Inventory struct {
	journal *journal.Journal
	connect Connect
	live    *configs.Live
	site    subjects.Site
	clock   Clock
	log     zerolog.Logger
	hook    Hook
	name    string
	doubt   func() bool
	saving  saving
	standby *standby
}

// Connect opens a journal on a connection of its own, which does not come back once it is broken: lost tells of that, once.
// Events that are sent without waiting need it. What is lost with such a connection is always the last of what was sent; on
// one that comes back a later event could follow one that is lost.
type Connect func(lost func(error)) (j *journal.Journal, disconnect func(), err error)

// InventoryDeps is what the inventory service uses. Instance names this process in the claim. Doubtful says that nobody would
// tell this process if another one was elected; nil is never.
type InventoryDeps struct {
	Connect  Connect
	Live     *configs.Live
	Site     subjects.Site
	Clock    Clock
	Log      zerolog.Logger
	Hook     Hook
	Instance string
	Doubtful func() bool
	Barrier  Barrier
	LowSpace func() bool
	Snapshot string // the file that keeps the book from one start to the next; empty: none
}

// NewInventory makes the service. It serves nothing before Lead.
func NewInventory(d InventoryDeps) *Inventory {
	if d.Doubtful == nil {
		d.Doubtful = func() bool { return false }
	}
	return &Inventory{connect: d.Connect, live: d.Live, site: d.Site, clock: d.Clock, log: d.Log, hook: d.Hook, name: d.Instance, doubt: d.Doubtful,
		saving: saving{file: d.Snapshot, barrier: d.Barrier, lowSpace: d.LowSpace}, standby: newStandby()}
}

// claim is the body of leader.claimed.
type claim struct {
	Role     string        `json:"role"`
	Instance string        `json:"instance"`
	At       subjects.Time `json:"at"`
}

// Lead claims the stock and serves it until ctx ends or another leader claims it. serve starts the endpoints and returns what
// stops them. It returns nil when ctx has ended, and journal.ErrConflict when it was deposed.
func (v *Inventory) Lead(ctx context.Context, serve func(register func(*rpc.Server)) (stop func(), err error)) error {
	for pause := 200 * time.Millisecond; ctx.Err() == nil; pause = min(2*pause, 10*time.Second) {
		began := time.Now()
		err := v.term(ctx, serve)
		if time.Since(began) > time.Minute {
			pause = 200 * time.Millisecond
		}
		if ctx.Err() != nil {
			return nil
		}
		if errors.Is(err, journal.ErrConflict) {
			return err
		}
		v.log.Warn().Err(err).Msg("the stock is read anew from the journal")
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
	}
	return nil
}

// term is one claim with the book that was read after it. It ends with the first event whose fate is not known.
func (v *Inventory) term(ctx context.Context, serve func(func(*rpc.Server)) (func(), error)) error {
	outer := ctx
	ctx, cancel := context.WithCancelCause(scope.With(ctx, scope.New("inventory")))
	defer cancel(nil)
	j, disconnect, err := v.connect(cancel)
	if err != nil {
		return err
	}
	defer disconnect()
	term := *v
	term.journal = j
	v = &term
	fence, err := v.takeOver(ctx)
	if err != nil {
		return err
	}
	v.standby.lead()
	var whole *stockroom // whose book can be trusted at the end of the term
	defer func() { v.standby.left(whole) }()
	t := newStockroom(v, fence, cancel)
	if err := t.read(ctx); err != nil {
		return err
	}
	stop, err := serve(t.register)
	if err != nil {
		return err
	}
	saved := make(chan struct{})
	go func() { // ends with ctx, or with a call to the disk that hangs
		defer close(saved)
		t.saveNowAndThen(ctx)
	}()
	var beside sync.WaitGroup
	beside.Go(func() { t.watchClaim(ctx) })
	t.expire(ctx) // returns when ctx ends
	stop()
	beside.Wait()
	select {
	case <-saved:
	case <-time.After(handWait): // somebody else is to lead meanwhile
	}
	if outer.Err() != nil {
		whole = t
	}
	return context.Cause(ctx)
}

// takeOver claims the stock: what any other leader sends after it is refused.
func (v *Inventory) takeOver(ctx context.Context) (*journal.Fence, error) {
	leader := machine[claim, claim, *claim]{
		journal: v.journal, clock: v.clock, site: v.site, kind: subjects.KindLeader, hook: v.hook, log: v.log,
		decide: func(_, c claim) (*claim, error) { return &c, nil },
		apply:  func(_ claim, e *claim) (claim, error) { return *e, nil },
		name:   func(*claim) string { return "claimed" },
	}
	h, err := leader.command(ctx, subjects.RoleInventory, func(held[claim]) claim {
		return claim{subjects.RoleInventory, v.name, v.clock.now()}
	})
	if err != nil {
		return nil, err
	}
	return &journal.Fence{Subject: h.last.Subject, Sequence: h.last.Sequence}, nil
}
