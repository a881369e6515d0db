package simplify

import (
	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
	"github.com/onnxpack/onnxpack/passes"
)

// LiftConstants makes initializers of Constant nodes.
var LiftConstants = passes.Define(passes.Pass{
	Name: "lift-constants",
	Doc: `make initializers of Constant nodes

Bodies of functions have no initializers, so there they stay; a constant that
is an output of a subgraph stays too.`,
	Kind: passes.Exact,
}, struct{}{}, func(j *passes.Job, _ struct{}) error {
	eachNode(j, func(n *graph.Node) {
		if !n.Is("Constant") || !mayHoldConsts(n.Graph()) || n.Out(0) == nil {
			return
		}
		t := constantOf(n)
		if t == nil {
			j.Skip(n, "its value is sparse")
			return
		}
		if n.Out(0).IsOutput() {
			j.Skip(n, "it is an output of its graph")
			return
		}
		replaceResults(n, []tensor.Value{t})
		j.Changed(1)
	})
	return nil
})

// constantOf returns what a Constant node makes, nil if that is not dense.
func constantOf(n *graph.Node) *tensor.Tensor {
	for _, a := range n.Attrs() {
		switch a.Name {
		case "value":
			if len(a.Literals) == 1 {
				return a.Literals[0].Tensor
			}
		case "value_float":
			return tensor.Scalar(a.Floats[0])
		case "value_floats":
			return tensor.Vector(a.Floats...)
		case "value_int":
			return tensor.Scalar(a.Ints[0])
		case "value_ints":
			return tensor.Vector(a.Ints...)
		case "value_string":
			return tensor.OfStrings(tensor.Shape{}, a.Strings)
		case "value_strings":
			return tensor.OfStrings(tensor.Shape{len(a.Strings)}, a.Strings)
		}
	}
	return nil
}
