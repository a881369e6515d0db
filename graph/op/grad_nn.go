package op

import (
	"fmt"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// gradNNRules are the gradients of convolutions and pools.
var gradNNRules = map[opName]func(*Grad) error{
	std("Conv"):          func(g *Grad) error { return gradConv(g, "ConvGrad") },
	std("ConvTranspose"): func(g *Grad) error { return gradConv(g, "ConvTransposeGrad") },

	std("MaxPool"): func(g *Grad) error {
		g.Set(0, g.Private("MaxPoolGrad", g.attrs("storage_order"), g.DOut[0], g.In[0]))
		return nil
	},
	std("AveragePool"): func(g *Grad) error {
		g.Set(0, g.Private("AveragePoolGrad", g.attrs(), g.DOut[0], g.ShapeOf(g.In[0])))
		return nil
	},
	std("LpPool"): func(g *Grad) error {
		return gradLp(g, func(dy *graph.Value) *graph.Value {
			return g.Private("SumPoolGrad", g.attrs("p"), dy, g.ShapeOf(g.In[0]))
		})
	},
	std("GlobalAveragePool"): func(g *Grad) error {
		x := g.In[0]
		count := g.Op("Div", g.Op("Size", x), g.Op("Size", g.Out[0]))
		dy := g.Op("Div", g.DOut[0], g.castTo(count, x))
		g.Set(0, g.Op("Expand", dy, g.ShapeOf(x)))
		return nil
	},
	std("GlobalMaxPool"): gradReduceExtreme,
	std("GlobalLpPool"): func(g *Grad) error {
		return gradLp(g, func(dy *graph.Value) *graph.Value { return dy })
	},
	std("MaxUnpool"):  moved(0),
	std("DeformConv"): gradDeformConv,
}

// attrs returns copies of the node's attributes but for the named ones.
func (g *Grad) attrs(without ...string) []*graph.Attr {
	var list []*graph.Attr
next:
	for _, a := range g.Node.Attrs() {
		for _, name := range without {
			if a.Name == name {
				continue next
			}
		}
		list = append(list, a.Clone())
	}
	return list
}

// castTo gives x the element type of v.
func (g *Grad) castTo(x, v *graph.Value) *graph.Value {
	if v.Type == nil || v.Type.Elem == tensor.Undefined {
		return g.Op("CastLike", x, v)
	}
	return g.B.OpAttrs("Cast", []*graph.Attr{graph.IntAttr("to", int64(v.Type.Elem))}, x)
}

// gradConv is the gradient of Conv and ConvTranspose by private
// operators with the given prefix, which have the same attributes.
func gradConv(g *Grad, prefix string) error {
	dy := g.DOut[0]
	if g.Wanted(0) {
		g.Set(0, g.Private(prefix+"Input", g.attrs(), dy, g.In[1], g.ShapeOf(g.In[0])))
	}
	if g.Wanted(1) {
		g.Set(1, g.Private(prefix+"Weight", g.attrs(), dy, g.In[0], g.ShapeOf(g.In[1])))
	}
	if g.Wanted(2) {
		db, err := g.sumChannels(dy)
		if err != nil {
			return err
		}
		g.Set(2, db)
	}
	return nil
}

// sumChannels sums v, of the rank of input 0, over all axes but axis 1.
func (g *Grad) sumChannels(v *graph.Value) (*graph.Value, error) {
	rank, err := g.Rank(0)
	if err != nil {
		return nil, err
	}
	over := []int64{0}
	for a := 2; a < rank; a++ {
		over = append(over, int64(a))
	}
	return g.Sum(v, false, over...), nil
}

// perChannel gives a vector with one element for each channel the axes by
// which it broadcasts to an image of the rank of input 0.
func (g *Grad) perChannel(v *graph.Value) (*graph.Value, error) {
	rank, err := g.Rank(0)
	if err != nil || rank <= 2 {
		return v, err
	}
	var add []int64
	for a := 1; a < rank-1; a++ {
		add = append(add, int64(a))
	}
	return g.Unsqueeze(v, add...), nil
}

// gradLp: y = (sum |x|^p)^(1/p) gives dx = sign(x) |x|^(p-1) times dy y^(1-p),
// which spread brings from y to the elements that y sums. Where y is zero, so
// are they, and their gradient.
func gradLp(g *Grad, spread func(dy *graph.Value) *graph.Value) error {
	p := normOrder(&g.Call)
	x, y := g.In[0], g.Out[0]
	power := func(v *graph.Value, exponent float64) *graph.Value { return g.Op("Pow", v, g.Number(exponent)) }
	if p <= 0 {
		return fmt.Errorf("attribute p is %v, the gradient needs a positive one", p)
	}
	down := g.Op("Where", g.Op("Equal", y, g.Number(0)), y, power(y, 1-p))
	term := g.Op("Mul", g.Op("Sign", x), power(g.Op("Abs", x), p-1))
	g.Set(0, g.Op("Mul", term, spread(g.Op("Mul", g.DOut[0], down))))
	return nil
}
