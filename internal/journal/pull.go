package journal

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json"

	"waybill/internal/fault"
	"waybill/internal/lean"
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
	feed    lean.Bus
	subject string // of the consumer's pulls
	inbox   string // of this puller; each pull has a token of its own below it
	stop    func() error
	size    int // messages of a pull
	most    int // messages that next returns at once
	pull    int // number of the pull under way
	left    int // messages that it may still bring; 0: none is under way

	arrived arrivals
	taken   []lean.Msg // of what arrived: still to be looked at
	memory  []lean.Msg // of taken, whole
}

// arrivals are the messages that have come and that nobody has taken.
type arrivals struct {
	room int           // beyond it messages are dropped, which their consumer makes good
	some chan struct{} // holds at most one: there are any

	mu   sync.Mutex
	msgs []lean.Msg
}

func (a *arrivals) put(m lean.Msg) {
	a.mu.Lock()
	if len(a.msgs) < a.room {
		a.msgs = append(a.msgs, m)
	}
	first := len(a.msgs) == 1
	a.mu.Unlock()
	if first {
		select {
		case a.some <- struct{}{}:
		default:
		}
	}
}

// take returns what has come, and leaves the memory of what was taken before for what comes next.
func (a *arrivals) take(before []lean.Msg) []lean.Msg {
	const kept = 256
	if cap(before) > kept {
		before = nil
	}
	clear(before[:cap(before)])
	a.mu.Lock()
	defer a.mu.Unlock()
	msgs := a.msgs
	a.msgs = before[:0]
	return msgs
}

// newPuller subscribes to what the consumer will deliver: size messages a pull, of which next returns at most so many at once.
// The caller closes it.
func (j *Journal) newPuller(consumer string, size, most int) (*puller, error) {
	p := &puller{
		feed: j.feed, subject: j.stream.api + "CONSUMER.MSG.NEXT." + j.stream.name + "." + consumer,
		inbox: j.nc.NewInbox(), size: size, most: most,
		// Room for the pull under way and for what is left of one that was given up: nothing is dropped.
		arrived: arrivals{room: 2*size + 16, some: make(chan struct{}, 1)},
	}
	var err error
	if p.stop, err = p.feed.Subscribe(p.inbox+".*", "", p.arrived.put); err != nil {
		return nil, readFault(err, "the journal")
	}
	return p, nil
}

// close ends the subscription; what is still on its way is dropped. It is for consumers without acknowledgement.
func (p *puller) close() { _ = p.stop() } // fails only when the connection is gone, and the subscription with it

// drain ends the subscription and returns the messages that next has not returned, those that were on their way included.
func (p *puller) drain(ctx context.Context) []lean.Msg {
	ctx, cancel := context.WithTimeout(ctx, drainPatience)
	defer cancel()
	// Where either fails the connection is gone, and the messages come again after AckWait.
	if err := p.stop(); err == nil {
		_ = p.feed.Flush(ctx) // what the server sent before it heard of the end arrives before its answer
	}
	rest := slices.Concat(p.taken, p.arrived.take(nil))
	return slices.DeleteFunc(rest, func(m lean.Msg) bool { return m.Status() != "" })
}

const drainPatience = time.Second

// next returns what a pull brings, at most p.most messages at once: those that are there, or the first one once it comes. It asks
// for more when no pull is under way. Errors: ctx's; errQuiet after two heartbeats were missed; the server's word that the
// consumer is gone. After an error of the server's next may be called again and pulls afresh. Messages go before errors: what
// has come is returned, and the next call meets the error.
func (p *puller) next(ctx context.Context) ([]lean.Msg, error) {
	quiet := time.NewTimer(2 * heartbeat)
	defer quiet.Stop()
	var batch []lean.Msg
	fail := func(err error) ([]lean.Msg, error) {
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
		if err := ctx.Err(); err != nil {
			return fail(err)
		}
		if len(p.taken) == 0 {
			p.taken = p.arrived.take(p.memory)
			p.memory = p.taken
		}
		if len(p.taken) == 0 {
			quiet.Reset(2 * heartbeat)
			select {
			case <-ctx.Done():
			case <-quiet.C:
				p.left = 0
				return fail(errQuiet)
			case <-p.arrived.some:
			}
			continue
		}
		m := p.taken[0]
		p.taken = p.taken[1:]
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
	if err := p.feed.Ask(p.subject, p.inbox+"."+strconv.Itoa(p.pull), request); err != nil {
		return readFault(err, "the journal")
	}
	p.left = p.size
	return nil
}

// take accounts for what arrived; message is false for a status. Its error is the server's word that the consumer is gone.
func (p *puller) take(m lean.Msg) (message bool, err error) {
	status := m.Status()
	if status == "" {
		p.left = max(p.left-1, 0)
		return true, nil
	}
	if !strings.HasSuffix(m.Subject, "."+strconv.Itoa(p.pull)) || !strings.HasPrefix(m.Subject, p.inbox) {
		return false, nil // of a pull that was given up
	}
	description := m.Description()
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
func message(m lean.Msg) (Message, delivery, error) {
	d, ok := readDelivery(m.Reply)
	if !ok {
		return Message{}, delivery{}, fault.New(fault.Internal, "a message of the journal came without its sequence")
	}
	return Message{Subject: m.Subject, Sequence: d.stream, Header: m.Headers(), Data: m.Data}, d, nil
}

// readDelivery reads $JS.ACK.<stream>.<consumer>.<delivered>.<stream sequence>.<consumer sequence>.<time>.<pending>, where newer
// servers have the domain and the account before the stream, and may have more at the end.
func readDelivery(reply string) (d delivery, ok bool) {
	const prefix, short, long = "$JS.ACK.", 7, 9
	rest, ok := strings.CutPrefix(reply, prefix)
	if !ok {
		return d, false
	}
	tokens := strings.Count(rest, ".") + 1
	skip := 3 // tokens before the stream's sequence
	switch {
	case tokens == short:
	case tokens >= long:
		skip += long - short
	default:
		return d, false
	}
	for n := 0; n <= skip+3; n++ {
		var token string
		token, rest, _ = strings.Cut(rest, ".")
		var to *uint64
		switch n - skip {
		case 0:
			to = &d.stream
		case 1:
			to = &d.consumer
		case 3:
			to = &d.pending
		default:
			continue
		}
		var err error
		if *to, err = strconv.ParseUint(token, 10, 64); err != nil {
			return delivery{}, false
		}
	}
	return d, true
}

// errQuiet is returned by a puller from which nothing was heard, not even a heartbeat.
var errQuiet = errors.New("nothing was heard from the server")
