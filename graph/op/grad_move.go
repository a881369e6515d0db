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
		g.Set(0, g.B.OpAttrs("Cast", []*graph.Attr{graph.IntAttr("to", int64(g.Elem(0)))}, g.DOut[0]))
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
	rank, err := g.Rank(0)
	if err != nil {
		return err
	}
	perm := g.Node.Ints("perm")
	inverse := make([]int64, rank)
	for i := range inverse {
		if perm == nil {
			inverse[i] = int64(rank - 1 - i)
		} else {
			inverse[perm[i]] = int64(i)
		}
	}
	g.Set(0, g.Transpose(g.DOut[0], inverse))
	return nil
}

// gradConcat splits the gradient where the operands met.
func gradConcat(g *Grad) error {
	rank, err := g.Rank(0)
	if err != nil {
		return err
	}
	axis, err := tensor.Axis(int(g.Node.Int("axis", 1)), rank)
	if err != nil {
		return err
	}
	sizes := make([]int64, len(g.In))
	for i, x := range g.In {
		s := g.Shape(x)
		if len(s) <= axis || !s[axis].IsKnown() {
			return fmt.Errorf("input %d %v: the gradient needs the size of axis %d", i, x.Type, axis)
		}
		sizes[i] = int64(s[axis].Size)
	}
	split := graph.NewNode("", "Split", []*graph.Value{g.DOut[0], g.Int64s(sizes...)}, len(g.In), graph.IntAttr("axis", int64(axis)))
	g.B.Add(split)
	for i := range g.In {
		g.Set(i, split.Out(i))
	}
	return nil
}

// gradSplit joins the gradients of the parts; a part that nothing depends on
// counts as zeros.
func gradSplit(g *Grad) error {
	parts := make([]*graph.Value, len(g.Out))
	for i, y := range g.Out {
		if parts[i] = g.DOut[i]; parts[i] == nil {
			parts[i] = g.Op("Sub", y, y)
		}
	}
	g.Set(0, g.B.OpAttrs("Concat", []*graph.Attr{graph.IntAttr("axis", g.Node.Int("axis", 0))}, parts...))
	return nil
}
