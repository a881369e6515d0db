package op

import (
	"fmt"

	"github.com/onnxpack/onnxpack/graph/tensor"
)

// Operators that choose elements by indices or conditions that they read.

func evalGather(e *Eval) error {
	x, at := e.Tensor(0), e.Tensor(1)
	axis, err := tensor.Axis(int(e.Node.Int("axis", 0)), x.Rank())
	if err != nil {
		return e.Errorf(0, "%w", err)
	}
	outer, n, inner := split3(x.Shape(), axis)
	idx, err := indices(at, n)
	if err != nil {
		return e.Errorf(1, "%w", err)
	}
	out := joinShapes(x.Shape()[:axis], at.Shape(), x.Shape()[axis+1:])
	y, err := e.alloc(x.DType(), out)
	if err != nil {
		return err
	}
	e.pick(y, x, outer, n, inner, idx)
	e.SetOut(0, y)
	return nil
}

func joinShapes(parts ...tensor.Shape) tensor.Shape {
	out := tensor.Shape{}
	for _, p := range parts {
		out = append(out, p...)
	}
	return out
}

func evalGatherElements(e *Eval) error {
	x, at := e.Tensor(0), e.Tensor(1)
	idx, err := elementPlaces(e, x.Shape(), at)
	if err != nil {
		return e.Errorf(1, "%w", err)
	}
	y := e.New(x.DType(), at.Shape())
	e.pick(y, x, 1, x.Len(), 1, idx)
	e.SetOut(0, y)
	return nil
}

// elementPlaces returns for each element of at the linear place in a tensor
// of shape s that GatherElements and ScatterElements mean: its own index, but
// the element's value along the call's axis.
func elementPlaces(e *Eval, s tensor.Shape, at *tensor.Tensor) ([]int, error) {
	axis, err := tensor.Axis(int(e.Node.Int("axis", 0)), len(s))
	if err != nil {
		return nil, err
	}
	if at.Rank() != len(s) {
		return nil, fmt.Errorf("has %d axes, want %d", at.Rank(), len(s))
	}
	for a, n := range at.Shape() {
		if a != axis && n > s[a] {
			return nil, fmt.Errorf("axis %d is longer than the %d of the data", a, s[a])
		}
	}
	idx, err := indices(at, s[axis])
	if err != nil {
		return nil, err
	}
	str := s.Strides()
	for i, base := range offsets(at.Shape(), withZero(str, axis)) {
		idx[i] = base + idx[i]*str[axis]
	}
	return idx, nil
}

func withZero(str []int, axis int) []int {
	out := append([]int{}, str...)
	out[axis] = 0
	return out
}

// offsets returns index.str for every index of shape, in order.
func offsets(shape tensor.Shape, str []int) []int {
	out := make([]int, shape.Len())
	if len(out) == 0 {
		return out
	}
	done := 1 // elements filled; each axis, from the last, repeats them
	for a := len(shape) - 1; a >= 0; a-- {
		for i := 1; i < shape[a]; i++ {
			for j, o := range out[:done] {
				out[i*done+j] = o + i*str[a]
			}
		}
		done *= shape[a]
	}
	return out
}

// tuplePlaces returns for each index tuple of at (its last axis) the linear
// place, in blocks, that it means in a tensor of shape s after batch leading
// axes that both share, and the length of a block.
func tuplePlaces(s tensor.Shape, at *tensor.Tensor, batch int) (idx []int, block int, err error) {
	q := at.Rank()
	if q < 1 || batch < 0 || batch >= q || batch > len(s) {
		return nil, 0, fmt.Errorf("%d batch axes of %d and %d", batch, len(s), q)
	}
	k := at.Shape()[q-1]
	if k > len(s)-batch {
		return nil, 0, fmt.Errorf("tuples of %d indices, want at most %d", k, len(s)-batch)
	}
	for i := range batch {
		if at.Shape()[i] != s[i] {
			return nil, 0, fmt.Errorf("batch axis %d is %d long, %d in the data", i, at.Shape()[i], s[i])
		}
	}
	list, err := ints(at)
	if err != nil {
		return nil, 0, err
	}
	dims, tuples := s[batch:batch+k], at.Shape()[:q-1].Len()
	perBatch := max(1, at.Shape()[batch:q-1].Len())
	str, size := dims.Strides(), dims.Len()
	idx = make([]int, tuples)
	for t := range idx {
		place := t / perBatch * size
		for j, i := range list[t*k : (t+1)*k] {
			if uint(i) >= uint(dims[j]) { // negative, or an error
				if i, err = wrapIndex(i, dims[j]); err != nil {
					return nil, 0, err
				}
			}
			place += i * str[j]
		}
		idx[t] = place
	}
	return idx, s[batch+k:].Len(), nil
}

