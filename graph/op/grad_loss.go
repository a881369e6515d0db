package op

import "github.com/onnxpack/onnxpack/graph"

// gradLossRules are the gradients of losses.
var gradLossRules = map[opName]func(*Grad) error{
	std("NegativeLogLikelihoodLoss"): func(g *Grad) error {
		g.Set(0, g.likelihood(g.DOut[0]))
		return nil
	},
	std("SoftmaxCrossEntropyLoss"): gradCrossEntropy,
}

// likelihood is the gradient by the logarithms of probabilities of a negative
// log likelihood with gradient dloss.
func (g *Grad) likelihood(dloss *graph.Value) *graph.Value {
	in := []*graph.Value{dloss, g.In[1], nil, g.ShapeOf(g.In[0])}
	if len(g.In) > 2 {
		in[2] = g.In[2]
	}
	return g.Private("NegativeLogLikelihoodGrad", g.attrs(), in...)
}

// gradCrossEntropy: from the gradient d by the logarithms of the softmax,
// those by the scores are d - softmax sum(d).
func gradCrossEntropy(g *Grad) error {
	var d *graph.Value
	if g.DOut[0] != nil {
		d = g.likelihood(g.DOut[0])
	}
	if len(g.DOut) > 1 && g.DOut[1] != nil {
		if d == nil {
			d = g.DOut[1]
		} else {
			d = g.Op("Add", d, g.DOut[1])
		}
	}
	softmax := g.B.OpAttrs("Softmax", []*graph.Attr{graph.IntAttr("axis", 1)}, g.In[0])
	g.Set(0, g.Op("Sub", d, g.Op("Mul", softmax, g.Sum(d, true, 1))))
	return nil
}
