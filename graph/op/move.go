package op

import (
	"fmt"

	"github.com/onnxpack/onnxpack/graph/tensor"
)

// Operators that move elements work on cells: Go values as wide as an
// element, whatever it stands for. Elements narrower than a byte are spread
// to a byte each before and packed again after (see spread).
type cell interface {
	uint8 | uint16 | uint32 | uint64 | complex128 | string
}

// cellsOf returns the elements of t as cells; T is as wide as they are.
func cellsOf[T cell](t *tensor.Tensor) []T {
	var x T
	switch any(x).(type) {
	case string:
		return any(t.Strings()).([]T)
	case uint8:
		return any(tensor.Data[uint8](t)).([]T)
	case uint16:
		return any(tensor.Data[uint16](t)).([]T)
	case uint32:
		return any(tensor.Data[uint32](t)).([]T)
	case uint64:
		return any(tensor.Data[uint64](t)).([]T)
	}
	return any(tensor.Data[complex128](t)).([]T)
}

// byWidth is one kernel for each width of cell.
type byWidth struct {
	b1, b2, b4, b8, b16, str func()
}

// run calls the kernel for the elements of d.
func (k byWidth) run(d tensor.DType) {
	switch {
	case d == tensor.String:
		k.str()
	case d.Bits() == 8:
		k.b1()
	case d.Bits() == 16:
		k.b2()
	case d.Bits() == 32:
		k.b4()
	case d.Bits() == 64:
		k.b8()
	case d.Bits() == 128:
		k.b16()
	default:
		panic(fmt.Sprintf("op: %v elements are moved packed", d))
	}
}

// spread returns an Eval function that calls f with every tensor of the first
// input's element type, if that is narrower than a byte, spread to a byte for
// each element, and packs the results of that form again.
func spread(f func(*Eval) error) func(*Eval) error {
	return func(e *Eval) error {
		d := narrowType(e.In)
		if d == tensor.Undefined {
			return f(e)
		}
		wide := *e
		wide.In = make([]tensor.Value, len(e.In))
		for i, v := range e.In {
			if t, ok := v.(*tensor.Tensor); ok && t.DType() == d {
				v = tensor.Of(t.Shape(), tensor.Codes(t))
			}
			wide.In[i] = v
		}
		wide.Out = make([]tensor.Value, len(e.Out))
		if err := f(&wide); err != nil {
			return err
		}
		for i, v := range wide.Out {
			if t, ok := v.(*tensor.Tensor); ok && t.DType() == tensor.Uint8 {
				v = tensor.FromCodes(d, t.Shape(), t.Bytes())
			}
			e.SetOut(i, v)
		}
		return nil
	}
}

// narrowType returns the type of the first tensor among vs if its elements
// are narrower than a byte.
func narrowType(vs []tensor.Value) tensor.DType {
	for _, v := range vs {
		if t, ok := v.(*tensor.Tensor); ok {
			if b := t.DType().Bits(); b > 0 && b < 8 {
				return t.DType()
			}
			break
		}
	}
	return tensor.Undefined
}

// box is a rectangular set of elements to be copied: for every index of
// shape, the destination is dOff + index.dStr and the source sOff + index.sStr,
// in elements.
type box struct {
	shape      []int
	dOff, sOff int
	dStr, sStr []int
}

// simplify drops axes of length 1 and joins neighbours that are contiguous on
// both sides. It reports whether any element is left.
func (b *box) simplify() bool {
	var s, ds, ss []int
	for i, n := range b.shape {
		if n == 0 {
			return false
		}
		if n == 1 {
			continue
		}
		if k := len(s) - 1; k >= 0 && ds[k] == n*b.dStr[i] && ss[k] == n*b.sStr[i] {
			s[k] *= n
			ds[k], ss[k] = b.dStr[i], b.sStr[i]
			continue
		}
		s, ds, ss = append(s, n), append(ds, b.dStr[i]), append(ss, b.sStr[i])
	}
	if len(s) == 0 {
		s, ds, ss = []int{1}, []int{1}, []int{1}
	}
	b.shape, b.dStr, b.sStr = s, ds, ss
	return true
}

// move copies the elements of b from src to dst, in parallel along its
// longest outer axis.
func (e *Eval) move(dst, src *tensor.Tensor, b box) {
	if !b.simplify() {
		return
	}
	axis := 0
	for i := range len(b.shape) - 1 {
		if b.shape[i] > b.shape[axis] {
			axis = i
		}
	}
	n := b.shape[axis]
	each := 1
	for i, m := range b.shape {
		if i != axis {
			each *= m
		}
	}
	e.Parallel(n, max(1, 1<<15/each), func(lo, hi int) {
		c := b
		c.shape = append([]int{}, b.shape...)
		c.shape[axis] = hi - lo
		c.dOff += lo * b.dStr[axis]
		c.sOff += lo * b.sStr[axis]
		byWidth{
			func() { moveCells[uint8](dst, src, c) }, func() { moveCells[uint16](dst, src, c) },
			func() { moveCells[uint32](dst, src, c) }, func() { moveCells[uint64](dst, src, c) },
			func() { moveCells[complex128](dst, src, c) }, func() { moveCells[string](dst, src, c) },
		}.run(dst.DType())
	})
}

func moveCells[T cell](dst, src *tensor.Tensor, b box) {
	moveRows(cellsOf[T](dst), cellsOf[T](src), b.shape, b.dOff, b.sOff, b.dStr, b.sStr)
}

