package op

import "github.com/onnxpack/onnxpack/graph/tensor"

// walk visits the elements of an N-d index space in row-major order, and for
// each operand the offset that its strides give to the index. Neighbouring
// axes that every operand steps through evenly are merged, so that runs along
// the innermost axis are as long as they can be.
type walk struct {
	dims    []int   // merged, at least one axis
	strides [][]int // of each operand over dims
	size    int
}

// newWalk returns the walk over dims for operands with the given strides, in
// elements; a stride of 0 repeats, a negative one goes backwards. (What only
// moves elements uses box.)
func newWalk(dims []int, strides ...[]int) *walk {
	w := &walk{size: 1, strides: make([][]int, len(strides))}
	for axis, n := range dims {
		w.size *= n
		if n != 1 {
			w.push(axis, n, strides)
		}
	}
	if len(w.dims) == 0 {
		w.dims = []int{1}
		for k := range w.strides {
			w.strides[k] = []int{1}
		}
	}
	return w
}

// push appends an axis of size n, merged with the one before where every
// operand's stride there is n times its stride here.
func (w *walk) push(axis, n int, strides [][]int) {
	last := len(w.dims) - 1
	merge := last >= 0
	for k, s := range strides {
		merge = merge && w.strides[k][last] == n*s[axis]
	}
	if !merge {
		w.dims = append(w.dims, n)
		for k, s := range strides {
			w.strides[k] = append(w.strides[k], s[axis])
		}
		return
	}
	w.dims[last] *= n
	for k, s := range strides {
		w.strides[k][last] = s[axis]
	}
}

// newBroadcast returns the walk over the shape out for operands of the given
// shapes that broadcast to it (tensor.Broadcast). Every step is 0 or 1.
func newBroadcast(out tensor.Shape, shapes ...tensor.Shape) *walk {
	strides := make([][]int, len(shapes))
	for k, s := range shapes {
		strides[k] = broadcastStrides(s, len(out))
	}
	return newWalk(out, strides...)
}

// broadcastStrides returns the strides of a tensor of shape s seen with rank
// axes: 0 along those that it repeats on.
func broadcastStrides(s tensor.Shape, rank int) []int {
	strides := make([]int, rank)
	for i, st := range s.Strides() {
		if s[i] != 1 {
			strides[rank-len(s)+i] = st
		}
	}
	return strides
}

// step returns operand k's stride along the innermost axis.
func (w *walk) step(k int) int { return w.strides[k][len(w.dims)-1] }

// runs calls f for the runs along the innermost axis that make up positions
// lo to hi: pos is the first position, n how many, off the offset of each
// operand. off belongs to runs and is valid during the call.
func (w *walk) runs(lo, hi int, f func(pos, n int, off []int)) {
	if lo >= hi {
		return
	}
	index := make([]int, len(w.dims))
	off := make([]int, len(w.strides))
	w.seek(lo, index, off)
	inner := len(w.dims) - 1
	for pos := lo; pos < hi; {
		n := min(w.dims[inner]-index[inner], hi-pos)
		f(pos, n, off)
		pos += n
		w.advance(n, index, off)
	}
}

func (w *walk) seek(pos int, index, off []int) {
	for a := len(w.dims) - 1; a >= 0; a-- {
		index[a] = pos % w.dims[a]
		pos /= w.dims[a]
		for k := range off {
			off[k] += index[a] * w.strides[k][a]
		}
	}
}

// advance moves n positions on, which do not go beyond the innermost axis.
func (w *walk) advance(n int, index, off []int) {
	a := len(w.dims) - 1
	index[a] += n
	for k := range off {
		off[k] += n * w.strides[k][a]
	}
	for ; a > 0 && index[a] == w.dims[a]; a-- {
		for k := range off {
			off[k] += w.strides[k][a-1] - index[a]*w.strides[k][a]
		}
		index[a] = 0
		index[a-1]++
	}
}
