package op

import (
	"math"
	"slices"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/kernel"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// reductionDefs holds reductions over axes. The axes are an attribute, and an
// input from the given version on.
var reductionDefs = []*Def{
	reductionDef("ReduceSum", 13, 1, (*Axes).Sum, sumReduction),
	reductionDef("ReduceMean", 18, 1, foldMean, meanReduction),
	reductionDef("ReduceMax", 18, 1, foldAll, func(d tensor.DType) reduction {
		least := minInt(d)
		return reduction{
			row: func(k *kernel.Table) func([]float32) float32 { return k.RowMax },
			f64: maxOf[float64],
			i64: func(x []int64) int64 { return slices.Max(append(x[:len(x):len(x)], least)) },
			u64: func(x []uint64) uint64 { return slices.Max(append(x[:len(x):len(x)], 0)) },
		}
	}),
	reductionDef("ReduceMin", 18, 1, foldAll, func(d tensor.DType) reduction {
		most := ^minInt(d)
		return reduction{
			row: func(k *kernel.Table) func([]float32) float32 { return k.RowMin },
			f64: func(x []float64) float64 { return slices.Min(append(x[:len(x):len(x)], math.Inf(1))) },
			i64: func(x []int64) int64 { return slices.Min(append(x[:len(x):len(x)], most)) },
			u64: func(x []uint64) uint64 { return slices.Min(append(x[:len(x):len(x)], math.MaxUint64)) },
		}
	}),
	reductionDef("ReduceProd", 18, 1, foldAll, func(tensor.DType) reduction {
		return reduction{f64: prodOf[float64], i64: prodOf[int64], u64: prodOf[uint64]}
	}),
	reductionDef("ReduceSumSquare", 18, 2, (*Axes).Sum, func(tensor.DType) reduction {
		return reduction{
			row: func(k *kernel.Table) func([]float32) float32 { return k.SumSquares },
			f64: sumSquares[float64], i64: sumSquares[int64], u64: sumSquares[uint64],
		}
	}),
	reductionDef("ReduceL1", 18, 2, (*Axes).Sum, func(tensor.DType) reduction {
		return reduction{f64: sumAbs[float64], i64: sumAbs[int64], u64: sumOf[uint64]}
	}),
	reductionDef("ReduceL2", 18, 2, (*Axes).Sum, func(tensor.DType) reduction {
		return realReduction(func(x []float64) float64 { return math.Sqrt(sumSquares(x)) })
	}),
	reductionDef("ReduceLogSum", 18, 1, (*Axes).Sum, func(tensor.DType) reduction {
		return realReduction(func(x []float64) float64 { return math.Log(sumOf(x)) })
	}),
	reductionDef("ReduceLogSumExp", 18, 12, foldAll, func(tensor.DType) reduction { return realReduction(logSumExp) }),

	{Name: "ArgMax", Since: 1, Infer: inferArg, Cost: perInput(1), Axes: axesReduced(oneAxis("axis", 0), foldAll),
		Eval: func(e *Eval) error { return evalArg(e, func(cmp int) bool { return cmp > 0 }) }},
	{Name: "ArgMin", Since: 1, Infer: inferArg, Cost: perInput(1), Axes: axesReduced(oneAxis("axis", 0), foldAll),
		Eval: func(e *Eval) error { return evalArg(e, func(cmp int) bool { return cmp < 0 }) }},
}

// reduction is a function of a lane in each of the types that arithmetic is
// done in. A nil row computes Float32 as Float64, rounded once.
type reduction struct {
	row func(*kernel.Table) func([]float32) float32
	f64 func([]float64) float64
	i64 func([]int64) int64
	u64 func([]uint64) uint64
}

// realReduction computes integers as Float64 and drops the fraction.
func realReduction(f func([]float64) float64) reduction {
	return reduction{
		f64: f,
		i64: func(x []int64) int64 { return int64(f(toFloats(x))) },
		u64: func(x []uint64) uint64 { return uint64(f(toFloats(x))) },
	}
}

func toFloats[T int64 | uint64 | float32](x []T) []float64 {
	out := make([]float64, len(x))
	for i, v := range x {
		out[i] = float64(v)
	}
	return out
}

func sumReduction(tensor.DType) reduction {
	return reduction{
		row: func(k *kernel.Table) func([]float32) float32 { return k.Sum },
		f64: sumOf[float64], i64: sumOf[int64], u64: sumOf[uint64],
	}
}

func meanReduction(tensor.DType) reduction {
	return reduction{
		row: func(k *kernel.Table) func([]float32) float32 {
			return func(x []float32) float32 { return k.Sum(x) / float32(len(x)) }
		},
		f64: func(x []float64) float64 { return sumOf(x) / float64(len(x)) },
		i64: func(x []int64) int64 { return sumOf(x) / int64(max(1, len(x))) },
		u64: func(x []uint64) uint64 { return sumOf(x) / uint64(max(1, len(x))) },
	}
}

// minInt is the least value of a signed integer type.
func minInt(d tensor.DType) int64 {
	if !d.IsSigned() {
		return 0
	}
	return -1 << (d.Bits() - 1)
}

func sumOf[T float64 | int64 | uint64](x []T) T {
	var s T
	for _, v := range x {
		s += v
	}
	return s
}

func prodOf[T float64 | int64 | uint64](x []T) T {
	p := T(1)
	for _, v := range x {
		p *= v
	}
	return p
}

func sumSquares[T float64 | int64 | uint64](x []T) T {
	var s T
	for _, v := range x {
		s += v * v
	}
	return s
}

func sumAbs[T float64 | int64](x []T) T {
	var s T
	for _, v := range x {
		s += max(v, -v)
	}
	return s
}

// logSumExp is log(sum of e^x), shifted by the largest so that it does not
// overflow.
func logSumExp(x []float64) float64 {
	top := maxOf(x)
	if math.IsInf(top, 0) {
		return top
	}
	s := 0.0
	for _, v := range x {
		s += math.Exp(v - top)
	}
	return top + math.Log(s)
}

// reductionDef defines a reduction whose axes are an input from version
// axesInput on. folded says whether those axes can lose indices, make gets the
// element type.
func reductionDef(name string, axesInput, flops int64, folded fold, make func(tensor.DType) reduction) *Def {
	return &Def{
		Name: name, Since: 1, Cost: perInput(flops),
		Axes:  axesReduced(func(a *Axes, rank int) []int { return constAxes(a, rank, axesInput) }, folded),
		Infer: func(c *Infer) error { return inferReduce(c, axesInput) },
		Eval: func(e *Eval) error {
			t := e.Tensor(0)
			over, err := reducedAxes(e, axesInput)
			if err != nil {
				return err
			}
			y, err := make(t.DType()).apply(e, widened(t), over)
			if err != nil {
				return err
			}
			if e.Node.Int("keepdims", 1) == 0 {
				y = y.Reshape(withoutAxes(t.Shape(), over))
			}
			e.SetOut(0, cast(y, t.DType()))
			return nil
		},
	}
}

// apply reduces x, of a wide type, over axes, which stay with length 1.
func (r reduction) apply(e *Eval, x *tensor.Tensor, over []int) (*tensor.Tensor, error) {
	shape := x.Shape().Clone()
	for _, a := range over {
		shape[a] = 1
	}
	l := newLanes(x.Shape(), over...)
	y := e.New(x.DType(), shape)
	switch {
	case x.DType() == tensor.Float32 && r.row != nil:
		foldLanes(e, l, tensor.Data[float32](y), tensor.Data[float32](x), r.row(e.Kernels))
	case x.DType() == tensor.Float32:
		foldLanes(e, l, tensor.Data[float32](y), tensor.Data[float32](x), func(lane []float32) float32 {
			return float32(r.f64(toFloats(lane)))
		})
	case x.DType() == tensor.Float64:
		foldLanes(e, l, tensor.Data[float64](y), tensor.Data[float64](x), r.f64)
	case x.DType() == tensor.Int64:
		foldLanes(e, l, tensor.Data[int64](y), tensor.Data[int64](x), r.i64)
	case x.DType() == tensor.Uint64:
		foldLanes(e, l, tensor.Data[uint64](y), tensor.Data[uint64](x), r.u64)
	default:
		return nil, e.Errorf(0, "elements of type %v are not served", x.DType())
	}
	return y, nil
}

// sumAxes returns x, of a wide type, summed over axes, which stay with length
// 1.
func sumAxes(e *Eval, x *tensor.Tensor, over []int) *tensor.Tensor {
	y, err := sumReduction(x.DType()).apply(e, x, over)
	if err != nil {
		panic("op: sum of a type that is not wide")
	}
	return y
}

// reducedAxes returns the axes that a call reduces, increasing: all of them
// if none are given, unless noop_with_empty_axes says none.
func reducedAxes(e *Eval, axesInput int64) ([]int, error) {
	list, _, err := e.list(1, axesInput, "axes")
	if err != nil {
		return nil, err
	}
	over, err := normalAxes(list, e.Tensor(0).Rank(), e.Node)
	if err != nil {
		return nil, e.Errorf(0, "%v", err)
	}
	return over, nil
}

func normalAxes(list []int, rank int, n *graph.Node) ([]int, error) {
	if len(list) == 0 && n.Int("noop_with_empty_axes", 0) == 0 {
		for a := range rank {
			list = append(list, a)
		}
	}
	over, err := axes(list, rank)
	slices.Sort(over)
	return over, err
}

// constAxes returns the axes that a call reduces, nil if they are not known.
func constAxes(a *Axes, rank int, axesInput int64) []int {
	list := toInts(a.Node.Ints("axes"))
	if v := a.Node.In(1); a.Version >= axesInput && v != nil {
		if !v.IsConst() || v.Init.Tensor == nil {
			return nil
		}
		list = toInts(tensor.Int64s(v.Init.Tensor))
	}
	over, err := normalAxes(list, rank, a.Node)
	if err != nil {
		return nil
	}
	if over == nil {
		return []int{}
	}
	return over
}

// withoutAxes returns s without the given axes.
func withoutAxes[S ~[]E, E any](s S, over []int) S {
	out := make(S, 0, len(s))
	for a, d := range s {
		if !slices.Contains(over, a) {
			out = append(out, d)
		}
	}
	return out
}

func inferReduce(c *Infer, axesInput int64) error {
	s := c.Shape(0)
	if s == nil {
		c.SetOut(0, c.Elem(0), nil)
		return nil
	}
	keep := c.Node.Int("keepdims", 1) != 0
	list, _, known := c.consts(1, axesInput, "axes")
	if !known {
		c.SetOut(0, c.Elem(0), unknownAxes(c, s, keep))
		return nil
	}
	over, err := normalAxes(list, len(s), c.Node)
	if err != nil {
		return c.Errorf(0, "%v", err)
	}
	c.SetOut(0, c.Elem(0), reducedDims(s, over, keep))
	return nil
}

func reducedDims(s graph.Dims, over []int, keep bool) graph.Dims {
	if !keep {
		return withoutAxes(s, over)
	}
	out := slices.Clone(s)
	for _, a := range over {
		out[a] = graph.Known(1)
	}
	return out
}

// unknownAxes is what is known of a result when the axes are not: its rank if
// they are kept or can be counted.
func unknownAxes(c *Infer, s graph.Dims, keep bool) graph.Dims {
	rank := len(s)
	if !keep {
		list := c.Shape(1)
		if len(list) != 1 || !list[0].IsKnown() || list[0].Size == 0 || list[0].Size > rank {
			return nil
		}
		rank -= list[0].Size
	}
	return unknownDims(rank)
}

func inferArg(c *Infer) error {
	s := c.Shape(0)
	if s == nil {
		c.SetOut(0, tensor.Int64, nil)
		return nil
	}
	axis, err := tensor.Axis(int(c.Node.Int("axis", 0)), len(s))
	if err != nil {
		return c.Errorf(0, "%v", err)
	}
	c.SetOut(0, tensor.Int64, reducedDims(s, []int{axis}, c.Node.Int("keepdims", 1) != 0))
	return nil
}

// evalArg gives the index of the first, or last, element that no other beats.
func evalArg(e *Eval, better func(cmp int) bool) error {
	t := e.Tensor(0)
	axis, err := tensor.Axis(int(e.Node.Int("axis", 0)), t.Rank())
	if err != nil {
		return e.Errorf(0, "%v", err)
	}
	shape := t.Shape().Clone()
	if shape[axis] == 0 && t.Len() == 0 && withoutAxes(shape, []int{axis}).Len() > 0 {
		return e.Errorf(0, "axis %d has no elements to choose from", axis)
	}
	shape[axis] = 1
	if e.Node.Int("keepdims", 1) == 0 {
		shape = withoutAxes(shape, []int{axis})
	}
	y := e.New(tensor.Int64, shape)
	last := e.Node.Int("select_last_index", 0) != 0
	l, x := newLanes(t.Shape(), axis), widened(t)
	switch x.DType() {
	case tensor.Float32:
		argLanes[float32](e, l, y, x, better, last)
	case tensor.Float64:
		argLanes[float64](e, l, y, x, better, last)
	case tensor.Int64:
		argLanes[int64](e, l, y, x, better, last)
	case tensor.Uint64:
		argLanes[uint64](e, l, y, x, better, last)
	default:
		return e.Errorf(0, "elements of type %v are not served", t.DType())
	}
	e.SetOut(0, y)
	return nil
}

func argLanes[T float32 | float64 | int64 | uint64](e *Eval, l *lanes, y, x *tensor.Tensor, better func(int) bool, last bool) {
	foldLanes(e, l, tensor.Data[int64](y), tensor.Data[T](x), func(lane []T) int64 {
		best := 0
		for i := 1; i < len(lane); i++ {
			a, b := lane[i], lane[best]
			switch {
			case b != b: // NaN wins, as it does in NumPy
				if a != a && last {
					best = i
				}
			case a != a || a == b && last:
				best = i
			case a > b && better(1) || a < b && better(-1):
				best = i
			}
		}
		return int64(best)
	})
}
