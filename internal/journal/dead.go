package journal

import (
	"context"
	"maps"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"waybill/internal/fault"
	"waybill/internal/lean"
	"waybill/subjects"
)

// The headers of a dead letter, beside the original's own ce- headers; its body is the original's.
const (
	HeaderDeadReason   = "Waybill-Dead-Reason"   // why the event was given up
	HeaderDeadTries    = "Waybill-Dead-Tries"    // how often it was tried
	HeaderDeadSequence = "Waybill-Dead-Sequence" // the original's sequence in the journal
	HeaderDeadSubject  = "Waybill-Dead-Subject"  // the original's subject
	HeaderDeadConsumer = "Waybill-Dead-Consumer" // who gave it up
)

// maxReason bounds the reason in a dead letter, in bytes.
const maxReason = 500

// bury writes the dead letter of an event, durably: with it all that the handler wrote. Its message id keeps an event that is given up twice in a row from lying there twice.
// The reason in it is fit for any reader of the dead letters: the log alone has the cause.
func (w *consumption) bury(ctx context.Context, t *task, reason error, tries int) error {
	r := t.record
	h := make(nats.Header, 16)
	maps.Copy(h, lean.Parsed(t.msg.Headers()))
	maps.DeleteFunc(h, func(name string, _ []string) bool {
		// What JetStream reads as an order of its own, and the id that stands for the event, belong to the original alone.
		return strings.HasPrefix(name, "Nats-")
	})
	why := fault.From(reason)
	h.Set(subjects.HeaderMsgID, string(w.c.Durable)+"."+strconv.FormatUint(r.Sequence, 10))
	h.Set(jetstream.ExpectedStreamHeader, subjects.StreamDead)
	h.Set(HeaderDeadReason, clip(string(why.Code)+": "+why.Message))
	h.Set(HeaderDeadTries, strconv.Itoa(tries))
	h.Set(HeaderDeadSequence, strconv.FormatUint(r.Sequence, 10))
	h.Set(HeaderDeadSubject, r.Subject)
	h.Set(HeaderDeadConsumer, string(w.c.Durable))
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	letter := &nats.Msg{Subject: subjects.DeadLetter(w.j.site, w.c.Durable), Header: h, Data: t.msg.Data}
	if _, err := requestMsg(ctx, w.j.nc, letter); err != nil {
		return publishFault(err, "the dead letter")
	}
	return w.j.barrier.Sync(ctx)
}

// clip makes a text fit for a header: one line of at most maxReason bytes.
func clip(s string) string {
	s = strings.Map(func(c rune) rune {
		if c < ' ' {
			return ' '
		}
		return c
	}, s)
	if len(s) > maxReason {
		s = strings.ToValidUTF8(s[:maxReason], "")
	}
	return s
}
