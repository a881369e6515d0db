package engine

import (
	"runtime"
	"sync"
	"sync/atomic"
)

// The threads of a run are the caller's and those of workers, which all
// sessions of the process share. A run takes the workers for its whole length
// (team.enter, team.leave), or does all work in the caller's thread if another
// run has them. This is how an operator is divided (team.split):
//
//	caller                         worker
//	makes a job, stores it         polls its job pointer
//	works through share 0          works through its own share
//	takes what is left of others   takes what is left of others
//	polls the shares' counts       polls its job pointer
//
// A job belongs to nobody but the garbage collector. So a worker that comes
// late finds its job, sees that nothing is left of it, and does no harm; and
// the caller never waits for a worker that has not begun.
//
// A cache line takes as long from core to core as thousands of multiplications
// take. So every share has a line, which other threads write to only when they
// take its work.
//
// Waking a thread takes far longer than most operators. So a worker polls on
// for a while before it sleeps, through the operators of a run that are not
// divided and from one run to the next; see worker.

// workers are the workers of the process. They grow to the largest number
// asked for and never end.
var workers struct {
	busy sync.Mutex // held by the run that has them
	all  []*worker
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
		w := &worker{share: 1 + len(workers.all)}
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

// job is one call of split. Every thread has a share of 0..n-1 that it works
// through in pieces, and takes pieces of other shares when its own is done. So
// a thread mostly reads what it wrote itself in the step before, which lies in
// its own cache, and still none waits for one that is late.
type job struct {
	f      func(lo, hi int)
	size   int // of a piece
	shares []share
	panic  atomic.Pointer[any]
}

// share is a range that is worked through in pieces. It fills a cache line.
type share struct {
	next atomic.Int64 // all before it has been begun
	end  int64
	left atomic.Int64 // pieces not finished
	_    [40]byte
}

// piecesEach is how many pieces a share has if each is worth a thread.
const piecesEach = 4

func newJob(n, grain, threads int, f func(lo, hi int)) *job {
	j := &job{f: f, shares: make([]share, threads)}
	j.size = max(grain, ceilDiv(n, piecesEach*threads))
	for i := range j.shares {
		lo, hi := n*i/threads, n*(i+1)/threads
		s := &j.shares[i]
		s.next.Store(int64(lo))
		s.end = int64(hi)
		s.left.Store(int64(ceilDiv(hi-lo, j.size)))
	}
	return j
}

// work takes pieces until there are none, of the own share first.
func (j *job) work(own int) {
	for i := range j.shares {
		s := &j.shares[(own+i)%len(j.shares)]
		for s.next.Load() < s.end {
			lo := s.next.Add(int64(j.size)) - int64(j.size)
			if lo < s.end {
				j.do(s, int(lo), int(min(lo+int64(j.size), s.end)))
			}
		}
	}
}

// do computes a piece of s.
func (j *job) do(s *share, lo, hi int) {
	defer s.left.Add(-1)
	defer func() {
		if p := recover(); p != nil {
			j.panic.CompareAndSwap(nil, &p)
		}
	}()
	j.f(lo, hi)
}

// wait returns when the pieces that others took are finished.
func (j *job) wait() {
	for i := range j.shares {
		for n := 1; j.shares[i].left.Load() > 0; n++ {
			if n%polls == 0 {
				runtime.Gosched()
			}
		}
	}
}
