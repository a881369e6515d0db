package op

import "github.com/onnxpack/onnxpack/graph/tensor"

// lanes views a row-major tensor as lanes that run along some of its axes:
// the rows that a reduction sums, a softmax normalizes, a sort orders. The
// elements of a lane, and the lanes, are in row-major order of their axes.
type lanes struct {
	count int // how many lanes
	size  int // elements of a lane

	kept, along *walk // strides of the other axes, and of the lanes' axes
	bases       []int // offset of each lane's first element; nil if i*size
	offsets     []int // of a lane's elements from its first; nil if even
	step        int   // between them, where even
}

// newLanes returns the lanes of a tensor of shape s along the given axes,
// which are in 0..rank-1, increasing.
func newLanes(s tensor.Shape, axes ...int) *lanes {
	strides := s.Strides()
	in := make([]bool, len(s))
	for _, a := range axes {
		in[a] = true
	}
	var dims, steps [2][]int
	for a, n := range s {
		side := 0
		if in[a] {
			side = 1
		}
		dims[side] = append(dims[side], n)
		steps[side] = append(steps[side], strides[a])
	}
	l := &lanes{kept: newWalk(dims[0], steps[0]), along: newWalk(dims[1], steps[1])}
	l.count, l.size = l.kept.size, l.along.size
	l.step = l.along.step(0)
	if len(l.along.dims) > 1 {
		l.offsets = l.along.offsets()
	}
	if !(l.contiguous() && len(l.kept.dims) == 1 && (l.count <= 1 || l.kept.step(0) == l.size)) {
		l.bases = l.kept.offsets()
	}
	return l
}

// offsets lists the offset of operand 0 at every position.
func (w *walk) offsets() []int {
	all := make([]int, w.size)
	step := w.step(0)
	w.runs(0, w.size, func(pos, n int, off []int) {
		for i := range n {
			all[pos+i] = off[0] + i*step
		}
	})
	return all
}

// contiguous reports whether the elements of a lane are neighbours.
func (l *lanes) contiguous() bool { return l.offsets == nil && (l.step == 1 || l.size <= 1) }

// base returns the offset of the first element of lane i.
func (l *lanes) base(i int) int {
	if l.bases != nil && l.size > 0 {
		return l.bases[i]
	}
	return i * l.size
}

// offset returns the offset of element j of any lane from the lane's base.
func (l *lanes) offset(j int) int {
	if l.offsets != nil {
		return l.offsets[j]
	}
	return j * l.step
}

// readLane returns the elements of lane i: a part of src if they are
// neighbours, else copied to buf, which has room for l.size.
func readLane[T any](l *lanes, i int, src, buf []T) []T {
	at := l.base(i)
	if l.contiguous() {
		return src[at : at+l.size]
	}
	buf = buf[:l.size]
	if l.offsets == nil {
		for j := range buf {
			buf[j] = src[at]
			at += l.step
		}
		return buf
	}
	for j, o := range l.offsets {
		buf[j] = src[at+o]
	}
	return buf
}

// writeLane puts x into lane i of dst.
func writeLane[T any](l *lanes, i int, dst, x []T) {
	at := l.base(i)
	if l.contiguous() {
		copy(dst[at:at+l.size], x)
		return
	}
	for j, v := range x {
		dst[at+l.offset(j)] = v
	}
}

// laneGrain returns how many lanes make a task of fair size.
func (l *lanes) laneGrain() int { return max(1, grain/max(1, l.size)) }

// mapLanes makes every lane of dst by f from the same lane of src: f gets a
// lane to write and one to read, which it leaves alone.
func mapLanes[S, D any](e *Eval, l *lanes, dst []D, src []S, f func(dst []D, src []S)) {
	e.Parallel(l.count, l.laneGrain(), func(lo, hi int) {
		in, out := make([]S, l.size), make([]D, l.size)
		for i := lo; i < hi; i++ {
			x := readLane(l, i, src, in)
			if l.contiguous() {
				at := l.base(i)
				f(dst[at:at+l.size], x)
				continue
			}
			f(out, x)
			writeLane(l, i, dst, out)
		}
	})
}

// foldLanes makes element i of dst by f from lane i of src.
func foldLanes[S, D any](e *Eval, l *lanes, dst []D, src []S, f func([]S) D) {
	e.Parallel(l.count, l.laneGrain(), func(lo, hi int) {
		if l.contiguous() {
			for i := lo; i < hi; i++ {
				dst[i] = f(readLane(l, i, src, nil))
			}
			return
		}
		buf := make([]S, sideBySide*l.size)
		for i := lo; i < hi; {
			n := l.neighbours(i, min(sideBySide, hi-i))
			readLanes(e, l, i, n, src, buf)
			for k := range n {
				dst[i+k] = f(buf[k*l.size : (k+1)*l.size])
			}
			i += n
		}
	})
}

// sideBySide is how many lanes are read at once where their elements are
// neighbours: those of a cache line.
const sideBySide = 16

// neighbours returns how many lanes from i on, up to most, begin side by side.
func (l *lanes) neighbours(i, most int) int {
	n := 1
	for n < most && l.base(i+n) == l.base(i)+n {
		n++
	}
	return n
}

// readLanes copies n lanes from i on, which begin side by side, to buf, one after
// the other.
func readLanes[T any](e *Eval, l *lanes, i, n int, src, buf []T) {
	if l.offsets != nil || n == 1 {
		for k := range n {
			readLane(l, i+k, src, buf[k*l.size:(k+1)*l.size])
		}
		return
	}
	from := src[l.base(i):]
	if floats, ok := any(from).([]float32); ok {
		e.Kernels.Transpose(any(buf).([]float32), l.size, floats, l.step, l.size, n)
		return
	}
	for j := range l.size {
		for k, v := range from[j*l.step:][:n] {
			buf[k*l.size+j] = v
		}
	}
}
