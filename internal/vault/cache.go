package vault

import (
	"container/list"
	"sync"
	"time"

	"waybill/internal/id"
)

// cache keeps the keys used last. It is safe for concurrent use.
type cache struct {
	mu    sync.Mutex
	size  int
	order *list.List // of *cached, the one used last in front
	by    map[id.Customer]*list.Element
	drops uint64 // how often a key was dropped: what was read before a drop is not put back after it
}

type cached struct {
	customer id.Customer
	key      dataKey
	until    time.Time
}

func newCache(size int) *cache {
	return &cache{size: size, order: list.New(), by: make(map[id.Customer]*list.Element)}
}

// get returns a key that is still good at the given time.
func (c *cache) get(customer id.Customer, now time.Time) (dataKey, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.by[customer]
	if !ok || !now.Before(e.Value.(*cached).until) {
		return dataKey{}, false
	}
	c.order.MoveToFront(e)
	return e.Value.(*cached).key, true
}

// peek returns a key of any age, for a caller who knows otherwise that it is good.
func (c *cache) peek(customer id.Customer) (dataKey, bool) {
	return c.get(customer, time.Time{})
}

// epoch is to be asked before a key is read from the stream, and given to put.
func (c *cache) epoch() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.drops
}

// put keeps a key that was read in the given epoch.
func (c *cache) put(customer id.Customer, k dataKey, until time.Time, epoch uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if epoch != c.drops {
		return
	}
	if e, ok := c.by[customer]; ok {
		e.Value = &cached{customer, k, until}
		c.order.MoveToFront(e)
		return
	}
	c.by[customer] = c.order.PushFront(&cached{customer, k, until})
	if c.order.Len() > c.size {
		c.remove(c.order.Back())
	}
}

func (c *cache) drop(customer id.Customer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.drops++
	if e, ok := c.by[customer]; ok {
		c.remove(e)
	}
}

// remove takes e out. c.mu is held.
func (c *cache) remove(e *list.Element) {
	delete(c.by, e.Value.(*cached).customer)
	c.order.Remove(e)
}
