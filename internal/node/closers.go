package node

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"waybill/internal/fault"
)

// closers undo the steps of a start in reverse. Their list belongs to one goroutine at a time.
type closers struct {
	log     zerolog.Logger
	list    []closer
	running sync.WaitGroup // those that have not returned
}

// closer undoes one step of the start.
type closer struct {
	name  string
	close func(ctx context.Context) error
}

// closeGrace is how much longer than its context a closer may take before the next one begins without it.
const closeGrace = 300 * time.Millisecond

func (c *closers) onStop(name string, f func(context.Context) error) {
	c.list = append(c.list, closer{name, f})
}

// unwind runs the closers, each once. One that does not return in time, on a disk that hangs say, goes on by itself: gone says when.
func (c *closers) unwind(ctx context.Context) error {
	var errs []error
	for i := len(c.list) - 1; i >= 0; i-- {
		part, start := c.list[i], time.Now()
		if err := c.run(ctx, part); err != nil {
			c.log.Warn().Err(err).Str("part", part.name).Msg("a part did not stop cleanly")
			errs = append(errs, err)
		}
		c.log.Debug().Str("part", part.name).Dur("took", time.Since(start)).Msg("stopped")
	}
	c.list = nil
	return errors.Join(errs...)
}

func (c *closers) run(ctx context.Context, part closer) error {
	ended := make(chan error, 1)
	c.running.Go(func() { ended <- part.close(ctx) })
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	grace := time.NewTimer(closeGrace)
	defer grace.Stop()
	select {
	case err := <-ended:
		return err
	case <-grace.C:
		return fault.Wrap(ctx.Err(), fault.DeadlineExceeded, "%s has not stopped in time", part.name)
	}
}

// gone returns a channel that is closed once every closer that unwind began has returned.
func (c *closers) gone() <-chan struct{} {
	all := make(chan struct{})
	go func() { // ends with the last of them
		c.running.Wait()
		close(all)
	}()
	return all
}
