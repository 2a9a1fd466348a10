package handlers

import (
	"context"
	"maps"
	"strings"
	"sync"
	"time"

	"waybill/internal/id"
	"waybill/internal/journal"
	"waybill/subjects"
)

// Prices keeps the items of the catalog that orders ask for, so that an order needs no read for its prices. The journal stays
// the truth: an item that is written to is forgotten at once, and for a while it is read from the journal each time, because
// the signal of a write comes before the event can be read. It is safe for concurrent use.
type Prices struct {
	site    subjects.Site
	journal *journal.Journal // since Watch

	mu      sync.RWMutex
	items   map[id.SKU]subjects.Item
	writing map[id.SKU]time.Time // when an item was last written to; those of settledAfter ago are dropped
	session uint64               // of the connection that brings the signals; what was kept in another one may be old
}

const (
	// settledAfter is how long after the signal of a write its event may still be on its way into the journal: longer than an
	// append is waited for.
	settledAfter = 10 * time.Second
	// maxPrices bounds the items that are kept: some 20 MB.
	maxPrices = 100_000
)

// NewPrices makes an empty cache, which must be watched before it is asked.
func NewPrices(site subjects.Site) *Prices {
	return &Prices{site: site, items: make(map[id.SKU]subjects.Item), writing: make(map[id.SKU]time.Time)}
}

// Watch has the cache read from the journal, and listen to the writes of other processes until stop is called. Error: unavailable.
func (p *Prices) Watch(j *journal.Journal) (stop func(), err error) {
	p.journal = j
	return j.Signals(subjects.EventsOf(p.site, subjects.KindCatalog), func(subject string) {
		p.Forget(id.SKU(subject[strings.LastIndexByte(subject, '.')+1:]))
	})
}

// Forget is called before an item is written to: an order that comes after the answer to the write sees it.
func (p *Prices) Forget(sku id.SKU) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	delete(p.items, sku)
	if len(p.writing) >= 1000 { // a catalog is being imported
		maps.DeleteFunc(p.writing, func(_ id.SKU, at time.Time) bool { return now.Sub(at) > settledAfter })
	}
	p.writing[sku] = now
}

// Of returns the items of skus that the catalog has.
func (p *Prices) Of(ctx context.Context, skus []id.SKU) (map[id.SKU]subjects.Item, error) {
	out, missing, session := p.kept(skus)
	if len(missing) == 0 {
		return out, nil
	}
	began := time.Now()
	read, err := prices(ctx, p.journal, p.site, missing)
	if err != nil {
		return nil, err
	}
	maps.Copy(out, read)
	p.keep(read, session, began)
	return out, nil
}

// kept returns what is known of skus, and what is not.
func (p *Prices) kept(skus []id.SKU) (out map[id.SKU]subjects.Item, missing []id.SKU, session uint64) {
	out = make(map[id.SKU]subjects.Item, len(skus))
	session, up := p.journal.Session()
	p.mu.RLock()
	defer p.mu.RUnlock()
	for _, sku := range skus {
		item, ok := p.items[sku]
		if !ok || !up || p.session != session {
			missing = append(missing, sku)
			continue
		}
		out[sku] = item
	}
	return out, missing, session
}

// keep remembers what was read since began, but for what may have been written to meanwhile.
func (p *Prices) keep(read map[id.SKU]subjects.Item, session uint64, began time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.session != session || len(p.items) >= maxPrices {
		clear(p.items)
		p.session = session
	}
	for sku, item := range read {
		if at, ok := p.writing[sku]; ok && began.Sub(at) < settledAfter {
			continue
		}
		delete(p.writing, sku)
		p.items[sku] = item
	}
}
