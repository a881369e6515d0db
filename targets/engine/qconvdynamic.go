package engine

import (
	"math"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/kernel"
	"github.com/onnxpack/onnxpack/graph/op"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// dynamicConv is a convolution of an 8-bit tensor [N, C, H, W] or [N, C, W],
// whose zero point and scale are known when it runs, with constant integer
// filters. Its inputs are the tensor and its zero point, and if scaled is set
// the scale of the sums, one number or one for each filter:
//
//	y = ConvInteger(x, w, zero)
//	y = act(Cast(ConvInteger(x, w, zero)) * scale + bias)
//
// It works on an image, whose halo holds the zero point as padding does.
type dynamicConv struct {
	qconv
	dynamic
	axes int // of the tensor
	act  activation
}

func (c *dynamicConv) name() string { return "DynamicConv" }

func (c *dynamicConv) eval(e *op.Eval) error {
	t := e.Tensor(0)
	if t == nil || t.DType().Bits() != 8 || t.Rank() != c.axes || t.Shape()[1] != c.cin {
		return e.Errorf(0, "want 8-bit integers with %d axes and %d channels", c.axes, c.cin)
	}
	bias, err := c.zeroBias(e)
	if err != nil {
		return err
	}
	border := uint8(0)
	if z := e.Tensor(1); z != nil {
		border = z.Bytes()[0]
	}
	x, err := imageOf[uint8](interleave(e, t, c.in, border, kernel.TransposeBytes), c.in)
	if err != nil {
		return err
	}
	p, err := c.planFor(x.n, x.h, x.w)
	if err != nil {
		return e.Errorf(0, "%w", err)
	}
	typ, scale := tensor.Int32, []float32(nil)
	if c.scaled {
		typ = tensor.Float32
		if scale, err = c.columnScales(e); err != nil {
			return err
		}
	}
	y := e.New(typ, tensor.Shape{x.n, p.oh, p.ow, c.cout})
	c.run(e, p, x.data, func(prod *kernel.ProductI8, from int) {
		if bias != nil {
			prod.Bias = bias[from:]
		}
		if c.scaled {
			prod.Scale = scale[from:]
			prod.Out, prod.CF = kernel.OutF32, tensor.Data[float32](y)[from:]
		} else {
			prod.Out, prod.C32 = kernel.OutS32, tensor.Data[int32](y)[from:]
		}
	})
	return c.give(e, y)
}

// give sets the result to the image y, which holds 32-bit numbers.
func (c *dynamicConv) give(e *op.Eval, y *tensor.Tensor) error {
	moved, err := separate(e, y.Bitcast(tensor.Float32), c.axes, halo{}, transposer[float32](e.Kernels.Transpose))
	if err != nil {
		return err
	}
	if c.act.apply != nil {
		data := tensor.Data[float32](moved)
		e.Parallel(len(data), epilogueBlock, func(lo, hi int) { c.act.apply(e.Kernels, data[lo:hi], data[lo:hi]) })
	}
	e.SetOut(0, moved.Bitcast(y.DType()))
	return nil
}

// fuseDynamicConvs makes one operator of convolutions of integers with constant
// filters and of what makes floats of them:
//
//	q, xs, z = DynamicQuantizeLinear(x)  i = ConvInteger(q, w, z)
//	s = Mul(xs, ws)  c = Cast(i)  m = Mul(c, s)  a = Add(m, b)  y = Relu(a)
func (o *optimizer) fuseDynamicConvs() {
	for n := range o.graph.Nodes() {
		if !n.Is("ConvInteger") {
			continue
		}
		c := o.dynamicConv(n)
		if c == nil {
			o.note(n, "not packed: want constant filters of 8-bit integers, and one zero point of the other operand")
			continue
		}
		ins, nodes := []*graph.Value{n.In(0), n.In(2)}, []*graph.Node{n}
		var bias []float32
		if cast, mul, scale := o.scaleBehind(n, c); scale != nil {
			ins, nodes = append(ins, scale), append(nodes, cast, mul)
			c.scaled = true
			if add, b := o.biasBehind(mul, c); add != nil {
				bias, nodes = b, append(nodes, add)
			}
			if nx, i := next(nodes[len(nodes)-1]); nx != nil && i == 0 {
				if act, ok := o.activationOf(nx); ok {
					c.act, nodes = act, append(nodes, nx)
				}
			}
		}
		c.add, c.lo, c.hi = bias, float32(math.Inf(-1)), float32(math.Inf(1))
		if c.act.lo != 0 || c.act.hi != 0 {
			c.lo, c.hi = c.act.lo, c.act.hi
		}
		o.replace(o.insert(nodes[len(nodes)-1], c, n, ins...), nodes...)
	}
}

// dynamicConv returns the operator of a ConvInteger alone, nil if its filters
// cannot be packed.
func (o *optimizer) dynamicConv(n *graph.Node) *dynamicConv {
	x, t := n.In(0), o.constant(n.In(1))
	if t == nil || t.Rank() != 3 && t.Rank() != 4 || t.Len() == 0 || t.DType().Bits() != 8 || x.Type == nil || len(x.Type.Shape) != t.Rank() {
		return nil
	}
	if z := n.In(2); z != nil && (z.Type == nil || z.Type.Shape == nil || !isSingle(z.Type.Shape)) {
		return nil
	}
	zeros := []int64{0}
	if n.In(3) != nil {
		z := o.constant(n.In(3))
		if z == nil || z.Len() != 1 && (z.Rank() != 1 || z.Len() != t.Shape()[0]) {
			return nil
		}
		zeros = tensor.Int64s(z)
	}
	w := quantWeights{shape: t.Shape()}
	if !w.center(t, zeros, 0) {
		return nil
	}
	groups := int(n.Int("group", 1))
	win, err := windowOf(n, w.shape[2:]...)
	if err != nil || groups < 1 || w.shape[0]%groups != 0 {
		return nil
	}
	c := &dynamicConv{axes: t.Rank()}
	w.shape = withRows(w.shape)
	packed := newQConv(o.kernels, &o.memory, win, groups, w, quantized{typ: x.Type.Elem}, func(sums []int32) requantization {
		c.sums = sums
		return requantization{}
	})
	c.bias, c.scale = make([]int32, packed.cout), make([]float32, packed.cout)
	c.convGeometry.window, c.groups, c.cin, c.cout = packed.window, packed.groups, packed.cin, packed.cout
	c.integerWeights = packed.integerWeights
	c.in = win.border()
	return c
}

// scaleBehind returns the nodes that make floats of n's sums, and by what they
// multiply; nil if there are none.
func (o *optimizer) scaleBehind(n *graph.Node, c *dynamicConv) (cast, mul *graph.Node, scale *graph.Value) {
	cast, _ = next(n)
	if cast == nil || !cast.Is("Cast") || !o.isFloat32(cast.Out(0)) {
		return nil, nil, nil
	}
	mul, i := next(cast)
	if mul == nil || !mul.Is("Mul") || mul.Opset() < 7 || !o.isFloat32(mul.In(1-i)) || !c.perFilter(mul.In(1-i).Type.Shape) {
		return nil, nil, nil
	}
	return cast, mul, mul.In(1 - i)
}

// perFilter reports whether a tensor of the shape has one number for all
// filters, or one for each of them, and no more axes than the result.
func (c *dynamicConv) perFilter(s graph.Dims) bool {
	shape, ok := s.Static()
	if !ok || len(shape) > c.axes {
		return false
	}
	channel := len(shape) - (c.axes - 1)
	return shape.Len() == 1 || channel >= 0 && shape.Len() == c.cout && shape[channel] == c.cout
}

// biasBehind returns the node that adds a constant to n's result, and the number
// for each filter.
func (o *optimizer) biasBehind(n *graph.Node, c *dynamicConv) (*graph.Node, []float32) {
	add, i := next(n)
	if add == nil || !add.Is("Add") || add.Opset() < 7 {
		return nil, nil
	}
	t := o.constant(add.In(1 - i))
	if t == nil || t.DType() != tensor.Float32 || !c.perFilter(graph.DimsOf(t.Shape())) {
		return nil, nil
	}
	bias := make([]float32, c.cout)
	for j := range bias {
		bias[j] = tensor.Data[float32](t)[j%t.Len()]
	}
	return add, bias
}
