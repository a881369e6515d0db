package engine

import (
	"slices"

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
	rank    int // of the operand
	x       quantized
	weights quantWeights
	bias    []float32 // nil if none
	act     activation
	result  quantized // typ is Undefined if there is no quantization
	table   *table    // of the result, nil if none
}

// quantChain returns the chain that n begins, nil if n is no convolution of
// quantized values with an integer form.
func (l *layout) quantChain(n *graph.Node) *qchain {
	x, ok := l.dequantized(n.In(0))
	if !ok {
		return nil
	}
	w, ok := l.weights(n.In(1), 0)
	if !ok || len(w.shape) != 3 && len(w.shape) != 4 {
		l.note(n, "not computed in integers: the weights are not symmetric 8-bit constants with a scale for each filter")
		return nil
	}
	c := &qchain{l: l, nodes: []*graph.Node{n}, x: x, weights: w, groups: int(n.Int("group", 1))}
	if c.groups < 1 || w.shape.Len() == 0 || w.shape[0]%c.groups != 0 {
		return nil
	}
	var err error
	if c.window, err = windowOf(n, w.shape[2:]...); err != nil {
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
	c.rank, c.weights.shape = len(w.shape), withRows(w.shape)
	c.act, c.result, c.nodes = l.epilogue(n)
	c.takeTable()
	if c.depthwise() && (x.typ != tensor.Uint8 || c.result.typ != tensor.Uint8) {
		l.note(n, "not computed in integers: a depthwise convolution of other than uint8")
		return nil
	}
	return c
}

// takeTable adds the look-up that alone reads the chain's 8-bit result.
func (c *qchain) takeTable() {
	if c.result.typ == tensor.Undefined {
		return
	}
	last := c.nodes[len(c.nodes)-1]
	if t := c.l.tableBehind(last); t != nil {
		look, _ := next(last)
		c.table, c.nodes = t, append(c.nodes, look)
	}
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
	if !o.haloAgrees(v, q.zero) {
		return false
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

// haloAgrees reports whether a halo that the maker of v gives it holds zero.
// What moves images gives its result the halo of its operands.
func (o *optimizer) haloAgrees(v *graph.Value, zero int32) bool {
	p := v.Producer()
	if p == nil {
		return true
	}
	if made, ok := o.quantizes(p); ok {
		return made.zero == zero
	}
	if t, ok := o.src.info[p].machine.(*table); ok {
		return t.result.zero == zero
	}
	if p.Domain == "" && slices.Contains(movers, p.Op) {
		for _, m := range moved(p) {
			if !o.haloAgrees(m, zero) {
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

func (c *qchain) axes() int                { return c.rank }
func (c *qchain) stands() []*graph.Node    { return c.nodes }
func (c *qchain) operands() []*graph.Value { return []*graph.Value{c.x.value} }

func (c *qchain) machine() imageMachine {
	epilogue := func(sums []int32) requantization {
		r := requantize(c.x, c.weights.scales, c.bias, sums, c.act, c.result)
		r.table = c.table
		return r
	}
	if c.depthwise() {
		return newQDepthwise(c.window, c.weights, c.x, epilogue)
	}
	return newQConv(c.l.kernels, &c.l.memory, c.window, c.groups, c.weights, c.x, epilogue)
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

// quantized returns the operator over 8-bit images that n, or n with its
// quantization, is over images whose plain form has the given number of axes;
// its operands and the nodes that it stands for; or nil.
func (l *layout) quantized(n *graph.Node, axes int) (imageMachine, []*graph.Value, []*graph.Node) {
	if m, ins, stands := l.quantBinary(n, axes); m != nil {
		return m, ins, stands
	}
	if !n.Is("GlobalAveragePool") && !(n.Is("ReduceMean") && l.reducesPixels(n, axes)) {
		return nil, nil, nil
	}
	x, ok := l.dequantized(n.In(0))
	if !ok || !l.bytes[x.value] {
		return nil, nil, nil
	}
	p, stands := &qglobalPool{x: x}, []*graph.Node{n}
	if nx, i := next(n); nx != nil && i == 0 {
		if q, ok := l.quantizes(nx); ok {
			p.result, stands = q, append(stands, nx)
		}
	}
	return p, []*graph.Value{x.value}, stands
}

// byteOperator returns the operator that does what n does to 8-bit images, and
// its operands, or nil.
func (l *layout) byteOperator(n *graph.Node, axes int) (imageMachine, []*graph.Value) {
	first := n.In(0)
	ins := []*graph.Value{first}
	if q, ok := l.dequantized(n.Out(0)); ok {
		return &dequantizeImage{q: q}, ins
	}
	if t, ok := l.src.info[n].machine.(*table); ok {
		return &tableImage{table: t}, ins
	}
	if n.Domain != "" {
		return nil, nil
	}
	switch n.Op {
	case "MaxPool":
		if p, ok := l.pool(n).(*pool); ok {
			return &qmaxPool{window: p.window, typ: first.Type.Elem, zero: l.zeros[first]}, ins
		}
	case "Resize", "Upsample":
		if r := l.resize(n); r != nil {
			r.bytes, r.zero = true, l.zeros[first]
			return r, ins
		}
	case "Concat":
		for _, v := range n.Ins() {
			if !l.bytes[v] || l.axes[v] != axes || l.zeros[v] != l.zeros[first] {
				return nil, nil
			}
		}
		if joinsChannels(n, axes) {
			return &concatImage{bytes: true, zero: l.zeros[first]}, n.Ins()
		}
	}
	return nil, nil
}
