package weightprune

import "github.com/onnxpack/onnxpack/graph"

// twin returns the value of the original that the result of n stands for: what the
// node reads there that has the name and operator of a reader of n's result. If a
// normalization was folded into n, the result itself bears the name of what was in
// front of it. A result that is an output stands for the output of its name; nil if
// there is no such value.
func twin(n *graph.Node, original *graph.Model) *graph.Value {
	v := n.Out(0)
	for _, u := range v.Uses() {
		if u.Node.Graph() != n.Graph() || u.Node.Out(0) == nil {
			continue
		}
		o := original.Graph.Value(u.Node.Out(0).Name())
		if o == nil || o.Producer() == nil || o.Producer().Op != u.Node.Op {
			continue
		}
		if x := o.Producer().In(u.Index); x != nil && x.Producer() != nil {
			return x
		}
	}
	if o := original.Graph.Value(v.Name()); v.IsOutput() && o != nil && o.IsOutput() && o.Producer() != nil {
		return o
	}
	return nil
}
