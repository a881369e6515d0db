package nodeprune

import (
	"strings"

	"github.com/onnxpack/onnxpack/graph"
)

// layer is a node with a constant weight matrix or kernel: which input it is,
// and which of its axes are of outputs and of inputs.
type layer struct {
	node          *graph.Node
	slot          int
	outputs, from int // axes of the weight; from is that of the inputs it sums over
}

// layerOf describes a convolution or a product with one constant operand.
func layerOf(n *graph.Node) (layer, bool) {
	rank := func(i int) int { return len(dimsOfAny(n.In(i))) }
	switch {
	case n.Is("Conv") || n.Domain == "com.microsoft" && n.Op == "FusedConv":
		return layer{n, 1, 0, 1}, rank(1) > 2
	case n.Is("QLinearConv"):
		return layer{n, 3, 0, 1}, rank(3) > 2
	case n.Is("ConvTranspose"):
		return layer{n, 1, 1, 0}, rank(1) > 2
	case n.Is("Gemm"):
		if n.Int("transB", 0) != 0 {
			return layer{n, 1, 0, 1}, rank(1) == 2
		}
		return layer{n, 1, 1, 0}, rank(1) == 2
	case n.Is("MatMul"):
		return layer{n, 1, rank(1) - 1, rank(1) - 2}, rank(1) >= 2
	case n.Domain == "com.microsoft" && n.Op == "Attention":
		return layer{n, 1, 1, 0}, rank(1) == 2
	}
	return layer{}, false
}

// source returns the constant that v is made from by operators that keep its
// elements apart, such as DequantizeLinear; nil if there is none.
func source(v *graph.Value) *graph.Value {
	for v != nil && constant(v) == nil {
		n := v.Producer()
		if n == nil || !n.Is("DequantizeLinear", "Identity", "Cast", "Transpose", "Reshape", "Unsqueeze", "Squeeze") {
			return nil
		}
		v = n.In(0)
	}
	return v
}

// weightNodes ranges over the nodes that have weights, with the constants.
func (g *Groups) weightNodes(f func(n *graph.Node, weight *graph.Value)) {
	seen := map[*graph.Value]bool{}
	give := func(n *graph.Node, v *graph.Value) {
		if v = source(v); v != nil && isWeight(v) && !seen[v] {
			seen[v] = true
			f(n, v)
		}
	}
	for n := range g.model.Nodes(graph.InMain | graph.InSubgraphs) {
		if n.Is("LSTM", "GRU", "RNN") {
			give(n, n.In(1))
			give(n, n.In(2))
		}
		if l, ok := layerOf(n); ok {
			give(n, n.In(l.slot))
		}
	}
}

// Share returns how many elements the weights of convolutions, products and
// recurrent layers have together, and how many of them some unit cuts.
func (g *Groups) Share() (prunable, all int) {
	cut := map[*axis]int{}
	for x, n := range g.cuttable() {
		cut[x] = n
	}
	g.weightNodes(func(_ *graph.Node, v *graph.Value) {
		size, kept := 1.0, 1.0
		for at, d := range dimsOf(v) {
			n := float64(max(d.Size, 1))
			size *= n
			kept *= 1 - float64(cut[g.web.of(v, at)])/n
		}
		all += int(size)
		prunable += int(size * (1 - kept))
	})
	return prunable, all
}

// cuttable counts the indices of each axis that units cut.
func (g *Groups) cuttable() map[*axis]int {
	hit := map[index]bool{}
	count := map[*axis]int{}
	for _, group := range g.List {
		for _, u := range group.Units {
			for x, list := range u.cuts {
				for _, i := range list {
					if !hit[index{x, i}] {
						hit[index{x, i}] = true
						count[x]++
					}
				}
			}
		}
	}
	return count
}

// refusals lists the axes of outputs and inputs of weights that cannot be cut,
// or not everywhere. The axes of a convolution's window are none of these.
func (g *Groups) refusals() {
	g.weightNodes(func(n *graph.Node, v *graph.Value) {
		for at := range dimsOf(v) {
			x := g.web.of(v, at)
			r := Refusal{Node: n, Weight: WeightAxis{v, at}, Size: x.n}
			for i, why := range x.why {
				if why == nil {
					continue
				}
				if r.Kept == 0 {
					r.Chain, r.Reason = g.web.chain(index{x, i})
				}
				r.Kept++
			}
			if r.Kept > 0 && x.n > 1 && !inWindow(n, at) {
				g.Refused = append(g.Refused, r)
			}
		}
	})
}

// inWindow reports whether an axis of the weight of n is one of the window of a
// convolution.
func inWindow(n *graph.Node, at int) bool {
	l, ok := layerOf(n)
	return ok && strings.Contains(n.Op, "Conv") && at != l.outputs && at != l.from
}
