package op

import (
	"fmt"
	"math"
	"slices"

	"github.com/onnxpack/onnxpack/graph/tensor"
)

// Operators that place elements anew by a rule that does not look at them.

// alloc is New for a shape that comes from data: one that no tensor can have
// is an error.
func (e *Eval) alloc(d tensor.DType, s tensor.Shape) (*tensor.Tensor, error) {
	if err := s.Check(); err != nil {
		return nil, err
	}
	return e.New(d, s), nil
}

// permutation returns the perm attribute, by default all axes reversed.
func permutation(c *Call, rank int) ([]int, error) {
	perm := toInts(c.Node.Ints("perm"))
	if c.Node.Attr("perm") == nil {
		for i := rank - 1; i >= 0; i-- {
			perm = append(perm, i)
		}
		return perm, nil
	}
	p, err := axes(perm, rank)
	if err != nil {
		return nil, fmt.Errorf("attribute perm %v: %w", perm, err)
	}
	if len(p) != rank {
		return nil, fmt.Errorf("attribute perm %v is not a permutation of %d axes", perm, rank)
	}
	return p, nil
}

func evalTranspose(e *Eval) error {
	x := e.Tensor(0)
	perm, err := permutation(&e.Call, x.Rank())
	if err != nil {
		return e.Errorf(0, "%w", err)
	}
	e.SetOut(0, e.transpose(x, perm))
	return nil
}

// transpose returns x with axis perm[i] as axis i.
func (e *Eval) transpose(x *tensor.Tensor, perm []int) *tensor.Tensor {
	out := make(tensor.Shape, len(perm))
	str := make([]int, len(perm))
	xs := x.Shape().Strides()
	for i, p := range perm {
		out[i], str[i] = x.Shape()[p], xs[p]
	}
	y := e.New(x.DType(), out)
	e.move(y, x, box{shape: out, dStr: out.Strides(), sStr: str})
	return y
}

// concatAxis returns the axis that Concat joins along.
func concatAxis(c *Call, rank int) (int, error) {
	if c.Version >= 4 && c.Node.Attr("axis") == nil {
		return 0, fmt.Errorf("attribute axis is missing")
	}
	return tensor.Axis(int(c.Node.Int("axis", 1)), rank)
}

func evalConcat(e *Eval) error {
	parts := make([]*tensor.Tensor, len(e.In))
	for i := range e.In {
		if parts[i] = e.Tensor(i); parts[i] == nil {
			return e.Errorf(i, "want a tensor")
		}
	}
	if len(parts) == 0 {
		return fmt.Errorf("nothing to join")
	}
	axis, err := concatAxis(&e.Call, parts[0].Rank())
	if err != nil {
		return e.Errorf(0, "%w", err)
	}
	y, err := e.concat(parts, axis)
	if err != nil {
		return err
	}
	e.SetOut(0, y)
	return nil
}

// concat joins tensors of one type along an axis.
func (e *Eval) concat(parts []*tensor.Tensor, axis int) (*tensor.Tensor, error) {
	out := parts[0].Shape().Clone()
	out[axis] = 0
	for _, p := range parts {
		s := p.Shape()
		if len(s) != len(out) || p.DType() != parts[0].DType() {
			return nil, fmt.Errorf("%v is joined with %v", p, parts[0])
		}
		for i := range s {
			if i != axis && s[i] != out[i] {
				return nil, fmt.Errorf("%v is joined with %v along axis %d", p, parts[0], axis)
			}
		}
		out[axis] += s[axis]
	}
	y, err := e.alloc(parts[0].DType(), out)
	if err != nil {
		return nil, err
	}
	str, at := out.Strides(), 0
	for _, p := range parts {
		e.move(y, p, box{shape: p.Shape(), dOff: at * str[axis], dStr: str, sStr: p.Shape().Strides()})
		at += p.Shape()[axis]
	}
	return y, nil
}

func evalSplit(e *Eval) error {
	x := e.Tensor(0)
	axis, err := tensor.Axis(int(e.Node.Int("axis", 0)), x.Rank())
	if err != nil {
		return e.Errorf(0, "%w", err)
	}
	sizes, given, err := splitSizes(e)
	if err != nil {
		return err
	}
	n := x.Shape()[axis]
	if !given {
		if sizes, err = equalParts(&e.Call, n); err != nil {
			return e.Errorf(0, "%w", err)
		}
	}
	if err := checkSplit(sizes, n, e.Node.NumOut()); err != nil {
		return e.Errorf(0, "axis %d: %w", axis, err)
	}
	at := 0
	for i, size := range sizes {
		if e.Wants(i) {
			e.SetOut(i, e.narrow(x, axis, at, size))
		}
		at += size
	}
	return nil
}

// splitSizes returns the sizes that Split is given: an attribute in versions
// 2 to 12, either in version 1, else an input.
func splitSizes(e *Eval) ([]int, bool, error) {
	if e.Version == 1 && e.Node.Attr("split") == nil {
		return e.list(1, 0, "split")
	}
	return e.list(1, 13, "split")
}

