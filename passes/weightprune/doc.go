// Package weightprune holds passes that set single weights to zero.
//
// Floor 5. Zeros keep their place: what removes whole channels is nodeprune.
// Which operand of an operator is its weight is asked of graph/op.
package weightprune

import (
	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/op"
	"github.com/onnxpack/onnxpack/graph/tensor"
	"github.com/onnxpack/onnxpack/passes"
)

// weight is a constant operand of one or more nodes that can be pruned.
type weight struct {
	node   *graph.Node // the first that reads it
	value  *graph.Value
	tensor *tensor.Tensor
}

// filter says which nodes' weights are meant.
type filter struct{ include, exclude []string }

// weights returns the constant weights of the main graph and of subgraphs, in
// order, each once; nodes that are left out are reported.
func weights(j *passes.Job, f filter) []weight {
	var list []weight
	seen := map[*graph.Value]bool{}
	for n := range j.Model.Nodes(graph.InMain | graph.InSubgraphs) {
		d := op.Find(n.Domain, n.Op, n.Opset())
		if d == nil || d.Quant == nil || d.Quant.Class != op.QuantInteger || d.Quant.Weight < 0 {
			continue
		}
		v := n.In(d.Quant.Weight)
		if v == nil || seen[v] {
			continue
		}
		if why := f.refuses(n, v); why != "" {
			j.Skip(n, "%s", why)
			continue
		}
		seen[v] = true
		list = append(list, weight{n, v, v.Init.Tensor})
	}
	return list
}

// refuses says why the weight v of n is left as it is, "" if it is not.
func (f filter) refuses(n *graph.Node, v *graph.Value) string {
	name := n.Name
	if name == "" && n.Out(0) != nil {
		name = n.Out(0).Name()
	}
	switch {
	case len(f.include) > 0 && !passes.Match(f.include, name):
		return "it is not included"
	case passes.Match(f.exclude, name):
		return "it is excluded"
	case !v.IsConst() || v.Init.Tensor == nil:
		return "its weight is not constant"
	case !v.Init.Tensor.DType().IsFloat():
		return "its weight is " + v.Init.Tensor.DType().String() + ", want floats"
	}
	return ""
}

// set gives w, in place, the elements x.
func (w weight) set(x []float64) {
	t := tensor.FromFloat64s(w.tensor.DType(), w.tensor.Shape(), x)
	w.value.Graph().SetInit(w.value, &graph.Literal{Tensor: t})
}
