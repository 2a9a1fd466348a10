package journal

import (
	"context"
	"strconv"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"waybill/internal/fault"
	"waybill/internal/lean"
)

// maxBatchBytes bounds what one batch of a read may bring at once; a single message is always smaller.
const maxBatchBytes = 8 << 20

// maxSubjects is how many subjects the server answers for in one request.
const maxSubjects = 1024

// Message is a stored message as it is. It is not to be changed.
type Message struct {
	Subject  string
	Sequence uint64
	Header   lean.Headers
	Data     []byte

	hash  string         // what Hash and State answer, where this process wrote the event and knows it
	state jsontext.Value // nil where not
}

// Stream reads and writes the raw messages of one JetStream stream, whatever they mean. The journal is built on it, and so
// are the books that are not events. It is safe for concurrent use and holds nothing but the connection.
type Stream struct {
	nc   *nats.Conn
	link lean.Link
	name string
	api  string
}

// OpenStream binds to the named stream of the given JetStream domain (empty: that of the server connected to). It sends nothing.
func OpenStream(nc *nats.Conn, name, domain string) *Stream {
	return &Stream{nc: nc, link: lean.Over(nc), name: name, api: apiPrefix(domain)}
}

// Over returns the stream with requests for single messages going over the link.
func (s *Stream) Over(link lean.Link) *Stream {
	c := *s
	c.link = link
	return &c
}

// ask sends a request of one reply.
func (s *Stream) ask(ctx context.Context, subject string, body []byte) (lean.Msg, error) {
	p, err := begin(ctx, s.link, subject, nil, body)
	if err != nil {
		return lean.Msg{}, err
	}
	return answer(ctx, p)
}

// getRequest is JetStream's request for stored messages.
type getRequest struct {
	Seq       uint64   `json:"seq,omitzero"`
	Next      string   `json:"next_by_subj,omitzero"`
	Batch     int      `json:"batch,omitzero"`
	MaxBytes  int      `json:"max_bytes,omitzero"`
	MultiLast []string `json:"multi_last,omitzero"`
}

// Get returns the last message on the exact subject; ok is false where there is none. Errors: unavailable, deadline_exceeded.
func (s *Stream) Get(ctx context.Context, subject string) (m Message, ok bool, err error) {
	reply, ok, err := s.last(ctx, subject, nil)
	if err != nil || !ok {
		return Message{}, false, err
	}
	m, err = stored(reply.Headers(), reply.Data)
	if err == nil && m.Subject != subject {
		err = fault.New(fault.Internal, "the store answered for %s where %s was asked for", m.Subject, subject)
	}
	return m, err == nil, err
}

// Body is the content of the last message on the exact subject, without the headers, which the server would write out anew; ok is
// false where there is none. Errors: those of Get.
func (s *Stream) Body(ctx context.Context, subject string) (body []byte, ok bool, err error) {
	reply, ok, err := s.last(ctx, subject, withoutHeaders)
	return reply.Data, ok, err
}

// last asks for the last message on the exact subject.
func (s *Stream) last(ctx context.Context, subject string, request []byte) (reply lean.Msg, ok bool, err error) {
	return s.one(ctx, "."+subject, request, subject)
}

// one asks for a single message by what stands behind the stream's name and in the request; what is that which can't be read.
func (s *Stream) one(ctx context.Context, behind string, request []byte, what string) (reply lean.Msg, ok bool, err error) {
	reply, err = s.ask(ctx, s.api+"DIRECT.GET."+s.name+behind, request)
	if err != nil {
		return lean.Msg{}, false, readFault(err, what)
	}
	switch reply.Status() {
	case "":
		return reply, true, nil
	case statusNotFound:
		return lean.Msg{}, false, nil
	}
	return lean.Msg{}, false, statusFault(reply.Status(), reply.Description(), what)
}

var withoutHeaders = []byte(`{"no_hdr":true}`)

// Range returns up to limit messages of any subject from the sequence on, in order. Fewer than limit means that the end was
// reached. Errors: unavailable, deadline_exceeded.
func (s *Stream) Range(ctx context.Context, from uint64, limit int) ([]Message, error) {
	return s.pages(ctx, getRequest{Seq: max(from, 1)}, limit)
}

// Next returns up to limit messages of the exact subject from the sequence on, in order, as Range does.
func (s *Stream) Next(ctx context.Context, subject string, from uint64, limit int) ([]Message, error) {
	return s.pages(ctx, getRequest{Seq: max(from, 1), Next: subject}, limit)
}

// more reports whether there is a message with the sequence or a later one. Errors: unavailable, deadline_exceeded.
func (s *Stream) more(ctx context.Context, from uint64) (bool, error) {
	request, err := json.Marshal(getRequest{Seq: from, Next: ">"})
	if err != nil {
		return false, fault.Wrap(err, fault.Internal, "a request to the store can't be written")
	}
	_, ok, err := s.one(ctx, "", request, s.name)
	return ok, err
}

// pages asks page by page until limit messages are there or none is left.
func (s *Stream) pages(ctx context.Context, r getRequest, limit int) ([]Message, error) {
	const page = 500
	var all []Message
	for len(all) < limit {
		r.Batch, r.MaxBytes = min(page, limit-len(all)), maxBatchBytes
		got, more, err := s.batch(ctx, r)
		if err != nil {
			return nil, err
		}
		all = append(all, got...)
		if len(got) == 0 || !more {
			break
		}
		r.Seq = got[len(got)-1].Sequence + 1
	}
	return all, nil
}

