package engine

import (
	"sync"
	"sync/atomic"

	"github.com/onnxpack/onnxpack/graph/kernel"
	"github.com/onnxpack/onnxpack/graph/op"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// packer hands out memory for packed weights, and does the work that fills it,
// which is put off so that threads share it:
//
//	dst := p.floats(...)             the packed form, not filled yet
//	p.add(weights, n, func(lo, hi))  fills the parts lo to hi-1 of n
//	p.finish(split)                  fills what is left
//
// Weights of a file take no memory once they are packed, until they are read
// again. The zero value is ready for use.
type packer struct {
	slab
	// split divides work among threads. Where it is set, work does not pile up
	// until finish, since weights that were computed stay in memory meanwhile.
	split   func(n, grain int, f func(lo, hi int))
	pending int // bytes of the weights
	pieces  []packPiece
}

// packPiece is a range of parts of one call of add.
type packPiece struct {
	work   *packWork
	lo, hi int
}

type packWork struct {
	from *tensor.Tensor
	fill func(lo, hi int)
	left atomic.Int64 // parts
}

const (
	// packEach is how many bytes of weights are worth a thread.
	packEach = 256 << 10
	// packMost is how many bytes of weights wait at most.
	packMost = 16 << 20
)

// add notes that fill packs the given weights in n independent parts.
func (p *packer) add(from *tensor.Tensor, n int, fill func(lo, hi int)) {
	if n == 0 {
		return
	}
	w := &packWork{from: from, fill: fill}
	w.left.Store(int64(n))
	each := max(1, n*packEach/max(1, from.Size()))
	for lo := 0; lo < n; lo += each {
		p.pieces = append(p.pieces, packPiece{w, lo, min(lo+each, n)})
	}
	if p.pending += from.Size(); p.split != nil && p.pending > packMost {
		p.finish(p.split)
	}
}

// finish does the work that add noted, divided by split.
func (p *packer) finish(split func(n, grain int, f func(lo, hi int))) {
	split(len(p.pieces), 1, func(lo, hi int) {
		for _, piece := range p.pieces[lo:hi] {
			w := piece.work
			w.fill(piece.lo, piece.hi)
			if w.left.Add(int64(piece.lo-piece.hi)) == 0 {
				w.from.Evict()
			}
		}
	})
	p.pieces, p.pending = nil, 0
}

// matrix returns memory that p fills with the packed matrix w of k rows and n
// columns, or, with trans, w's transpose. w holds the elements of from, or what
// they were turned into.
func (p *packer) matrix(k *kernel.Table, from *tensor.Tensor, w []float32, depth, n int, trans bool) []float32 {
	nr := k.GemmF32.NR
	dst := p.floats(k.GemmF32.PackedLen(depth, n))
	p.add(from, ceilDiv(n, nr), func(lo, hi int) {
		first, last := lo*nr, min(hi*nr, n)
		src, ldb := w[first:], n
		if trans {
			src, ldb = w[first*depth:], depth
		}
		k.PackF32(dst[first*depth:hi*nr*depth], src, depth, last-first, ldb, trans)
	})
	return dst
}

// integers returns memory that p fills with the packed transpose of w, n rows
// of taps*depth numbers, which are those of from or were made from them.
func (p *packer) integers(g kernel.GemmI8, from *tensor.Tensor, w []int8, taps, depth, n int) []int8 {
	dst, each, row := p.ints(g.PackedLen(taps, depth, n)), g.PackedLen(taps, depth, g.NR), taps*depth
	p.add(from, ceilDiv(n, g.NR), func(lo, hi int) {
		first := lo * g.NR
		g.Pack(dst[lo*each:hi*each], w[first*row:], taps, depth, min(hi*g.NR, n)-first, row, true)
	})
	return dst
}

// firstPack packs weights when they are first used.
type firstPack struct {
	once sync.Once
	pack func(mem *packer)
}

// do returns when the weights are packed.
func (f *firstPack) do(e *op.Eval) {
	f.once.Do(func() {
		var mem packer
		f.pack(&mem)
		mem.finish(e.Parallel)
	})
}
