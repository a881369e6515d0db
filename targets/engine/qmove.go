package engine

import (
	"slices"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// movers are the operators that only move numbers of their first operand, or
// of all, or choose among them, so that quantizing commutes with them.
var movers = []string{
	"Concat", "DepthToSpace", "Flatten", "GlobalMaxPool", "MaxPool", "Reshape", "Resize", "Slice",
	"SpaceToDepth", "Squeeze", "Transpose", "Unsqueeze", "Upsample",
}

// hoistQuantize moves quantizations in front of what only moves numbers that
// were quantized already:
//
//	d = DequantizeLinear(x, …)  p = MaxPool(d)  y = QuantizeLinear(p, …)
//
// becomes
//
//	d = DequantizeLinear(x, …)  q = QuantizeLinear(d, …)  y = MaxPool(q)
//
// where q is a look-up of x, or x itself.
func (o *optimizer) hoistQuantize() {
	for n := range o.graph.Backward() {
		if _, ok := o.quantizes(n); !ok {
			continue
		}
		if m := n.In(0).Producer(); m != nil && o.movesBytes(m) {
			o.hoist(n, m)
		}
	}
}

// movesBytes reports whether m, whose result has one reader, moves numbers of
// which some come from 8-bit numbers.
func (o *optimizer) movesBytes(m *graph.Node) bool {
	if !o.moves(m) {
		return false
	}
	return slices.ContainsFunc(moved(m), func(v *graph.Value) bool {
		if _, ok := o.dequantized(v); ok {
			return true
		}
		p := v.Producer()
		return p != nil && o.movesBytes(p)
	})
}

// moves reports whether m moves numbers on their way to one reader. What it
// gives at compile time is left alone: its value is known already, as floats.
func (o *optimizer) moves(m *graph.Node) bool {
	if m.Domain != "" || m.NumOut() != 1 || !slices.Contains(movers, m.Op) || o.src.info[m].machine != nil {
		return false
	}
	if _, ok := m.Out(0).SoleUse(); !ok || o.low.known(m.Out(0)) != nil {
		return false
	}
	switch m.Op {
	case "Resize", "Upsample":
		return m.Str("mode", "nearest") == "nearest" && m.Str("coordinate_transformation_mode", "half_pixel") != "tf_crop_and_resize"
	case "MaxPool", "GlobalMaxPool":
		return o.isFloat32(m.In(0))
	}
	return true
}

// moved returns the operands whose numbers m moves.
func moved(m *graph.Node) []*graph.Value {
	if m.Op == "Concat" {
		return m.Ins()
	}
	return m.Ins()[:1]
}

// hoist moves the quantization n of m's result in front of m.
func (o *optimizer) hoist(n, m *graph.Node) {
	g := o.graph
	done := map[*graph.Value]*graph.Value{}
	for i, v := range moved(m) {
		if done[v] == nil {
			ins := slices.Clone(n.Ins())
			ins[0] = v
			q := graph.NewNode(n.Domain, n.Op, ins, 1, n.Attrs()...)
			q.Name = n.Name
			o.src.info[q] = o.src.info[n]
			done[v] = g.InsertBefore(m, q).Out(0)
			done[v].Type, done[v].Inferred = retyped(v, n.Out(0).Type.Elem), true
		}
		m.SetIn(i, done[v])
	}
	m.Out(0).Type, m.Out(0).Inferred = retyped(m.Out(0), n.Out(0).Type.Elem), true
	if g.Replace(n.Out(0), m.Out(0)) {
		g.Remove(n)
	}
}

// retyped returns the type of v with other elements.
func retyped(v *graph.Value, elem tensor.DType) *graph.Type {
	if v.Type == nil {
		return graph.TensorOf(elem, nil)
	}
	return graph.TensorOf(elem, v.Type.Shape)
}
