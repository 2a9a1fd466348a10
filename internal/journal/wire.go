package journal

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"waybill/internal/fault"
	"waybill/internal/lean"
	"waybill/internal/sleep"
)

// requestTimeout bounds every wait for a single answer of the store whose caller set no earlier end.
const requestTimeout = 5 * time.Second

// The headers and statuses of JetStream's wire protocol for which nats.go has no name.
const (
	headerStatus        = "Status"
	headerDescription   = "Description"
	headerNumPending    = "Nats-Num-Pending"
	headerBatchID       = "Nats-Batch-Id"
	headerBatchSequence = "Nats-Batch-Sequence"
	headerBatchCommit   = "Nats-Batch-Commit"

	statusHeartbeat    = "100"
	statusEndOfBatch   = "204"
	statusNotFound     = "404"
	statusTimeout      = "408"
	statusConflict     = "409"
	statusNoResponders = "503"
)

// JetStream's error codes that mean something to a writer.
const (
	codeWrongLastSequence  = 10071 // a compare-and-set was lost
	codeSequenceInProcess  = 10164 // the same on a replicated stream: another append of the subject is under way
	codeDuplicateInProcess = 10158 // an append with this message id is under way on a replicated stream
	codeDuplicateInBatch   = 10201 // a message id of the batch is stored already
	codeStoreFailed        = 10077 // a limit of the stream was reached
	codeMessageTooLarge    = 10054
	codeNoSuchMessage      = 10057 // the message to delete is not there
	codeBatchTooMany       = 10210
	codeTooManyRequests    = 10167
	codeAccountFull        = 10002
	codeServerFull         = 10023
	codeMemoryFull         = 10028
	codeStorageFull        = 10047
)

// ErrConflict is returned when another writer was first: load again and decide again.
var ErrConflict = fault.New(fault.Aborted, "another writer was first; load again and decide again")

// ErrOutcomeUnknown is in the chain of an append's error when nobody knows whether it was written: appending the same event
// id again, over the same previous event, tells.
var ErrOutcomeUnknown = errors.New("outcome unknown")

// apiError is JetStream's refusal of a request.
type apiError struct {
	Code        int    `json:"code"`
	ErrCode     int    `json:"err_code"`
	Description string `json:"description"`
}

func (e *apiError) Error() string {
	return "jetstream error " + strconv.Itoa(e.ErrCode) + ": " + e.Description
}

func openJetStream(nc *nats.Conn, domain string) (jetstream.JetStream, error) {
	var js jetstream.JetStream
	var err error
	if domain == "" {
		js, err = jetstream.New(nc)
	} else {
		js, err = jetstream.NewWithDomain(nc, domain)
	}
	if err != nil {
		return nil, fault.Wrap(err, fault.InvalidArgument, "%.40q is not a JetStream domain", domain)
	}
	return js, nil
}

func apiPrefix(domain string) string {
	if domain == "" {
		return "$JS.API."
	}
	return "$JS." + domain + ".API."
}

// bounded gives ctx an end where it has none.
func bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, requestTimeout)
}

// publishAck is the store's answer to an append.
type publishAck struct {
	Seq       uint64    `json:"seq"`
	Duplicate bool      `json:"duplicate"` // the message id was stored before, at Seq
	Count     int       `json:"count"`     // of an atomic batch
	Error     *apiError `json:"error"`
}

// request publishes m and waits for the store's acknowledgement. An *apiError is the store's refusal; after any other error
// for which answered is false the outcome is unknown.
func request(ctx context.Context, link lean.Link, m *outgoing) (publishAck, error) {
	p, err := begin(ctx, link, m.subject, m.wire(), m.payload)
	if err != nil {
		return publishAck{}, unsent{err}
	}
	return acknowledged(ctx, p)
}

// begin sends a request as soon as there is a connection.
func begin(ctx context.Context, link lean.Link, subject string, h lean.Header, body []byte) (*lean.Pending, error) {
	const pause = 10 * time.Millisecond
	waiting := false
	for {
		p, err := link.Start(subject, h, body)
		if !errors.Is(err, nats.ErrDisconnected) {
			return p, err
		}
		if !waiting {
			waiting = true
			var cancel context.CancelFunc
			ctx, cancel = bounded(ctx)
			defer cancel()
		}
		if !sleep.For(ctx, pause) {
			return nil, err
		}
	}
}

// requestMsg is request for a message of nats.go.
func requestMsg(ctx context.Context, nc *nats.Conn, m *nats.Msg) (publishAck, error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	reply, err := nc.RequestMsgWithContext(ctx, m)
	if err != nil {
		return publishAck{}, err
	}
	return readAck(reply.Data)
}

