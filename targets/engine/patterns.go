package engine

import (
	"math"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/kernel"
	"github.com/onnxpack/onnxpack/graph/op"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// gelu is the activation that exporters spell with Erf.
var gelu = activation{name: "Gelu", apply: func(k *kernel.Table, dst, src []float32) { k.Gelu(dst, src) }}

// combineGelu makes one operator of
//
//	d = Div(x, 1.4142)  e = Erf(d)  a = Add(e, 1)  m = Mul(x, a)  y = Mul(m, 0.5)
//
// with the factors of x in any order.
func (o *optimizer) combineGelu() {
	for n := range o.graph.Nodes() {
		if !n.Is("Erf") {
			continue
		}
		if x, nodes := o.geluAround(n); x != nil {
			o.replace(o.insert(nodes[len(nodes)-1], &unary{act: gelu}, n, x), nodes...)
		}
	}
}

// geluAround returns the operand of the Gelu that an Erf is part of, and its
// nodes in order, or nil.
func (o *optimizer) geluAround(erf *graph.Node) (*graph.Value, []*graph.Node) {
	d := erf.In(0).Producer()
	if d == nil {
		return nil, nil
	}
	x, ok := o.times(d, 1/math.Sqrt2)
	if user, _ := next(d); !ok || user != erf || !o.isFloat32(x) {
		return nil, nil
	}
	add, i := next(erf)
	if add == nil || !add.Is("Add") || !o.isNumber(add.In(1-i), 1) {
		return nil, nil
	}
	first, i := next(add)
	if first == nil || !first.Is("Mul") {
		return nil, nil
	}
	nodes := []*graph.Node{d, erf, add}
	other := first.In(1 - i)
	if half := other.Producer(); half != nil {
		if h, ok := o.times(half, 0.5); ok && h == x {
			if user, _ := next(half); user == first {
				return x, append(nodes, half, first)
			}
		}
	}
	second, j := next(first)
	if second == nil || !second.Is("Mul") {
		return nil, nil
	}
	last := second.In(1 - j)
	if other == x && o.isNumber(last, 0.5) || last == x && o.isNumber(other, 0.5) {
		return x, append(nodes, first, second)
	}
	return nil, nil
}

// times returns what n multiplies by the given factor, if it does.
func (o *optimizer) times(n *graph.Node, factor float64) (*graph.Value, bool) {
	switch {
	case n.Is("Div") && o.isNumber(n.In(1), 1/factor):
		return n.In(0), true
	case n.Is("Mul") && o.isNumber(n.In(1), factor):
		return n.In(0), true
	case n.Is("Mul") && o.isNumber(n.In(0), factor):
		return n.In(1), true
	}
	return nil, false
}

// isNumber reports whether v is a constant that is x up to rounding.
func (o *optimizer) isNumber(v *graph.Value, x float64) bool {
	got, ok := o.scalar(v)
	return ok && math.Abs(float64(got)-x) <= 1e-5*math.Abs(x)
}

// layerNormVersion is the version of LayerNormalization that stands for what
// older models spell out.
const layerNormVersion = 17

// combineLayerNorm makes one operator of
//
//	u = ReduceMean(x)  d = Sub(x, u)  q = Pow(d, 2)  v = ReduceMean(q)
//	e = Add(v, eps)  s = Sqrt(e)  n = Div(d, s)  m = Mul(n, gamma)  y = Add(m, beta)
//
// over the last axis.
func (o *optimizer) combineLayerNorm() {
	for n := range o.graph.Nodes() {
		if n.Is("Sqrt") {
			o.layerNormAround(n)
		}
	}
}

func (o *optimizer) layerNormAround(sqrt *graph.Node) {
	add := sqrt.In(0).Producer()
	div, i := next(sqrt)
	if add == nil || !add.Is("Add") || div == nil || !div.Is("Div") || i != 1 {
		return
	}
	eps, ok := o.scalar(add.In(1))
	variance := add.In(0).Producer()
	if !ok || !(eps > 0) || !o.meansLastAxis(variance) {
		return
	}
	square, centered := variance.In(0).Producer(), div.In(0)
	if square == nil || !o.squares(square, centered) {
		return
	}
	sub := centered.Producer()
	if sub == nil || !sub.Is("Sub") || !o.isFloat32(sub.In(0)) {
		return
	}
	x, mean := sub.In(0), sub.In(1).Producer()
	if !o.meansLastAxis(mean) || mean.In(0) != x {
		return
	}
	mul, j := next(div)
	if mul == nil || !mul.Is("Mul") {
		return
	}
	shift, k := next(mul)
	if shift == nil || !shift.Is("Add") {
		return
	}
	gamma, beta := mul.In(1-j), shift.In(1-k)
	if !o.isRow(gamma, x) || !o.isRow(beta, x) {
		return
	}
	norm := graph.NewNode("", "LayerNormalization", []*graph.Value{x, gamma, beta}, 1, graph.IntAttr("axis", -1), graph.FloatAttr("epsilon", eps))
	norm.Name = sqrt.Name
	def := op.Find("", "LayerNormalization", layerNormVersion)
	o.src.info[norm] = nodeInfo{origin: o.src.info[sqrt].origin, def: def, version: layerNormVersion}
	o.graph.InsertBefore(shift, norm)
	norm.Out(0).Type = shift.Out(0).Type
	if o.graph.Replace(shift.Out(0), norm.Out(0)) {
		o.dropDead()
	} else {
		o.graph.Remove(norm)
	}
}

// meansLastAxis reports whether n is the mean over the last axis, kept.
func (o *optimizer) meansLastAxis(n *graph.Node) bool {
	if n == nil || !n.Is("ReduceMean") || n.Int("keepdims", 1) == 0 || !o.isFloat32(n.In(0)) || n.In(0).Type.Shape == nil {
		return false
	}
	axes := n.Ints("axes")
	if t := o.constant(n.In(1)); t != nil && t.DType() == tensor.Int64 {
		axes = tensor.Data[int64](t)
	}
	rank := len(n.In(0).Type.Shape)
	return len(axes) == 1 && rank > 0 && modulo(int(axes[0]), rank) == rank-1
}

// squares reports whether n is the square of v.
func (o *optimizer) squares(n *graph.Node, v *graph.Value) bool {
	return n.Is("Pow") && n.In(0) == v && o.isNumber(n.In(1), 2) || n.Is("Mul") && n.In(0) == v && n.In(1) == v
}

// isRow reports whether v is a constant with one number for each index of x's
// last axis.
func (o *optimizer) isRow(v, x *graph.Value) bool {
	t := o.constant(v)
	last := x.Type.Shape[len(x.Type.Shape)-1]
	return t != nil && t.DType() == tensor.Float32 && t.Rank() == 1 && last.IsKnown() && t.Len() == last.Size
}
