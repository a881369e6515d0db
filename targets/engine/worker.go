package engine

import (
	"sync/atomic"
	"time"
)

// worker is one thread besides the caller's. It polls for the next job. After
// lingers without one it sleeps until it is handed one: on a loaded machine
// polling takes time from threads that have work, the caller's perhaps.
//
// It is of use only while it runs beside the caller, on a processor of its
// own. Kernels may start a thread on the processor of the one that wakes it
// though others idle; then the two take turns, and the worker polls while the
// caller cannot run, sleeps, and is woken there again. So it is woken on
// another processor: see bed.
type worker struct {
	job   atomic.Pointer[job]
	_     [56]byte // the line of job, which is polled, holds nothing else
	share int      // of every job
	bed
}

const (
	lingers = 250 * time.Microsecond
	polls   = 256 // between two looks at the clock
)

// start hands j to w.
func (w *worker) start(j *job) {
	w.job.Store(j)
	w.wake()
}

func (w *worker) loop() {
	var last *job
	news := func() bool { return w.job.Load() != last }
	for {
		if !poll(news, lingers) {
			w.sleep(news)
		}
		last = w.job.Load()
		last.work(w.share)
	}
}

// poll waits for ready, about so long, and reports whether it came.
func poll(ready func() bool, most time.Duration) bool {
	for start := time.Now(); time.Since(start) < most; {
		for range polls {
			if ready() {
				return true
			}
		}
	}
	return false
}
