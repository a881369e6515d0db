package op

import (
	"fmt"

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
}

// Carries reports whether v carries a gradient though it holds integers: it
// counts as the real number that was rounded to it.
func Carries(v *graph.Value) bool {
	p := v.Producer()
	return p != nil && p.Is("QuantizeLinear")
}

// along gives the scale or zero point v of a call the axes by which it
// broadcasts to the quantized tensor.
func (g *Grad) along(v *graph.Value) (*graph.Value, error) {
	s := g.Shape(g.In[1])
	switch {
	case g.Node.Int("block_size", 0) != 0:
		return nil, fmt.Errorf("the gradient of a quantization in blocks is not known")
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
	if !elem.IsInteger() {
		return fmt.Errorf("the gradient of a quantization to %v is not known", elem)
	}
	low, high := integerRange(elem)
	x := g.castTo(g.In[0], g.In[1])
	ratio := g.Op("Div", x, scale)
	level := g.Op("Add", g.Op("Round", ratio), zero)
	above := g.Op("GreaterOrEqual", level, g.like(g.In[1], low))
	below := g.Op("LessOrEqual", level, g.like(g.In[1], high))
	inside := g.castTo(g.Op("And", above, below), g.In[1])
	d := g.Op("Div", g.Op("Mul", g.castTo(g.DOut[0], g.In[1]), inside), scale)
	if g.Wanted(0) {
		g.Set(0, g.castTo(d, g.In[0]))
	}
	if g.Wanted(1) {
		g.Set(1, g.toScale(g.Op("Neg", g.Op("Mul", d, ratio)), scale))
	}
	return nil
}