// equalParts returns the sizes of the parts of an axis of length n that Split
// makes without being told: equal ones, the last smaller where version 18
// allows that.
func equalParts(c *Call, n int) ([]int, error) {
	parts := int(c.Node.Int("num_outputs", int64(c.Node.NumOut())))
	if parts < 1 {
		return nil, fmt.Errorf("attribute num_outputs is %d, want at least 1", parts)
	}
	if c.Version < 18 && n%parts != 0 {
		return nil, fmt.Errorf("length %d is not divisible into %d parts", n, parts)
	}
	size := (n + parts - 1) / parts
	sizes := make([]int, parts)
	for i := range sizes {
		sizes[i] = max(0, min(size, n-i*size))
	}
	return sizes, nil
}

func checkSplit(sizes []int, n, results int) error {
	if len(sizes) != results {
		return fmt.Errorf("%d sizes for %d results", len(sizes), results)
	}
	sum := 0
	for _, s := range sizes {
		if s < 0 || s > n {
			return fmt.Errorf("sizes %v of a length of %d", sizes, n)
		}
		sum += s
	}
	if sum != n {
		return fmt.Errorf("sizes %v add up to %d, want %d", sizes, sum, n)
	}
	return nil
}

// narrow returns the part of x from index at, size long, along an axis.
func (e *Eval) narrow(x *tensor.Tensor, axis, at, size int) *tensor.Tensor {
	out := x.Shape().Clone()
	out[axis] = size
	str := x.Shape().Strides()
	y := e.New(x.DType(), out)
	e.move(y, x, box{shape: out, dStr: out.Strides(), sOff: at * str[axis], sStr: str})
	return y
}

// slicing is what Slice takes of an axis: n elements from start by step.
type slicing struct{ start, step, n int }

// slice resolves the bounds of a slice of an axis of length n.
func slice(start, end, step, n int) (slicing, error) {
	if step == 0 {
		return slicing{}, fmt.Errorf("step is 0")
	}
	if start < 0 {
		start += n
	}
	if end < 0 {
		end += n
	}
	if step > 0 {
		start, end = min(max(start, 0), n), min(max(end, 0), n)
		if end <= start {
			return slicing{start, step, 0}, nil
		}
		return slicing{start, step, (end-start-1)/step + 1}, nil
	}
	start, end = min(max(start, -1), n-1), min(max(end, -1), n-1)
	if end >= start {
		return slicing{max(start, 0), step, 0}, nil
	}
	return slicing{start, step, (start-end-1)/-step + 1}, nil
}

// sliceBounds is what a call of Slice gives, one entry for each axis it names.
type sliceBounds struct{ axes, starts, ends, steps []int }

func (e *Eval) sliceBounds(rank int) (b sliceBounds, err error) {
	if b.starts, _, err = e.list(1, 10, "starts"); err != nil {
		return b, err
	}
	if b.ends, _, err = e.list(2, 10, "ends"); err != nil {
		return b, err
	}
	given := false
	if b.axes, given, err = e.list(3, 10, "axes"); err != nil {
		return b, err
	}
	if !given {
		b.axes = firstAxes(len(b.starts))
	}
	if b.steps, given, err = e.list(4, 10, "steps"); err != nil {
		return b, err
	}
	if !given || e.Version < 10 {
		b.steps = slices.Repeat([]int{1}, len(b.starts))
	}
	return b, b.check(rank)
}

// check resolves negative axes and compares the lengths of the lists.
func (b *sliceBounds) check(rank int) (err error) {
	if n := len(b.starts); len(b.ends) != n || len(b.axes) != n || len(b.steps) != n {
		return fmt.Errorf("%d starts, %d ends, %d axes and %d steps", len(b.starts), len(b.ends), len(b.axes), len(b.steps))
	}
	b.axes, err = axes(b.axes, rank)
	return err
}

func firstAxes(n int) []int {
	a := make([]int, n)
	for i := range a {
		a[i] = i
	}
	return a
}

func evalSlice(e *Eval) error {
	x := e.Tensor(0)
	b, err := e.sliceBounds(x.Rank())
	if err != nil {
		return e.Errorf(0, "%w", err)
	}
	out, str, off := x.Shape().Clone(), x.Shape().Strides(), 0
	for i, a := range b.axes {
		s, err := slice(b.starts[i], b.ends[i], b.steps[i], x.Shape()[a])
		if err != nil {
			return e.Errorf(0, "axis %d: %w", a, err)
		}
		off += s.start * str[a]
		str[a] *= s.step
		out[a] = s.n
	}
	if out.Equal(x.Shape()) && off == 0 {
		e.SetOut(0, x)
		return nil
	}
	y := e.New(x.DType(), out)
	e.move(y, x, box{shape: out, dStr: out.Strides(), sOff: off, sStr: str})
	e.SetOut(0, y)
	return nil
}

