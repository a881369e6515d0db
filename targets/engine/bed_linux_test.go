package engine

import (
	"runtime"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"
)

// TestBedKeepsProcessors checks that a thread may run where it might before it
// slept.
func TestBedKeepsProcessors(t *testing.T) {
	var b bed
	var called atomic.Bool
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		var before, after unix.CPUSet
		if err := unix.SchedGetaffinity(0, &before); err != nil {
			t.Error(err)
		}
		b.sleep(called.Load)
		if err := unix.SchedGetaffinity(0, &after); err != nil {
			t.Error(err)
		}
		if after != before {
			t.Errorf("%d processors are left of %d", after.Count(), before.Count())
		}
	}()
	for b.state.Load() != asleep {
		runtime.Gosched()
	}
	called.Store(true)
	b.wake()
	<-done
}
