package node

import (
	"context"
	"time"

	"waybill/internal/rpc"
)

// lookForGone has requests cancelled whose callers have gone, which only the server that runs in this process can tell, and has services
// let go what many requests at once have left behind.
func (s *services) lookForGone(ctx context.Context) error {
	var heard func(subject string) bool
	if own := s.n.store.own; own != nil {
		var err error
		if heard, err = own.Heard(); err != nil {
			return err
		}
	}
	s.running.Go(func() {
		tick := time.NewTicker(rpc.LookForGone)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				now := time.Now() // the tick may be an old one
				for _, server := range s.serving() {
					if heard != nil {
						server.CancelGone(now, heard)
					}
					server.Rest()
				}
			case <-ctx.Done():
				return
			}
		}
	})
	return nil
}
