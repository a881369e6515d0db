package op

import (
	"cmp"
	"slices"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// scanDefs holds running sums and products, and selection by order.
var scanDefs = []*Def{
	{Name: "CumSum", Since: 11, Axes: cumulatedAxes, Infer: inferSame, Cost: perElement(1), Eval: func(e *Eval) error {
		return evalRunning(e, running{
			f32: runningSum[float32], f64: runningSum[float64], i64: runningSum[int64], u64: runningSum[uint64],
		})
	}},
	{Name: "CumProd", Since: 26, Axes: cumulatedAxes, Infer: inferSame, Cost: perElement(1), Eval: func(e *Eval) error {
		return evalRunning(e, running{
			f32: runningProduct[float32], f64: runningProduct[float64], i64: runningProduct[int64], u64: runningProduct[uint64],
		})
	}},
	{Name: "TopK", Since: 1, Infer: inferTopK, Eval: evalTopK, Cost: perInput(8),
		Axes: axesAlong(oneAxis("axis", -1), "its elements are ordered together")},
}

// running is a function of a lane, written over it, in each of the types
// that arithmetic is done in. With exclusive set, an element's own value does
// not count.
type running struct {
	f32 func(x []float32, exclusive bool)
	f64 func(x []float64, exclusive bool)
	i64 func(x []int64, exclusive bool)
	u64 func(x []uint64, exclusive bool)
}

func runningSum[T float32 | float64 | int64 | uint64](x []T, exclusive bool) {
	var s T
	for i, v := range x {
		if x[i] = s; !exclusive {
			x[i] += v
		}
		s += v
	}
}

func runningProduct[T float32 | float64 | int64 | uint64](x []T, exclusive bool) {
	p := T(1)
	for i, v := range x {
		if x[i] = p; !exclusive {
			x[i] *= v
		}
		p *= v
	}
}

func evalRunning(e *Eval, s running) error {
	t := e.Tensor(0)
	at, err := e.int(1, 0)
	if err != nil {
		return err
	}
	axis, err := tensor.Axis(at, t.Rank())
	if err != nil {
		return e.Errorf(0, "%v", err)
	}
	l, x := newLanes(t.Shape(), axis), widened(t)
	y := e.New(x.DType(), x.Shape())
	switch x.DType() {
	case tensor.Float32:
		runLanes(e, l, y, x, s.f32)
	case tensor.Float64:
		runLanes(e, l, y, x, s.f64)
	case tensor.Int64:
		runLanes(e, l, y, x, s.i64)
	case tensor.Uint64:
		runLanes(e, l, y, x, s.u64)
	default:
		return e.Errorf(0, "elements of type %v are not served", t.DType())
	}
	e.SetOut(0, cast(y, t.DType()))
	return nil
}

func runLanes[T tensor.Elem](e *Eval, l *lanes, y, x *tensor.Tensor, f func([]T, bool)) {
	exclusive, reverse := e.Node.Int("exclusive", 0) != 0, e.Node.Int("reverse", 0) != 0
	mapLanes(e, l, tensor.Data[T](y), tensor.Data[T](x), func(dst, src []T) {
		copy(dst, src)
		if reverse {
			slices.Reverse(dst)
		}
		f(dst, exclusive)
		if reverse {
			slices.Reverse(dst)
		}
	})
}

// topKAxis returns the axis along which elements are chosen.
func topKAxis(n *graph.Node, rank int) (int, error) {
	return tensor.Axis(int(n.Int("axis", -1)), rank)
}

func inferTopK(c *Infer) error {
	s := slices.Clone(c.Shape(0))
	if s != nil {
		axis, err := topKAxis(c.Node, len(s))
		if err != nil {
			return c.Errorf(0, "%v", err)
		}
		s[axis] = graph.Unknown()
		if c.Version < 10 {
			s[axis] = graph.Known(int(c.Node.Int("k", 0)))
		} else if k := c.Dims(1); len(k) == 1 {
			s[axis] = k[0]
		}
	}
	c.SetOut(0, c.Elem(0), s)
	c.SetOut(1, tensor.Int64, s)
	return nil
}

// evalTopK gives the k first elements in order, and their indices; of equal
// elements the one with the lower index comes first.
func evalTopK(e *Eval) error {
	t := e.Tensor(0)
	axis, err := topKAxis(e.Node, t.Rank())
	if err != nil {
		return e.Errorf(0, "%v", err)
	}
	k := int(e.Node.Int("k", 0))
	if e.Version >= 10 {
		if k, err = e.int(1, 0); err != nil {
			return err
		}
	}
	if k < 0 || k > t.Shape()[axis] {
		return e.Errorf(0, "k is %d, want at most the %d elements of axis %d", k, t.Shape()[axis], axis)
	}
	shape := t.Shape().Clone()
	shape[axis] = k
	x := widened(t)
	vals, at := e.New(x.DType(), shape), e.New(tensor.Int64, shape)
	in, out := newLanes(t.Shape(), axis), newLanes(shape, axis)
	switch x.DType() {
	case tensor.Float32:
		topLanes[float32](e, in, out, x, vals, at)
	case tensor.Float64:
		topLanes[float64](e, in, out, x, vals, at)
	case tensor.Int64:
		topLanes[int64](e, in, out, x, vals, at)
	case tensor.Uint64:
		topLanes[uint64](e, in, out, x, vals, at)
	default:
		return e.Errorf(0, "elements of type %v are not served", t.DType())
	}
	e.SetOut(0, cast(vals, t.DType()))
	e.SetOut(1, at)
	return nil
}

func topLanes[T float32 | float64 | int64 | uint64](e *Eval, in, out *lanes, x, vals, at *tensor.Tensor) {
	order := cmp.Compare[T]
	if e.Version < 11 || e.Node.Int("largest", 1) != 0 {
		order = func(a, b T) int { return cmp.Compare(b, a) }
	}
	src, dst, pos := tensor.Data[T](x), tensor.Data[T](vals), tensor.Data[int64](at)
	e.Parallel(out.count, in.laneGrain(), func(lo, hi int) {
		buf, vals, idx := make([]T, in.size), make([]T, out.size), make([]int64, in.size)
		for i := lo; i < hi; i++ {
			lane := readLane(in, i, src, buf)
			for j := range idx {
				idx[j] = int64(j)
			}
			slices.SortFunc(idx, func(a, b int64) int {
				return cmp.Or(order(lane[a], lane[b]), cmp.Compare(a, b))
			})
			for j := range vals {
				vals[j] = lane[idx[j]]
			}
			writeLane(out, i, dst, vals)
			writeLane(out, i, pos, idx[:out.size])
		}
	})
}
