package engine

import (
	"slices"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/op"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// spellVersion is the opset by which quantized operators are spelled.
const spellVersion = 13

// exactBias bounds int32 biases that float32 holds exactly, times a scale and
// divided by it again.
const exactBias = 1 << 22

// spellQuantized writes operators that quantize and dequantize within
// themselves as those that they stand for, of which the fused operators are
// made:
//
//	y = QLinearConv(x, xs, xz, w, ws, wz, ys, yz, b)
//
// becomes
//
//	d = DequantizeLinear(x, xs, xz)  v = DequantizeLinear(w, ws, wz)
//	c = Conv(d, v, b*xs*ws)          y = QuantizeLinear(c, ys, yz)
//
// Those that would not be computed in integers then stay as they are.
func (o *optimizer) spellQuantized() {
	for n := range o.graph.Nodes() {
		switch {
		case n.Is("QLinearConv"):
			o.spell(n, spelling{core: "Conv", attrs: n.Attrs(), bias: n.In(8), result: 6})
		case n.Is("QLinearMatMul"):
			o.spell(n, spelling{core: "MatMul", axis: 1, result: 6})
		case n.Domain == "com.microsoft" && n.Op == "QGemm" && n.Float("alpha", 1) == 1 && n.Int("transA", 0) == 0:
			s := spelling{core: "Gemm", axis: 1, bias: n.In(6), result: 7}
			if n.Int("transB", 0) != 0 {
				s.axis, s.attrs = 0, []*graph.Attr{graph.IntAttr("transB", 1)}
			}
			o.spell(n, s)
		case n.Domain == "com.microsoft" && n.Op == "QLinearAveragePool":
			o.spellPool(n, "AveragePool")
		case n.Domain == "com.microsoft" && n.Op == "QLinearGlobalAveragePool":
			o.spellPool(n, "GlobalAveragePool")
		case n.Domain == "com.microsoft" && n.Op == "DynamicQuantizeMatMul":
			o.spellDynamic(n, dynamicSpelling{scale: n.In(2), zero: n.In(3), bias: n.In(4)})
		case n.Domain == "com.microsoft" && n.Op == "MatMulIntegerToFloat":
			o.spellDynamic(n, dynamicSpelling{quantized: n.In(0), by: n.In(2), from: n.In(4), scale: n.In(3), zero: n.In(5), bias: n.In(6)})
		}
	}
}

// spelling says how a quantized operator is spelled. Its inputs 0 to 5 are both
// operands, each with scale and zero point.
type spelling struct {
	core   string // the operator between dequantization and quantization
	attrs  []*graph.Attr
	axis   int          // of the second operand, along which its scales lie
	bias   *graph.Value // int32, nil if none
	result int          // the input that is the result's scale; its zero point follows
}

// spell replaces n if its parameters are constant and it can be computed in
// integers.
func (o *optimizer) spell(n *graph.Node, s spelling) {
	if n.In(s.result) == nil || o.constant(n.In(3)) == nil || n.In(0).Type == nil || n.Out(0).Type == nil {
		return
	}
	bias, ok := o.floatBias(n, s.bias)
	if !ok {
		return
	}
	x := o.spelled(n, "DequantizeLinear", n.In(0), n.Ins()[:3])
	w := o.spelled(n, "DequantizeLinear", n.In(3), n.Ins()[3:6], graph.IntAttr("axis", int64(s.axis)))
	core := o.spelled(n, s.core, n.Out(0), append([]*graph.Value{x.Out(0), w.Out(0)}, bias...), s.attrs...)
	y := o.spelled(n, "QuantizeLinear", nil, []*graph.Value{core.Out(0), n.In(s.result), n.In(s.result + 1)})
	y.Out(0).Type, y.Out(0).Inferred = n.Out(0).Type, true
	if o.inIntegers(core, s.axis) && o.graph.Replace(n.Out(0), y.Out(0)) {
		o.graph.Remove(n)
		return
	}
	for _, m := range []*graph.Node{y, core, w, x} {
		o.graph.Remove(m)
	}
}

// spellPool replaces n, a pool x, xs, xz, ys, yz, by one between dequantization
// and quantization if its parameters are constant.
func (o *optimizer) spellPool(n *graph.Node, core string) {
	for _, v := range n.Ins()[1:] {
		if o.constant(v) == nil {
			return
		}
	}
	if n.NumIn() != 5 || n.Int("channels_last", 0) != 0 || n.In(0).Type == nil || n.Out(0).Type == nil {
		return
	}
	attrs := slices.DeleteFunc(n.Attrs(), func(a *graph.Attr) bool { return a.Name == "channels_last" })
	x := o.spelled(n, "DequantizeLinear", n.In(0), n.Ins()[:3])
	pool := o.spelled(n, core, n.Out(0), []*graph.Value{x.Out(0)}, attrs...)
	y := o.spelled(n, "QuantizeLinear", nil, []*graph.Value{pool.Out(0), n.In(3), n.In(4)})
	y.Out(0).Type, y.Out(0).Inferred = n.Out(0).Type, true
	if o.graph.Replace(n.Out(0), y.Out(0)) {
		o.graph.Remove(n)
	}
}

// spelled puts a node of ONNX in front of n, with a float32 result of the shape
// of like.
func (o *optimizer) spelled(n *graph.Node, name string, like *graph.Value, ins []*graph.Value, attrs ...*graph.Attr) *graph.Node {
	m := o.place(n, graph.NewNode("", name, ins, 1, attrs...))
	if like != nil {
		m.Out(0).Type, m.Out(0).Inferred = retyped(like, tensor.Float32), true
	}
	return m
}

// place puts a node of ONNX in front of n, which it is part of.
func (o *optimizer) place(n, m *graph.Node) *graph.Node {
	m.Name = n.Name
	o.src.info[m] = nodeInfo{origin: o.src.info[n].origin, def: op.Find("", m.Op, spellVersion), version: spellVersion}
	return o.graph.InsertBefore(n, m)
}

// floatBias returns the float32 form of an int32 bias of n, which counts in
// products of the scales of both operands; none if v is nil.
func (o *optimizer) floatBias(n *graph.Node, v *graph.Value) ([]*graph.Value, bool) {
	if v == nil {
		return nil, true
	}
	b, ws := o.constant(v), o.constant(n.In(4))
	xs, ok := o.scalar(n.In(1))
	if !ok || b == nil || ws == nil || ws.DType() != tensor.Float32 || b.Rank() != 1 || b.Len()%ws.Len() != 0 {
		return nil, false
	}
	out := tensor.New(tensor.Float32, b.Shape())
	for i, x := range tensor.Int64s(b) {
		if x < -exactBias || x > exactBias {
			return nil, false
		}
		unit := float64(xs) * float64(tensor.Data[float32](ws)[i%ws.Len()])
		tensor.Data[float32](out)[i] = float32(float64(x) * unit)
	}
	return []*graph.Value{o.graph.AddInit(v.Name()+"_float", out)}, true
}

// inIntegers reports whether a spelled convolution or product, whose weights
// have scales along the given axis, is going to be computed in integers.
func (o *optimizer) inIntegers(n *graph.Node, axis int) bool {
	if n.Op == "Conv" {
		c := (&layout{optimizer: o}).quantChain(n)
		return c != nil && c.result.typ != tensor.Undefined
	}
	x, ok := o.dequantized(n.In(0))
	if !ok || !o.isProduct(n) {
		return false
	}
	w, ok := o.weights(n.In(1), axis)
	if !ok || w.rest != nil || len(w.shape) != 2 {
		return false
	}
	c := o.productWith(n, tensor.Of(w.shape, w.data))
	if c == nil {
		return false
	}
	if axis == 1 {
		w.transpose()
	}
	_, ok = o.quantizes(n.Out(0).Uses()[0].Node)
	return ok && (c.bias == nil || w.fitsBias(c.bias, x))
}
