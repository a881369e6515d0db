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
	share  int // of every job
	job    atomic.Pointer[job]
	parked atomic.Bool
	wake   chan struct{}
}

// job is one call of split. Every thread has a share of 0..n-1 that it works
// through in pieces, and takes pieces of other shares when its own is done. So
// a thread mostly reads what it wrote itself in the step before, which lies in
// its own cache, and still none waits for one that is late.
type job struct {
	f      func(lo, hi int)
	size   int // of a piece
	shares []share
	left   atomic.Int64 // pieces not finished
	panic  atomic.Pointer[any]
}

// share is a range of which a thread has begun all before next. It fills a
// cache line.
type share struct {
	next atomic.Int64
	end  int64
	_    [48]byte
}

// piecesEach is how many pieces a share has if each is worth a thread.
const piecesEach = 4

// team is the share of a run in the workers; without any it does all work in
// the caller's thread.
type team struct{ workers []*worker }

// enter takes n-1 workers unless another run has them.
func (t *team) enter(n int) {
	if n <= 1 || !workers.busy.TryLock() {
		return
	}
	for len(workers.all) < n-1 {
		w := &worker{share: 1 + len(workers.all), wake: make(chan struct{}, 1)}
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

// split runs f over 0..n-1 in ranges of at least grain (the last of a thread
// may be smaller). A panic of f is raised in the caller's thread.
func (t *team) split(n, grain int, f func(lo, hi int)) {
	threads := min(len(t.workers)+1, n/max(grain, 1))
	if threads <= 1 {
		if n > 0 {
			f(0, n)
		}
		return
	}
	j := newJob(n, max(grain, 1), threads, f)
	for _, w := range t.workers[:threads-1] {
		w.start(j)
	}
	j.work(0)
	j.wait()
	if p := j.panic.Load(); p != nil {
		panic(*p)
	}
}

func newJob(n, grain, threads int, f func(lo, hi int)) *job {
	j := &job{f: f, shares: make([]share, threads)}
	j.size = max(grain, (n+piecesEach*threads-1)/(piecesEach*threads))
	pieces := 0
	for i := range j.shares {
		lo, hi := n*i/threads, n*(i+1)/threads
		j.shares[i].next.Store(int64(lo))
		j.shares[i].end = int64(hi)
		pieces += (hi - lo + j.size - 1) / j.size
	}
	j.left.Store(int64(pieces))
	return j
}

// work takes pieces until there are none, of the own share first.
func (j *job) work(own int) {
	for i := range j.shares {
		s := &j.shares[(own+i)%len(j.shares)]
		for {
			lo := s.next.Add(int64(j.size)) - int64(j.size)
			if lo >= s.end {
				break
			}
			j.do(int(lo), int(min(lo+int64(j.size), s.end)))
		}
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
			j.work(w.share)
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
