package embedded

import (
	"container/list"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/rs/zerolog"
)

// Connections that each door lets in, fewer than that where the system gives the process few files. Together they stay below
// maxConnections, so that the services, which come within the process, always find a place.
const (
	maxTCP       = 4096
	maxSocket    = 2048
	maxWebSocket = 1024
)

const (
	silence       = 5 * time.Second // after which a newcomer has to go
	slowest       = 5 * time.Second // that one write to a client may take
	sweepInterval = 250 * time.Millisecond
	acceptPause   = 10 * time.Millisecond // after a failed accept, which doubles up to
	acceptLongest = time.Second
)

// door takes connections from a listener and relays each to one within the process. What comes through it has the rights that
// it has anywhere: who it is, the server finds out. Its methods are safe for concurrent use.
type door struct {
	listener net.Listener
	// greet makes of a connection one that speaks NATS, and enters the server; nil where clients speak it from the first byte.
	greet   func(conn net.Conn, enter func() (net.Conn, error)) (outside, inside net.Conn, err error)
	secure  bool                     // clients come over TLS
	full    string                   // said to who is turned away
	inside  func() (net.Conn, error) // to the server
	poll    time.Duration
	local   *locals
	most    int            // connections
	log     zerolog.Logger // sampled, as clients can make it write
	quit    chan struct{}
	running sync.WaitGroup

	mu        sync.Mutex
	closed    bool
	relays    map[*relay]struct{}
	from      map[string]int // relays by address
	newcomers *list.List     // of *relay, the oldest first
}

func newDoor(l net.Listener, most int, inside func() (net.Conn, error), log zerolog.Logger) *door {
	return &door{
		listener: l, inside: inside, full: "-ERR 'maximum connections exceeded'\r\n", most: max(min(most, openFiles()/4), 16), quit: make(chan struct{}),
		log:    log.Sample(&zerolog.BurstSampler{Burst: 20, Period: time.Minute}),
		relays: make(map[*relay]struct{}), from: make(map[string]int), newcomers: list.New(),
	}
}

// open begins to let clients in. It does nothing after close.
func (d *door) open() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return
	}
	d.running.Go(d.accept)
	d.running.Go(d.sweep)
}

// close ends the listener and every connection, and returns when nothing of them runs any more.
func (d *door) close() {
	d.mu.Lock()
	if !d.closed {
		d.closed = true
		close(d.quit)
		d.listener.Close()
	}
	for r := range d.relays {
		r.end()
	}
	d.mu.Unlock()
	d.running.Wait()
}

func (d *door) accept() {
	pause := acceptPause
	for {
		conn, err := d.listener.Accept()
		if err == nil {
			pause = acceptPause
			d.take(conn)
			continue
		}
		if errors.Is(err, net.ErrClosed) {
			return
		}
		// Such as a process that has no file descriptor left: there may be one when others have gone.
		d.log.Warn().Err(err).Msg("a NATS client can't be let in")
		select {
		case <-time.After(pause):
			pause = min(2*pause, acceptLongest)
		case <-d.quit:
			return
		}
	}
}

// take relays a connection, or turns it away.
func (d *door) take(conn net.Conn) {
	r := &relay{door: d, outside: conn, from: address(conn), began: time.Now()}
	if !d.admit(r) {
		d.log.Warn().Str("from", r.from).Msg("a NATS client was turned away: there are too many connections")
		_ = conn.SetWriteDeadline(time.Now().Add(time.Millisecond)) // a fresh socket takes the line at once
		_, _ = conn.Write([]byte(d.full))
		conn.Close()
		return
	}
	go r.run()
}

// admit counts the relay, where there is a place for it. Newcomers, who have said nothing yet, make room: they may be half of all,
// and one more is the end of the oldest. Whoever speaks at once is not turned away by those who say nothing, however many.
func (d *door) admit(r *relay) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return false
	}
	crowded := d.from[r.from] >= d.most*3/4
	if crowded || len(d.relays) >= d.most || d.newcomers.Len() >= d.most/2 {
		old := d.oldest(r.from, crowded)
		if old == nil {
			return false
		}
		d.remove(old)
		old.end()
	}
	d.running.Add(1) // until the relay is over
	d.relays[r] = struct{}{}
	d.from[r.from]++
	r.place = d.newcomers.PushBack(r)
	return true
}

// oldest is the newcomer that came first; with same, of those from the address.
func (d *door) oldest(from string, same bool) *relay {
	for e := d.newcomers.Front(); e != nil; e = e.Next() {
		if r := e.Value.(*relay); !same || r.from == from {
			return r
		}
	}
	return nil
}

// heard says that a newcomer has said a whole line: whether it was a good one is the server's business, which ends the
// connection otherwise, and pings it from then on.
func (d *door) heard(r *relay) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.arrived(r)
}

func (d *door) arrived(r *relay) {
	if r.place != nil {
		d.newcomers.Remove(r.place)
		r.place = nil
	}
}

func (d *door) forget(r *relay) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.remove(r)
}

func (d *door) remove(r *relay) {
	if _, ok := d.relays[r]; !ok {
		return
	}
	delete(d.relays, r)
	if d.from[r.from]--; d.from[r.from] == 0 {
		delete(d.from, r.from)
	}
	d.arrived(r)
}

// sweep ends newcomers that say nothing and clients that don't read. Both are timed here: a timer for each read and write would
// cost more than they do.
func (d *door) sweep() {
	tick := time.NewTicker(sweepInterval)
	defer tick.Stop()
	for {
		select {
		case now := <-tick.C:
			d.endSilent(now)
			d.endSlow(now)
			d.relieve()
		case <-d.quit:
			return
		}
	}
}

// endSilent ends the newcomers that have said nothing for too long.
func (d *door) endSilent(now time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for e := d.newcomers.Front(); e != nil; e = e.Next() { // the oldest first
		r := e.Value.(*relay)
		if now.Sub(r.began) <= silence {
			return
		}
		r.end()
	}
}

// endSlow ends the relays whose client does not read.
func (d *door) endSlow(now time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for r := range d.relays {
		if since := time.Duration(r.writing.Load()); since != 0 && now.Sub(r.began)-since > slowest {
			r.end()
		}
	}
}

// relieve sees to it that no client goes unheard for long.
func (d *door) relieve() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for r := range d.relays {
		r.relieve()
	}
}

// address is what connections are counted by: the user at the other end of a Unix socket, or the address of a machine.
func address(conn net.Conn) string {
	if c, ok := conn.(*net.UnixConn); ok {
		return peer(c)
	}
	host, _, err := net.SplitHostPort(conn.RemoteAddr().String())
	if err != nil {
		return "unknown"
	}
	return host
}
