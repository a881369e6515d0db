package simplify

import (
	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
	"github.com/onnxpack/onnxpack/passes"
)

// MergeScales joins products, and sums, with constants.
var MergeScales = passes.Define(passes.Pass{
	Name: "merge-scales",
	Doc: `join products, and sums, with constants that follow each other

	t = Mul (x, c)      y = Mul (x, c*d)
	y = Mul (t, d)  =>

for Add, Sub, Mul and Div of floats, where one of the constants is a scalar or
both have the same shape.`,
	Kind: passes.Rounding,
}, struct{}{}, func(j *passes.Job, _ struct{}) error {
	eachNode(j, func(n *graph.Node) {
		if mergeScale(n) {
			j.Changed(1)
		}
	})
	return nil
})

func mergeScale(n *graph.Node) bool {
	outer, ok := termOf(n)
	if !ok || !mayHoldConsts(n.Graph()) {
		return false
	}
	p := soleProducer(n, outer.x, "Add", "Sub", "Mul", "Div")
	if p == nil {
		return false
	}
	inner, ok := termOf(p)
	if !ok || inner.op != outer.op || !elem(inner.x).IsFloat() {
		return false
	}
	c, ok := combine(outer.op, inner.c, outer.c)
	if !ok {
		return false
	}
	v := n.Graph().AddInit(n.In(1).Name(), c)
	supplant(n, graph.NewNode("", outer.op, []*graph.Value{inner.x, v}, 1))
	return true
}

// term is a product ("Mul") or sum ("Add") of a value and a constant.
type term struct {
	op string
	x  *graph.Value
	c  *tensor.Tensor
}

// termOf returns n as a term: x-c is x+(-c), x/c is x*(1/c) where the inverse
// is exact enough to be a float.
func termOf(n *graph.Node) (term, bool) {
	if !n.Is("Add", "Sub", "Mul", "Div") || n.Opset() < 7 {
		return term{}, false
	}
	c, x := constant(n.In(1)), n.In(0)
	if c == nil && n.Is("Add", "Mul") {
		c, x = constant(n.In(0)), n.In(1)
	}
	if c == nil || !c.DType().IsFloat() || constant(x) != nil {
		return term{}, false
	}
	switch n.Op {
	case "Sub":
		return term{"Add", x, mapElements(c, func(v float64) float64 { return -v })}, true
	case "Div":
		return term{"Mul", x, mapElements(c, func(v float64) float64 { return 1 / v })}, true
	}
	return term{n.Op, x, c}, true
}

func mapElements(t *tensor.Tensor, f func(float64) float64) *tensor.Tensor {
	x := tensor.Float64s(t)
	y := make([]float64, len(x))
	for i, v := range x {
		y[i] = f(v)
	}
	return tensor.FromFloat64s(t.DType(), t.Shape(), y)
}

// combine returns the sum or product of two constants. The shape of one has
// to be that of the result.
func combine(op string, a, b *tensor.Tensor) (*tensor.Tensor, bool) {
	shape := a.Shape()
	if a.Len() == 1 && b.Rank() >= a.Rank() {
		shape = b.Shape()
	} else if !(b.Len() == 1 && a.Rank() >= b.Rank() || a.Shape().Equal(b.Shape())) {
		return nil, false
	}
	x, y := tensor.Float64s(a), tensor.Float64s(b)
	out := make([]float64, shape.Len())
	for i := range out {
		p, q := x[min(i, len(x)-1)], y[min(i, len(y)-1)]
		if op == "Add" {
			out[i] = p + q
		} else {
			out[i] = p * q
		}
		if out[i]-out[i] != 0 || op == "Mul" && (out[i] == 0) != (p == 0 || q == 0) {
			return nil, false
		}
	}
	return tensor.FromFloat64s(a.DType(), shape, out), true
}
