//go:build !linux

package engine

import (
	"sync"
	"sync/atomic"
)

// bed is where a worker sleeps. On what processor its thread runs is left
// to the system.
type bed struct {
	asleep atomic.Bool
	once   sync.Once
	called chan struct{}
}

func (b *bed) channel() chan struct{} {
	b.once.Do(func() { b.called = make(chan struct{}, 1) })
	return b.called
}

// sleep returns after wake, or when ready. Who calls wake has made it ready
// before: either ready or wake's swap sees the other.
func (b *bed) sleep(ready func() bool) {
	called := b.channel()
	b.asleep.Store(true)
	if ready() && b.asleep.CompareAndSwap(true, false) {
		return
	}
	<-called
}

// wake ends sleep; nothing happens if the worker is awake.
func (b *bed) wake() {
	if b.asleep.Load() && b.asleep.CompareAndSwap(true, false) {
		b.channel() <- struct{}{}
	}
}
