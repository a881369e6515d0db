package op

import (
	"fmt"
	"math"
	"slices"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// microsoft is the domain of ONNX Runtime's own operators, as its
// docs/ContribOperators.md describes them.
const microsoft = "com.microsoft"

// msQuantDefs holds quantized operators of com.microsoft.
var msQuantDefs = []*Def{
	{Domain: microsoft, Name: "QuantizeLinear", Since: 1, Axes: quantizeAxes, Infer: inferQuantize, Eval: evalQuantize, Cost: perElement(2)},
	{Domain: microsoft, Name: "DequantizeLinear", Since: 1, Axes: quantizeAxes, Infer: inferDequantize, Eval: evalDequantize, Cost: perElement(2)},
	{Domain: microsoft, Name: "QLinearAdd", Since: 1, Axes: qElementwiseAxes, Infer: inferQLinearBinary, Eval: evalQLinearAdd, Cost: perElement(4)},
	{Domain: microsoft, Name: "QLinearMul", Since: 1, Axes: qElementwiseAxes, Infer: inferQLinearBinary, Eval: evalQLinearMul, Cost: perElement(4)},
	{Domain: microsoft, Name: "QLinearSigmoid", Since: 1, Axes: axesFirst, Infer: inferSame, Eval: qLinearUnary(func(*graph.Node) func(float64) float64 { return logistic }), Cost: perElement(1)},
	{Domain: microsoft, Name: "QLinearLeakyRelu", Since: 1, Axes: axesFirst, Infer: inferSame, Eval: qLinearUnary(leakyReluOf), Cost: perElement(1)},
	{Domain: microsoft, Name: "QLinearSoftmax", Since: 1, Infer: inferSame, Eval: evalQLinearSoftmax, Cost: perElement(6)},
	{Domain: microsoft, Name: "QLinearGlobalAveragePool", Since: 1, Infer: inferQLinearGlobalPool, Eval: evalQLinearGlobalPool, Cost: perInput(1)},
	{Domain: microsoft, Name: "QLinearAveragePool", Since: 1, Infer: inferQLinearPool, Eval: evalQLinearPool, Cost: poolCost},
	{Domain: microsoft, Name: "QLinearConcat", Since: 1, Infer: inferQLinearConcat, Eval: evalQLinearConcat, Cost: (*Infer).traffic},
	{Domain: microsoft, Name: "QGemm", Since: 1, Axes: qGemmAxes, Infer: inferQGemm, Eval: evalQGemm, Cost: func(c *Infer) Cost { return productCost(c, 0) }},
	{Domain: microsoft, Name: "DynamicQuantizeMatMul", Since: 1, Infer: inferMatMulOf(0, 1), Eval: evalDynamicQuantizeMatMul, Cost: func(c *Infer) Cost { return productCost(c, 0) }},
	{Domain: microsoft, Name: "MatMulIntegerToFloat", Since: 1, Axes: productAxes(1, 3, 5, 6), Infer: inferMatMulOf(2, 1), Eval: evalMatMulIntegerToFloat, Cost: func(c *Infer) Cost { return productCost(c, 0) }},
	{Domain: microsoft, Name: "MatMulNBits", Since: 1, Axes: nBitsAxes, Infer: inferMatMulNBits, Eval: evalMatMulNBits, Cost: func(c *Infer) Cost { return productCost(c, 0) }},
	{Domain: microsoft, Name: "GatherBlockQuantized", Since: 1, Infer: inferGatherBlock, Eval: evalGatherBlock, Cost: perElement(2)},
}

// nested runs the rule of another operator over other inputs, with the
// attributes of the call, and returns its first result.
func nested(e *Eval, eval func(*Eval) error, version int64, in ...*tensor.Tensor) (*tensor.Tensor, error) {
	inner := *e
	inner.Version = version
	inner.In, inner.Out = make([]tensor.Value, len(in)), make([]tensor.Value, 1)
	for i, t := range in {
		if t != nil {
			inner.In[i] = t
		}
	}
	if err := eval(&inner); err != nil {
		return nil, err
	}
	return inner.Out[0].(*tensor.Tensor), nil
}

// affine is the scale and zero point of a whole tensor.
type affine struct {
	scale float32
	zero  int32
}

// readAffine reads a scale and a zero point, which may be omitted.
func readAffine(e *Eval, scale, zero int) (affine, error) {
	s := e.Tensor(scale)
	if s == nil || s.Len() != 1 {
		return affine{}, e.Errorf(scale, "want one scale")
	}
	a := affine{scale: tensor.Float32s(s)[0]}
	if z := e.Tensor(zero); z != nil {
		if z.Len() != 1 {
			return affine{}, e.Errorf(zero, "want one zero point")
		}
		a.zero = int32s(z)[0]
	}
	return a, nil
}

// dequantized returns input x, whose scale and zero point are inputs too, in
// float32.
func dequantized(e *Eval, x, scale, zero int) (*tensor.Tensor, error) {
	a, err := readAffine(e, scale, zero)
	if err != nil {
		return nil, err
	}
	t := e.Tensor(x)
	y := tensor.New(tensor.Float32, t.Shape())
	out := tensor.Data[float32](y)
	for i, q := range int32s(t) {
		out[i] = float32(q-a.zero) * a.scale
	}
	return y, nil
}

// setQuantized hands over a float32 result in type d, quantized with a scale
// and a zero point that are inputs.
func setQuantized(e *Eval, y *tensor.Tensor, d tensor.DType, scale, zero int) error {
	a, err := readAffine(e, scale, zero)
	if err != nil {
		return err
	}
	e.SetOut(0, quantizedAs(d, y.Shape(), tensor.Data[float32](y), a))
	return nil
}

func quantizedAs(d tensor.DType, s tensor.Shape, x []float32, a affine) *tensor.Tensor {
	lo, hi := integerRange(d)
	q := make([]int64, len(x))
	for i, v := range x {
		r := math.RoundToEven(float64(v/a.scale)) + float64(a.zero)
		if r != r {
			r = lo
		}
		q[i] = int64(min(max(r, lo), hi))
	}
	return tensor.FromInt64s(d, s, q)
}

// inferQLinearBinary types an operator over A and B, inputs 0 and 3, that
// broadcast to each other.
func inferQLinearBinary(c *Infer) error {
	if c.Shape(0) == nil || c.Shape(3) == nil {
		c.SetOut(0, c.Elem(0), nil)
		return nil
	}
	s, err := broadcastDims(c.Shape(0), c.Shape(3))
	if err != nil {
		return c.Errorf(0, "%w", err)
	}
	c.SetOut(0, c.Elem(0), s)
	return nil
}

func evalQLinearAdd(e *Eval) error {
	return qLinearBinary(e, func(a, b float32) float32 { return a + b })
}

func evalQLinearMul(e *Eval) error {
	return qLinearBinary(e, func(a, b float32) float32 { return a * b })
}

func qLinearBinary(e *Eval, f func(a, b float32) float32) error {
	a, err := dequantized(e, 0, 1, 2)
	if err != nil {
		return err
	}
	b, err := dequantized(e, 3, 4, 5)
	if err != nil {
		return err
	}
	shape, err := tensor.Broadcast(a.Shape(), b.Shape())
	if err != nil {
		return e.Errorf(0, "%w", err)
	}
	y := tensor.New(tensor.Float32, shape)
	zip(e, newBroadcast(shape, a.Shape(), b.Shape()), y, a, b, f)
	return setQuantized(e, y, e.Tensor(0).DType(), 6, 7)
}

func leakyReluOf(n *graph.Node) func(float64) float64 {
	return leakyRelu(n, 0).f64
}

// qLinearUnary makes the rule of an operator over one tensor of bytes: X, its
// scale and zero point, and those of Y. A table holds f of each byte.
func qLinearUnary(f func(*graph.Node) func(float64) float64) func(*Eval) error {
	return func(e *Eval) error {
		x := e.Tensor(0)
		in, err := readAffine(e, 1, 2)
		if err != nil {
			return err
		}
		out, err := readAffine(e, 3, 4)
		if err != nil {
			return err
		}
		codes := make([]uint8, 256)
		for i := range codes {
			codes[i] = uint8(i)
		}
		g := f(e.Node)
		values := make([]float32, 256)
		for i, q := range int32s(tensor.Of(tensor.Shape{256}, codes).Bitcast(x.DType())) {
			values[i] = float32(g(float64(float32(q-in.zero) * in.scale)))
		}
		table := quantizedAs(x.DType(), tensor.Shape{256}, values, out).Bytes()
		y := e.New(x.DType(), x.Shape())
		src, dst := x.Bytes(), y.Bytes()
		e.Parallel(len(src), grain, func(lo, hi int) {
			for i := lo; i < hi; i++ {
				dst[i] = table[src[i]]
			}
		})
		e.SetOut(0, y)
		return nil
	}
}

func evalQLinearSoftmax(e *Eval) error {
	x, err := dequantized(e, 0, 1, 2)
	if err != nil {
		return err
	}
	y, err := nested(e, evalSoftmax, e.Node.Int("opset", 13), x)
	if err != nil {
		return err
	}
	return setQuantized(e, y, e.Tensor(0).DType(), 3, 4)
}

// channelsLast reports whether the images of a call are [N, spatial…, C].
func channelsLast(c *Call) bool { return c.Node.Int("channels_last", 0) != 0 }

// toChannelsFirst and toChannelsLast move the channels of an image.
func toChannelsFirst(d graph.Dims) graph.Dims {
	if len(d) < 3 {
		return d
	}
	return append(graph.Dims{d[0], d[len(d)-1]}, d[1:len(d)-1]...)
}

func toChannelsLast(d graph.Dims) graph.Dims {
	if len(d) < 3 {
		return d
	}
	return append(append(graph.Dims{d[0]}, d[2:]...), d[1])
}

// inferLast runs a rule for images [N, C, …] on images [N, …, C].
func inferLast(c *Infer, infer func(*Infer) error) error {
	if c.Shape(0) == nil {
		return infer(c)
	}
	inner := *c
	inner.In = append([]*graph.Type{graph.TensorOf(c.Elem(0), toChannelsFirst(c.Shape(0)))}, c.In[1:]...)
	if err := infer(&inner); err != nil {
		return err
	}
	for i, t := range c.Out {
		if t != nil && t.Shape != nil {
			c.SetOut(i, t.Elem, toChannelsLast(t.Shape))
		}
	}
	return nil
}

// moveChannels transposes an image between the layouts.
func moveChannels(e *Eval, x *tensor.Tensor, last bool) *tensor.Tensor {
	s := x.Shape()
	rank := len(s)
	if rank < 3 {
		return x
	}
	n, c, pixels := s[0], s[1], volume(s[2:])
	out := append(append(tensor.Shape{n}, s[2:]...), c)
	if !last {
		c, pixels = s[rank-1], volume(s[1:rank-1])
		out = append(tensor.Shape{n, c}, s[1:rank-1]...)
	}
	y := tensor.New(tensor.Float32, out)
	src, dst := tensor.Data[float32](x), tensor.Data[float32](y)
	k := e.kernels()
	for i := range n {
		from, to := src[i*c*pixels:], dst[i*c*pixels:]
		if last {
			k.Transpose(to, c, from, pixels, c, pixels)
		} else {
			k.Transpose(to, pixels, from, c, pixels, c)
		}
	}
	return y
}

func inferQLinearGlobalPool(c *Infer) error {
	if channelsLast(&c.Call) {
		return inferLast(c, inferGlobalPool)
	}
	return inferGlobalPool(c)
}

func inferQLinearPool(c *Infer) error {
	if channelsLast(&c.Call) {
		return inferLast(c, inferPool)
	}
	return inferPool(c)
}

func evalQLinearGlobalPool(e *Eval) error { return qLinearPool(e, evalGlobal(globalMean[float32])) }
func evalQLinearPool(e *Eval) error       { return qLinearPool(e, evalAveragePool[float32]) }

func qLinearPool(e *Eval, pool func(*Eval) error) error {
	x, err := dequantized(e, 0, 1, 2)
	if err != nil {
		return err
	}
	last := channelsLast(&e.Call)
	if last {
		x = moveChannels(e, x, false)
	}
	y, err := nested(e, pool, e.Version, x)
	if err != nil {
		return err
	}
	if last {
		y = moveChannels(e, y, true)
	}
	return setQuantized(e, y, e.Tensor(0).DType(), 3, 4)
}

// inferQLinearConcat joins inputs 2, 5, 8, …, each followed by its scale and
// zero point; scale and zero point of the result stand first.
func inferQLinearConcat(c *Infer) error {
	out := slices.Clone(c.Shape(2))
	if out == nil {
		c.SetOut(0, c.Elem(1), nil)
		return nil
	}
	axis, err := tensor.Axis(int(c.Node.Int("axis", 0)), len(out))
	if err != nil {
		return c.Errorf(2, "%w", err)
	}
	for i := 5; i < len(c.In); i += 3 {
		s := c.Shape(i)
		if len(s) != len(out) {
			out[axis] = graph.Unknown()
			continue
		}
		out[axis] = out[axis].Plus(s[axis])
	}
	c.SetOut(0, c.Elem(1), out)
	return nil
}

func evalQLinearConcat(e *Eval) error {
	var parts []*tensor.Tensor
	for i := 2; i+2 < len(e.In); i += 3 {
		p, err := dequantized(e, i, i+1, i+2)
		if err != nil {
			return err
		}
		parts = append(parts, p)
	}
	if len(parts) == 0 {
		return fmt.Errorf("nothing to join")
	}
	axis, err := tensor.Axis(int(e.Node.Int("axis", 0)), parts[0].Rank())
	if err != nil {
		return e.Errorf(2, "%w", err)
	}
	y, err := e.concat(parts, axis)
	if err != nil {
		return err
	}
	d := tensor.Uint8
	if z := e.Tensor(1); z != nil {
		d = z.DType()
	}
	return setQuantized(e, y, d, 0, 1)
}

// gatherBlock is a call of GatherBlockQuantized: rows of data are gathered and
// dequantized in blocks along quantize_axis.
type gatherBlock struct {
	gather, quantize, block int
	shape                   tensor.Shape // of the data, packed elements counted singly
	bits                    int
}

func newGatherBlock(n *graph.Node, d tensor.DType, s tensor.Shape) (*gatherBlock, error) {
	g := &gatherBlock{block: int(n.Int("block_size", 128)), bits: int(n.Int("bits", 4)), shape: s.Clone()}
	var err error
	if g.gather, err = tensor.Axis(int(n.Int("gather_axis", 0)), len(s)); err != nil {
		return nil, err
	}
	if g.quantize, err = tensor.Axis(int(n.Int("quantize_axis", 1)), len(s)); err != nil {
		return nil, err
	}
	if g.block < 1 {
		return nil, fmt.Errorf("attribute block_size is %d, want at least 1", g.block)
	}
	if d == tensor.Uint8 {
		if g.bits != 2 && g.bits != 4 && g.bits != 8 {
			return nil, fmt.Errorf("attribute bits is %d, want 2, 4 or 8", g.bits)
		}
		g.shape[len(s)-1] *= 8 / g.bits
	}
	return g, nil
}

func inferGatherBlock(c *Infer) error {
	data, idx := c.Shape(0), c.Shape(1)
	s, ok := data.Static()
	if !ok || idx == nil {
		c.SetOut(0, c.Elem(2), nil)
		return nil
	}
	g, err := newGatherBlock(c.Node, c.Elem(0), s)
	if err != nil {
		return c.Errorf(0, "%w", err)
	}
	full := graph.DimsOf(g.shape)
	out := append(append(append(graph.Dims{}, full[:g.gather]...), idx...), full[g.gather+1:]...)
	c.SetOut(0, c.Elem(2), out)
	return nil
}

// codes returns the elements of packed data, one each, as integers.
func (g *gatherBlock) codes(t *tensor.Tensor) []int32 {
	if t.DType() != tensor.Uint8 || g.bits == 8 {
		return int32s(t)
	}
	return unpackBits(t.Bytes(), g.bits)
}

// unpackBits splits bytes into numbers of some bits, the lowest first.
func unpackBits(data []uint8, bits int) []int32 {
	per := 8 / bits
	out := make([]int32, len(data)*per)
	for i := range out {
		out[i] = int32(data[i/per]>>(i%per*bits)) & (1<<bits - 1)
	}
	return out
}

func evalGatherBlock(e *Eval) error {
	x := e.Tensor(0)
	g, err := newGatherBlock(e.Node, x.DType(), x.Shape())
	if err != nil {
		return e.Errorf(0, "%w", err)
	}
	idx, err := indices(e.Tensor(1), g.shape[g.gather])
	if err != nil {
		return e.Errorf(1, "%w", err)
	}
	want := g.shape.Clone()
	want[g.quantize] = ceilDiv(want[g.quantize], g.block)
	if !e.Tensor(2).Shape().Equal(want) {
		return e.Errorf(2, "scales have another shape, want %v", want)
	}
	q, scale := g.codes(x), tensor.Float32s(e.Tensor(2))
	zero := make([]int32, len(scale))
	if z := e.Tensor(3); z != nil {
		if zero = g.codes(z); len(zero) < len(scale) {
			return e.Errorf(3, "want a zero point for each scale")
		}
	} else if x.DType() == tensor.Uint8 {
		fillWith(zero, 1<<(g.bits-1))
	}
	values := tensor.New(tensor.Float32, g.shape)
	strides, at := want.Strides(), make([]int, len(want))
	for i := range q {
		unravel(at, i, g.shape)
		at[g.quantize] /= g.block
		k := 0
		for a, c := range at {
			k += c * strides[a]
		}
		tensor.Data[float32](values)[i] = float32(q[i]-zero[k]) * scale[k]
	}
	out := append(append(g.shape[:g.gather].Clone(), e.Tensor(1).Shape()...), g.shape[g.gather+1:]...)
	y := tensor.New(tensor.Float32, out)
	if y.Len() > 0 {
		e.pick(y, values, volume(g.shape[:g.gather]), g.shape[g.gather], volume(g.shape[g.gather+1:]), idx)
	}
	e.SetOut(0, cast(y, e.Tensor(2).DType()))
	return nil
}
