package journal

import (
	"github.com/nats-io/nats.go"

	"waybill/internal/fault"
)

// Notify signals when somebody of the site has just written to the exact subject. It is a hint, sent on the way to the store:
// who is woken reads the journal, and looks once before the first wait. Signals that nobody took become one. stop ends it.
// Error: unavailable.
func (j *Journal) Notify(subject string) (changed <-chan struct{}, stop func(), err error) {
	c := make(chan struct{}, 1)
	sub, err := j.nc.Subscribe(subject, func(*nats.Msg) {
		select {
		case c <- struct{}{}:
		default:
		}
	})
	if err != nil {
		return nil, nil, fault.Wrap(err, fault.Unavailable, "the site's NATS can't be reached; try again")
	}
	return c, func() { _ = sub.Unsubscribe() }, nil // fails only when the connection is gone, and the subscription with it
}
