package engine

import (
	"runtime"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// station is where the thread of a worker sleeps, and what it knows of
// processors.
type station struct {
	state  atomic.Uint32 // awake, asleep or waking
	thread int           // that sleeps
	moved  bool          // by the waker, to a part of home
	home   unix.CPUSet   // where the thread may run
	taken  atomic.Int32  // 1 + the processor that it is sent away from, 0 if none
}

// The states of a worker. It falls asleep by itself; it becomes awake by
// itself, or is waking while a caller prepares that.
const (
	awake uint32 = iota
	asleep
	waking
)

// sleep returns after wake, or when ready. Who calls wake has made it ready
// before.
func (s *station) sleep(ready func() bool) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	s.thread = unix.Gettid()
	s.state.Store(asleep)
	if ready() && s.state.CompareAndSwap(asleep, awake) {
		return
	}
	for v := s.state.Load(); v != awake; v = s.state.Load() {
		futex(&s.state, futexWait, v)
	}
	if s.moved {
		s.moved = false
		_ = unix.SchedSetaffinity(0, &s.home)
	}
}

// wake ends sleep; nothing happens if the worker is awake.
func (s *station) wake() {
	if s.state.Load() == awake || !s.state.CompareAndSwap(asleep, waking) {
		return
	}
	s.moved = leave(s.thread, processor(), &s.home)
	s.state.Store(awake)
	futex(&s.state, futexWake, 1)
}

// send asks the worker to leave the caller's processor.
func (s *station) send() { s.taken.Store(int32(1 + processor())) }

// arrive leaves a processor that the worker was sent away from.
func (s *station) arrive() {
	if s.taken.Load() == 0 {
		return
	}
	taken := int(s.taken.Swap(0)) - 1
	if processor() != taken {
		return
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var home unix.CPUSet
	if leave(0, taken, &home) {
		_ = unix.SchedSetaffinity(0, &home)
	}
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

// yield lets others have the processor if they want it.
func yield() {
	runtime.Gosched()
	_, _, _ = unix.Syscall(unix.SYS_SCHED_YIELD, 0, 0, 0)
}