func evalGatherND(e *Eval) error {
	x, at := e.Tensor(0), e.Tensor(1)
	batch := int(e.Node.Int("batch_dims", 0))
	idx, block, err := tuplePlaces(x.Shape(), at, batch)
	if err != nil {
		return e.Errorf(1, "%w", err)
	}
	q := at.Rank()
	out := joinShapes(at.Shape()[:q-1], x.Shape()[batch+at.Shape()[q-1]:])
	y, err := e.alloc(x.DType(), out)
	if err != nil {
		return err
	}
	e.pick(y, x, 1, 0, block, idx)
	e.SetOut(0, y)
	return nil
}

func evalCompress(e *Eval) error {
	x, cond := e.Tensor(0), e.Tensor(1)
	if cond.DType() != tensor.Bool || cond.Rank() != 1 {
		return e.Errorf(1, "want bool with one axis")
	}
	s, axis := x.Shape(), 0
	if e.Node.Attr("axis") == nil {
		s = tensor.Shape{x.Len()}
	} else {
		var err error
		if axis, err = tensor.Axis(int(e.Node.Int("axis", 0)), x.Rank()); err != nil {
			return e.Errorf(0, "%w", err)
		}
	}
	outer, n, inner := split3(s, axis)
	idx := []int{}
	for i, c := range tensor.Data[bool](cond) {
		if !c {
			continue
		}
		if i >= n {
			return e.Errorf(1, "chooses index %d of %d", i, n)
		}
		idx = append(idx, i)
	}
	out := s.Clone()
	out[axis] = len(idx)
	y := e.New(x.DType(), out)
	e.pick(y, x, outer, n, inner, idx)
	e.SetOut(0, y)
	return nil
}

func evalNonZero(e *Eval) error {
	x := e.Tensor(0)
	at := nonZero(x)
	y := e.New(tensor.Int64, tensor.Shape{x.Rank(), len(at)})
	out := tensor.Data[int64](y)
	for a, st := range x.Shape().Strides() {
		n := x.Shape()[a]
		for j, i := range at {
			out[a*len(at)+j] = int64(i / st % n)
		}
	}
	e.SetOut(0, y)
	return nil
}

// nonZero returns the linear places of the elements that are not zero.
func nonZero(x *tensor.Tensor) []int {
	at := []int{}
	if x.DType() == tensor.String {
		for i, s := range x.Strings() {
			if s != "" {
				at = append(at, i)
			}
		}
		return at
	}
	if x.DType().IsFloat() {
		for i, v := range tensor.Float64s(x) {
			if v != 0 {
				at = append(at, i)
			}
		}
		return at
	}
	w := x.DType().Bits() / 8
	b := x.Bytes()
	for i := range x.Len() {
		for _, c := range b[i*w : (i+1)*w] {
			if c != 0 {
				at = append(at, i)
				break
			}
		}
	}
	return at
}

