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

// integerWeights are weights of a product with 8-bit numbers.
type integerWeights struct {
	gemm   kernel.GemmI8
	packed [][]int8 // for each group of a convolution
	extra  int      // groups that each panel has room for
}

// extraCost is the time of an extra group in units of that of another, and
// exactCost what a product takes that never saturates, where one that does
// takes 1.
const (
	extraCost = 3
	exactCost = 1.25
)

// integers returns the weights w, whose first axis is that of the columns of a
// product with numbers of the given type, and each index a row of taps. The
// columns fall into groups, one for each part of the operand. p fills the
// memory.
func (p *packer) integers(k *kernel.Table, typ tensor.DType, w *quantWeights, taps, groups int) integerWeights {
	n, row := w.shape[0], len(w.data)/w.shape[0]
	all := kernel.WeightsI8{B: w.data, Rest: w.rest, Taps: taps, K: row / taps, N: n / groups, LD: row, Trans: true}
	each := func(g int) kernel.WeightsI8 {
		part := all
		part.N = n
		return part.Columns(g*all.N, (g+1)*all.N)
	}
	m, fit := integerWeights{gemm: k.GemmU8S8}, k.GemmU8S8Fit
	if typ == tensor.Int8 {
		m.gemm, fit = k.GemmS8S8, k.GemmS8S8Fit
	}
	count := func(g kernel.GemmI8) (most int, cost float64) {
		sum, of := 0, 0
		for i := range groups {
			part := each(i)
			room, extra := g.Extra(&part)
			most, sum, of = max(most, room), sum+extra, of+g.Groups(&part)
		}
		return most, 1 + extraCost*float64(sum)/float64(of)
	}
	if fit.Saturates && !m.gemm.Saturates {
		all.Exact = true
		if room, cost := count(fit); cost <= exactCost {
			m.gemm, m.extra = fit, room
		}
	} else {
		m.extra, _ = count(m.gemm)
	}
	for i := range groups {
		part := each(i)
		dst, panel := p.ints(m.gemm.PackedLen(taps, part.K, part.N, m.extra)), m.gemm.PackedLen(taps, part.K, m.gemm.NR, m.extra)
		from := part.B[:part.N*row]
		p.add(tensor.Of(tensor.Shape{len(from)}, from), ceilDiv(part.N, m.gemm.NR), func(lo, hi int) {
			some := part.Columns(lo*m.gemm.NR, min(hi*m.gemm.NR, part.N))
			m.gemm.Pack(dst[lo*panel:hi*panel], &some, m.extra)
		})
		m.packed = append(m.packed, dst)
	}
	return m
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
