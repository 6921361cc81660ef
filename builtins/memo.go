package builtins

import "sync"

// memo remembers what was derived from the catalog, which never changes. It is safe for concurrent use.
type memo[V any] struct{ m sync.Map }

// get gives what is remembered under key, or makes it.
func (c *memo[V]) get(key string, make func() V) V {
	if v, ok := c.m.Load(key); ok {
		return v.(V)
	}
	v, _ := c.m.LoadOrStore(key, make())
	return v.(V)
}
