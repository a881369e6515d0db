package op

import (
	"fmt"
	"math"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/kernel"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// quantizationDefs holds conversions to and from quantized tensors, and
// products of them.
var quantizationDefs = []*Def{
	{
		Name: "QuantizeLinear", Since: 10,
		Axes:  quantizeAxes,
		Infer: inferQuantize,
		Eval:  evalQuantize,
		Cost:  perElement(2),
	},
	{
		Name: "DequantizeLinear", Since: 10,
		Axes:  quantizeAxes,
		Infer: inferDequantize,
		Eval:  evalDequantize,
		Cost:  perElement(2),
	},
	{
		Name: "DynamicQuantizeLinear", Since: 11,
		Infer: inferDynamicQuantize,
		Eval:  evalDynamicQuantize,
		Cost:  perElement(4),
	},
	{
		Name: "MatMulInteger", Since: 10,
		Axes:  productAxes(1, 3),
		Infer: func(c *Infer) error { return inferIntegerProduct(c, 1, tensor.Int32) },
		Eval:  evalMatMulInteger,
		Cost:  func(c *Infer) Cost { return productCost(c, 0) },
	},
	{
		Name: "QLinearMatMul", Since: 10,
		Axes:  productAxes(3, 4, 5),
		Infer: func(c *Infer) error { return inferIntegerProduct(c, 3, c.Elem(7)) },
		Eval:  evalQLinearMatMul,
		Cost:  func(c *Infer) Cost { return productCost(c, 0) },
	},
}

func inferQuantize(c *Infer) error {
	elem := tensor.Uint8
	if d := tensor.DType(c.Node.Int("output_dtype", 0)); d != tensor.Undefined {
		elem = d
	}
	if c.Has(2) {
		elem = c.Elem(2)
	}
	c.SetOut(0, elem, c.Shape(0))
	return nil
}

func inferDequantize(c *Infer) error {
	elem := c.Elem(1)
	if d := tensor.DType(c.Node.Int("output_dtype", 0)); d != tensor.Undefined {
		elem = d
	}
	c.SetOut(0, elem, c.Shape(0))
	return nil
}

// granules says which scale each element of a tensor has. The tensor is seen
// as [outer, n, inner] around the quantization axis; the scales as one, as
// [n], or as [outer, n/block, inner].
type granules struct {
	outer, n, inner int
	block           int // 0 unless in blocks
	one             bool
}

// newGranules reads the shape of the scales (input 1) of the tensor that is
// input 0, and checks that zero points (input 2) have the same.
func newGranules(e *Eval) (granules, error) {
	x, scale := e.Tensor(0).Shape(), e.Tensor(1)
	if z := e.Tensor(2); z != nil && z.Len() != scale.Len() {
		return granules{}, e.Errorf(2, "want a zero point for each of %d scales", scale.Len())
	}
	if scale.Len() == 1 && e.Node.Int("block_size", 0) == 0 {
		return granules{outer: 1, n: 1, inner: x.Len(), one: true}, nil
	}
	axis, err := tensor.Axis(int(e.Node.Int("axis", 1)), max(len(x), 1))
	if err != nil {
		if len(x) != 1 {
			return granules{}, e.Errorf(0, "%w", err)
		}
		axis = 0
	}
	if len(x) == 0 {
		return granules{}, e.Errorf(1, "want one scale for a scalar")
	}
	g := granules{outer: volume(x[:axis]), n: x[axis], inner: volume(x[axis+1:])}
	if block := int(e.Node.Int("block_size", 0)); block > 0 {
		want := x.Clone()
		want[axis] = ceilDiv(g.n, block)
		if !scale.Shape().Equal(want) {
			return granules{}, e.Errorf(1, "scales have another shape, want %v for blocks of %d", want, block)
		}
		g.block = block
		return g, nil
	}
	if scale.Len() != g.n {
		return granules{}, e.Errorf(1, "want one scale or %d, one for each index of axis %d", g.n, axis)
	}
	return g, nil
}

// each runs f for stretches of elements [at, at+n). Their scales are scale
// number s, or s, s+1, … one for each if vary is set.
func (g granules) each(e *Eval, f func(at, n, s int, vary bool)) {
	if g.one {
		e.Parallel(g.inner, grain, func(lo, hi int) { f(lo, hi-lo, 0, false) })
		return
	}
	blocks := 0
	if g.block > 0 {
		blocks = ceilDiv(g.n, g.block)
	}
	e.Parallel(g.outer*g.n, max(1, grain/max(1, g.inner)), func(lo, hi int) {
		for r := lo; r < hi; r++ {
			if g.block == 0 {
				f(r*g.inner, g.inner, r%g.n, false)
				continue
			}
			f(r*g.inner, g.inner, (r/g.n*blocks+r%g.n/g.block)*g.inner, true)
		}
	})
}

// quantizedType returns the element type of a QuantizeLinear's result.
func quantizedType(e *Eval) (tensor.DType, error) {
	d := tensor.DType(e.Node.Int("output_dtype", 0))
	if z := e.Tensor(2); z != nil {
		if d != tensor.Undefined && d != z.DType() {
			return d, e.Errorf(2, "zero point is not of output_dtype %v", d)
		}
		return z.DType(), nil
	}
	if d == tensor.Undefined {
		return tensor.Uint8, nil
	}
	if !d.Valid() {
		return d, fmt.Errorf("attribute output_dtype is %v, want an element type", d)
	}
	return d, nil
}

// evalQuantize computes QuantizeLinear: saturate(round(x/scale) + zero).
func evalQuantize(e *Eval) error {
	d, err := quantizedType(e)
	if err != nil {
		return err
	}
	g, err := newGranules(e)
	if err != nil {
		return err
	}
	x, scale := tensor.Float32s(e.Tensor(0)), tensor.Float32s(e.Tensor(1))
	shape := e.Tensor(0).Shape()
	precision := tensor.DType(e.Node.Int("precision", 0))
	if precision == tensor.Undefined {
		precision = e.Tensor(1).DType()
	}
	if g.block == 0 && precision == tensor.Float32 && (d == tensor.Uint8 || d == tensor.Int8) {
		quantizeBytes(e, g, d, x, scale)
		return nil
	}
	if precision == tensor.Float16 || precision == tensor.BFloat16 {
		x = tensor.Float32s(tensor.FromFloat32s(precision, shape, x))
	}
	ratio := make([]float32, len(x))
	g.each(e, func(at, n, s int, vary bool) {
		for i := range n {
			ratio[at+i] = x[at+i] / scale[s]
			if vary {
				s++
			}
		}
	})
	if precision == tensor.Float16 || precision == tensor.BFloat16 {
		ratio = tensor.Float32s(tensor.FromFloat32s(precision, shape, ratio))
	}
	if d.IsFloat() {
		y := e.New(d, shape)
		e.SetOut(0, y)
		return tensor.ConvertTo(y, tensor.Of(shape, ratio), e.Node.Int("saturate", 1) != 0, tensor.RoundUp)
	}
	e.SetOut(0, quantizeInts(e, g, d, ratio))
	return nil
}

// quantizeBytes quantizes to eight bits through the kernels.
func quantizeBytes(e *Eval, g granules, d tensor.DType, x, scale []float32) {
	y := e.New(d, e.Tensor(0).Shape())
	e.SetOut(0, y)
	k := e.kernels()
	if d == tensor.Int8 {
		zero := zeroPoints[int8](e, len(scale))
		out := tensor.Data[int8](y)
		g.each(e, func(at, n, s int, _ bool) { k.QuantizeS8(out[at:at+n], x[at:at+n], scale[s], zero[s]) })
		return
	}
	zero := zeroPoints[uint8](e, len(scale))
	out := tensor.Data[uint8](y)
	g.each(e, func(at, n, s int, _ bool) { k.QuantizeU8(out[at:at+n], x[at:at+n], scale[s], zero[s]) })
}

// zeroPoints returns the bytes of input 2, or n zeros.
func zeroPoints[T int8 | uint8](e *Eval, n int) []T {
	if z := e.Tensor(2); z != nil {
		return tensor.Data[T](z)
	}
	return make([]T, n)
}

// quantizeInts rounds ratios and adds their zero points, saturating to d.
func quantizeInts(e *Eval, g granules, d tensor.DType, ratio []float32) *tensor.Tensor {
	lo, hi := integerRange(d)
	zero := []int64{}
	if z := e.Tensor(2); z != nil {
		zero = tensor.Int64s(z)
	}
	q := make([]int64, len(ratio))
	g.each(e, func(at, n, s int, vary bool) {
		for i := range n {
			v := math.RoundToEven(float64(ratio[at+i]))
			if len(zero) > 0 {
				v += float64(zero[s])
			}
			if vary {
				s++
			}
			if v != v {
				v = lo
			}
			q[at+i] = int64(min(max(v, lo), hi))
		}
	})
	return tensor.FromInt64s(d, e.Tensor(0).Shape(), q)
}

// integerRange returns the least and the greatest value of an integer type.
func integerRange(d tensor.DType) (lo, hi float64) {
	top := math.Ldexp(1, d.Bits())
	if d.IsSigned() {
		return -top / 2, top/2 - 1
	}
	return 0, top - 1
}

// evalDequantize computes DequantizeLinear: (x - zero) * scale.
func evalDequantize(e *Eval) error {
	g, err := newGranules(e)
	if err != nil {
		return err
	}
	x, z := e.Tensor(0), e.Tensor(2)
	if z != nil && z.DType() != x.DType() {
		return e.Errorf(2, "zero point is not of type %v", x.DType())
	}
	scale := tensor.Float32s(e.Tensor(1))
	d := e.Tensor(1).DType()
	if out := tensor.DType(e.Node.Int("output_dtype", 0)); out != tensor.Undefined {
		d = out
	}
	y := newResult[float32](e, d, x.Shape())
	if g.block == 0 && (x.DType() == tensor.Uint8 || x.DType() == tensor.Int8) {
		dequantizeBytes(e, g, y.Data, scale)
		return setReal(e, 0, y)
	}
	var zero []float32
	if z != nil && z.DType().IsInteger() {
		zero = tensor.Float32s(z)
	}
	in := tensor.Float32s(x)
	if x.DType() == tensor.Int32 && zero != nil {
		in, zero = centeredFloats(e, g), nil
	}
	g.each(e, func(at, n, s int, vary bool) {
		for i := range n {
			y.Data[at+i] = (in[at+i] - valueOr(zero, s)) * scale[s]
			if vary {
				s++
			}
		}
	})
	return setReal(e, 0, y)
}

// centeredFloats subtracts int32 zero points before it rounds to float32.
func centeredFloats(e *Eval, g granules) []float32 {
	x, zero := tensor.Int64s(e.Tensor(0)), tensor.Int64s(e.Tensor(2))
	out := make([]float32, len(x))
	g.each(e, func(at, n, s int, vary bool) {
		for i := range n {
			out[at+i] = float32(x[at+i] - zero[s])
			if vary {
				s++
			}
		}
	})
	return out
}

// dequantizeBytes dequantizes from eight bits through the kernels.
func dequantizeBytes(e *Eval, g granules, y, scale []float32) {
	k := e.kernels()
	if x := e.Tensor(0); x.DType() == tensor.Int8 {
		in, zero := tensor.Data[int8](x), zeroPoints[int8](e, len(scale))
		g.each(e, func(at, n, s int, _ bool) { k.DequantizeS8(y[at:at+n], in[at:at+n], scale[s], zero[s]) })
	} else {
		in, zero := tensor.Data[uint8](x), zeroPoints[uint8](e, len(scale))
		g.each(e, func(at, n, s int, _ bool) { k.DequantizeU8(y[at:at+n], in[at:at+n], scale[s], zero[s]) })
	}
}

func inferDynamicQuantize(c *Infer) error {
	c.SetOut(0, tensor.Uint8, c.Shape(0))
	c.SetOut(1, tensor.Float32, graph.Dims{})
	c.SetOut(2, tensor.Uint8, graph.Dims{})
	return nil
}

// evalDynamicQuantize quantizes to uint8 over the range of the elements, zero
// included, and gives the scale and zero point too.
func evalDynamicQuantize(e *Eval) error {
	x := tensor.Float32s(e.Tensor(0))
	k := e.kernels()
	scale, zero := dynamicScale(k, x)
	y := e.New(tensor.Uint8, e.Tensor(0).Shape())
	out := tensor.Data[uint8](y)
	e.Parallel(len(x), grain, func(lo, hi int) { k.QuantizeU8(out[lo:hi], x[lo:hi], scale, zero) })
	e.SetOut(0, y)
	e.SetOut(1, tensor.Scalar(scale))
	e.SetOut(2, tensor.Scalar(zero))
	return nil
}

// dynamicScale returns the scale and zero point with which uint8 covers the
// given elements and zero.
func dynamicScale(k *kernel.Table, x []float32) (scale float32, zero uint8) {
	lo, hi := min(0, k.RowMin(x)), max(0, k.RowMax(x))
	if hi == lo {
		return 1.0 / 255, 0
	}
	scale = (hi - lo) / 255
	z := math.RoundToEven(float64(min(max(-lo/scale, 0), 255)))
	return scale, uint8(z)
}

// inferIntegerProduct types a matrix product of inputs 0 and b.
func inferIntegerProduct(c *Infer, b int, elem tensor.DType) error {
	x, y := c.Shape(0), c.Shape(b)
	if x == nil || y == nil {
		c.SetOut(0, elem, nil)
		return nil
	}
	out, err := matMulDims(x, y)
	if err != nil {
		return c.Errorf(0, "%w", err)
	}
	c.SetOut(0, elem, out)
	return nil
}

// productCost counts the multiply-accumulates of a matrix product whose left
// operand is input a: the depth for each element of the result.
func productCost(c *Infer, a int) Cost {
	x := c.Shape(a)
	y, ok := outShape(c, 0)
	if !ok || len(x) == 0 || !x[len(x)-1].IsKnown() {
		return Cost{}
	}
	return matrixCost(c, int64(y.Len())*int64(x[len(x)-1].Size))
}

// integerProduct multiplies two stacks of matrices of centered integers.
func integerProduct(e *Eval, a []int32, as tensor.Shape, b []int32, bs tensor.Shape) ([]int32, matShape, error) {
	s, err := matMulShape(as, bs)
	if err != nil {
		return nil, s, e.Errorf(0, "%w", err)
	}
	out := tensor.New(tensor.Int32, s.out)
	stackedProduct[int32](e, s, out, tensor.Of(as, a), tensor.Of(bs, b))
	return tensor.Data[int32](out), s, nil
}

// evalMatMulInteger computes MatMulInteger: the zero points are those of a's
// rows and of b's columns, or one each.
func evalMatMulInteger(e *Eval) error {
	a, err := centered(e, 0, 2, -2)
	if err != nil {
		return err
	}
	b, err := centered(e, 1, 3, -1)
	if err != nil {
		return err
	}
	y, s, err := integerProduct(e, a, e.Tensor(0).Shape(), b, e.Tensor(1).Shape())
	if err != nil {
		return err
	}
	e.SetOut(0, tensor.Of(s.out, y))
	return nil
}

// evalQLinearMatMul computes QLinearMatMul: a, its scale and zero point (one,
// or one per row), b likewise (per column), and scale and zero point of y.
func evalQLinearMatMul(e *Eval) error {
	a, err := centered(e, 0, 2, -2)
	if err != nil {
		return err
	}
	b, err := centered(e, 3, 5, -1)
	if err != nil {
		return err
	}
	sums, s, err := integerProduct(e, a, e.Tensor(0).Shape(), b, e.Tensor(3).Shape())
	if err != nil {
		return err
	}
	n, m := s.b[len(s.b)-1], s.a[len(s.a)-2]
	sa, sb, sy := tensor.Float32s(e.Tensor(1)), tensor.Float32s(e.Tensor(4)), tensor.Float32s(e.Tensor(6))
	if len(sa) != 1 && len(sa) != m {
		return e.Errorf(1, "want one scale or %d, one for each row", m)
	}
	if len(sb) != 1 && len(sb) != n {
		return e.Errorf(4, "want one scale or %d, one for each column", n)
	}
	if len(sy) != 1 {
		return e.Errorf(6, "want one scale")
	}
	z := e.Tensor(7)
	zero := float64(int32s(z)[0])
	lo, hi := integerRange(z.DType())
	q := make([]int64, len(sums))
	e.Parallel(len(sums), grain, func(from, to int) {
		for i := from; i < to; i++ {
			scale := sa[i/n%m%len(sa)] * sb[i%n%len(sb)] / sy[0]
			v := math.RoundToEven(float64(float32(sums[i])*scale)) + zero
			q[i] = int64(min(max(v, lo), hi))
		}
	})
	e.SetOut(0, tensor.FromInt64s(z.DType(), s.out, q))
	return nil
}
