//go:build !linux

package engine

import (
	"runtime"
	"sync"
	"sync/atomic"
)

// station is where a worker sleeps. On what processor its thread runs is left
// to the system.
type station struct {
	asleep atomic.Bool
	once   sync.Once
	called chan struct{}
}

func (s *station) channel() chan struct{} {
	s.once.Do(func() { s.called = make(chan struct{}, 1) })
	return s.called
}

// sleep returns after wake, or when ready. Who calls wake has made it ready
// before: either ready or wake's swap sees the other.
func (s *station) sleep(ready func() bool) {
	called := s.channel()
	s.asleep.Store(true)
	if ready() && s.asleep.CompareAndSwap(true, false) {
		return
	}
	<-called
}

// wake ends sleep; nothing happens if the worker is awake.
func (s *station) wake() {
	if s.asleep.Load() && s.asleep.CompareAndSwap(true, false) {
		s.channel() <- struct{}{}
	}
}

func (*station) send()   {}
func (*station) arrive() {}

// yield lets others have the processor if they want it.
func yield() { runtime.Gosched() }
