package engine

import (
	"math"
	"slices"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/kernel"
)

// geluTanh is the approximation of Gelu that models spell with Tanh.
var geluTanh = activation{name: "GeluTanh", apply: func(k *kernel.Table, dst, src []float32) { k.GeluTanh(dst, src) }}

// combineGeluTanh makes one operator of
//
//	c = x*x*x  i = Add(x, 0.044715 * c)  t = Tanh(0.79788456 * i)
//	a = Add(t, 1)  y = 0.5 * x * a
//
// with the factors of each product in any order, and the cube as Pow(x, 3) or
// as products.
func (o *optimizer) combineGeluTanh() {
	for n := range o.graph.Nodes() {
		if !n.Is("Tanh") || !o.isFloat32(n.In(0)) {
			continue
		}
		add, i := next(n)
		if add == nil || !add.Is("Add") || !o.isNumber(add.In(1-i), 1) {
			continue
		}
		x := o.geluTanhOperand(n.In(0))
		if x == nil {
			continue
		}
		last := o.halfOf(add, x)
		if last == nil {
			o.note(n, "no Gelu: the sum with 1 is not multiplied by half its operand")
			continue
		}
		// The nodes in between have no other readers and are dropped as dead.
		o.replace(o.insert(last, &unary{act: geluTanh}, n, x), last)
	}
	o.dropDead()
}

// geluTanhOperand returns x if v is 0.79788456*(x + 0.044715*x*x*x).
func (o *optimizer) geluTanhOperand(v *graph.Value) *graph.Value {
	sum, root := o.product(v)
	if len(sum) != 1 || math.Abs(root-math.Sqrt(2/math.Pi)) > 1e-5 {
		return nil
	}
	add := sum[0].Producer()
	if add == nil || !add.Is("Add") {
		return nil
	}
	for i := range 2 {
		x := add.In(i)
		cube, factor := o.product(add.In(1 - i))
		if len(cube) == 3 && cube[0] == x && cube[1] == x && cube[2] == x && math.Abs(factor-0.044715) < 1e-6 {
			return x
		}
	}
	return nil
}

// halfOf returns the node behind a, the last of those through which a is
// multiplied, that computes 0.5*x*a.
func (o *optimizer) halfOf(a *graph.Node, x *graph.Value) *graph.Node {
	for n, _ := next(a); n != nil && n.Is("Mul"); n, _ = next(n) {
		factors, factor := o.product(n.Out(0), a.Out(0), x)
		if len(factors) == 2 && factor == 0.5 && (factors[0] == x && factors[1] == a.Out(0) || factors[1] == x && factors[0] == a.Out(0)) {
			return n
		}
	}
	return nil
}

// maxProductDepth bounds how many nodes behind each other product looks
// through.
const maxProductDepth = 4

// product returns v as a product of values and a constant number, as far as a
// few Mul nodes and third powers make it. Values of whole are not divided
// further.
func (o *optimizer) product(v *graph.Value, whole ...*graph.Value) (values []*graph.Value, factor float64) {
	return o.factors(v, whole, maxProductDepth)
}

func (o *optimizer) factors(v *graph.Value, whole []*graph.Value, depth int) (values []*graph.Value, factor float64) {
	if c, ok := o.scalar(v); ok {
		return nil, float64(c)
	}
	n := v.Producer()
	switch {
	case n == nil || depth == 0 || slices.Contains(whole, v):
	case n.Is("Mul") && n.Opset() >= 7:
		a, f := o.factors(n.In(0), whole, depth-1)
		b, g := o.factors(n.In(1), whole, depth-1)
		return append(a, b...), f * g
	case n.Is("Pow") && o.isNumber(n.In(1), 3):
		return []*graph.Value{n.In(0), n.In(0), n.In(0)}, 1
	}
	return []*graph.Value{v}, 1
}
