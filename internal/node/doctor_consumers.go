package node

import (
	"context"
	"strconv"
	"time"

	"waybill/internal/fault"
	"waybill/internal/journal"
	"waybill/internal/registry"
	"waybill/subjects"
)

// consumerStuck is how long a consumer may make no step while there is something to do.
const consumerStuck = 15 * time.Second

// progress is how far a consumer was when it was last seen to move.
type progress struct {
	lag   journal.Lag
	moved time.Time
}

func (d *doctor) progress(durable subjects.Durable) *progress {
	if d.stuck[durable] == nil {
		d.stuck[durable] = &progress{moved: time.Now()}
	}
	return d.stuck[durable]
}

// lookAtConsumer is content with a consumer that is behind and moves.
func (d *doctor) lookAtConsumer(ctx context.Context, durable subjects.Durable, p *progress) finding {
	lag, err := d.n.models.journal.Lag(ctx, durable)
	if err != nil {
		return finding{registry.Check{Name: "consumer", Status: registry.Warning, Message: "the consumer " + string(durable) + " can't be asked: " + fault.From(err).Message}, false}
	}
	if waiting := lag.Pending + uint64(lag.InFlight); waiting == 0 || lag.AckFloor != p.lag.AckFloor {
		p.lag, p.moved = lag, time.Now()
	} else if since := time.Since(p.moved); since > consumerStuck {
		return finding{registry.Check{Name: "consumer", Status: registry.Warning, Message: "the consumer " + string(durable) + " does not move; " +
			strconv.FormatUint(waiting, 10) + " events wait"}, true}
	}
	return well("consumer")
}

// worst is the first of the most severe of several findings about one thing.
func worst(list []*finding) finding {
	out := list[0]
	for _, f := range list[1:] {
		if severity(f.Status) > severity(out.Status) {
			out = f
		}
	}
	return *out
}
