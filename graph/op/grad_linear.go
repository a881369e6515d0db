package op

import (
	"github.com/onnxpack/onnxpack/graph"
)

// gradLinearRules are the gradients of determinants, inverses and transforms.
var gradLinearRules = map[opName]func(*Grad) error{
	std("Det"): func(g *Grad) error {
		g.Set(0, g.Private("DetGrad", nil, g.DOut[0], g.In[0]))
		return nil
	},
	std("DFT"): func(g *Grad) error {
		attrs := g.attrs()
		if g.Version < 20 && g.Node.Attr("axis") == nil {
			attrs = append(attrs, graph.IntAttr("axis", 1))
		}
		in := append([]*graph.Value{g.DOut[0], g.ShapeOf(g.In[0])}, g.In[1:]...)
		g.Set(0, g.Private("DFTGrad", attrs, in...))
		return nil
	},
	{msDomain, "Inverse"}: gradInverse,
}

// gradInverse: y = inv(x) gives dx = -y' dy y'.
func gradInverse(g *Grad) error {
	rank, err := g.Rank(0)
	if err != nil {
		return err
	}
	t := g.SwapLast(g.Out[0], rank)
	g.Set(0, g.Op("Neg", g.Op("MatMul", g.Op("MatMul", t, g.DOut[0]), t)))
	return nil
}
