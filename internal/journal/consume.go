package journal

import (
	"context"
	"errors"
	"hash/maphash"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"waybill/internal/fault"
	"waybill/internal/lean"
	"waybill/internal/sleep"
	"waybill/subjects"
)

// Consume starts to consume the journal by the durable consumer of c, which EnsureConsumer has made. ctx bounds the start and lends
// its values to Handle's context; it does not end the consumption, stop does: it takes no more events, lets the handlers at work
// finish until its own ctx ends, then ends their contexts, and returns deadline_exceeded if one is still at work. Events that were
// fetched and not begun go back to the server. stop may be called again.
// Errors: not_found when there is no such consumer, unavailable, deadline_exceeded.
func (j *Journal) Consume(ctx context.Context, c ConsumerConfig) (stop func(ctx context.Context) error, err error) {
	c = c.withDefaults()
	setup, cancel := bounded(ctx)
	defer cancel()
	if _, err := j.js.Consumer(setup, subjects.StreamJournal, string(c.Durable)); err != nil {
		return nil, consumerFault(err, c.Durable)
	}
	p, err := j.newPuller(string(c.Durable), consumerBatch, consumerBatch)
	if err != nil {
		return nil, err
	}
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	fetching, endFetching := context.WithCancel(life)
	w := &consumption{
		j: j, c: c, pull: p, order: newOrder(c.AckWait), flight: make(map[uint64]*task), seed: maphash.MakeSeed(), ended: make(chan struct{}),
	}
	w.start(life, fetching)
	return func(ctx context.Context) error {
		w.stopping.Store(true)
		endFetching()
		select {
		case <-w.ended:
			end()
			return nil
		case <-ctx.Done():
			end()
			return fault.Wrap(ctx.Err(), fault.DeadlineExceeded, "the consumer %s still has a handler at work", c.Durable)
		}
	}, nil
}

// consumption is one running consumer: a goroutine that fetches, one that keeps the server from taking back what is at work,
// and the workers, each with a queue of the subjects that fall to it.
type consumption struct {
	j        *Journal
	c        ConsumerConfig
	pull     *puller
	order    *order
	queues   []chan *task
	seed     maphash.Seed
	stopping atomic.Bool
	ended    chan struct{} // closed when every goroutine has ended

	mu     sync.Mutex
	flight map[uint64]*task // by sequence: fetched and not settled; at most maxPending
}

// task is one delivered event that Handle acts on.
type task struct {
	msg    lean.Msg
	record Record
}

// wanted reports whether Handle acts on the event. One without a type is damaged, which somebody has to be told.
func (w *consumption) wanted(m Message) bool {
	ceType := m.field(subjects.HeaderType)
	return len(w.c.Types) == 0 || len(ceType) == 0 || slices.ContainsFunc(w.c.Types, func(t string) bool { return t == string(ceType) })
}

// start runs the goroutines: the handlers in the context life, the fetching until its own ends.
func (w *consumption) start(life, fetching context.Context) {
	var workers, all sync.WaitGroup
	for range w.c.Workers {
		// Room for everything that may be unacknowledged: the fetcher never waits for one slow worker.
		q := make(chan *task, maxPending)
		w.queues = append(w.queues, q)
		workers.Go(func() {
			for t := range q {
				w.work(life, t)
			}
		})
	}
	all.Go(func() {
		w.fetch(fetching)
		for _, m := range w.pull.drain(context.WithoutCancel(fetching)) {
			w.answer(m, ackAgain)
		}
		for _, q := range w.queues {
			close(q)
		}
	})
	drained := make(chan struct{})
	all.Go(func() { w.keep(drained) })
	go func() {
		workers.Wait()
		close(drained)
		all.Wait()
		w.flush()
		close(w.ended)
	}()
}

// fetch pulls until ctx ends and hands each event to the worker of its subject.
func (w *consumption) fetch(ctx context.Context) {
	const longest = 2 * time.Second
	wait := 20 * time.Millisecond
	for ctx.Err() == nil {
		msgs, err := w.pull.next(ctx)
		if err == nil {
			err = w.spread(ctx, msgs)
		}
		switch {
		case err == nil:
			wait = 20 * time.Millisecond
			if len(msgs) < consumerBatch {
				sleep.For(ctx, consumerGather)
			}
		case ctx.Err() == nil:
			w.c.Log.Warn().Err(err).Str("consumer", string(w.c.Durable)).Msg("consuming the journal was interrupted and goes on")
			sleep.For(ctx, wait)
			wait = min(2*wait, longest)
		}
	}
}

// spread waits until a batch is durable, queues the events that Handle acts on and acknowledges the others.
func (w *consumption) spread(ctx context.Context, msgs []lean.Msg) error {
	var highest uint64
	var tasks []*task
	var others []lean.Msg
	for _, m := range msgs {
		stored, d, err := message(m)
		if err != nil {
			return err
		}
		highest = max(highest, d.stream)
		if w.wanted(stored) {
			tasks = append(tasks, &task{msg: m, record: decode(stored)})
		} else {
			others = append(others, m)
		}
	}
	if err := w.j.settled(ctx, highest); err != nil {
		c := w.c.now()
		delay := c.delay(len(c.Backoff))
		if ctx.Err() != nil {
			delay = 0 // not the barrier: this process stops, another may take them
		}
		for _, m := range msgs {
			w.again(m, delay)
		}
		return err
	}
	for _, m := range others {
		w.answer(m, ackDone)
	}
	for _, t := range tasks {
		if !w.enter(t) {
			continue // an earlier delivery of it is still at work; its acknowledgement covers this one
		}
		w.queues[maphash.String(w.seed, t.record.Subject)%uint64(len(w.queues))] <- t
	}
	return nil
}

func (w *consumption) enter(t *task) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, ok := w.flight[t.record.Sequence]; ok {
		return false
	}
	w.flight[t.record.Sequence] = t
	return true
}

func (w *consumption) leave(t *task) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.flight, t.record.Sequence)
}

// keep tells the server, until drained is closed, that what waits in the queues or is at work is not lost.
func (w *consumption) keep(drained <-chan struct{}) {
	tick := time.NewTicker(w.c.AckWait / 3)
	defer tick.Stop()
	for {
		select {
		case <-drained:
			return
		case <-tick.C:
		}
		w.mu.Lock()
		waiting := make([]*task, 0, len(w.flight))
		for _, t := range w.flight {
			waiting = append(waiting, t)
		}
		w.mu.Unlock()
		for _, t := range waiting {
			w.answer(t.msg, ackProgress)
		}
	}
}

// The answers that a consumer's message may get.
var (
	ackDone     = []byte("+ACK")
	ackProgress = []byte("+WPI")
	ackAgain    = []byte("-NAK")
)

// answer tells the server what became of a delivery. It waits for nothing: an answer that is lost means that the event comes again.
func (w *consumption) answer(m lean.Msg, what []byte) {
	if err := w.j.feed.Later(m.Reply, nil, what); err != nil {
		w.c.Log.Debug().Err(err).Str("subject", m.Subject).Msg("an event was not acknowledged and will come again")
	}
}

// flush sees to it that the answers have left: the connection may be closed next.
func (w *consumption) flush() {
	ctx, cancel := context.WithTimeout(context.Background(), drainPatience) // its consumption is over, and nobody waits for longer
	defer cancel()
	_ = w.j.feed.Flush(ctx) // where it fails the connection is gone, and events come again
}

func consumerFault(err error, durable subjects.Durable) error {
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		return fault.Wrap(err, fault.NotFound, "the journal has no consumer %s", durable)
	}
	return readFault(err, "the consumer "+string(durable))
}
