package op

import (
	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// gradLossRules are the gradients of losses.
var gradLossRules = map[opName]func(*Grad) error{
	std("NegativeLogLikelihoodLoss"): func(g *Grad) error {
		g.Set(0, g.likelihood(g.DOut[0]))
		g.Set(2, g.classWeights(g.In[0]))
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

// classWeights is the gradient by the weights of the classes: of each label,
// with u the negative logarithm of its probability, dloss u for losses that
// are summed, and dloss (u-loss)/(sum of weights) for their mean.
func (g *Grad) classWeights(logs *graph.Value) *graph.Value {
	if !g.Wanted(2) || g.DOut[0] == nil {
		return nil
	}
	labels, dloss := g.In[1], g.DOut[0]
	one := g.like(g.In[0], 1)
	kept := g.Op("Expand", one, g.ShapeOf(labels))
	if g.Node.Attr("ignore_index") != nil {
		ignored := g.B.Const("i", tensor.FromInt64s(labels.Type.Elem, tensor.Shape{}, []int64{g.Node.Int("ignore_index", 0)}))
		counts := g.Op("Equal", labels, ignored)
		kept = g.Op("Where", counts, g.like(g.In[0], 0), one)
		labels = g.Op("Where", counts, g.B.Const("i", tensor.FromInt64s(labels.Type.Elem, tensor.Shape{}, []int64{0})), labels)
	}
	axis := []*graph.Attr{graph.IntAttr("axis", 1)}
	place := g.Unsqueeze(labels, 1)
	u := g.Op("Neg", g.Op("Squeeze", g.B.OpAttrs("GatherElements", axis, logs, place), g.Int64s(1)))
	if g.Node.Str("reduction", "mean") == "mean" {
		total := g.Op("ReduceSum", g.Op("Mul", kept, g.Op("Gather", g.In[2], labels)))
		u = g.Op("Div", g.Op("Sub", u, g.Out[0]), total)
	}
	d := g.Op("Mul", g.Op("Mul", dloss, u), kept)
	return g.Private("GatherGrad", []*graph.Attr{graph.IntAttr("axis", 0)}, d, labels, g.ShapeOf(g.In[2]))
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
	if g.Wanted(2) {
		g.Set(2, g.classWeights(g.B.OpAttrs("LogSoftmax", []*graph.Attr{graph.IntAttr("axis", 1)}, g.In[0])))
	}
	softmax := g.B.OpAttrs("Softmax", []*graph.Attr{graph.IntAttr("axis", 1)}, g.In[0])
	g.Set(0, g.Op("Sub", d, g.Op("Mul", softmax, g.Sum(d, true, 1))))
	return nil
}
