package handlers

import (
	"context"
	"maps"
	"strings"
	"sync"
	"time"

	"waybill/internal/id"
	"waybill/internal/journal"
	"waybill/internal/scope"
	"waybill/subjects"
)

// Prices keeps the items of the catalog that orders ask for, so that an order needs no read for its prices. The journal stays
// the truth: an item that is written to is forgotten at once, and read from the journal each time until the write is decided, because
// the signal of a write comes before the event can be read. It is safe for concurrent use.
type Prices struct {
	site    subjects.Site
	journal *journal.Journal // since Watch, as are the signals
	signals *journal.Signals

	mu      sync.RWMutex
	items   map[id.SKU]keptItem
	writes  map[id.SKU]write // to the items that were written to in the last 2*settledAfter, and to some before
	full    int              // so many writes, and the old ones are dropped
	session journal.Session  // of the signals; what was kept in another one may be old
	since   time.Time        // when another one gave way to it; writes of before it may still be on their way, unheard
	settled time.Duration    // settledAfter, but in tests
}

// keptItem is an item as an event left it.
type keptItem struct {
	item     subjects.Item
	sequence uint64    // of the event
	began    time.Time // when it was asked for
}

// write is what is known of the writes to an item. One that expects the event with a sequence to be the item's last is decided as soon
// as the store has a later one: it is that one or stands before it, or the store refuses it whenever it comes. So it does not matter how
// many there are, which one wins, and in what order they are heard of.
type write struct {
	open    int       // under way at this moment in this process
	expects uint64    // the highest sequence that one of them names
	at      time.Time // when the last one was heard of
	unnamed time.Time // when the last one of those was heard of that name none
}

const (
	// settledAfter is how long after the signal of a write its event may still be on its way into the journal: longer than an
	// append is waited for. A write that fails is taken for decided then.
	settledAfter = 10 * time.Second
	// keptFor bounds how long an item is kept that nobody writes to, and so how old a price may be whatever else went wrong, such as a
	// store that was stopped for longer than settledAfter in the middle of a write.
	keptFor = time.Minute
	// maxPrices bounds the items that are kept: some 20 MB.
	maxPrices = 100_000
	// fewWrites are not looked through for old ones.
	fewWrites = 1000
)

// NewPrices makes an empty cache, which must be watched before it is asked.
func NewPrices(site subjects.Site) *Prices {
	return &Prices{site: site, items: make(map[id.SKU]keptItem), writes: make(map[id.SKU]write), full: fewWrites, settled: settledAfter}
}

// Watch has the cache read from the journal, and listen to the writes of other processes until stop is called. Error: unavailable.
func (p *Prices) Watch(j *journal.Journal) (stop func(), err error) {
	p.journal = j
	p.signals, err = j.Signals(subjects.EventsOf(p.site, subjects.KindCatalog), func(subject string, expects uint64) {
		p.forget(id.SKU(subject[strings.LastIndexByte(subject, '.')+1:]), expects, 0)
	})
	if err != nil {
		return nil, err
	}
	return p.signals.Stop, nil
}

// Writing is called before an item is written to, and the function that it returns after it, with the sequence of the event that the
// item rests on by then, or 0 where that is not known: an order that comes after the answer to the write sees it.
func (p *Prices) Writing(sku id.SKU) (done func(sequence uint64)) {
	p.forget(sku, 0, 1)
	return func(sequence uint64) {
		expects := uint64(journal.Unnamed)
		if sequence != 0 {
			expects = sequence - 1
		}
		p.forget(sku, expects, -1)
	}
}

// forget drops an item, because of a write to it that expects the sequence; open is how many more are under way here. What is known of a
// write is needed as long as a read may end that began up to settledAfter after it, and that took as long itself.
func (p *Prices) forget(sku id.SKU, expects uint64, open int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	delete(p.items, sku)
	if len(p.writes) >= p.full { // a catalog is being imported
		maps.DeleteFunc(p.writes, func(_ id.SKU, w write) bool { return w.open == 0 && now.Sub(w.at) > 2*p.settled })
		p.full = max(fewWrites, 2*len(p.writes))
	}
	w := p.writes[sku]
	w.open += open
	w.at = now
	if expects == journal.Unnamed {
		w.unnamed = now
	} else {
		w.expects = max(w.expects, expects)
	}
	p.writes[sku] = w
}

// Of returns the items of skus that the catalog has.
func (p *Prices) Of(ctx context.Context, skus []id.SKU) (map[id.SKU]subjects.Item, error) {
	out, missing, session, up := p.kept(ctx, skus)
	if len(missing) == 0 {
		return out, nil
	}
	began := time.Now()
	read, err := prices(ctx, p.journal, p.site, missing)
	if err != nil {
		return nil, err
	}
	for sku, r := range read {
		out[sku] = r.item
	}
	if up {
		p.keep(read, session, began)
	}
	return out, nil
}

// kept returns what is known of skus, and what is not, and the session of the signals where that is up. It notes the events in the scope, as whoever reads them does: an answer that tells
// of a price waits until that is durable.
func (p *Prices) kept(ctx context.Context, skus []id.SKU) (out map[id.SKU]subjects.Item, missing []id.SKU, session journal.Session, up bool) {
	out = make(map[id.SKU]subjects.Item, len(skus))
	session, up = p.signals.Session()
	now := time.Now()
	p.mu.RLock()
	defer p.mu.RUnlock()
	for _, sku := range skus {
		is, ok := p.items[sku]
		if !ok || !up || p.session != session || now.Sub(is.began) > keptFor {
			missing = append(missing, sku)
			continue
		}
		scope.Note(ctx, is.sequence)
		out[sku] = is.item
	}
	return out, missing, session, up
}

// keep remembers what was read since began, but for what a write may have changed since, or may still change. The writes of the time
// that the read took are all known, unless it took too long.
func (p *Prices) keep(read map[id.SKU]keptItem, session journal.Session, began time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.session != session {
		clear(p.items)
		p.session, p.since = session, time.Now()
	}
	if time.Since(began) > p.settled || began.Sub(p.since) <= p.settled {
		return
	}
	if len(p.items) >= maxPrices {
		clear(p.items)
	}
	for sku, r := range read {
		if w, ok := p.writes[sku]; !ok || w.decided(r.sequence, began, p.settled) {
			r.began = began
			p.items[sku] = r
		}
	}
}

// decided reports whether none of the writes can change any more what was read since began, the item as the event with the sequence
// left it, where settled is how long a write may be on its way.
func (w write) decided(sequence uint64, began time.Time, settled time.Duration) bool {
	if w.open != 0 {
		return false
	}
	return began.Sub(w.at) > settled || sequence > w.expects && began.Sub(w.unnamed) > settled
}
