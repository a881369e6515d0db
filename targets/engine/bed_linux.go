package engine

import (
	"runtime"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// bed is where the thread of a worker sleeps. A waker moves it meanwhile, so
// that it starts on another processor than the waker's; once awake it may run
// everywhere again.
type bed struct {
	state  atomic.Uint32 // awake, asleep or waking
	thread int           // that sleeps
	moved  bool          // by the waker, to a part of home
	home   unix.CPUSet   // where the thread may run
}

// The states of a worker. It falls asleep by itself; it becomes awake by
// itself, or is waking while a caller prepares that.
const (
	awake uint32 = iota
	asleep
	waking
)

// sleep returns after wake, or when ready. Who calls wake has made it ready
// before: either ready or wake sees the other. The goroutine stays on the thread
// that is moved.
func (b *bed) sleep(ready func() bool) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	b.thread = unix.Gettid()
	b.state.Store(asleep)
	if ready() && b.state.CompareAndSwap(asleep, awake) {
		return
	}
	for v := b.state.Load(); v != awake; v = b.state.Load() {
		futex(&b.state, futexWait, v)
	}
	if b.moved {
		b.moved = false
		_ = unix.SchedSetaffinity(0, &b.home)
	}
}

// wake ends sleep; nothing happens if the worker is awake.
func (b *bed) wake() {
	if b.state.Load() == awake || !b.state.CompareAndSwap(asleep, waking) {
		return
	}
	b.moved = leave(b.thread, processor(), &b.home)
	b.state.Store(awake)
	futex(&b.state, futexWake, 1)
}

// processor returns the number of the one that runs the caller, -1 if that is
// not known.
func processor() int {
	var n uint32
	if _, _, failed := unix.RawSyscall(unix.SYS_GETCPU, uintptr(unsafe.Pointer(&n)), 0, 0); failed != 0 {
		return -1
	}
	return int(n)
}

// leave has a thread run on other processors than the given one, of those
// where the caller may run, which home returns. It reports whether there are
// any.
func leave(thread, processor int, home *unix.CPUSet) bool {
	if processor < 0 || unix.SchedGetaffinity(0, home) != nil {
		return false
	}
	others := *home
	others.Clear(processor)
	return others.Count() > 0 && unix.SchedSetaffinity(thread, &others) == nil
}

// The operations of futex(2), within one process.
const (
	futexWait = 0 | 128
	futexWake = 1 | 128
)

func futex(word *atomic.Uint32, operation int, v uint32) {
	_, _, _ = unix.Syscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(word)), uintptr(operation), uintptr(v), 0, 0, 0)
}
