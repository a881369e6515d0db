package engine

import (
	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// qchain is a convolution between quantized values:
//
//	d = DequantizeLinear(x, …)  c = Conv(d, DequantizeLinear(w, …), b)
//	r = Relu(c)  y = QuantizeLinear(r, …)
//
// The activation, a clamp, may be missing; so may the quantization, and then
// the result is float32.
type qchain struct {
	l       *layout
	nodes   []*graph.Node // in order, the convolution first
	window  window
	groups  int
	x       quantized
	weights quantWeights
	bias    []float32 // nil if none
	act     activation
	result  quantized // typ is Undefined if there is no quantization
}

// quantChain returns the chain that n begins, nil if n is no convolution of
// quantized values with an integer form.
func (l *layout) quantChain(n *graph.Node) *qchain {
	x, ok := l.dequantized(n.In(0))
	if !ok {
		return nil
	}
	w, ok := l.weights(n.In(1), 0)
	if !ok || len(w.shape) != 4 {
		l.note(n, "not computed in integers: the weights are not symmetric 8-bit constants with a scale for each filter")
		return nil
	}
	c := &qchain{l: l, nodes: []*graph.Node{n}, x: x, weights: w, groups: int(n.Int("group", 1))}
	if c.groups < 1 || w.shape.Len() == 0 || w.shape[0]%c.groups != 0 {
		return nil
	}
	var err error
	if c.window, err = windowOf(n, [2]int{w.shape[2], w.shape[3]}); err != nil {
		return nil
	}
	if c.window.border() != (halo{}) && !l.hasZero(x) {
		l.note(n, "not computed in integers: its operand is read with several zero points")
		return nil
	}
	if v := n.In(2); v != nil {
		b, ok := l.floats(v)
		if !ok || len(b[0]) != w.shape[0] || !w.fitsBias(b[0], x) {
			l.note(n, "not computed in integers: the bias is not constant, or too large for the scales")
			return nil
		}
		c.bias = b[0]
	}
	c.act, c.result, c.nodes = l.epilogue(n)
	if c.depthwise() && (x.typ != tensor.Uint8 || c.result.typ != tensor.Uint8) {
		l.note(n, "not computed in integers: a depthwise convolution of other than uint8")
		return nil
	}
	return c
}

// epilogue returns the clamp and the quantization that follow n, and the list
// of n and the nodes that make them.
func (o *optimizer) epilogue(n *graph.Node) (act activation, result quantized, nodes []*graph.Node) {
	nodes = []*graph.Node{n}
	nx, i := next(n)
	if nx != nil && i == 0 {
		if a, ok := o.activationOf(nx); ok && a.apply == nil {
			act, nodes = a, append(nodes, nx)
			nx, i = next(nx)
		}
	}
	if nx != nil && i == 0 {
		if q, ok := o.quantizes(nx); ok {
			return act, q, append(nodes, nx)
		}
	}
	return act, quantized{}, nodes
}

// hasZero reports whether everything that reads q's value, and its maker if
// that quantizes, agrees on the zero point: it can be what lies in the halo.
func (o *optimizer) hasZero(q quantized) bool {
	v := q.value
	if p := v.Producer(); p != nil {
		if made, ok := o.quantizes(p); ok && made.zero != q.zero {
			return false
		}
	}
	for _, u := range v.Uses() {
		if isQuantOp(u.Node, "DequantizeLinear") {
			if r, ok := o.quantOf(u.Node, v); !ok || r.zero != q.zero {
				return false
			}
		}
	}
	return true
}

// depthwise reports whether each filter sees just the channel of its number.
func (c *qchain) depthwise() bool {
	return c.groups > 1 && c.groups == c.weights.shape[0] && c.weights.shape[1] == 1
}

func (c *qchain) stands() []*graph.Node    { return c.nodes }
func (c *qchain) operands() []*graph.Value { return []*graph.Value{c.x.value} }

func (c *qchain) machine() imageMachine {
	epilogue := func(sums []int32) requantization {
		return requantize(c.x, c.weights.scales, c.bias, sums, c.act, c.result)
	}
	if c.depthwise() {
		return newQDepthwise(c.window, c.weights, c.x, epilogue)
	}
	return newQConv(c.l.kernels, &c.l.memory, c.window, c.groups, c.weights, c.x, epilogue)
}

// quantAdd returns the sum of two 8-bit images that n is part of, its operands
// and the nodes that it stands for, or nil.
func (l *layout) quantAdd(n *graph.Node) (imageMachine, []*graph.Value, []*graph.Node) {
	if !n.Is("Add") {
		return nil, nil, nil
	}
	a, oka := l.dequantized(n.In(0))
	b, okb := l.dequantized(n.In(1))
	if !oka || !okb || !l.bytes[a.value] || !l.bytes[b.value] || !sameDims(a.value, b.value) {
		return nil, nil, nil
	}
	act, result, nodes := l.epilogue(n)
	if result.typ == tensor.Undefined {
		return nil, nil, nil
	}
	return &qadd{a: a, b: b, act: act, q: result}, []*graph.Value{a.value, b.value}, nodes
}

// sameDims reports whether two values are known to have one shape.
func sameDims(a, b *graph.Value) bool {
	if a.Type == nil || b.Type == nil || a.Type.Shape == nil || len(a.Type.Shape) != len(b.Type.Shape) {
		return false
	}
	for i, d := range a.Type.Shape {
		e := b.Type.Shape[i]
		if d.IsUnknown() || d.Sym != e.Sym || d.Size != e.Size {
			return false
		}
	}
	return true
}