func evalWhere(e *Eval) error {
	cond, x, y := e.Tensor(0), e.Tensor(1), e.Tensor(2)
	if x.DType() != y.DType() {
		return e.Errorf(2, "want %v elements", x.DType())
	}
	if cond.DType() != tensor.Bool {
		return e.Errorf(0, "want bool elements")
	}
	out, err := tensor.Broadcast(cond.Shape(), x.Shape(), y.Shape())
	if err == nil {
		err = out.Check()
	}
	if err != nil {
		return err
	}
	z := e.New(x.DType(), out)
	w := where{out: out, strides: [3][]int{}}
	for i, t := range []*tensor.Tensor{cond, x, y} {
		w.strides[i] = broadcastStrides(t.Shape(), len(out))
	}
	byWidth{
		func() { whereCells[uint8](w, z, cond, x, y) }, func() { whereCells[uint16](w, z, cond, x, y) },
		func() { whereCells[uint32](w, z, cond, x, y) }, func() { whereCells[uint64](w, z, cond, x, y) },
		func() { whereCells[complex128](w, z, cond, x, y) }, func() { whereCells[string](w, z, cond, x, y) },
	}.run(x.DType())
	e.SetOut(0, z)
	return nil
}

// where is the frame of a selection: the result's shape and the strides of
// the condition and both operands under it.
type where struct {
	out     tensor.Shape
	strides [3][]int
}

func whereCells[T cell](w where, z, cond, x, y *tensor.Tensor) {
	if z.Len() == 0 {
		return
	}
	dst, c, a, b := cellsOf[T](z), tensor.Data[bool](cond), cellsOf[T](x), cellsOf[T](y)
	rank := len(w.out)
	if rank == 0 {
		w.out, rank = tensor.Shape{1}, 1
		w.strides = [3][]int{{0}, {0}, {0}}
	}
	n, last := w.out[rank-1], [3]int{}
	var rows [3][]int
	for i, s := range w.strides {
		rows[i], last[i] = offsets(w.out[:rank-1], s[:rank-1]), s[rank-1]
	}
	for r := range rows[0] {
		ci, ai, bi := rows[0][r], rows[1][r], rows[2][r]
		row := dst[r*n : (r+1)*n]
		for j := range row {
			if c[ci] {
				row[j] = a[ai]
			} else {
				row[j] = b[bi]
			}
			ci, ai, bi = ci+last[0], ai+last[1], bi+last[2]
		}
	}
}

// evalOneHot places the on value at each index along a new axis; an index out
// of [-depth, depth-1] gets none.
func evalOneHot(e *Eval) error {
	at, values := e.Tensor(0), e.Tensor(2)
	depth, err := e.depth()
	if err != nil {
		return err
	}
	if values.Rank() != 1 || values.Len() != 2 {
		return e.Errorf(2, "want the off and the on value")
	}
	axis, err := tensor.Axis(int(e.Node.Int("axis", -1)), at.Rank()+1)
	if err != nil {
		return e.Errorf(0, "%w", err)
	}
	inner := at.Shape()[axis:].Len()
	y, err := e.alloc(values.DType(), joinShapes(at.Shape()[:axis], tensor.Shape{depth}, at.Shape()[axis:]))
	if err != nil {
		return err
	}
	on := []int{} // places of ones
	for i, v := range tensor.Int64s(at) {
		if v < 0 {
			v += int64(depth)
		}
		if v >= 0 && v < int64(depth) {
			on = append(on, (i/max(inner, 1)*depth+int(v))*inner+i%max(inner, 1))
		}
	}
	fill(y, e.narrow(values, 0, 0, 1))
	e.put(y, e.broadcast(e.narrow(values, 0, 1, 1), tensor.Shape{len(on)}), 1, on)
	e.SetOut(0, y)
	return nil
}

// depth returns input 1 of OneHot, a number of any real type.
func (e *Eval) depth() (int, error) {
	t := e.Tensor(1)
	if t.Len() != 1 || t.DType() == tensor.String || t.DType().IsComplex() {
		return 0, e.Errorf(1, "want one number")
	}
	d := tensor.Int64s(t)[0]
	if d < 0 {
		return 0, e.Errorf(1, "depth is %d", d)
	}
	return int(d), nil
}
