package engine

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// Waking a parked thread costs far more than a small operator, so workers
// spin between the operators of a run and park when the run leaves them
// without work for a while.
const (
	spinFor   = 100 * time.Microsecond
	spinCheck = 256 // polls between two looks at the clock
)

// workers are the threads that all sessions of the process share. They grow
// to the largest number asked for and never end.
var workers struct {
	busy sync.Mutex // held by the run that has them
	all  []*worker
}

// worker is one thread besides the caller's.
type worker struct {
	job    atomic.Pointer[job]
	parked atomic.Bool
	wake   chan struct{}
}

// job is one call of split: ranges of 0..n-1, taken by whoever is free.
type job struct {
	f     func(lo, hi int)
	n     int
	size  int // of a range
	next  atomic.Int64
	left  atomic.Int64 // ranges not finished
	panic atomic.Pointer[any]
}

// team is the share of a run in the workers; without any it does all work in
// the caller's thread.
type team struct{ workers []*worker }

// enter takes n-1 workers unless another run has them.
func (t *team) enter(n int) {
	if n <= 1 || !workers.busy.TryLock() {
		return
	}
	for len(workers.all) < n-1 {
		w := &worker{wake: make(chan struct{}, 1)}
		workers.all = append(workers.all, w)
		go w.loop()
	}
	t.workers = workers.all[:n-1]
}

// leave gives the workers back.
func (t *team) leave() {
	if t.workers != nil {
		t.workers = nil
		workers.busy.Unlock()
	}
}

// split runs f over 0..n-1 in ranges of at least grain (the last may be
// smaller). A panic of f is raised in the caller's thread.
func (t *team) split(n, grain int, f func(lo, hi int)) {
	threads := len(t.workers) + 1
	size := max(grain, 1, (n+4*threads-1)/(4*threads))
	if threads == 1 || n <= size {
		if n > 0 {
			f(0, n)
		}
		return
	}
	j := &job{f: f, n: n, size: size}
	j.left.Store(int64((n + size - 1) / size))
	for _, w := range t.workers {
		w.start(j)
	}
	j.work()
	j.wait()
	if p := j.panic.Load(); p != nil {
		panic(*p)
	}
}

// work takes ranges until there are none.
func (j *job) work() {
	for {
		lo := int(j.next.Add(int64(j.size))) - j.size
		if lo >= j.n {
			return
		}
		j.do(lo, min(lo+j.size, j.n))
	}
}

func (j *job) do(lo, hi int) {
	defer j.left.Add(-1)
	defer func() {
		if p := recover(); p != nil {
			j.panic.CompareAndSwap(nil, &p)
		}
	}()
	j.f(lo, hi)
}

// wait spins until the ranges that others took are finished.
func (j *job) wait() {
	for i := 1; j.left.Load() > 0; i++ {
		if i%spinCheck == 0 {
			runtime.Gosched()
		}
	}
}

func (w *worker) start(j *job) {
	w.job.Store(j)
	if w.parked.CompareAndSwap(true, false) {
		w.wake <- struct{}{}
	}
}

func (w *worker) loop() {
	var last *job
	for {
		if j := w.job.Load(); j != last {
			last = j
			j.work()
			continue
		}
		if !w.spin(last) {
			w.park(last)
		}
	}
}

// spin waits a while for another job than last and reports whether it came.
func (w *worker) spin(last *job) bool {
	for start := time.Now(); time.Since(start) < spinFor; {
		for range spinCheck {
			if w.job.Load() != last {
				return true
			}
		}
	}
	return false
}

// park sleeps until start. The flag is raised before the last look for a job,
// so that either the look or start's swap sees the other.
func (w *worker) park(last *job) {
	w.parked.Store(true)
	if w.job.Load() != last && w.parked.CompareAndSwap(true, false) {
		return
	}
	<-w.wake
}
