package lean

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"

	"github.com/nats-io/nats.go"
)

// ErrUnheard is the cause of a request's nats.ErrPermissionViolation where it is the replies that the user may not hear: nothing is
// sent then. Requests that were sent before the server said so may have been carried out.
var ErrUnheard = errors.New("this user may not hear replies below the connection's inbox prefix")

// hearing is whether the server lets the replies be heard. The zero value says that it does.
type hearing struct{ refused atomic.Pointer[error] }

// heed takes an error of the server's, and ends the requests that wait where it refuses the subscription of the mux's replies.
func (h *hearing) heed(m *mux, err error) {
	_, rest, _ := strings.Cut(err.Error(), `Subscription to "`)
	if subject, _, ok := strings.Cut(rest, `"`); !ok || subject != m.prefix+"*" || !errors.Is(err, nats.ErrPermissionViolation) {
		return
	}
	err = fmt.Errorf("%w: %w", ErrUnheard, err)
	h.refused.Store(&err)
	m.interrupt(err)
}

// again is for a new connection: it may be allowed there.
func (h *hearing) again() { h.refused.Store(nil) }

// instead ends a request that has begun and must not be sent, as its reply can't be heard. It is false where it can.
func (h *hearing) instead(m *mux, subject string) bool {
	err := h.refused.Load()
	if err != nil {
		m.refuse(subject, *err) // all that ask the same: none of them gets a reply
	}
	return err != nil
}
