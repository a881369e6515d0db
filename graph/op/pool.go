package op

import (
	"fmt"
	"math"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/kernel"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// poolDefs holds pooling.
var poolDefs = []*Def{
	{
		Name: "MaxPool", Since: 1,
		Axes:  maxPoolAxes,
		Infer: inferMaxPool,
		Eval:  evalMaxPool,
		Quant: &Quant{Class: QuantPass, Weight: -1, Bias: -1},
		Cost:  poolCost,
	},
	{
		Name: "AveragePool", Since: 1,
		Axes:  channelsOnly,
		Infer: inferPool,
		Eval:  evalReal(0, evalAveragePool[float32], evalAveragePool[float64]),
		Quant: &Quant{Class: QuantUnary, Weight: -1, Bias: -1},
		Cost:  poolCost,
	},
	{
		Name: "LpPool", Since: 1,
		Axes:  channelsOnly,
		Infer: inferPool,
		Eval:  evalReal(0, evalLpPool[float32], evalLpPool[float64]),
		Cost:  poolCost,
	},
	{
		Name: "GlobalMaxPool", Since: 1,
		Axes:  channelsOnly,
		Infer: inferGlobalPool,
		Eval:  evalReal(0, evalGlobal(globalMax[float32]), evalGlobal(globalMax[float64])),
		Quant: &Quant{Class: QuantPass, Weight: -1, Bias: -1},
		Cost:  perInput(1),
	},
	{
		Name: "GlobalAveragePool", Since: 1,
		Axes:  channelsOnly,
		Infer: inferGlobalPool,
		Eval:  evalReal(0, evalGlobal(globalMean[float32]), evalGlobal(globalMean[float64])),
		Quant: &Quant{Class: QuantUnary, Weight: -1, Bias: -1},
		Cost:  perInput(1),
	},
	{
		Name: "GlobalLpPool", Since: 1,
		Axes:  channelsOnly,
		Infer: inferGlobalPool,
		Eval:  evalReal(0, evalGlobalLp[float32], evalGlobalLp[float64]),
		Cost:  perInput(1),
	},
	{
		Name: "MaxUnpool", Since: 9,
		Infer: inferMaxUnpool,
		Eval:  evalMaxUnpool,
		Cost:  perElement(0),
	},
	{
		Name: "MaxRoiPool", Since: 1,
		Axes:  sampleAxes,
		Infer: inferMaxRoiPool,
		Eval:  evalReal(0, evalMaxRoiPool[float32], evalMaxRoiPool[float64]),
		Cost:  perElement(4),
	},
	{
		Name: "RoiAlign", Since: 10,
		Axes:  sampleAxes,
		Infer: inferRoiAlign,
		Eval:  evalReal(0, evalRoiAlign[float32], evalRoiAlign[float64]),
		Cost:  perElement(32),
	},
}

// poolKernel returns attribute kernel_shape for an image of the given rank.
func poolKernel(c *Call, rank int) ([]int, error) {
	if rank < 3 {
		return nil, fmt.Errorf("image has %d axes, want 3 or more", rank)
	}
	list := c.Node.Ints("kernel_shape")
	if len(list) == 0 {
		list = c.Node.Ints("kernel") // LpPool and GlobalLpPool of version 1
	}
	if len(list) != rank-2 {
		return nil, fmt.Errorf("attribute kernel_shape has %d numbers, want %d", len(list), rank-2)
	}
	return positive(list, "kernel_shape")
}

// inferPool types the first result of a pool.
func inferPool(c *Infer) error {
	x := c.Shape(0)
	if x == nil {
		c.SetOut(0, c.Elem(0), nil)
		return nil
	}
	kernel, err := poolKernel(&c.Call, len(x))
	if err != nil {
		return c.Errorf(0, "%v", err)
	}
	spatial, err := slide(c, x[2:], kernel)
	if err != nil {
		return c.Errorf(0, "%v", err)
	}
	c.SetOut(0, c.Elem(0), append(graph.Dims{x[0], x[1]}, spatial...))
	return nil
}

func inferMaxPool(c *Infer) error {
	if err := inferPool(c); err != nil {
		return err
	}
	c.SetOut(1, tensor.Int64, c.Out[0].Shape)
	return nil
}

func poolCost(c *Infer) Cost {
	taps := int64(1)
	for _, k := range c.Node.Ints("kernel_shape") {
		taps *= k
	}
	return perElement(taps)(c)
}

// pooling is a call of a pool: planes of an image, each reduced by a window.
type pooling struct {
	*window
	planes int
	shape  tensor.Shape // of the result
}

func newPooling(e *Eval) (*pooling, error) {
	p, err := poolingOf(&e.Call, e.Tensor(0).Shape())
	if err != nil {
		return nil, e.Errorf(0, "%w", err)
	}
	return p, nil
}

// poolingOf is the pool of an image of shape s that the attributes of a call
// describe.
func poolingOf(c *Call, s tensor.Shape) (*pooling, error) {
	kernel, err := poolKernel(c, len(s))
	if err != nil {
		return nil, err
	}
	w, err := newWindow(c, kernel)
	if err != nil {
		return nil, err
	}
	if err := w.fit(s[2:]); err != nil {
		return nil, err
	}
	return &pooling{w, s[0] * s[1], append(tensor.Shape{s[0], s[1]}, w.Out...)}, nil
}

// each runs f for every plane of the image, in parallel: in is where its
// input starts, out its result.
func (p *pooling) each(e *Eval, f func(in, out int)) {
	pixels, plane := p.pixels(), p.plane()
	e.Parallel(p.planes, max(1, 1<<15/max(1, pixels*p.taps())), func(lo, hi int) {
		for u := lo; u < hi; u++ {
			f(u*plane, u*pixels)
		}
	})
}

// poolable is a type whose greatest element a MaxPool may ask for.
type poolable interface {
	float32 | float64 | int8 | uint8
}

func evalMaxPool(e *Eval) error {
	p, err := newPooling(e)
	if err != nil {
		return err
	}
	x := e.Tensor(0)
	var index []int64
	if e.Wants(1) {
		t := e.New(tensor.Int64, p.shape)
		index = tensor.Data[int64](t)
		e.SetOut(1, t)
	}
	switch d := x.DType(); d {
	case tensor.Int8:
		y := e.New(d, p.shape)
		e.SetOut(0, y)
		maxPool(e, p, tensor.Data[int8](y), tensor.Data[int8](x), math.MinInt8, index)
		return nil
	case tensor.Uint8:
		y := e.New(d, p.shape)
		e.SetOut(0, y)
		maxPool(e, p, tensor.Data[uint8](y), tensor.Data[uint8](x), 0, index)
		return nil
	case tensor.Float64:
		y := newResult[float64](e, d, p.shape)
		maxPool(e, p, y.Data, tensor.Float64s(x), math.Inf(-1), index)
		return setReal(e, 0, y)
	default:
		y, least := newResult[float32](e, d, p.shape), float32(math.Inf(-1))
		if index == nil && p.separable() {
			p.rowsFirst(e, y.Data, tensor.Float32s(x), e.kernels().Max, least)
		} else {
			maxPool(e, p, y.Data, tensor.Float32s(x), least, index)
		}
		return setReal(e, 0, y)
	}
}

// maxPool reduces each window to its greatest element. With index it also
// states where in x the first such element lies; storage_order 1 counts the
// places of a plane column by column.
func maxPool[T poolable](e *Eval, p *pooling, y, x []T, least T, index []int64) {
	runs, step := p.allRuns(), p.step()
	pixels, plane := p.pixels(), p.plane()
	columns := e.Node.Int("storage_order", 0) == 1
	p.each(e, func(in, out int) {
		dst, src := y[out:out+pixels], x[in:in+plane]
		fillWith(dst, least)
		if index == nil {
			for _, list := range runs {
				maxRuns(dst, src, list, step)
			}
			return
		}
		places := index[out : out+pixels]
		fillWith(places, -1)
		for _, list := range runs {
			maxRunsIndexed(dst, places, src, list, step)
		}
		for i, v := range places {
			if columns {
				v = columnMajor(v, p.In)
			}
			places[i] = v + int64(in)
		}
	})
}

func maxRuns[T poolable](dst, src []T, list []run, step int) {
	for _, r := range list {
		out, in := dst[r.Out:r.Out+r.N], src[r.In:]
		for i, v := range out {
			out[i] = max(v, in[i*step])
		}
	}
}

func maxRunsIndexed[T poolable](dst []T, places []int64, src []T, list []run, step int) {
	for _, r := range list {
		for i := range r.N {
			at := r.In + i*step
			if v := src[at]; v > dst[r.Out+i] || places[r.Out+i] < 0 {
				dst[r.Out+i], places[r.Out+i] = v, int64(at)
			}
		}
	}
}

// columnMajor turns a row-major place in a plane into a column-major one.
func columnMajor(at int64, shape []int) int64 {
	out, scale := int64(0), int64(volume(shape))
	for a := len(shape) - 1; a >= 0; a-- {
		n := int64(shape[a])
		scale /= n
		out += at % n * scale
		at /= n
	}
	return out
}

// counts returns how many positions each window covers: those of the input,
// and those of the padding too if padded is set. Positions beyond the
// padding, where ceil_mode lets a window hang over, never count.
func (w *window) counts(padded bool) []int32 {
	n := make([]int32, w.pixels())
	at := make([]int, len(w.Out))
	for p := range n {
		unravel(at, p, w.Out)
		n[p] = 1
		for i, o := range at {
			n[p] *= int32(w.covered(i, o, padded))
		}
	}
	return n
}

// covered counts the taps of position o along one axis that count.
func (w *window) covered(axis, o int, padded bool) int {
	lo, hi := 0, w.In[axis]
	if padded {
		lo, hi = -w.Begin[axis], hi+w.End[axis]
	}
	n := 0
	for t := range w.Kernel[axis] {
		if at := o*w.Stride[axis] + t*w.Dilation[axis] - w.Begin[axis]; at >= lo && at < hi {
			n++
		}
	}
	return n
}

func evalAveragePool[T real](e *Eval) error {
	p, err := newPooling(e)
	if err != nil {
		return err
	}
	x := realsOf[T](e, 0)
	y := newResult[T](e, e.Tensor(0).DType(), p.shape)
	counts := p.counts(e.Node.Int("count_include_pad", 0) != 0)
	if src, ok := any(x).([]float32); ok && p.separable() {
		dst := any(y.Data).([]float32)
		if p.wholePlane() {
			for i := range dst {
				dst[i] = globalMean(e.kernels(), src[i*p.plane():][:p.plane()])
			}
			return setReal(e, 0, y)
		}
		p.rowsFirst(e, dst, src, e.kernels().Add, 0)
		for i := range dst {
			dst[i] /= float32(max(counts[i%len(counts)], 1))
		}
		return setReal(e, 0, y)
	}
	runs, step, pixels, plane := p.allRuns(), p.step(), p.pixels(), p.plane()
	p.each(e, func(in, out int) {
		dst := y.Data[out : out+pixels]
		clear(dst)
		for _, list := range runs {
			sumRuns(dst, x[in:in+plane], list, step)
		}
		for i, n := range counts {
			dst[i] /= T(max(n, 1))
		}
	})
	return setReal(e, 0, y)
}

func sumRuns[T real](dst, src []T, list []run, step int) {
	for _, r := range list {
		out, in := dst[r.Out:r.Out+r.N], src[r.In:]
		for i := range out {
			out[i] += in[i*step]
		}
	}
}

// normOrder reads attribute p of the Lp pools, a float in version 1.
func normOrder(c *Call) float64 {
	if a := c.Node.Attr("p"); a != nil && a.Kind == graph.AttrFloat {
		return float64(c.Node.Float("p", 2))
	}
	return float64(c.Node.Int("p", 2))
}

// lp adds |x|^p to its sums and takes the root of order p at the end.
type lp[T real] struct{ p float64 }

func (l lp[T]) term(x T) T {
	a := math.Abs(float64(x))
	switch l.p {
	case 1:
		return T(a)
	case 2:
		return T(a * a)
	}
	return T(math.Pow(a, l.p))
}

func (l lp[T]) root(sum T) T {
	switch l.p {
	case 1:
		return sum
	case 2:
		return T(math.Sqrt(float64(sum)))
	}
	return T(math.Pow(float64(sum), 1/l.p))
}

func evalLpPool[T real](e *Eval) error {
	p, err := newPooling(e)
	if err != nil {
		return err
	}
	norm := lp[T]{normOrder(&e.Call)}
	x := realsOf[T](e, 0)
	powers := make([]T, len(x))
	for i, v := range x {
		powers[i] = norm.term(v)
	}
	y := newResult[T](e, e.Tensor(0).DType(), p.shape)
	runs, step, pixels, plane := p.allRuns(), p.step(), p.pixels(), p.plane()
	p.each(e, func(in, out int) {
		dst := y.Data[out : out+pixels]
		clear(dst)
		for _, list := range runs {
			sumRuns(dst, powers[in:in+plane], list, step)
		}
		for i, v := range dst {
			dst[i] = norm.root(v)
		}
	})
	return setReal(e, 0, y)
}

// inferGlobalPool types a pool over the whole image: all spatial axes become 1.
func inferGlobalPool(c *Infer) error {
	x := c.Shape(0)
	if x == nil {
		c.SetOut(0, c.Elem(0), nil)
		return nil
	}
	if len(x) < 2 {
		return c.Errorf(0, "image has %d axes, want 2 or more", len(x))
	}
	out := graph.Dims{x[0], x[1]}
	for range x[2:] {
		out = append(out, graph.Known(1))
	}
	c.SetOut(0, c.Elem(0), out)
	return nil
}

// evalGlobal makes a rule that reduces each plane of an image with f.
func evalGlobal[T real](f func(k *kernel.Table, plane []T) T) func(*Eval) error {
	return func(e *Eval) error {
		s := e.Tensor(0).Shape()
		if len(s) < 2 {
			return e.Errorf(0, "image has %d axes, want 2 or more", len(s))
		}
		out := append(tensor.Shape{}, s...)
		fillWith(out[2:], 1)
		x := realsOf[T](e, 0)
		y := newResult[T](e, e.Tensor(0).DType(), out)
		plane := volume(s[2:])
		e.Parallel(len(y.Data), max(1, 1<<15/max(1, plane)), func(lo, hi int) {
			for i := lo; i < hi; i++ {
				y.Data[i] = f(e.kernels(), x[i*plane:][:plane])
			}
		})
		return setReal(e, 0, y)
	}
}

func globalMax[T real](k *kernel.Table, plane []T) T {
	if f, ok := any(plane).([]float32); ok {
		return T(k.RowMax(f))
	}
	m := T(math.Inf(-1))
	for _, v := range plane {
		m = max(m, v)
	}
	return m
}

func globalMean[T real](k *kernel.Table, plane []T) T {
	if f, ok := any(plane).([]float32); ok {
		return T(k.Sum(f) / float32(len(f)))
	}
	sum := 0.0
	for _, v := range plane {
		sum += float64(v)
	}
	return T(sum / float64(len(plane)))
}

func evalGlobalLp[T real](e *Eval) error {
	norm := lp[T]{normOrder(&e.Call)}
	return evalGlobal(func(_ *kernel.Table, plane []T) T {
		sum := T(0)
		for _, v := range plane {
			sum += norm.term(v)
		}
		return norm.root(sum)
	})(e)
}