// Last returns the last message of each of the exact subjects that has one, at most 1024 subjects, as of one moment.
// Errors: invalid_argument for too many, unavailable, deadline_exceeded.
func (s *Stream) Last(ctx context.Context, subjects []string) ([]Message, error) {
	if len(subjects) > maxSubjects {
		return nil, fault.New(fault.InvalidArgument, "%d subjects are more than the %d that can be read at once", len(subjects), maxSubjects)
	}
	var all []Message
	r := getRequest{MultiLast: subjects, Batch: len(subjects), MaxBytes: maxBatchBytes}
	for len(subjects) > 0 {
		got, more, err := s.batch(ctx, r)
		if err != nil {
			return nil, err
		}
		all = append(all, got...)
		if len(got) == 0 || !more {
			break
		}
		r.Seq = got[len(got)-1].Sequence + 1
	}
	return all, nil
}

// batch asks for several messages at once; more tells that the server has further ones for the same request.
func (s *Stream) batch(ctx context.Context, r getRequest) (got []Message, more bool, err error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	request, err := json.Marshal(r)
	if err != nil {
		return nil, false, fault.Wrap(err, fault.Internal, "a request to the store can't be written")
	}
	// The channel has room for every message and the end mark: nothing is ever dropped.
	replies := make(chan *nats.Msg, r.Batch+1)
	inbox := s.nc.NewInbox()
	sub, err := s.nc.ChanSubscribe(inbox, replies)
	if err != nil {
		return nil, false, readFault(err, s.name)
	}
	defer func() { _ = sub.Unsubscribe() }() // fails only when the connection is gone, and the subscription with it
	if err := s.nc.PublishRequest(s.api+"DIRECT.GET."+s.name, inbox, request); err != nil {
		return nil, false, readFault(err, s.name)
	}
	before := uint64(0) // the sequence that came last
	for {
		select {
		case <-ctx.Done():
			return nil, false, readFault(ctx.Err(), s.name)
		case m := <-replies:
			status := m.Header.Get(headerStatus)
			// The server says what it sent before: what was on its way as the connection broke and came back is missing.
			if last := m.Header.Get(jetstream.LastSequenceHeader); last != "" && (status == "" || status == statusEndOfBatch) && last != strconv.FormatUint(before, 10) {
				return nil, false, fault.New(fault.Unavailable, "%s can't be read now, as message %s was lost on the way; try again", s.name, last)
			}
			switch status {
			case "":
				one, err := stored(m.Header, m.Data)
				if err != nil {
					return nil, false, err
				}
				got, before = append(got, one), one.Sequence
			case statusEndOfBatch:
				pending, err := strconv.ParseUint(m.Header.Get(headerNumPending), 10, 64)
				return got, err == nil && pending > 0, nil
			case statusNotFound:
				return got, false, nil
			default:
				return nil, false, statusFault(m.Header.Get(headerStatus), m.Header.Get(headerDescription), s.name)
			}
		}
	}
}

// stored reads a direct get's answer.
func stored(h lean.Headers, data []byte) (Message, error) {
	if h == nil {
		h = lean.Header(nil)
	}
	seq, err := strconv.ParseUint(h.Get(jetstream.SequenceHeader), 10, 64)
	subject := h.Get(jetstream.SubjectHeader)
	if err != nil || subject == "" {
		return Message{}, fault.Wrap(err, fault.Unavailable, "the store's answer carries no sequence and subject; is its server too old?")
	}
	return Message{Subject: subject, Sequence: seq, Header: h, Data: data}, nil
}

// Publication is a message to store.
type Publication struct {
	Subject string
	Data    []byte
	Expect  uint64 // sequence that must be the last one on the subject; 0: the subject must be empty
}

// Publish stores a message if the last one on its subject is the expected one, and returns its sequence. Errors: ErrConflict,
// resource_exhausted, invalid_argument (too large), unavailable (with ErrOutcomeUnknown in its chain where it may be stored).
func (s *Stream) Publish(ctx context.Context, p Publication) (uint64, error) {
	m := &outgoing{subject: p.Subject, payload: p.Data}
	m.header.Set(jetstream.ExpectedStreamHeader, s.name)
	m.header.Set(jetstream.ExpectedLastSubjSeqHeader, strconv.FormatUint(p.Expect, 10))
	ack, err := request(ctx, s.link, m)
	if err != nil {
		return 0, publishFault(err, "the message")
	}
	return ack.Seq, nil
}

// DeleteMessage removes the message with the sequence and overwrites it in the store's file with random bytes; existed is
// false when there is no such message (any more). Copies that the file system or a backup keeps are out of its reach.
// It must be made durable by a barrier of the caller's. Errors: unavailable, deadline_exceeded, permission_denied.
func (s *Stream) DeleteMessage(ctx context.Context, sequence uint64) (existed bool, err error) {
	body, err := json.Marshal(struct {
		Seq uint64 `json:"seq"`
	}{sequence})
	if err != nil {
		return false, fault.Wrap(err, fault.Internal, "a request to the store can't be written")
	}
	reply, err := s.ask(ctx, s.api+"STREAM.MSG.DELETE."+s.name, body)
	if err != nil {
		return false, readFault(err, s.name)
	}
	var answer struct {
		Success bool      `json:"success"`
		Error   *apiError `json:"error"`
	}
	if err := json.Unmarshal(reply.Data, &answer); err != nil {
		return false, fault.Wrap(err, fault.Internal, "the store's answer can't be read")
	}
	switch {
	case answer.Error == nil:
		return answer.Success, nil
	case answer.Error.ErrCode == codeNoSuchMessage:
		return false, nil
	}
	return false, fault.Wrap(answer.Error, fault.Unavailable, "message %d of %s can't be erased now; try again", sequence, s.name)
}

// LastSequence is the sequence of the stream's last message, 0 for a stream that never held one.
func (s *Stream) LastSequence(ctx context.Context) (uint64, error) {
	size, err := s.Size(ctx)
	return size.Last, err
}
