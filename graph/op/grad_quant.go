package op

import (
	"fmt"
	"math"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// gradQuantRules are the gradients through fake quantization. Rounding counts
// as the identity (the straight-through estimator of Bengio et al. 2013,
// arXiv 1308.3432), so that a pair of QuantizeLinear and DequantizeLinear
// passes the gradient on where the value was within the range of the type.
// The two gradients by the scale add up to that of learned step sizes (LSQ,
// Esser et al. 2019, arXiv 1902.08153).
var gradQuantRules = map[opName]func(*Grad) error{
	std("QuantizeLinear"):   gradQuantize,
	std("DequantizeLinear"): gradDequantize,

	std("DynamicQuantizeLinear"): gradDynamicQuantize,
}

// Carries reports whether v carries a gradient though it holds integers: it
// counts as the real number that was rounded to it.
func Carries(v *graph.Value) bool {
	p := v.Producer()
	return p != nil && (p.Is("QuantizeLinear") || p.Is("DynamicQuantizeLinear") && p.Out(0) == v || p.Domain == microsoft && p.Op == "QuantizeLinear")
}

// along gives the scale or zero point v of a call the axes by which it
// broadcasts to the quantized tensor.
func (g *Grad) along(v *graph.Value) (*graph.Value, error) {
	s := g.Shape(g.In[1])
	switch {
	case g.Node.Int("block_size", 0) != 0:
		return g.blocks(v)
	case s == nil:
		return nil, fmt.Errorf("input 1: the gradient needs its number of axes, which is not known")
	case len(s) == 0:
		return v, nil
	}
	rank, err := g.Rank(0)
	if err != nil {
		return nil, err
	}
	axis, err := tensor.Axis(int(g.Node.Int("axis", 1)), max(rank, 1))
	if n := s[0]; n.IsKnown() && n.Size == 1 || rank == 1 {
		return v, nil
	}
	if err != nil {
		return nil, err
	}
	if axis == rank-1 {
		return v, nil
	}
	return g.Unsqueeze(v, axesFrom(1, rank-axis)...), nil
}

// blockAxis returns the axis and the length of the blocks of a quantization in
// blocks, 0 if it has none.
func (g *Grad) blockAxis() (axis []*graph.Attr, size int64) {
	return []*graph.Attr{graph.IntAttr("axis", g.Node.Int("axis", 1))}, g.Node.Int("block_size", 0)
}

// blockOf returns, for each index along the axis of the blocks, its block.
func (g *Grad) blockOf() *graph.Value {
	_, size := g.blockAxis()
	constant := func(x int64) *graph.Value { return g.B.Const("i", tensor.Of(tensor.Shape{}, []int64{x})) }
	n := g.Op("Gather", g.Op("Shape", g.In[0]), constant(g.Node.Int("axis", 1)))
	return g.Op("Div", g.Op("Range", constant(0), n, constant(1)), constant(size))
}

// blocks repeats a scale or zero point over the elements of its block.
func (g *Grad) blocks(v *graph.Value) (*graph.Value, error) {
	axis, _ := g.blockAxis()
	return g.B.OpAttrs("Gather", axis, v, g.blockOf()), nil
}

// zeroPoint returns the zero point as reals of the type of the scale.
func (g *Grad) zeroPoint() (*graph.Value, error) {
	if len(g.In) < 3 || g.In[2] == nil {
		return g.like(g.In[1], 0), nil
	}
	return g.along(g.castTo(g.In[2], g.In[1]))
}

// toScale sums d, of the shape of the quantized tensor, to the shape of the
// scale.
func (g *Grad) toScale(d *graph.Value, spread *graph.Value) *graph.Value {
	if axis, size := g.blockAxis(); size != 0 {
		return g.Private("GatherGrad", axis, d, g.blockOf(), g.ShapeOf(g.In[1]))
	}
	return g.ReshapeTo(g.Private("ReduceTo", nil, d, g.Op("Shape", spread)), g.In[1])
}

// gradDequantize: y = (q - zero) scale.
func gradDequantize(g *Grad) error {
	scale, err := g.along(g.In[1])
	if err != nil {
		return err
	}
	dy := g.castTo(g.DOut[0], g.In[1])
	if g.Wanted(0) {
		g.Set(0, g.Op("Mul", dy, scale))
	}
	if g.Wanted(1) {
		zero, err := g.zeroPoint()
		if err != nil {
			return err
		}
		level := g.Op("Sub", g.castTo(g.In[0], g.In[1]), zero)
		g.Set(1, g.toScale(g.Op("Mul", dy, level), scale))
	}
	return nil
}

// within is 1 where a ratio, rounded if the type is of integers, plus the zero
// point is within the range of a type, and 0 elsewhere.
func (g *Grad) within(ratio, zero *graph.Value, elem tensor.DType) *graph.Value {
	var low, high float64
	if elem.IsInteger() {
		low, high = integerRange(elem)
		ratio = g.Op("Round", ratio)
	} else {
		high = tensor.Float64s(tensor.FromFloat64s(elem, tensor.Shape{1}, []float64{math.MaxFloat32}))[0]
		low = -high
	}
	level := g.Op("Add", ratio, zero)
	above := g.Op("GreaterOrEqual", level, g.like(g.In[1], low))
	below := g.Op("LessOrEqual", level, g.like(g.In[1], high))
	return g.castTo(g.Op("And", above, below), g.In[1])
}

// gradQuantize: q = x/scale + zero within the range of its type, and a
// constant outside.
func gradQuantize(g *Grad) error {
	scale, err := g.along(g.In[1])
	if err != nil {
		return err
	}
	zero, err := g.zeroPoint()
	if err != nil {
		return err
	}
	if g.Out[0].Type == nil {
		return fmt.Errorf("the gradient needs the type of the result, which is not known")
	}
	elem := g.Out[0].Type.Elem
	x := g.castTo(g.In[0], g.In[1])
	ratio := g.Op("Div", x, scale)
	inside := g.within(ratio, zero, elem)
	d := g.Op("Div", g.Op("Mul", g.castTo(g.DOut[0], g.In[1]), inside), scale)
	if g.Wanted(0) {
		g.Set(0, g.castTo(d, g.In[0]))
	}
	if g.Wanted(1) {
		g.Set(1, g.toScale(g.Op("Neg", g.Op("Mul", d, ratio)), scale))
	}
	return nil
}

// gradDynamicQuantize: q = x/scale + zero with scale = (max(x,0)-min(x,0))/255.
func gradDynamicQuantize(g *Grad) error {
	x, scale := g.In[0], g.Out[1]
	var dx, dscale *graph.Value
	if g.DOut[0] != nil {
		dx = g.Op("Div", g.castTo(g.DOut[0], x), scale)
		dscale = g.Op("Neg", g.Op("Div", g.B.OpAttrs("ReduceSum", []*graph.Attr{graph.IntAttr("keepdims", 0)}, g.Op("Mul", dx, x)), scale))
	}
	if len(g.DOut) > 1 {
		dscale = g.Plus(dscale, g.DOut[1])
	}
	step := g.Op("Div", dscale, g.Number(255))
	zero := g.Number(0)
	for _, end := range []string{"ReduceMax", "ReduceMin"} {
		at := g.Op("Equal", x, g.B.OpAttrs(end, []*graph.Attr{graph.IntAttr("keepdims", 0)}, x))
		side := "Greater"
		if end == "ReduceMin" {
			side, step = "Less", g.Op("Neg", step)
		}
		mask := g.Mask(g.Op("And", at, g.Op(side, x, zero)))
		count := g.B.OpAttrs("ReduceSum", []*graph.Attr{graph.IntAttr("keepdims", 0)}, g.Mask(at))
		dx = g.Plus(dx, g.Op("Mul", mask, g.Op("Div", step, count)))
	}
	g.Set(0, dx)
	return nil
}
