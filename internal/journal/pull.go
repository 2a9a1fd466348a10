package journal

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/nats-io/nats.go"

	"waybill/internal/fault"
)

// pullExpiry is how long the server holds one pull; heartbeat is how often it says that it still does.
const (
	pullExpiry = 30 * time.Second
	heartbeat  = time.Second
)

// puller fetches the messages of one pull consumer, one pull of up to size messages under way at a time. A pull waits for the
// first message, brings what there is by then, and is over: who handles a batch before the next call is not woken for each
// message that comes meanwhile, and nor is the server. One goroutine uses it.
type puller struct {
	nc      *nats.Conn
	subject string // of the consumer's pulls
	inbox   string // of this puller; each pull has a token of its own below it
	sub     *nats.Subscription
	arrived chan *nats.Msg
	size    int // messages of a pull
	most    int // messages that next returns at once
	pull    int // number of the pull under way
	left    int // messages that it may still bring; 0: none is under way
}

// newPuller subscribes to what the consumer will deliver: size messages a pull, of which next returns at most so many at once.
// The caller closes it.
func (j *Journal) newPuller(consumer string, size, most int) (*puller, error) {
	p := &puller{
		nc: j.nc, subject: j.stream.api + "CONSUMER.MSG.NEXT." + j.stream.name + "." + consumer,
		inbox: j.nc.NewInbox(), size: size, most: most,
		// Room for the pull under way and for what is left of one that was given up: nothing is dropped.
		arrived: make(chan *nats.Msg, 2*size+16),
	}
	var err error
	if p.sub, err = p.nc.ChanSubscribe(p.inbox+".*", p.arrived); err != nil {
		return nil, readFault(err, "the journal")
	}
	return p, nil
}

// close ends the subscription; what is still on its way is dropped. It is for consumers without acknowledgement.
func (p *puller) close() { _ = p.sub.Unsubscribe() } // fails only when the connection is gone, and the subscription with it

// drain ends the subscription and returns the messages that next has not returned, those that were on their way included.
func (p *puller) drain(ctx context.Context) []*nats.Msg {
	const patience = time.Second
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	// Where either fails the connection is gone, and the messages come again after AckWait.
	if err := p.sub.Drain(); err == nil {
		_ = p.nc.FlushWithContext(ctx) // what the server sent before it heard of the end arrives before its answer
	}
	var rest []*nats.Msg
	for {
		select {
		case m := <-p.arrived:
			if m.Header.Get(headerStatus) == "" {
				rest = append(rest, m)
			}
		default:
			return rest
		}
	}
}

// next returns what a pull brings, at most p.most messages at once: those that are there, or the first one once it comes. It asks
// for more when no pull is under way. Errors: ctx's; errQuiet after two heartbeats were missed; the server's word that the
// consumer is gone. After an error of the server's next may be called again and pulls afresh. Messages go before errors: what
// has come is returned, and the next call meets the error.
func (p *puller) next(ctx context.Context) ([]*nats.Msg, error) {
	quiet := time.NewTimer(2 * heartbeat)
	defer quiet.Stop()
	var batch []*nats.Msg
	fail := func(err error) ([]*nats.Msg, error) {
		if len(batch) > 0 {
			return batch, nil
		}
		return nil, err
	}
	for {
		if p.left == 0 {
			if len(batch) > 0 {
				return batch, nil
			}
			if err := p.ask(); err != nil {
				return nil, err
			}
		}
		select {
		case <-ctx.Done():
			return fail(ctx.Err())
		case <-quiet.C:
			p.left = 0
			return fail(errQuiet)
		case m := <-p.arrived:
			quiet.Reset(2 * heartbeat)
			message, err := p.take(m)
			if err != nil {
				p.left = 0
				return fail(err)
			}
			if message {
				batch = append(batch, m)
			}
			// A status ends the pull, or says that it still waits for more: what has come does not wait with it.
			if len(batch) == p.most || !message && len(batch) > 0 {
				return batch, nil
			}
		}
	}
}

// ask sends the next pull.
func (p *puller) ask() error {
	request, err := json.Marshal(struct {
		Batch     int   `json:"batch"`
		MaxBytes  int   `json:"max_bytes"`
		Expires   int64 `json:"expires"`
		NoWait    bool  `json:"no_wait"` // with an expiry: it waits for the first message alone
		Heartbeat int64 `json:"idle_heartbeat"`
	}{p.size, maxBatchBytes, int64(pullExpiry), true, int64(heartbeat)})
	if err != nil {
		return fault.Wrap(err, fault.Internal, "a request to the store can't be written")
	}
	p.pull++
	if err := p.nc.PublishRequest(p.subject, p.inbox+"."+strconv.Itoa(p.pull), request); err != nil {
		return readFault(err, "the journal")
	}
	p.left = p.size
	return nil
}

// take accounts for what arrived; message is false for a status. Its error is the server's word that the consumer is gone.
func (p *puller) take(m *nats.Msg) (message bool, err error) {
	status := m.Header.Get(headerStatus)
	if status == "" {
		p.left = max(p.left-1, 0)
		return true, nil
	}
	if !strings.HasSuffix(m.Subject, "."+strconv.Itoa(p.pull)) || !strings.HasPrefix(m.Subject, p.inbox) {
		return false, nil // of a pull that was given up
	}
	description := m.Header.Get(headerDescription)
	switch {
	case status == statusHeartbeat:
		return false, nil
	case status == statusNotFound, status == statusTimeout,
		status == statusConflict && (strings.HasPrefix(description, "Message Size Exceeds") || strings.HasPrefix(description, "Batch Completed")):
		p.left = 0 // this pull is over, nothing is wrong
		return false, nil
	}
	return false, errors.New(strings.TrimSpace("status " + status + " " + description))
}

// delivery is what the reply subject of a consumer's message says.
type delivery struct {
	stream, consumer uint64 // sequences in the stream and of the consumer
	pending          uint64 // messages that the consumer has still to deliver
}

// message reads what a consumer delivered.
func message(m *nats.Msg) (Message, delivery, error) {
	meta, err := m.Metadata()
	if err != nil {
		return Message{}, delivery{}, fault.Wrap(err, fault.Internal, "a message of the journal came without its sequence")
	}
	return Message{Subject: m.Subject, Sequence: meta.Sequence.Stream, Header: m.Header, Data: m.Data},
		delivery{stream: meta.Sequence.Stream, consumer: meta.Sequence.Consumer, pending: meta.NumPending}, nil
}

// errQuiet is returned by a puller from which nothing was heard, not even a heartbeat.
var errQuiet = errors.New("nothing was heard from the server")

// pause waits for d or the end of ctx.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
