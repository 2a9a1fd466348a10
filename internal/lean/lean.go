// Package lean is a NATS connection for the way of a request, and for nothing else: requests and their replies, subscriptions
// that hand each message to a function, and publishing. Beside nats.go it saves most of the allocations and goroutine changes of
// a request: a header stays the block of bytes that it is on the wire, reply subjects are used again, and whoever sends writes to
// the connection itself, together with what others have to send at the moment.
//
// It speaks the NATS client protocol (https://docs.nats.io/reference/reference-protocols/nats-protocol) over TCP, TLS, WebSocket,
// a Unix domain socket, or a connection that its user dials, such as the one within the process. Links over nats.go have the same form.
package lean

import (
	"context"

	"github.com/nats-io/nats.go"
)

// Msg is a message that came. Its parts belong to who got it.
type Msg struct {
	Subject string // empty for a reply
	Reply   string
	Data    []byte

	header Header      // nil where there is none, or it is parsed
	parsed nats.Header // of nats.go
	back   Answerer    // nil where it came through the server
	here   bool
}

// Here reports whether the goroutine that hands the message over has nothing else to do until it is answered: what takes some
// microseconds may be done on it.
func (m Msg) Here() bool { return m.here }

// Within reports whether the message was handed over within the process, past the server.
func (m Msg) Within() bool { return m.back != nil }

// CallHeader is a number below a thousand million that a request may have, and that its reply should repeat: a reply with another one
// belongs to a request before it.
const CallHeader = "Waybill-Call"

// Call is the message's CallHeader; -1 where there is none.
func (m Msg) Call() int {
	if n, ok := m.Number(CallHeader); ok {
		return n
	}
	return -1
}

// Number is a header that is a decimal number of at most nine digits; false where it is none. Other than Get it takes no memory.
func (m Msg) Number(name string) (int, bool) {
	if m.parsed != nil {
		return Decimal(m.parsed.Get(name))
	}
	return Decimal(m.header.Value(name))
}

// Received is a message of nats.go.
func Received(m *nats.Msg) Msg {
	return Msg{Subject: m.Subject, Reply: m.Reply, Data: m.Data, parsed: m.Header}
}

// Headers are the message's; never nil.
func (m Msg) Headers() Headers {
	if m.parsed != nil {
		return m.parsed
	}
	return m.header
}

// Get returns a header's first value; empty where there is none.
func (m Msg) Get(name string) string {
	if m.parsed != nil {
		return m.parsed.Get(name)
	}
	return m.header.Get(name)
}

// Status is the code of a status message, such as 404; empty for any other.
func (m Msg) Status() string {
	if m.parsed != nil {
		return m.parsed.Get("Status")
	}
	return m.header.Status()
}

// Description is what stands behind the code of a status message.
func (m Msg) Description() string {
	if m.parsed != nil {
		return m.parsed.Get("Description")
	}
	return m.header.Description()
}

// Link is a connection over which requests are made. It is safe for concurrent use.
type Link interface {
	// Start sends a request. Requests that one goroutine starts are sent in that order. The header and the data may be used
	// again when it returns. Its errors mean that nothing was sent: nats.ErrDisconnected, nats.ErrConnectionClosed,
	// nats.ErrMaxPayload, nats.ErrBadSubject.
	Start(subject string, h Header, data []byte) (*Pending, error)
	// Publish sends a message, in the same order and with the same errors.
	Publish(subject string, h Header, data []byte) error
	// Connected reports whether the connection stands at the moment.
	Connected() bool
	// MaxPayload is the most bytes of header and data that the server takes.
	MaxPayload() int64
}

// Bus is a Link that hears, too.
type Bus interface {
	Link
	// Subscribe has handle called with each message on the subject, in a queue group unless queue is empty, one after another (but for
	// what a Local delivers): it
	// must hand on what takes time, and neither Publish nor wait for the server. stop ends it: what has arrived by then is still
	// handed over. Use Flush to know that the server has heard of either. What comes while the connection is broken is lost.
	Subscribe(subject, queue string, handle func(Msg)) (stop func() error, err error)
	// Ask is Publish with a reply subject, to which any number of messages may come: whoever asks hears them by a subscription.
	Ask(subject, reply string, data []byte) error
	// Later is Publish for a function that must not wait for the server: another goroutine writes the message.
	Later(subject string, h Header, data []byte) error
	// Flush returns when the server has taken all that was sent before. Errors: those of Start, ctx's.
	Flush(ctx context.Context) error
}
