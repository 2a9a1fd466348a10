package registry

import (
	"errors"
	"sync"
	"time"

	"github.com/rs/zerolog"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"waybill/internal/fault"
	"waybill/internal/timestamp"
)

// link remembers whether etcd answers. It logs each change once.
type link struct {
	log zerolog.Logger
	now func() time.Time

	mu     sync.Mutex
	since  time.Time // zero while etcd answers
	full   bool      // it answers, and takes no writes
	reason string
}

// away notes that etcd did not do what was asked, and why.
func (l *link) away(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	full := errors.Is(err, rpctypes.ErrNoSpace)
	if !l.since.IsZero() && full == l.full {
		return
	}
	if l.since.IsZero() {
		l.since = l.now()
	}
	l.full = full
	what := "does not answer"
	if full {
		what = "is out of space and takes no writes"
	}
	l.reason = "etcd " + what + " since " + timestamp.Of(l.since).String() +
		": settings keep their last known values, health and elections are not published"
	l.log.Warn().Err(err).Msg("etcd " + what + "; going on with the last known settings")
}

// back notes that etcd answers, and reports whether it was away before.
func (l *link) back() (was bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.since.IsZero() {
		return false
	}
	l.log.Info().Dur("away", l.now().Sub(l.since)).Msg("etcd answers again")
	l.since, l.full, l.reason = time.Time{}, false, ""
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
