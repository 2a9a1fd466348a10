package registry

import (
	"sync"
	"time"

	"github.com/rs/zerolog"

	"waybill/internal/fault"
	"waybill/internal/timestamp"
)

// link remembers whether etcd answers. It logs each change once.
type link struct {
	log zerolog.Logger
	now func() time.Time

	mu     sync.Mutex
	since  time.Time // zero while etcd answers
	reason string
}

func (l *link) away(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.since.IsZero() {
		return
	}
	l.since = l.now()
	l.reason = "etcd does not answer since " + timestamp.Of(l.since).String() +
		": settings keep their last known values, health and elections are not published"
	l.log.Warn().Err(err).Msg("etcd does not answer; going on with the last known settings")
}

// back notes that etcd answers, and reports whether it was away before.
func (l *link) back() (was bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.since.IsZero() {
		return false
	}
	l.log.Info().Dur("away", l.now().Sub(l.since)).Msg("etcd answers again")
	l.since, l.reason = time.Time{}, ""
	return true
}

func (l *link) degraded() (string, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.reason, !l.since.IsZero()
}

// unavailable is the error for a caller that etcd could not serve.
func unavailable(err error, what string) error {
	return fault.Wrap(err, fault.Unavailable, "etcd does not answer: %s; ask again when the site's health shows it back", what)
}
