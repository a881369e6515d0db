package simplify

import (
	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
	"github.com/onnxpack/onnxpack/passes"
)

// DropDropout removes dropouts, which pass everything on at inference.
var DropDropout = passes.Define(passes.Pass{
	Name: "drop-dropout",
	Doc: `remove dropouts, which pass everything on at inference

A node whose training mode is on, or not constant, stays, and so does one
whose mask is read.`,
	Kind: passes.Exact,
}, struct{}{}, func(j *passes.Job, _ struct{}) error {
	eachNode(j, func(n *graph.Node) {
		if !n.Is("Dropout") || n.Out(0) == nil {
			return
		}
		switch {
		case !atInference(n):
			j.Skip(n, "it may run in training mode")
		case usedBeyondFirst(n):
			j.Skip(n, "its mask is read")
		case bypass(n, n.In(0)):
			j.Changed(1)
		default:
			j.Skip(n, "%q and %q both keep their names", n.In(0).Name(), n.Out(0).Name())
		}
	})
	return nil
})

// atInference reports whether a Dropout is known to drop nothing.
func atInference(n *graph.Node) bool {
	if n.Opset() < 7 {
		return n.Int("is_test", 0) != 0
	}
	if n.Opset() < 12 || n.In(2) == nil {
		return true
	}
	t := constant(n.In(2))
	return t != nil && t.DType() == tensor.Bool && t.Len() == 1 && t.Bytes()[0] == 0
}