func evalExpand(e *Eval) error {
	x := e.Tensor(0)
	target, err := e.ints(1)
	if err != nil {
		return err
	}
	out, err := tensor.Broadcast(x.Shape(), tensor.Shape(target))
	if err == nil {
		err = out.Check()
	}
	if err != nil {
		return e.Errorf(0, "%w", err)
	}
	e.SetOut(0, e.broadcast(x, out))
	return nil
}

// broadcast returns x repeated to a shape that its own broadcasts to.
func (e *Eval) broadcast(x *tensor.Tensor, out tensor.Shape) *tensor.Tensor {
	if out.Equal(x.Shape()) {
		return x
	}
	y := e.New(x.DType(), out)
	e.move(y, x, box{shape: out, dStr: out.Strides(), sStr: broadcastStrides(x.Shape(), len(out))})
	return y
}

// tileRepeats returns how often Tile repeats along each axis.
func tileRepeats(e *Eval, rank int) ([]int, error) {
	reps, err := e.ints(1)
	if err != nil {
		return nil, err
	}
	if e.Version < 6 {
		axis, err := e.int(2, 0)
		if err != nil {
			return nil, err
		}
		if axis, err = tensor.Axis(axis, rank); err != nil || len(reps) != 1 {
			return nil, fmt.Errorf("tiles %v along axis %d of %d", reps, axis, rank)
		}
		all := slices.Repeat([]int{1}, rank)
		all[axis] = reps[0]
		reps = all
	}
	if len(reps) != rank {
		return nil, e.Errorf(1, "%d repeats for %d axes", len(reps), rank)
	}
	return reps, nil
}

// evalTile reads the result as twice as many axes: the repeats of an axis,
// along which the input stands still, and the axis itself.
func evalTile(e *Eval) error {
	x := e.Tensor(0)
	reps, err := tileRepeats(e, x.Rank())
	if err != nil {
		return err
	}
	out := x.Shape().Clone()
	var shape tensor.Shape
	var str []int
	xs := x.Shape().Strides()
	for i, r := range reps {
		if r < 0 || r > 0 && out[i] > math.MaxInt/r {
			return e.Errorf(0, "axis %d is repeated %d times", i, r)
		}
		shape, str = append(shape, r, out[i]), append(str, 0, xs[i])
		out[i] *= r
	}
	y, err := e.alloc(x.DType(), out)
	if err != nil {
		return err
	}
	e.move(y, x, box{shape: shape, dStr: shape.Strides(), sStr: str})
	e.SetOut(0, y)
	return nil
}

func evalTrilu(e *Eval) error {
	x := e.Tensor(0)
	if x.Rank() < 2 {
		return e.Errorf(0, "has %d axes, want at least 2", x.Rank())
	}
	k, err := e.int(1, 0)
	if err != nil {
		return err
	}
	upper := e.Node.Int("upper", 1) != 0
	s := x.Shape()
	rows, cols := s[len(s)-2], s[len(s)-1]
	y := e.New(x.DType(), s)
	fill(y, nil)
	for m := range s[:len(s)-2].Len() {
		for r := range rows {
			// The diagonal passes row r at column r+k.
			lo, hi := 0, min(max(r+k+1, 0), cols)
			if upper {
				lo, hi = min(max(r+k, 0), cols), cols
			}
			at := (m*rows+r)*cols + lo
			e.move(y, x, box{shape: []int{hi - lo}, dOff: at, dStr: []int{1}, sOff: at, sStr: []int{1}})
		}
	}
	e.SetOut(0, y)
	return nil
}

func evalReverseSequence(e *Eval) error {
	x := e.Tensor(0)
	batch, time := int(e.Node.Int("batch_axis", 1)), int(e.Node.Int("time_axis", 0))
	if x.Rank() < 2 || batch+time != 1 || batch*time != 0 {
		return e.Errorf(0, "batch axis %d and time axis %d, want 0 and 1 in either order", batch, time)
	}
	lens, err := e.ints(1)
	if err != nil {
		return err
	}
	s, inner := x.Shape(), x.Shape()[2:].Len()
	if len(lens) != s[batch] {
		return e.Errorf(1, "%d lengths for a batch of %d", len(lens), s[batch])
	}
	idx := make([]int, s[0]*s[1])
	str := s[:2].Strides()
	for b, n := range lens {
		if n < 0 || n > s[time] {
			return e.Errorf(1, "length %d of %d steps", n, s[time])
		}
		for t := range s[time] {
			from := t
			if t < n {
				from = n - 1 - t
			}
			idx[b*str[batch]+t*str[time]] = b*str[batch] + from*str[time]
		}
	}
	y := e.New(x.DType(), s)
	e.pick(y, x, 1, len(idx), inner, idx)
	e.SetOut(0, y)
	return nil
}
