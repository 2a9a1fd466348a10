package journal

import (
	"cmp"
	"context"
	"fmt"
	"runtime/debug"
	"strconv"
	"time"

	"waybill/internal/fault"
	"waybill/internal/lean"
	"waybill/internal/scope"
)

// work settles one event: it is done, comes again later, or is given up. It runs on the worker of the event's subject.
func (w *consumption) work(ctx context.Context, t *task) {
	defer w.leave(t)
	r := t.record
	if w.stopping.Load() {
		w.answer(t.msg, ackAgain)
		return
	}
	if wait, blocked := w.order.blocked(r, time.Now()); blocked {
		w.again(t.msg, wait)
		return
	}
	tries := w.order.tries(r) + 1
	err := w.handle(ctx, r)
	if err == nil {
		w.order.settle(r, time.Now())
		w.answer(t.msg, ackDone)
		return
	}
	retry := w.c.now()
	final := fault.CodeOf(err) == fault.InvalidArgument || r.Malformed != ""
	if final || tries >= retry.MaxTries && !patient(err) {
		buried := w.bury(ctx, t, err, tries)
		if buried == nil {
			w.c.Log.Error().Err(err).Str("subject", r.Subject).Uint64("sequence", r.Sequence).Int("tries", tries).
				Str("consumer", string(w.c.Durable)).Msg("an event could not be handled and is in the dead letters")
			w.order.settle(r, time.Now())
			w.answer(t.msg, ackDone)
			return
		}
		err = fmt.Errorf("%w; and its dead letter could not be written: %w", err, buried)
	}
	delay := retry.delay(tries)
	w.c.Log.Warn().Err(err).Str("subject", r.Subject).Uint64("sequence", r.Sequence).Int("tries", tries).Dur("delay", delay).
		Str("consumer", string(w.c.Durable)).Msg("an event could not be handled and is tried again")
	w.order.fail(r, tries, time.Now().Add(delay))
	w.again(t.msg, delay)
}

// patient reports whether an error says that something is away or slow: that is no fault of the event, which is tried for as
// long as it takes.
func patient(err error) bool {
	switch fault.CodeOf(err) {
	case fault.Unavailable, fault.DeadlineExceeded, fault.ResourceExhausted, fault.Aborted:
		return true
	}
	return false
}

// again gives the event back to the server, to come again after the delay.
func (w *consumption) again(m lean.Msg, delay time.Duration) {
	w.answer(m, []byte(`-NAK {"delay":`+strconv.FormatInt(int64(delay), 10)+`}`))
}

// handle calls Handle with the event's own scope; a panic is an error.
func (w *consumption) handle(ctx context.Context, r Record) (err error) {
	if err := r.readable(); err != nil {
		return err
	}
	s := &scope.Scope{Cause: r.ID, Traceparent: cmp.Or(r.Traceparent, scope.NewTraceparent())}
	s.Note(r.Sequence)
	ctx, cancel := context.WithTimeout(scope.With(ctx, s), w.c.AckWait)
	defer cancel()
	defer func() {
		if p := recover(); p != nil {
			w.c.Log.Error().Str("panic", fmt.Sprint(p)).Bytes("stack", debug.Stack()).Uint64("sequence", r.Sequence).
				Str("consumer", string(w.c.Durable)).Msg("a handler panicked")
			err = fault.New(fault.Internal, "the handler panicked")
		}
	}()
	if err := w.c.Handle(ctx, r); err != nil {
		return err
	}
	// What the handler wrote is its record of having handled the event: it is durable before the event is acknowledged.
	return w.j.settled(ctx, s.Highest())
}
