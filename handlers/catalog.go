package handlers

import (
	"context"

	"waybill/internal/fault"
	"waybill/internal/id"
	"waybill/internal/journal"
	"waybill/internal/rpc"
	"waybill/subjects"
)

// Catalog serves what the site sells. An item is its own aggregate: the last put is the item.
type Catalog struct {
	items machine[subjects.Item, subjects.Item, *subjects.Item]
	lists *Lists
	// prices is told of each put before it is written; nil where this process takes no orders.
	prices *Prices
}

// NewCatalog makes the service.
func NewCatalog(j *journal.Journal, lists *Lists, prices *Prices, site subjects.Site, clock Clock) *Catalog {
	return &Catalog{lists: lists, prices: prices, items: machine[subjects.Item, subjects.Item, *subjects.Item]{
		journal: j, clock: clock, site: site, kind: subjects.KindCatalog,
		decide: func(is, want subjects.Item) (*subjects.Item, error) {
			if is == want {
				return nil, nil
			}
			return &want, nil
		},
		apply: func(_ subjects.Item, e *subjects.Item) (subjects.Item, error) { return *e, nil },
		name: func(e *subjects.Item) string {
			if e == nil {
				return ""
			}
			return "put"
		},
	}}
}

// Register lists the service's endpoints.
func (c *Catalog) Register(s *rpc.Server) {
	rpc.Handle(s, subjects.CatalogPut, c.put)
	rpc.Handle(s, subjects.CatalogGet, c.get)
	rpc.Handle(s, subjects.CatalogList, c.list)
}

func (c *Catalog) put(ctx context.Context, r *subjects.PutItemRequest) (*subjects.Item, error) {
	sequence := uint64(0)
	if c.prices != nil {
		done := c.prices.Writing(r.SKU)
		defer func() { done(sequence) }()
	}
	h, err := c.items.command(ctx, string(r.SKU), func(held[subjects.Item]) subjects.Item { return r.Item() })
	if err != nil {
		return nil, err
	}
	sequence = h.last.Sequence
	return &h.state, nil
}

func (c *Catalog) get(ctx context.Context, r *subjects.SKURequest) (*subjects.Item, error) {
	h, err := c.items.load(ctx, string(r.SKU))
	if err != nil {
		return nil, err
	}
	if !h.exists() {
		return nil, fault.New(fault.NotFound, "there is no item %s in the catalog", r.SKU).WithField("sku")
	}
	return &h.state, nil
}

func (c *Catalog) list(ctx context.Context, r *subjects.ListRequest) (*subjects.Items, error) {
	v, err := c.lists.fresh(ctx)
	if err != nil {
		return nil, err
	}
	rows, next, err := v.Items(ctx, r.Size(), r.Cursor)
	if err != nil {
		return nil, err
	}
	out, err := decodeAll[subjects.Item](rows)
	return &subjects.Items{Items: out, NextCursor: next}, err
}

// prices reads the items of skus straight from the journal, so that an order sees the price that was put a moment ago.
func prices(ctx context.Context, j *journal.Journal, site subjects.Site, skus []id.SKU) (map[id.SKU]keptItem, error) {
	names := make([]string, len(skus))
	for i, sku := range skus {
		names[i] = subjects.Event(site, subjects.KindCatalog, sku)
	}
	records, err := j.LoadMany(ctx, names)
	if err != nil {
		return nil, err
	}
	out := make(map[id.SKU]keptItem, len(skus))
	for i, sku := range skus {
		r, ok := records[names[i]]
		if !ok {
			continue
		}
		h, err := hold[subjects.Item](r)
		if err != nil {
			return nil, err
		}
		out[sku] = keptItem{item: h.state, sequence: r.Sequence}
	}
	return out, nil
}
