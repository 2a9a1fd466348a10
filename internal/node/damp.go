package node

import (
	"time"

	"waybill/internal/registry"
)

const (
	badLooks   = 3                // in a row before a check that may have had bad luck counts as failing
	goodLooks  = 3                // in a row before one that failed counts as well again,
	mostLooks  = 24               // doubled, up to this, each time that it fails again
	relapseFor = 10 * time.Minute // within this time of its last recovery
)

// damped is one check over time. What is certain (the disk is full) counts at once; what may be bad luck (an answer that did not
// come in time) counts when it has happened badLooks times in a row. A check that failed has to be well for a while before it is
// believed, the longer the more often it goes back and forth: services must not join and leave their queue groups all the time.
type damped struct {
	soon    bool // the first good look counts already, until it goes back and forth: of a check that has no service step aside
	shown   registry.Check
	worse   int // looks in a row that were worse than what is shown
	better  int // looks in a row that were better
	need    int // better looks before they count
	healed  time.Time
	started bool
}

// see takes what a look found and returns what counts.
func (d *damped) see(found registry.Check, certain bool, now time.Time) registry.Check {
	if !d.started {
		d.started, d.need = true, d.least()
		d.shown = registry.Check{Name: found.Name, Status: registry.Passing}
	}
	switch was, is := severity(d.shown.Status), severity(found.Status); {
	case is > was:
		d.better = 0
		if d.worse++; certain || d.worse >= badLooks {
			if d.worse = 0; !d.healed.IsZero() && now.Sub(d.healed) < relapseFor {
				d.need = min(2*d.need, mostLooks)
			} else {
				d.need = d.least()
			}
			d.shown = found
		}
	case is < was:
		d.worse = 0
		if d.better++; d.better >= d.need {
			d.better, d.healed = 0, now
			d.shown = found
		}
	default:
		d.worse, d.better = 0, 0
		d.shown = found // the message may be another
	}
	return d.shown
}

func (d *damped) least() int {
	if d.soon {
		return 1
	}
	return goodLooks
}

func severity(s registry.Status) int {
	switch s {
	case registry.Passing:
		return 0
	case registry.Warning:
		return 1
	}
	return 2
}
