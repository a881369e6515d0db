package engine

import (
	"slices"
	"sync"
)

// cacheSize is how many shapes a fused operator remembers its plan for.
const cacheSize = 8

// cache remembers what was made for the last few keys. It is safe for
// concurrent use.
type cache[K comparable, V any] struct {
	mu      sync.Mutex
	entries []entry[K, V] // the last used at the end
}

type entry[K comparable, V any] struct {
	key   K
	value V
}

// get returns the value for a key, which it makes if it is not there.
func (c *cache[K, V]) get(key K, make func() (V, error)) (V, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	last := len(c.entries) - 1
	for i := last; i >= 0; i-- {
		if c.entries[i].key == key {
			if i != last {
				e := c.entries[i]
				c.entries = append(slices.Delete(c.entries, i, i+1), e)
			}
			return c.entries[last].value, nil
		}
	}
	v, err := make()
	if err != nil {
		return v, err
	}
	if len(c.entries) == cacheSize {
		c.entries = slices.Delete(c.entries, 0, 1)
	}
	c.entries = append(c.entries, entry[K, V]{key, v})
	return v, nil
}
