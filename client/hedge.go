package client

import (
	"context"
	"time"
)

// hedged asks, and asks once more where no answer has come after a delay. It returns the first success, or the first error that says
// more than that another try may go better; else the last error. unused reports that the second question was not asked. The one that
// is not needed ends with its context.
func hedged[Res any](ctx context.Context, delay time.Duration, ask func(context.Context) (*Res, error)) (res *Res, unused bool, err error) {
	type answer struct {
		res *Res
		err error
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	answers := make(chan answer, 2)
	start := func() {
		go func() {
			res, err := ask(ctx)
			answers <- answer{res, err}
		}()
	}
	start()
	timer := time.NewTimer(delay)
	defer timer.Stop()
	unused = true
	for waiting := 1; waiting > 0; {
		select {
		case <-timer.C:
			start()
			waiting, unused = waiting+1, false
		case a := <-answers:
			waiting--
			if res, err = a.res, a.err; err == nil || !worthRetrying(err) {
				return res, unused, err
			}
		}
	}
	return nil, unused, err
}
