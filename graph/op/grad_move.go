package op

import (
	"fmt"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

var gradMoveRules = map[opName]func(*Grad) error{
	std("Identity"):  func(g *Grad) error { g.Set(0, g.DOut[0]); return nil },
	std("Reshape"):   gradReshaped,
	std("Flatten"):   gradReshaped,
	std("Squeeze"):   gradReshaped,
	std("Unsqueeze"): gradReshaped,
	std("Expand"): func(g *Grad) error {
		g.Set(0, g.Private("ReduceTo", nil, g.DOut[0], g.ShapeOf(g.In[0])))
		return nil
	},
	std("Transpose"): gradTranspose,
	std("Cast"): func(g *Grad) error {
		g.Set(0, g.castTo(g.DOut[0], g.In[0]))
		return nil
	},
	std("Concat"): gradConcat,
	std("Split"):  gradSplit,
}

// gradReshaped is the gradient of operators that change the shape alone.
func gradReshaped(g *Grad) error {
	g.Set(0, g.ReshapeTo(g.DOut[0], g.In[0]))
	return nil
}

func gradTranspose(g *Grad) error {
	perm := g.Node.Ints("perm")
	if perm == nil {
		g.Set(0, g.Op("Transpose", g.DOut[0]))
		return nil
	}
	inverse := make([]int64, len(perm))
	for i, p := range perm {
		if p < 0 || p >= int64(len(perm)) {
			return fmt.Errorf("attribute perm is %v, want a permutation", perm)
		}
		inverse[p] = int64(i)
	}
	g.Set(0, g.Transpose(g.DOut[0], inverse))
	return nil
}

// gradConcat splits the gradient where the operands met.
func gradConcat(g *Grad) error {
	axis := g.Node.Int("axis", 1)
	split := graph.NewNode("", "Split", []*graph.Value{g.DOut[0], g.sizesAlong(axis)}, len(g.In), graph.IntAttr("axis", axis))
	g.B.Add(split)
	for i := range g.In {
		g.Set(i, split.Out(i))
	}
	return nil
}

// sizesAlong returns the sizes of all inputs along an axis, which may count
// from the end: a constant where they are known.
func (g *Grad) sizesAlong(axis int64) *graph.Value {
	known, sizes, parts := true, make([]int64, len(g.In)), make([]*graph.Value, len(g.In))
	for i, x := range g.In {
		s := g.Shape(x)
		at, err := tensor.Axis(int(axis), len(s))
		if known = known && err == nil && s[at].IsKnown(); known {
			sizes[i] = int64(s[at].Size)
		}
	}
	if known {
		return g.Int64s(sizes...)
	}
	for i, x := range g.In {
		parts[i] = g.Op("Gather", g.Op("Shape", x), g.Int64s(axis))
	}
	return g.B.OpAttrs("Concat", []*graph.Attr{graph.IntAttr("axis", 0)}, parts...)
}

// gradSplit joins the gradients of the parts; a part that nothing depends on
// counts as zeros.
func gradSplit(g *Grad) error {
	parts := make([]*graph.Value, len(g.Out))
	for i, y := range g.Out {
		if parts[i] = g.DOut[i]; parts[i] == nil {
			parts[i] = g.Zeros(y)
		}
	}
	g.Set(0, g.B.OpAttrs("Concat", []*graph.Attr{graph.IntAttr("axis", g.Node.Int("axis", 0))}, parts...))
	return nil
}
