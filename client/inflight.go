package client

import (
	"context"
	"errors"
	"strings"
	"sync"

	"github.com/nats-io/nats.go"

	"waybill/internal/fault"
)

// errDisconnected ends attempts whose reply was on a connection that broke: it can't come any more.
var errDisconnected = errors.New("the connection to the site broke")

// inFlight knows who waits for JetStream's replies over nats.go, to end those that wait in vain: the connection broke, or the server
// did not let the request through. It is safe for concurrent use.
type inFlight struct {
	mu      sync.Mutex
	next    uint64
	waiting map[uint64]attempt
}

type attempt struct {
	subject string // quoted, as a refusal of the server names it; a prefix of that where the attempt asks several
	end     context.CancelCauseFunc
}

// anyOfJetStream is the attempt of whoever reads a stream.
const anyOfJetStream = `"$JS.`

func newInFlight() *inFlight { return &inFlight{waiting: make(map[uint64]attempt)} }

// enter returns the context of one attempt to ask a quoted subject. leave must be called when it is over.
func (f *inFlight) enter(ctx context.Context, subject string) (_ context.Context, leave func()) {
	ctx, end := context.WithCancelCause(ctx)
	f.mu.Lock()
	f.next++
	n := f.next
	f.waiting[n] = attempt{subject, end}
	f.mu.Unlock()
	return ctx, func() {
		f.mu.Lock()
		delete(f.waiting, n)
		f.mu.Unlock()
		end(nil)
	}
}

func (f *inFlight) disconnected() { f.end(errDisconnected, func(string) bool { return true }) }

// failed hears of the connection's asynchronous errors, of which a refusal to publish belongs to the attempts that published.
func (f *inFlight) failed(err error) {
	if !errors.Is(err, nats.ErrPermissionViolation) {
		return
	}
	denied := fault.Wrap(err, fault.PermissionDenied, "this user may not do that here: connect with credentials that may")
	text := err.Error()
	f.end(denied, func(subject string) bool { return strings.Contains(text, subject) })
}

func (f *inFlight) end(cause error, which func(subject string) bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, a := range f.waiting {
		if which(a.subject) {
			a.end(cause)
		}
	}
}
