package weightprune

import (
	"slices"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// biasOf returns the constant that is added to each channel of n's result, as
// an input slot of a node, and the channels' axis; nil if there is no place for
// one. A missing bias of a Conv or Gemm is added, as zeros.
func biasOf(n *graph.Node) (holder *graph.Node, slot, axis int) {
	switch {
	case n.Is("Conv", "ConvTranspose"):
		return n, 2, 1
	case n.Is("Gemm") && n.Float("beta", 1) == 1:
		return n, 2, -1
	case n.Is("MatMul"):
		if u, ok := n.Out(0).SoleUse(); ok && u.Node.Is("Add") && u.Node.Graph() == n.Graph() {
			return u.Node, 1 - u.Index, -1
		}
	}
	return nil, 0, 0
}

// biasValues returns the bias of n's channels, zeros if there is none yet, nil
// if there is no place for one.
func biasValues(n *graph.Node, channels int) []float64 {
	holder, slot, _ := biasOf(n)
	if holder == nil {
		return nil
	}
	v := holder.In(slot)
	if v == nil {
		return make([]float64, channels)
	}
	lit := literalOf(v)
	if lit == nil {
		return nil
	}
	t, err := contents(lit)
	if err != nil || t.Rank() != 1 || t.Len() != channels {
		return nil
	}
	return slices.Clone(tensor.Float64s(t))
}

// setBias gives n's channels a bias, where biasValues has found a place.
func setBias(n *graph.Node, b []float64) {
	holder, slot, _ := biasOf(n)
	dtype, name := tensor.Float32, n.Out(0).Name()+"_bias"
	if v := holder.In(slot); v != nil {
		dtype, name = literalOf(v).DType(), v.Name()
	} else if t := n.Out(0).Type; t != nil && t.Kind == graph.KindTensor {
		dtype = t.Elem
	}
	own(holder, slot, name, tensor.FromFloat64s(dtype, tensor.Shape{len(b)}, b))
}

// own gives n an input with new contents. An initializer that only n reads
// takes them; any other is left to its other readers.
func own(n *graph.Node, slot int, name string, t *tensor.Tensor) {
	g := n.Graph()
	if v := n.In(slot); v != nil && v.IsConst() && v.Graph() == g {
		if _, sole := v.SoleUse(); sole {
			g.SetInit(v, &graph.Literal{Tensor: t})
			return
		}
	}
	n.SetIn(slot, g.AddInit(name, t))
}
