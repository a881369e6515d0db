package op

import (
	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

var gradReductionRules = map[opName]func(*Grad) error{
	std("ReduceSum"):  reduced(func(_ *Grad, dy, _ *graph.Value) *graph.Value { return dy }),
	std("ReduceMean"): gradReduceMean,
	std("ReduceMax"):  gradReduceExtreme,
	std("ReduceMin"):  gradReduceExtreme,
	std("ReduceSumSquare"): reduced(func(g *Grad, dy, _ *graph.Value) *graph.Value {
		return g.Op("Mul", dy, g.Op("Mul", g.Number(2), g.In[0]))
	}),
	std("ReduceL1"):   reduced(func(g *Grad, dy, _ *graph.Value) *graph.Value { return g.Op("Mul", dy, g.Op("Sign", g.In[0])) }),
	std("ReduceL2"):   reduced(func(g *Grad, dy, y *graph.Value) *graph.Value { return g.Op("Mul", dy, g.Op("Div", g.In[0], y)) }),
	std("ReduceProd"): reduced(func(g *Grad, dy, y *graph.Value) *graph.Value { return g.Op("Mul", dy, g.Op("Div", y, g.In[0])) }),
	std("ReduceLogSum"): reduced(func(g *Grad, dy, y *graph.Value) *graph.Value {
		return g.Op("Div", dy, g.Op("Exp", y))
	}),
	std("ReduceLogSumExp"): reduced(func(g *Grad, dy, y *graph.Value) *graph.Value {
		return g.Op("Mul", dy, g.Op("Exp", g.Op("Sub", g.In[0], y)))
	}),
}

// reduced makes the gradient of a reduction: f gives the gradient of the
// input from dy and y, both with the reduced axes back as axes of size 1; it
// is spread over the input's shape.
func reduced(f func(g *Grad, dy, y *graph.Value) *graph.Value) func(*Grad) error {
	return func(g *Grad) error {
		dy, err := g.keptAxes(g.DOut[0])
		if err != nil {
			return err
		}
		y, err := g.keptAxes(g.Out[0])
		if err != nil {
			return err
		}
		g.Set(0, g.Op("Expand", f(g, dy, y), g.ShapeOf(g.In[0])))
		return nil
	}
}

// keptAxes gives v, a result of a reduction or its gradient, the axes that
// the reduction dropped.
func (g *Grad) keptAxes(v *graph.Value) (*graph.Value, error) {
	if g.Node.Int("keepdims", 1) == 1 { // the default, and so of pools over a whole image
		return v, nil
	}
	if len(g.In) > 1 && g.In[1] != nil && !g.In[1].IsConst() {
		return g.Op("Unsqueeze", v, g.In[1]), nil // no axes: a scalar, which broadcasts
	}
	axes, err := g.reducedAxes()
	if err != nil || len(axes) == 0 {
		return v, err
	}
	return g.Unsqueeze(v, axes...), nil
}

// reducedAxes returns the axes that a reduction reduces.
func (g *Grad) reducedAxes() ([]int64, error) {
	axes := g.Node.Ints("axes")
	if len(g.In) > 1 && g.In[1] != nil {
		axes = tensor.Int64s(g.In[1].Init.Tensor)
	}
	if len(axes) > 0 || g.Node.Int("noop_with_empty_axes", 0) == 1 {
		return axes, nil
	}
	rank, err := g.Rank(0)
	for a := range rank {
		axes = append(axes, int64(a))
	}
	return axes, err
}

// gradReduceMean divides by the number of elements in a mean.
func gradReduceMean(g *Grad) error {
	return reduced(func(g *Grad, dy, y *graph.Value) *graph.Value {
		ones := g.Op("Expand", g.Number(1), g.ShapeOf(g.In[0]))
		return g.Op("Div", dy, g.Private("ReduceTo", nil, ones, g.Op("Shape", y)))
	})(g)
}

// gradReduceExtreme gives the gradient to the elements that reach the result,
// in equal shares.
func gradReduceExtreme(g *Grad) error {
	return reduced(func(g *Grad, dy, y *graph.Value) *graph.Value {
		mask := g.Mask(g.Op("Equal", g.In[0], y))
		return g.Op("Mul", mask, g.Op("Div", dy, g.Private("ReduceTo", nil, mask, g.Op("Shape", y))))
	})(g)
}
