package handlers

import (
	"context"
	"time"
)

const (
	claimInterval = 500 * time.Millisecond
	claimWait     = 2 * time.Second
)

// watchClaim looks, until ctx ends, whether another leader has claimed the stock, for as long as etcd would not tell. Who sells
// learns of it by the first event that is refused; who has nothing to sell would go on taking requests that it can't serve.
func (t *stockroom) watchClaim(ctx context.Context) {
	tick := time.NewTicker(claimInterval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		if t.doubt() {
			asking, cancel := context.WithTimeout(ctx, claimWait)
			_ = t.settled(asking, nil) // it ends the term itself where the claim is another's; a store that is silent says nothing
			cancel()
		}
	}
}