func moveRows[T cell](dst, src []T, shape []int, d, s int, dStr, sStr []int) {
	switch len(shape) {
	case 1:
		moveRow(dst[d:], src[s:], shape[0], dStr[0], sStr[0], s, src)
	case 2:
		if dStr[1] == 1 && sStr[0] == 1 && shape[0] > 8 && shape[1] > 8 {
			moveTransposed(dst[d:], src[s:], shape[0], shape[1], dStr[0], sStr[1])
			return
		}
		fallthrough
	default:
		for range shape[0] {
			moveRows(dst, src, shape[1:], d, s, dStr[1:], sStr[1:])
			d += dStr[0]
			s += sStr[0]
		}
	}
}

// moveRow copies n cells between strides; src0 is the whole source, in which
// the row starts at s, for strides that run backward.
func moveRow[T cell](dst, src []T, n, dStr, sStr, s int, src0 []T) {
	switch {
	case dStr == 1 && sStr == 1:
		copy(dst[:n], src[:n])
	case dStr == 1 && sStr == 0:
		x := src[0]
		for i := range dst[:n] {
			dst[i] = x
		}
	default:
		d := 0
		for range n {
			dst[d] = src0[s]
			d += dStr
			s += sStr
		}
	}
}

// moveTransposed copies rows x cols cells, row-contiguous in dst and
// column-contiguous in src, in square blocks that stay in cache:
// dst[i*dStr+j] = src[i+j*sStr].
func moveTransposed[T cell](dst, src []T, rows, cols, dStr, sStr int) {
	const block = 16
	for i0 := 0; i0 < rows; i0 += block {
		i1 := min(i0+block, rows)
		for j0 := 0; j0 < cols; j0 += block {
			j1 := min(j0+block, cols)
			for i := i0; i < i1; i++ {
				row := dst[i*dStr+j0 : i*dStr+j1]
				s := i + j0*sStr
				for j := range row {
					row[j] = src[s]
					s += sStr
				}
			}
		}
	}
}

// pick copies blocks: block i of dst, n cells long, is block idx[i] of src. A
// negative index leaves the block of dst as it is. It is done for each of
// outer groups of len(idx) destination blocks and from source blocks.
func (e *Eval) pick(dst, src *tensor.Tensor, outer, from, n int, idx []int) {
	if outer*len(idx)*n == 0 {
		return
	}
	total := outer * len(idx)
	e.Parallel(total, max(1, 1<<15/n), func(lo, hi int) {
		byWidth{
			func() { pickCells[uint8](dst, src, from, n, idx, lo, hi) }, func() { pickCells[uint16](dst, src, from, n, idx, lo, hi) },
			func() { pickCells[uint32](dst, src, from, n, idx, lo, hi) }, func() { pickCells[uint64](dst, src, from, n, idx, lo, hi) },
			func() { pickCells[complex128](dst, src, from, n, idx, lo, hi) }, func() { pickCells[string](dst, src, from, n, idx, lo, hi) },
		}.run(dst.DType())
	})
}

func pickCells[T cell](dstT, srcT *tensor.Tensor, from, n int, idx []int, lo, hi int) {
	dst, src := cellsOf[T](dstT), cellsOf[T](srcT)
	group, j := lo/len(idx), lo%len(idx)
	for i := lo; i < hi; i++ {
		if k := idx[j]; k >= 0 {
			s := (group*from + k) * n
			if n == 1 {
				dst[i] = src[s]
			} else {
				copy(dst[i*n:(i+1)*n], src[s:s+n])
			}
		}
		if j++; j == len(idx) {
			group, j = group+1, 0
		}
	}
}

// put copies blocks of n cells the other way: block idx[i] of dst is block i
// of src, a later one over an earlier one.
func (e *Eval) put(dst, src *tensor.Tensor, n int, idx []int) {
	byWidth{
		func() { putCells[uint8](dst, src, n, idx) }, func() { putCells[uint16](dst, src, n, idx) },
		func() { putCells[uint32](dst, src, n, idx) }, func() { putCells[uint64](dst, src, n, idx) },
		func() { putCells[complex128](dst, src, n, idx) }, func() { putCells[string](dst, src, n, idx) },
	}.run(dst.DType())
}

func putCells[T cell](dstT, srcT *tensor.Tensor, n int, idx []int) {
	dst, src := cellsOf[T](dstT), cellsOf[T](srcT)
	if n == 1 {
		for i, k := range idx {
			dst[k] = src[i]
		}
		return
	}
	for i, k := range idx {
		copy(dst[k*n:(k+1)*n], src[i*n:(i+1)*n])
	}
}

// fill sets every element of dst to the only element of x, zero if x is nil.
func fill(dst, x *tensor.Tensor) {
	if x == nil {
		clear(dst.Bytes())
		clear(dst.Strings())
		return
	}
	byWidth{
		func() { fillCells[uint8](dst, x) }, func() { fillCells[uint16](dst, x) },
		func() { fillCells[uint32](dst, x) }, func() { fillCells[uint64](dst, x) },
		func() { fillCells[complex128](dst, x) }, func() { fillCells[string](dst, x) },
	}.run(dst.DType())
}

func fillCells[T cell](dst, x *tensor.Tensor) {
	v := cellsOf[T](x)[0]
	d := cellsOf[T](dst)
	for i := range d {
		d[i] = v
	}
}

// copyOf returns a copy of t allocated as a result.
func (e *Eval) copyOf(t *tensor.Tensor) *tensor.Tensor {
	c := e.New(t.DType(), t.Shape())
	copy(c.Bytes(), t.Bytes())
	copy(c.Strings(), t.Strings())
	return c
}

// split3 returns the product of the dimensions before axis, that along it,
// and the product of those after it.
func split3(s tensor.Shape, axis int) (outer, n, inner int) {
	return s[:axis].Len(), s[axis], s[axis+1:].Len()
}