// unsent marks the error of a request that never left.
type unsent struct{ error }

func (u unsent) Unwrap() error { return u.error }

// acknowledged waits for the store's acknowledgement of what was sent.
func acknowledged(ctx context.Context, p *lean.Pending) (publishAck, error) {
	reply, err := answer(ctx, p)
	if err != nil {
		return publishAck{}, err
	}
	return readAck(reply.Data)
}

// answer waits for the reply to a request until ctx ends, or for requestTimeout where that has no end.
func answer(ctx context.Context, p *lean.Pending) (lean.Msg, error) {
	if _, ok := ctx.Deadline(); ok {
		return p.Wait(ctx)
	}
	return p.WaitFor(ctx, requestTimeout)
}

// readAck reads an acknowledgement. The usual one, {"stream":"JOURNAL","domain":"local","seq":17}, is read by hand.
func readAck(data []byte) (ack publishAck, err error) {
	if _, end, ok := bytes.Cut(data, []byte(`"seq":`)); ok && !bytes.Contains(data, []byte(`"error"`)) {
		if end, ok = bytes.CutSuffix(bytes.TrimSpace(end), []byte("}")); ok {
			if ack.Seq, err = strconv.ParseUint(string(end), 10, 64); err == nil {
				return ack, nil
			}
		}
	}
	if err := json.Unmarshal(data, &ack); err != nil {
		return publishAck{}, fault.Wrap(err, fault.Internal, "the store's answer can't be read")
	}
	if ack.Error != nil {
		return publishAck{}, ack.Error
	}
	return ack, nil
}

// publishFault turns an error of request into a fault for the caller. Conflicts and unknown outcomes are settled before.
func publishFault(err error, what string) *fault.Error {
	var api *apiError
	switch {
	case errors.As(err, &api):
		switch api.ErrCode {
		case codeWrongLastSequence, codeSequenceInProcess:
			return ErrConflict
		case codeMessageTooLarge:
			return fault.Wrap(err, fault.InvalidArgument, "%s is larger than the store accepts", what)
		case codeStoreFailed, codeAccountFull, codeServerFull, codeMemoryFull, codeStorageFull:
			return fault.Wrap(err, fault.ResourceExhausted, "the store is full; make room or raise its limit, then try again")
		case codeBatchTooMany, codeTooManyRequests:
			return fault.Wrap(err, fault.ResourceExhausted, "the store has too many requests at once; try again")
		}
		return fault.Wrap(err, fault.Unavailable, "the store refused %s", what)
	case errors.Is(err, nats.ErrMaxPayload):
		return fault.Wrap(err, fault.InvalidArgument, "%s is larger than the server accepts", what)
	case errors.Is(err, nats.ErrNoResponders):
		return fault.Wrap(err, fault.Unavailable, "the store is not there; try again when JetStream is up")
	case answered(err):
		return fault.Wrap(err, fault.Unavailable, "the store can't be reached; try again")
	}
	return fault.Wrap(errors.Join(ErrOutcomeUnknown, err), fault.Unavailable,
		"the store did not answer in time; the outcome is unknown, ask again with the same id to learn it")
}

// refusedAs reports whether err is the store's refusal with one of the codes.
func refusedAs(err error, codes ...int) bool {
	var api *apiError
	return errors.As(err, &api) && slices.Contains(codes, api.ErrCode)
}

// answered reports whether err leaves no doubt that nothing was stored.
func answered(err error) bool {
	var api *apiError
	var never unsent
	return errors.As(err, &api) || errors.As(err, &never) || errors.Is(err, nats.ErrNoResponders) || errors.Is(err, nats.ErrMaxPayload)
}

// readFault turns an error of a read into a fault for the caller.
func readFault(err error, what string) *fault.Error {
	var f *fault.Error
	switch {
	case errors.As(err, &f):
		return f
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled), errors.Is(err, nats.ErrTimeout):
		return fault.Wrap(err, fault.DeadlineExceeded, "the time to read %s ran out; try again", what)
	}
	return fault.Wrap(err, fault.Unavailable, "%s can't be read now; try again", what)
}

// statusFault is the fault for a status that a read was answered with.
func statusFault(status, description, what string) *fault.Error {
	cause := errors.New(strings.TrimSpace("status " + status + " " + description))
	return fault.Wrap(cause, fault.Unavailable, "%s can't be read now; try again", what)
}
