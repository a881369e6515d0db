package op

import "sync"

// scratchF32 and scratchF64 keep buffers between calls.
var scratchF32, scratchF64 sync.Pool

// scratchPool is the pool of buffers of T, nil if there is none.
func scratchPool[T number]() *sync.Pool {
	var x T
	switch any(x).(type) {
	case float32:
		return &scratchF32
	case float64:
		return &scratchF64
	}
	return nil
}

// borrow returns a buffer of n elements with any contents, to be given back.
func borrow[T number](n int) *[]T {
	if pool := scratchPool[T](); pool != nil {
		if b, ok := pool.Get().(*[]T); ok && cap(*b) >= n {
			*b = (*b)[:n]
			return b
		}
	}
	b := make([]T, n)
	return &b
}

// giveBack ends the use of a buffer.
func giveBack[T number](b *[]T) {
	if pool := scratchPool[T](); pool != nil {
		pool.Put(b)
	}
}
