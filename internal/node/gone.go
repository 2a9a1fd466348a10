package node

import (
	"context"
	"time"

	"waybill/internal/rpc"
)

// lookForGone has requests cancelled whose callers have gone. Only the server that runs in this process can tell.
func (s *services) lookForGone(ctx context.Context) error {
	if s.n.store.own == nil {
		return nil
	}
	heard, err := s.n.store.own.Heard()
	if err != nil {
		return err
	}
	s.running.Go(func() {
		tick := time.NewTicker(rpc.LookForGone)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				now := time.Now() // the tick may be an old one
				for _, server := range s.serving() {
					server.CancelGone(now, heard)
				}
			case <-ctx.Done():
				return
			}
		}
	})
	return nil
}
