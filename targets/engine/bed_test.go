package engine

import (
	"runtime"
	"sync/atomic"
	"testing"
)

// TestBed checks that no wake is lost, whether it comes before, while or after
// the other falls asleep.
func TestBed(t *testing.T) {
	const rounds = 300
	var b bed
	var called, came atomic.Int64
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := int64(1); i <= rounds; i++ {
			b.sleep(func() bool { return called.Load() == i })
			if got := called.Load(); got != i {
				t.Errorf("woken for call %d, want %d", got, i)
			}
			came.Store(i)
		}
	}()
	for i := int64(1); i <= rounds; i++ {
		for range i % 50 {
			runtime.Gosched()
		}
		called.Store(i)
		b.wake()
		for came.Load() < i {
			runtime.Gosched()
		}
	}
	<-done
}
