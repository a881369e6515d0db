package engine

import (
	"sync/atomic"
	"time"
)

// worker is one thread besides the caller's. It polls for the next job; after
// lingers without one it sleeps until a run calls it.
//
// It is of use only while it runs beside the caller, on a processor of its
// own. Kernels do not care: they start a thread on the processor of the one
// that wakes it, or move it there later, though others idle, and the two take
// turns. So a worker is woken on another processor than the caller's, and
// moves to another when the caller finds that it misses jobs; see station.
type worker struct {
	job   atomic.Pointer[job]
	_     [56]byte  // the caller writes to the line of job only
	share int       // of every job
	since time.Time // of the first of the jobs that it has missed without a break; the caller's
	station
}

const (
	// lingers is how long a worker waits for a job before it sleeps.
	lingers = 2 * time.Millisecond
	// patience is how long a worker may miss jobs before it is told to move.
	patience = 200 * time.Microsecond
)

// start hands j to w.
func (w *worker) start(j *job) {
	w.job.Store(j)
	w.wake()
}

// miss notes whether w has come to work on j, of which no piece is left.
func (w *worker) miss(j *job) {
	switch {
	case j.shares[w.share].came.Load():
		w.since = time.Time{}
	case w.since.IsZero():
		w.since = time.Now()
	case time.Since(w.since) > patience:
		w.since = time.Now()
		w.send()
	}
}

func (w *worker) loop() {
	var last *job
	news := func() bool { return w.job.Load() != last }
	for {
		if !poll(news, lingers) {
			w.sleep(news)
		}
		w.arrive()
		last = w.job.Load()
		last.work(w.share)
	}
}
