package registry

import (
	"slices"
	"sync"
)

// keyQueue is a queue of settings' keys in which each stands once: it is as long as there are settings, at most.
type keyQueue struct {
	mu   sync.Mutex
	keys []string
}

func (q *keyQueue) add(key string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !slices.Contains(q.keys, key) {
		q.keys = append(q.keys, key)
	}
}

func (q *keyQueue) next() (key string, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.keys) == 0 {
		return "", false
	}
	key, q.keys = q.keys[0], q.keys[1:]
	return key, true
}
