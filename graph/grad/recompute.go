package grad

import (
	"slices"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/op"
)

// Recomputation trades time for memory: the nodes of the loss are divided into
// segments, and the gradients of a segment read copies of its nodes, which run
// when the gradients come to it. What a segment computed the first time is free
// as soon as the segment is over, but for what others read. In ONNX text,
// with a segment of two nodes:
//
//	a = Exp (x)  y = Sin (a)  …  dy = …
//	a2 = Exp (x)  da = Mul (dy, Cos (a2))  dx = Mul (da, Exp (x))
//
// (Chen et al. 2016, arXiv 1604.06174.)

// segments divides the nodes, which are in backward order, into as many parts
// as are asked for, of nearly equal length.
func (s *scope) segments(count int) [][]*graph.Node {
	size := max(1, (len(s.nodes)+count-1)/max(1, count))
	return slices.Collect(slices.Chunk(s.nodes, size))
}

// recompute copies the nodes of a segment, in the order in which they run, to
// where the gradients have come to. What must not run twice is not copied:
// random operators, and control flow.
func (s *scope) recompute(segment []*graph.Node) {
	to := graph.NewMapping()
	for _, n := range slices.Backward(segment) {
		d := op.Find(n.Domain, n.Op, n.Opset())
		if d == nil || d.Effects || len(n.Subgraphs()) > 0 {
			continue
		}
		in := n.Ins()
		for i, v := range in {
			if v != nil {
				in[i] = to.Value(v)
			}
		}
		again := s.emit.Add(n.Clone(in))
		for i, v := range n.Outs() {
			if v != nil {
				to.Values[v] = again.Out(i)
				again.Out(i).Type, again.Out(i).Inferred = v.Type, true
			}
		}
		s.again[n] = again
	}
}

// seen returns the node that the gradient of n reads: a copy where there is
// one.
func (s *scope) seen(n *graph.Node) *graph.Node {
	if again := s.again[n]; again != nil {
		return again
	}
	return n
}

// sweep removes copies that no gradient reads.
func (s *scope) sweep() {
	copies := map[*graph.Node]bool{}
	for _, again := range s.again {
		copies[again] = true
	}
	for n := range s.g.Backward() {
		if copies[n] && !slices.ContainsFunc(n.Outs(), func(v *graph.Value) bool { return v != nil && v.Used() }) {
			s.g.Remove(n)
		}
	}
}
